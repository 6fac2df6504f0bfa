/* 3x3 convolution, naive: channels last, stride 1, zero padding 1, as an implicit matrix product: rows are pixels, columns
 * output channels, k runs over (tap, input channel), the order of the weights. f32 or bf16 activations, f32 weights;
 * sm_80 and up.
 *
 * Numerics: fp32 products and sums in ascending k, then bias, residual, ReLU, one rounding. Any shape.
 *
 * Roofline: the fp32 pipe, less what the address arithmetic of the gather costs; not timed.
 *
 * Plan: common/tile_product.cuh; the loader of x finds pixel and channel of each k. */
#include "kernel/cuda/common/scalar.cuh"
#include "kernel/cuda/common/tile_product.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

/* Input of output pixel (y, x) under tap and channel k = tap * (Cx + Cp) + c; 0 outside the image. */
template <typename T> __device__ float input_at(const swan_conv_conv3x3_args &a, int y, int x, int k)
{
    const int W = (int)a.W, Cx = (int)a.Cx, Cp = (int)a.Cp, tap = k / (Cx + Cp), c = k % (Cx + Cp);
    const int iy = y + tap / 3 - 1, ix = x + tap % 3 - 1;
    if (iy < 0 || iy >= (int)a.H || ix < 0 || ix >= W) return 0.0f;
    const int64_t pixel = a.upsample ? (int64_t)(iy / 2) * (W / 2) + ix / 2 : (int64_t)iy * W + ix;
    if (c < Cx) return swan_get(((const T *)a.x)[pixel * Cx + c]);
    return a.past ? swan_get(((const T *)a.past)[pixel * Cp + c - Cx]) : 0.0f;
}

template <typename T> __global__ void __launch_bounds__(256) conv3x3_naive(const swan_conv_conv3x3_args a)
{
    const int64_t m0 = (int64_t)blockIdx.x * SWAN_TILE, n0 = (int64_t)blockIdx.y * SWAN_TILE, pixels = a.H * a.W;
    const int64_t K = 9 * (a.Cx + a.Cp);
    float acc[4][4];
    swan_tile_product(
        acc, K,
        [&](int r, int64_t k) {
            const int64_t m = m0 + r;
            return m < pixels ? input_at<T>(a, (int)(m / a.W), (int)(m % a.W), (int)k) : 0.0f;
        },
        [&](int c, int64_t k) { return n0 + c < a.Cout ? a.w[(n0 + c) * K + k] : 0.0f; });
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const int64_t m = m0 + (threadIdx.x >> 4) + 16 * i, n = n0 + (threadIdx.x & 15) + 16 * j;
            if (m >= pixels || n >= a.Cout) continue;
            float v = acc[i][j];
            if (a.bias) v += a.bias[n];
            if (a.residual) v += swan_get(((const T *)a.residual)[m * a.Cout + n]);
            swan_put((T *)a.y + m * a.Cout + n, a.relu && v < 0.0f ? 0.0f : v);
        }
}

template <typename T> cudaError_t run(cudaStream_t stream, const swan_conv_conv3x3_args &a)
{
    if (a.H < 1 || a.W < 1 || a.Cx < 1 || a.Cp < 0 || a.Cout < 1 || a.H > 1 << 15 || a.W > 1 << 15 ||
        a.Cx + a.Cp > 1 << 20 || (a.upsample && (a.Cp || a.H % 2 || a.W % 2)))
        return cudaErrorInvalidValue;
    const dim3 grid((unsigned)((a.H * a.W + SWAN_TILE - 1) / SWAN_TILE), (unsigned)((a.Cout + SWAN_TILE - 1) / SWAN_TILE));
    conv3x3_naive<T><<<grid, 256, 0, stream>>>(a);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_conv_conv3x3_naive(cudaStream_t stream, const swan_conv_conv3x3_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run, stream, a);
}
