/* Matrix product, naive: r = x W^T + bias, then the epilogue. x, y f32 or bf16 [M, K], [M, N], W [N, K] in bf16, f16 or
 * f32. sm_80 and up.
 *
 * Numerics: fp32 products and sums in ascending k, one rounding at the end. Any shape.
 *
 * Roofline: the fp32 pipe (about 60 TFLOPS on an H100); not timed. The reference, the exact mode's product, and the
 * fallback for shapes that no faster row takes.
 *
 * Plan: common/tile_product.cuh. */
#include "kernel/cuda/common/epilogue.cuh"
#include "kernel/cuda/common/tile_product.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

template <typename T, typename W> __global__ void __launch_bounds__(256) linear_naive(const swan_linear_args a)
{
    const T *x = (const T *)a.x;
    const W *w = (const W *)a.w;
    const int64_t m0 = (int64_t)blockIdx.x * SWAN_TILE, n0 = (int64_t)blockIdx.y * SWAN_TILE;
    float acc[4][4];
    swan_tile_product(
        acc, a.K, [&](int r, int64_t k) { return m0 + r < a.M ? swan_get(x[(m0 + r) * a.ldx + k]) : 0.0f; },
        [&](int c, int64_t k) { return n0 + c < a.N ? swan_get(w[(n0 + c) * a.K + k]) : 0.0f; });
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const int64_t m = m0 + (threadIdx.x >> 4) + 16 * i, n = n0 + (threadIdx.x & 15) + 16 * j;
            if (m < a.M && n < a.N) swan_epilogue_put(a, acc[i][j], (T *)a.y + m * a.ldy + n, n);
        }
}

template <typename T, typename W> cudaError_t run(cudaStream_t stream, const swan_linear_args &a)
{
    if (swan_linear_invalid(&a)) return cudaErrorInvalidValue;
    const dim3 grid((unsigned)((a.M + SWAN_TILE - 1) / SWAN_TILE), (unsigned)((a.N + SWAN_TILE - 1) / SWAN_TILE));
    linear_naive<T, W><<<grid, 256, 0, stream>>>(a);
    return cudaGetLastError();
}

template <typename T> cudaError_t of_f32(cudaStream_t s, const swan_linear_args &a) { return run<T, float>(s, a); }
template <typename T> cudaError_t of_bf16(cudaStream_t s, const swan_linear_args &a)
{
    return run<T, __nv_bfloat16>(s, a);
}
template <typename T> cudaError_t of_f16(cudaStream_t s, const swan_linear_args &a) { return run<T, __half>(s, a); }

template <typename T> cudaError_t gelu_mul(cudaStream_t s, const swan_linear_args &a)
{
    cudaError_t e = cudaSuccess;
    for (int i = 0; i < 2 && !e; i++) e = of_bf16<T>(s, swan_linear_gelu_mul_product(&a, i));
    return e;
}

} // namespace

extern "C" int swan_cuda_linear_gelu_mul_naive(cudaStream_t stream, const swan_linear_gelu_mul_args *a, swan_dtype format)
{
    if (a->bias || a->epilogue) return cudaErrorInvalidValue;
    return SWAN_BY_FORMAT(format, gelu_mul, stream, a);
}
extern "C" int swan_cuda_linear_f32_naive(cudaStream_t stream, const swan_linear_f32_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, of_f32, stream, a);
}
extern "C" int swan_cuda_linear_bf16_naive(cudaStream_t stream, const swan_linear_bf16_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, of_bf16, stream, a);
}
extern "C" int swan_cuda_linear_f16_naive(cudaStream_t stream, const swan_linear_f16_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, of_f16, stream, a);
}
