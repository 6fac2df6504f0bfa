/* Matrix product, naive: r = x W^T + bias, then the epilogue. x bf16 [M, K], W [N, K] in bf16, f16 or f32, y bf16
 * [M, N]. sm_80 and up.
 *
 * Numerics: fp32 products and sums in ascending k, one rounding at the end. Any shape.
 *
 * Roofline: the fp32 pipe (about 60 TFLOPS on an H100); not timed. A reference, and the fallback for shapes that
 * no faster row takes.
 *
 * Plan: 64 x 64 tiles through shared memory, 16 outputs a thread. */
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace
{

enum { TILE = 64, STEP = 16 };

__device__ float as_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ float as_float(__half v) { return __half2float(v); }
__device__ float as_float(float v) { return v; }

__device__ float epilogue(const swan_linear_args &a, float r, float old, int64_t n)
{
    switch (a.epilogue) {
    case SWAN_EPI_GELU: return 0.5f * r * (1.0f + tanhf(0.7978845608028654f * (r + 0.044715f * r * r * r)));
    case SWAN_EPI_SILU: return r / (1.0f + expf(-r));
    case SWAN_EPI_MUL: return old * r;
    case SWAN_EPI_ADD: return old + r;
    case SWAN_EPI_GATED_ADD: return old + a.gate[n] * r;
    default: return r;
    }
}

template <typename W> __global__ void __launch_bounds__(256) linear_naive(const swan_linear_args a)
{
    __shared__ float xs[STEP][TILE + 1], ws[STEP][TILE + 1];
    const __nv_bfloat16 *x = (const __nv_bfloat16 *)a.x;
    const W *w = (const W *)a.w;
    __nv_bfloat16 *y = (__nv_bfloat16 *)a.y;
    const int64_t m0 = (int64_t)blockIdx.y * TILE, n0 = (int64_t)blockIdx.x * TILE;
    const int tx = (int)threadIdx.x & 15, ty = (int)threadIdx.x >> 4;
    float acc[4][4] = {};
    for (int64_t k0 = 0; k0 < a.K; k0 += STEP) {
        for (int i = (int)threadIdx.x; i < TILE * STEP; i += 256) {
            const int r = i / STEP, k = i % STEP;
            const bool in = k0 + k < a.K;
            xs[k][r] = in && m0 + r < a.M ? as_float(x[(m0 + r) * a.ldx + k0 + k]) : 0.0f;
            ws[k][r] = in && n0 + r < a.N ? as_float(w[(n0 + r) * a.K + k0 + k]) : 0.0f;
        }
        __syncthreads();
        for (int k = 0; k < STEP; k++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) acc[i][j] = fmaf(xs[k][ty + 16 * i], ws[k][tx + 16 * j], acc[i][j]);
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            const int64_t m = m0 + ty + 16 * i, n = n0 + tx + 16 * j;
            if (m < a.M && n < a.N) {
                const float old = a.epilogue >= SWAN_EPI_MUL ? __bfloat162float(y[m * a.ldy + n]) : 0.0f;
                y[m * a.ldy + n] = __float2bfloat16(epilogue(a, acc[i][j] + (a.bias ? a.bias[n] : 0.0f), old, n));
            }
        }
    }
}

template <typename W> int run(cudaStream_t stream, const swan_linear_args *a)
{
    if (a->M < 1 || a->N < 1 || a->K < 1 || (a->epilogue == SWAN_EPI_GATED_ADD && !a->gate) || a->M > 65535ll * TILE)
        return cudaErrorInvalidValue;
    linear_naive<W>
        <<<dim3((unsigned)((a->N + TILE - 1) / TILE), (unsigned)((a->M + TILE - 1) / TILE)), 256, 0, stream>>>(*a);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_linear_bf16_naive(cudaStream_t stream, const swan_linear_bf16_args *a)
{
    return run<__nv_bfloat16>(stream, a);
}
extern "C" int swan_cuda_linear_f16_naive(cudaStream_t stream, const swan_linear_f16_args *a)
{
    return run<__half>(stream, a);
}
extern "C" int swan_cuda_linear_f32_naive(cudaStream_t stream, const swan_linear_f32_args *a)
{
    return run<float>(stream, a);
}
