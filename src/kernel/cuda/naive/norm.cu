/* Layer norm with modulation or affine weights, and RMS norm with rotary embedding, naive: one block a row, any D;
 * f32 or bf16 activations; sm_80 and up. Means over tiles: vsa.pool's naive kernel behind it.
 *
 * Numerics: statistics and arithmetic in fp32, the variance from a second pass over the
 * differences.
 *
 * Roofline: memory, two accesses an element plus re-reads that hit the caches.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench norm`, L = 32,760, D = 1536, bf16: layer 155 us, RMS + rope
 * 164 us. */
#include "kernel/cuda/common/reduce.cuh"
#include "kernel/cuda/common/scalar.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

template <typename T> __global__ void __launch_bounds__(256) norm_layer_naive(const swan_norm_layer_args a)
{
    __shared__ float scratch[32];
    const T *x = (const T *)a.x + blockIdx.x * a.ldx;
    T *y = (T *)a.y + blockIdx.x * a.ldy;
    const int D = (int)a.D;
    float sum = 0.0f, squares = 0.0f;
    for (int i = (int)threadIdx.x; i < D; i += 256) sum += swan_get(x[i]);
    const float mean = swan_block_sum(sum, scratch) / (float)D;
    for (int i = (int)threadIdx.x; i < D; i += 256) {
        const float d = swan_get(x[i]) - mean;
        squares = fmaf(d, d, squares);
    }
    const float inv = 1.0f / sqrtf(swan_block_sum(squares, scratch) / (float)D + a.eps);
    for (int i = (int)threadIdx.x; i < D; i += 256)
        swan_put(&y[i], (swan_get(x[i]) - mean) * inv * (a.scale[i] + a.scale_offset) + a.shift[i]);
}

template <typename T> __global__ void __launch_bounds__(256) norm_rms_naive(const swan_norm_rms_args a)
{
    __shared__ float scratch[32];
    const T *x = (const T *)a.x + blockIdx.x * a.ldx;
    T *y = (T *)a.y + blockIdx.x * a.ldy;
    const int D = (int)a.D, half = (int)a.head_dim / 2;
    float squares = 0.0f;
    for (int i = (int)threadIdx.x; i < D; i += 256) {
        const float v = swan_get(x[i]);
        squares = fmaf(v, v, squares);
    }
    const float inv = 1.0f / sqrtf(swan_block_sum(squares, scratch) / (float)D + a.eps);
    if (!a.rope) {
        for (int i = (int)threadIdx.x; i < D; i += 256)
            swan_put(&y[i], swan_get(x[i]) * inv * a.weight[i]);
        return;
    }
    for (int i = (int)threadIdx.x; i < D / 2; i += 256) {
        const float *cs = a.rope + ((int64_t)blockIdx.x * half + i % half) * 2;
        const float u = swan_get(x[2 * i]) * inv * a.weight[2 * i];
        const float v = swan_get(x[2 * i + 1]) * inv * a.weight[2 * i + 1];
        swan_put(&y[2 * i], u * cs[0] - v * cs[1]);
        swan_put(&y[2 * i + 1], u * cs[1] + v * cs[0]);
    }
}

template <typename T> cudaError_t run_layer(cudaStream_t stream, const swan_norm_layer_args &a)
{
    if (a.L < 1 || a.D < 1) return cudaErrorInvalidValue;
    norm_layer_naive<T><<<(unsigned)a.L, 256, 0, stream>>>(a);
    return cudaGetLastError();
}

template <typename T> cudaError_t run_rms(cudaStream_t stream, const swan_norm_rms_args &a)
{
    if (a.L < 1 || a.D < 1 || (a.rope && (a.head_dim < 2 || a.head_dim % 2 || a.D % a.head_dim)))
        return cudaErrorInvalidValue;
    norm_rms_naive<T><<<(unsigned)a.L, 256, 0, stream>>>(a);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_norm_layer_naive(cudaStream_t stream, const swan_norm_layer_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run_layer, stream, a);
}

extern "C" int swan_cuda_norm_rms_naive(cudaStream_t stream, const swan_norm_rms_args *a, swan_dtype format)
{
    if (a->mean && (a->tiles < 1 || !a->tile_start)) return cudaErrorInvalidValue;
    const int e = SWAN_BY_FORMAT(format, run_rms, stream, a);
    if (e || !a->mean) return e;
    const swan_vsa_pool_args means = swan_norm_rms_means(a);
    return swan_cuda_vsa_pool_naive(stream, &means, format);
}
