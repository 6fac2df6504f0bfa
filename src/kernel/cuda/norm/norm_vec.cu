/* Layer norm with modulation or affine weights; RMS norm with rotary embedding: bandwidth-bound rows from sm_80 up.
 *
 * Shapes: bf16 [L, D], D a multiple of 8 (norms: at most 5120), strides multiples of 8, bases aligned to 16 B;
 * tables f32.
 *
 * Numerics: statistics and arithmetic in fp32, the variance from the differences (two passes over registers), one
 * rounding.
 *
 * Roofline: bytes over copy bandwidth; at L = 32,760, D = 1536: 201 MB (+ 16.8 MB of rope), 73 us at the 2.75 TB/s
 * that cudaMemcpyAsync reaches on these buffers.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench norm` (bench/LOG.md): layer 76.8 us, 2.62 TB/s
 * (naive 155 us); RMS + rope 82.1 us, 2.66 TB/s (naive 164 us), in place in a packed qkv 84.3 us, 2.59 TB/s.
 *
 * Plan: norms: one warp a row, the row in registers (six 16-byte loads a lane at D = 1536), four rows a block,
 * tables through L1; up to 1,024 rows of more than 256 elements without rope: a block a row.
 * Nothing else tried. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/reduce.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/launch.h"
#include "kernel/cuda/norm/rms.cuh"

#include <cuda_runtime.h>

namespace
{

enum { WARPS = 4 }; /* rows a block */

/* V: accesses of 8 elements a lane, D <= 256 V. The row stays in registers, so it is read once. */
template <int V> SWAN_DEV void load_row(float (&x)[V][8], const void *row, int D)
{
    const int lane = (int)threadIdx.x & 31;
    uint4 raw[V];
#pragma unroll
    for (int i = 0; i < V; i++) {
        const int at = (i * 32 + lane) * 8;
        raw[i] = at < D ? swan_load_stream((const __nv_bfloat16 *)row + at) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int i = 0; i < V; i++) swan_unpack8(raw[i], x[i]);
}

template <int V> __global__ void __launch_bounds__(WARPS * 32) norm_layer_vec(const swan_norm_layer_args a)
{
    const int lane = (int)threadIdx.x & 31, D = (int)a.D;
    const int64_t row = (int64_t)blockIdx.x * WARPS + (threadIdx.x >> 5);
    swan_grid_wait();
    if (row >= a.L) return;
    float x[V][8], sum = 0.0f, squares = 0.0f;
    load_row<V>(x, (const __nv_bfloat16 *)a.x + row * a.ldx, D);
#pragma unroll
    for (int i = 0; i < V; i++)
#pragma unroll
        for (int e = 0; e < 8; e++) sum += x[i][e];
    const float mean = swan_warp_sum(sum) / (float)D;
#pragma unroll
    for (int i = 0; i < V; i++)
        if ((i * 32 + lane) * 8 < D)
#pragma unroll
            for (int e = 0; e < 8; e++) {
                x[i][e] -= mean;
                squares = fmaf(x[i][e], x[i][e], squares);
            }
    const float inv = 1.0f / sqrtf(swan_warp_sum(squares) / (float)D + a.eps);
    __nv_bfloat16 *y = (__nv_bfloat16 *)a.y + row * a.ldy;
#pragma unroll
    for (int i = 0; i < V; i++) {
        const int at = (i * 32 + lane) * 8;
        if (at < D) {
            float mul[8], add[8];
            swan_load8(mul, a.scale + at);
            swan_load8(add, a.shift + at);
#pragma unroll
            for (int e = 0; e < 8; e++) x[i][e] = fmaf(x[i][e] * inv, mul[e] + a.scale_offset, add[e]);
            *(uint4 *)(y + at) = swan_pack8(x[i]);
        }
    }
}

template <int V> __global__ void __launch_bounds__(WARPS * 32) norm_rms_vec(const swan_norm_rms_args a)
{
    const int lane = (int)threadIdx.x & 31, D = (int)a.D, hd = (int)a.head_dim;
    const int64_t row = (int64_t)blockIdx.x * WARPS + (threadIdx.x >> 5);
    swan_grid_wait();
    if (row >= a.L) return;
    float x[V][8], squares = 0.0f;
    load_row<V>(x, (const __nv_bfloat16 *)a.x + row * a.ldx, D);
#pragma unroll
    for (int i = 0; i < V; i++) swan_add_squares8(squares, x[i]);
    const float inv = 1.0f / sqrtf(swan_warp_sum(squares) / (float)D + a.eps);
    const float *rope = a.rope ? a.rope + row * hd : nullptr;
    __nv_bfloat16 *y = (__nv_bfloat16 *)a.y + row * a.ldy;
#pragma unroll
    for (int i = 0; i < V; i++) {
        const int at = (i * 32 + lane) * 8;
        if (at < D) {
            float w[8], cs[8];
            swan_load8(w, a.weight + at);
            if (rope) swan_load8(cs, rope + at % hd);
            swan_rms8(x[i], inv, w, cs, rope != nullptr);
            *(uint4 *)(y + at) = swan_pack8(x[i]);
        }
    }
}

enum { WIDE = 128 };

/* Few wide rows (the text's): a block a row, V accesses a thread, without rope. Few registers, so that it waits beside the products
 * before and after it. */
template <int V> __global__ void __launch_bounds__(WIDE) norm_rms_wide_vec(const swan_norm_rms_args a)
{
    __shared__ float scratch[32];
    const int D = (int)a.D;
    const __nv_bfloat16 *x = (const __nv_bfloat16 *)a.x + blockIdx.x * a.ldx;
    __nv_bfloat16 *y = (__nv_bfloat16 *)a.y + blockIdx.x * a.ldy;
    uint4 raw[V];
    float v[8], w[V][8], squares = 0.0f;
#pragma unroll
    for (int i = 0; i < V; i++) {
        const int at = (i * WIDE + (int)threadIdx.x) * 8;
        if (at < D) swan_load8(w[i], a.weight + at);
    }
    swan_grid_launch_dependents();
    swan_grid_wait();
#pragma unroll
    for (int i = 0; i < V; i++) {
        const int at = (i * WIDE + (int)threadIdx.x) * 8;
        raw[i] = at < D ? *(const uint4 *)(x + at) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int i = 0; i < V; i++) {
        swan_unpack8(raw[i], v);
#pragma unroll
        for (int e = 0; e < 8; e++) squares = fmaf(v[e], v[e], squares);
    }
    const float inv = 1.0f / sqrtf(swan_block_sum(squares, scratch) / (float)D + a.eps);
#pragma unroll
    for (int i = 0; i < V; i++) {
        const int at = (i * WIDE + (int)threadIdx.x) * 8;
        if (at >= D) break;
        swan_unpack8(raw[i], v);
#pragma unroll
        for (int e = 0; e < 8; e++) v[e] *= inv * w[i][e];
        *(uint4 *)(y + at) = swan_pack8(v);
    }
}

template <int V> cudaError_t layer(cudaStream_t s, const swan_norm_layer_args *a)
{
    norm_layer_vec<V><<<(unsigned)((a->L + WARPS - 1) / WARPS), WARPS * 32, 0, s>>>(*a);
    return cudaGetLastError();
}
template <int V> cudaError_t rms(cudaStream_t s, const swan_norm_rms_args *a)
{
    norm_rms_vec<V><<<(unsigned)((a->L + WARPS - 1) / WARPS), WARPS * 32, 0, s>>>(*a);
    return cudaGetLastError();
}

/* With means where no kernel makes both (a row of 5,120 elements and their sums are more than the registers hold). */
int rms_then_pool(cudaStream_t s, const swan_norm_rms_args *a)
{
    swan_norm_rms_args norm = *a;
    norm.mean = nullptr;
    const int e = swan_cuda_norm_rms_vec(s, &norm);
    if (e) return e;
    const swan_vsa_pool_args means = swan_norm_rms_means(a);
    return swan_cuda_vsa_pool_vec(s, &means);
}

} // namespace

extern "C" int swan_cuda_norm_layer_vec(cudaStream_t stream, const swan_norm_layer_args *a)
{
    if (a->L < 1 || a->D < 1) return cudaErrorInvalidValue;
    if (a->D > 5120 || ((a->D | a->ldx | a->ldy) & 7) || swan_misaligned(a->x, a->y, a->scale, a->shift))
        return cudaErrorNotSupported;
    if (a->D <= 256) return layer<1>(stream, a);
    if (a->D <= 1536) return layer<6>(stream, a);
    return layer<20>(stream, a);
}

extern "C" int swan_cuda_norm_rms_vec(cudaStream_t stream, const swan_norm_rms_args *a)
{
    if (a->L < 1 || a->D < 1 || (a->rope && (a->head_dim < 2 || a->head_dim % 2 || a->D % a->head_dim)))
        return cudaErrorInvalidValue;
    if (a->mean && (a->tiles < 1 || !a->tile_start)) return cudaErrorInvalidValue;
    if (a->D > 5120 || ((a->D | a->ldx | a->ldy) & 7) || (a->rope && a->head_dim & 7) ||
        swan_misaligned(a->x, a->y, a->weight, a->rope) || swan_misaligned(a->mean))
        return cudaErrorNotSupported;
    if (a->mean) {
        const int e = swan_cuda_norm_rms_pool_vec(stream, a);
        return e == cudaErrorNotSupported ? rms_then_pool(stream, a) : e;
    }
    if (a->D > 256 && a->L <= 1024 && !a->rope)
        return a->D <= 2048   ? swan_start(norm_rms_wide_vec<2>, (unsigned)a->L, WIDE, 0, stream, *a)
               : a->D <= 4096 ? swan_start(norm_rms_wide_vec<4>, (unsigned)a->L, WIDE, 0, stream, *a)
                              : swan_start(norm_rms_wide_vec<5>, (unsigned)a->L, WIDE, 0, stream, *a);
    if (a->D <= 256) return rms<1>(stream, a);
    if (a->D <= 1536) return rms<6>(stream, a);
    return rms<20>(stream, a);
}
