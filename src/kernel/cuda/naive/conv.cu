/* 3x3 convolutions, naive: channels last, stride 1, zero padding 1, as an implicit matrix product: rows are pixels, columns
 * output channels, k runs over (tap, input channel), the order of the weights. f32, bf16 or f16 activations, weights f32, or f16
 * with f16 activations; sm_80 and up. up2x2: four taps, one product for each frame made and each place in the 2x2.
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

/* Weights of T's table. */
template <typename T> struct weight_of {
    typedef float type;
};
template <> struct weight_of<__half> {
    typedef __half type;
};

/* Input of output pixel (y, x) of frame f under tap and channel k = tap * (Cx + Cp) + c; 0 outside the image. */
template <typename T> __device__ float input_at(const swan_conv_conv3x3_args &a, int64_t f, int y, int x, int k)
{
    const int H = (int)a.H, W = (int)a.W, Cx = (int)a.Cx, Cp = (int)a.Cp, tap = k / (Cx + Cp), c = k % (Cx + Cp);
    const int iy = y + tap / 3 - 1, ix = x + tap % 3 - 1;
    if (iy < 0 || iy >= H || ix < 0 || ix >= W) return 0.0f;
    const int64_t pixel = a.upsample ? (f * (H / 2) + iy / 2) * (W / 2) + ix / 2 : (f * H + iy) * W + ix;
    if (c < Cx) return swan_get(((const T *)a.x)[pixel * Cx + c]);
    return a.past ? swan_get(((const T *)a.past)[pixel * Cp + c - Cx]) : 0.0f;
}

template <typename T> __global__ void __launch_bounds__(256) conv3x3_naive(const swan_conv_conv3x3_args a)
{
    typedef typename weight_of<T>::type W;
    const int64_t m0 = (int64_t)blockIdx.x * SWAN_TILE, n0 = (int64_t)blockIdx.y * SWAN_TILE, pixels = a.H * a.W, f = blockIdx.z;
    const int64_t K = 9 * (a.Cx + a.Cp);
    float acc[4][4];
    swan_tile_product(
        acc, K,
        [&](int r, int64_t k) {
            const int64_t m = m0 + r;
            return m < pixels ? input_at<T>(a, f, (int)(m / a.W), (int)(m % a.W), (int)k) : 0.0f;
        },
        [&](int c, int64_t k) { return n0 + c < a.Cout ? swan_get(((const W *)a.w)[(n0 + c) * K + k]) : 0.0f; });
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const int64_t m = m0 + (threadIdx.x >> 4) + 16 * i, n = n0 + (threadIdx.x & 15) + 16 * j;
            if (m >= pixels || n >= a.Cout) continue;
            const int64_t at = (f * pixels + m) * a.Cout + n;
            float v = acc[i][j];
            if (a.bias) v += a.bias[n];
            if (a.residual) v += swan_get(((const T *)a.residual)[at]);
            swan_put((T *)a.y + at, a.relu && v < 0.0f ? 0.0f : v);
        }
}

dim3 tiles_of(int64_t pixels, int64_t columns, int64_t frames)
{
    return dim3((unsigned)((pixels + SWAN_TILE - 1) / SWAN_TILE), (unsigned)((columns + SWAN_TILE - 1) / SWAN_TILE), (unsigned)frames);
}

template <typename T> cudaError_t run_conv3x3(cudaStream_t stream, const swan_conv_conv3x3_args &a)
{
    if (a.F < 1 || a.F > 65535 || a.H < 1 || a.W < 1 || a.Cx < 1 || a.Cp < 0 || a.Cout < 1 || a.H > 1 << 15 || a.W > 1 << 15 ||
        a.Cx + a.Cp > 1 << 20 || (a.upsample && (a.Cp || a.H % 2 || a.W % 2)))
        return cudaErrorInvalidValue;
    conv3x3_naive<T><<<tiles_of(a.H * a.W, a.Cout, a.F), 256, 0, stream>>>(a);
    return cudaGetLastError();
}

/* blockIdx.z: (f, j, p, q). */
template <typename T> __global__ void __launch_bounds__(256) up2x2_naive(const swan_conv_up2x2_args a)
{
    typedef typename weight_of<T>::type Weight;
    const int place = (int)(blockIdx.z & 3), p = place >> 1, q = place & 1, H = (int)a.H, W = (int)a.W, Cx = (int)a.Cx;
    const int64_t frame = blockIdx.z >> 2, f = frame / a.grow, j = frame % a.grow, K = 4 * a.Cx, pixels = a.H * a.W;
    const int64_t m0 = (int64_t)blockIdx.x * SWAN_TILE, n0 = (int64_t)blockIdx.y * SWAN_TILE;
    const T *x = (const T *)a.x + f * pixels * Cx;
    const Weight *w = (const Weight *)a.w + (j * 4 + place) * a.Cout * K;
    float acc[4][4];
    swan_tile_product(
        acc, K,
        [&](int r, int64_t k) {
            const int64_t m = m0 + r;
            const int tap = (int)k / Cx, iy = (int)(m / W) + p - 1 + tap / 2, ix = (int)(m % W) + q - 1 + tap % 2;
            const bool in = m < pixels && iy >= 0 && iy < H && ix >= 0 && ix < W;
            return in ? swan_get(x[((int64_t)iy * W + ix) * Cx + (int)k % Cx]) : 0.0f;
        },
        [&](int c, int64_t k) { return n0 + c < a.Cout ? swan_get(w[(n0 + c) * K + k]) : 0.0f; });
    for (int i = 0; i < 4; i++)
        for (int c = 0; c < 4; c++) {
            const int64_t m = m0 + (threadIdx.x >> 4) + 16 * i, n = n0 + (threadIdx.x & 15) + 16 * c;
            if (m >= pixels || n >= a.Cout) continue;
            const int64_t to = (frame * 2 * H + 2 * (m / W) + p) * 2 * W + 2 * (m % W) + q;
            swan_put((T *)a.y + to * a.Cout + n, a.relu && acc[i][c] < 0.0f ? 0.0f : acc[i][c]);
        }
}

template <typename T> cudaError_t run_up2x2(cudaStream_t stream, const swan_conv_up2x2_args &a)
{
    if (a.F < 1 || a.grow < 1 || a.F > 16383 || a.grow > 16383 / a.F || a.H < 1 || a.W < 1 || a.Cx < 1 || a.Cout < 1 || a.H > 1 << 14 ||
        a.W > 1 << 14 || a.Cx > 1 << 20)
        return cudaErrorInvalidValue;
    up2x2_naive<T><<<tiles_of(a.H * a.W, a.Cout, 4 * a.F * a.grow), 256, 0, stream>>>(a);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_conv_conv3x3_naive(cudaStream_t stream, const swan_conv_conv3x3_args *a, swan_dtype format)
{
    return SWAN_BY_IMAGE_FORMAT(format, run_conv3x3, stream, a);
}

extern "C" int swan_cuda_conv_up2x2_naive(cudaStream_t stream, const swan_conv_up2x2_args *a, swan_dtype format)
{
    return SWAN_BY_IMAGE_FORMAT(format, run_up2x2, stream, a);
}
