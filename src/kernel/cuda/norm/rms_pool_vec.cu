/* RMS norm with rotary embedding, and the means of the result over VSA's tiles as a by-product: bandwidth-bound, sm_80 and up.
 *
 * Shapes: bf16 [L, D], D a multiple of 8 and at most 1536; rope with a head_dim that divides 256; strides multiples of 8, bases
 * aligned to 16 B; tables f32; mean bf16 [tiles, D]; tiles of any size.
 *
 * Numerics: the norm as norm_vec.cu, to the bit. The means are of y as it is stored: fp32 sums in a fixed order, warp w of four taking
 * the tile's rows w, w + 4, ...; one rounding. That is the order of vsa/pool_vec.cu, so the means are those of the norm and then vsa.pool.
 *
 * Roofline: the norm's own bytes, 201 MB (+ 16.8 MB of rope) at L = 32,760, D = 1536: 79 us at 2.75 TB/s. vsa.pool would read y
 * again: 101 MB, 43 us measured.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench norm`, q and k by turns in a packed qkv and gate (bench/LOG.md): 109 to
 * 112 us at 624 tiles, 79 to 84 us at 364; the norm alone 98 and 71, norm and then pool 130 to 135 and 92 to 96: what is written can
 * still be in L2 when the pool reads it.
 *
 * Plan: one block a tile, one row a warp at a time. A row stays in registers as it came, bf16, and is widened twice; the warp's next
 * row is under way meanwhile. Each warp adds to sums of its own in shared memory, at the same places by the same lanes, so that five
 * blocks share a multiprocessor: all 624 tiles of 81 frames at 832x480 at once. Sums in registers leave room for four at most.
 * Tried: sums in registers, 3 and 4 blocks: 109 to 118 us; 8 warps 107; 16 warps, one block 105, but 81 at 364 tiles; two rows ahead:
 * no gain; each access of the next row issued when its registers come free: 121 to 125 us. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/reduce.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/launch.h"
#include "kernel/cuda/norm/rms.cuh"

namespace
{

enum { WARPS = 4 };

/* Blocks on a multiprocessor. On sm_120 shared memory holds four of the wide ones, and the compiler needs more registers. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
#define BLOCKS(V) (V == 1 ? 8 : 4)
#else
#define BLOCKS(V) (V == 1 ? 8 : 5)
#endif

/* Elements 8 (32 i + lane) .. + 7 of a row: in two places, so that a warp's accesses meet every bank once. */
struct sums {
    float4 *lo, *hi;
};
template <int V> SWAN_DEV sums sums_of(float4 *all, int warp, int i)
{
    float4 *at = all + (warp * V + i) * 64 + (threadIdx.x & 31);
    return {at, at + 32};
}
SWAN_DEV void add8(float (&v)[8], const sums &s)
{
    const float4 a = *s.lo, b = *s.hi;
    v[0] += a.x, v[1] += a.y, v[2] += a.z, v[3] += a.w, v[4] += b.x, v[5] += b.y, v[6] += b.z, v[7] += b.w;
}
SWAN_DEV void put8(const sums &s, const float (&v)[8])
{
    *s.lo = make_float4(v[0], v[1], v[2], v[3]);
    *s.hi = make_float4(v[4], v[5], v[6], v[7]);
}

/* V: accesses of 8 elements a lane, D <= 256 V. AHEAD: rows of a warp that are under way. */
template <int V, int AHEAD> __global__ void __launch_bounds__(WARPS * 32, BLOCKS(V)) norm_rms_pool_vec(const swan_norm_rms_args a)
{
    __shared__ float4 all[WARPS * V * 64];
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, D = (int)a.D, hd = (int)a.head_dim;
    const int r0 = a.tile_start[blockIdx.x], r1 = a.tile_start[blockIdx.x + 1];
    const __nv_bfloat16 *x = (const __nv_bfloat16 *)a.x + lane * 8;
    __nv_bfloat16 *y = (__nv_bfloat16 *)a.y + lane * 8;
    float v[8] = {};
#pragma unroll
    for (int i = 0; i < V; i++) put8(sums_of<V>(all, warp, i), v);
    uint4 raw[AHEAD + 1][V];
    /* A row's accesses go out; its rope, for which there are no registers yet, comes as far as L2. */
    auto load = [&](uint4 (&to)[V], int row) {
        if (row >= r1) return;
        if (lane * 32 < hd) asm volatile("prefetch.global.L2 [%0];" ::"l"(a.rope + (int64_t)row * hd + lane * 32));
#pragma unroll
        for (int i = 0; i < V; i++)
            to[i] = i * 256 + lane * 8 < D ? swan_load_stream(x + row * a.ldx + i * 256) : make_uint4(0, 0, 0, 0);
    };
    swan_grid_launch_dependents();
    swan_grid_wait();
#pragma unroll
    for (int k = 0; k < AHEAD; k++) load(raw[k], r0 + warp + k * WARPS);
    for (int r = r0 + warp; r < r1; r += WARPS) {
        float cs[8], squares = 0.0f;
        swan_load8(cs, a.rope + (int64_t)r * hd + lane * 8 % hd); /* the same in every access: hd divides 256 */
        load(raw[AHEAD], r + AHEAD * WARPS);
#pragma unroll
        for (int i = 0; i < V; i++) {
            swan_unpack8(raw[0][i], v);
            swan_add_squares8(squares, v);
        }
        const float inv = 1.0f / sqrtf(swan_warp_sum(squares) / (float)D + a.eps);
#pragma unroll
        for (int i = 0; i < V; i++) {
            const int at = i * 256 + lane * 8;
            if (at < D) {
                float w[8];
                swan_unpack8(raw[0][i], v);
                swan_load8(w, a.weight + at);
                swan_rms8(v, inv, w, cs, true);
                const uint4 rounded = swan_pack8(v);
                *(uint4 *)(y + r * a.ldy + i * 256) = rounded;
                swan_unpack8(rounded, v);
                const sums s = sums_of<V>(all, warp, i);
                add8(v, s);
                put8(s, v);
            }
        }
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
#pragma unroll
            for (int i = 0; i < V; i++) raw[k][i] = raw[k + 1][i];
    }
    __syncthreads();
    __nv_bfloat16 *mean = (__nv_bfloat16 *)a.mean + blockIdx.x * a.D + lane * 8;
    for (int i = warp; i < V && i * 256 + lane * 8 < D; i += WARPS) {
        float m[8] = {};
#pragma unroll
        for (int g = 0; g < WARPS; g++) add8(m, sums_of<V>(all, g, i));
#pragma unroll
        for (int e = 0; e < 8; e++) m[e] /= (float)(r1 - r0);
        *(uint4 *)(mean + i * 256) = swan_pack8(m);
    }
}

template <int V, int AHEAD> cudaError_t start(cudaStream_t stream, const swan_norm_rms_args *a)
{
    return swan_start(norm_rms_pool_vec<V, AHEAD>, (unsigned)a->tiles, WARPS * 32, 0, stream, *a);
}

} // namespace

extern "C" int swan_cuda_norm_rms_pool_vec(cudaStream_t stream, const swan_norm_rms_args *a)
{
    if (!a->rope || 256 % a->head_dim || a->D > 1536) return cudaErrorNotSupported;
    if (a->D <= 256) return start<1, 3>(stream, a);
    return start<6, 1>(stream, a);
}
