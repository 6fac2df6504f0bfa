/* VSA's coarse branch on pooled tiles, from sm_80 up: scores, exact top-k, softmax and the weighted mean of pooled
 * values in one kernel. Source: VSA (arXiv 2505.13389).
 *
 * Shapes: q, k, v, out bf16 [tiles, H * 128]; index i32 [H, tiles, topk], ascending; tiles <= 1216.
 *
 * Numerics: scores are bf16 products summed in fp32 by mma.sync and not rounded; the selection is exact on them
 * (ties to the lower tile); softmax weights and the mean in fp32. Deterministic.
 *
 * Roofline at 624 tiles, 12 heads: 2.4 GFLOP and 10 MB; latency and instruction issue set the time, not a ceiling
 * of the chip.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench vsa` (bench/LOG.md): 624 tiles 0.139 ms (naive 2.85
 * ms), 364 tiles 0.066 ms (naive 0.99 ms).
 *
 * Plan: a block owns 16 query tiles of one head. Scores: m16n8k16 straight from global memory, fp32 in shared
 * memory [key][16 + 4]. A warp selects for one row at a time: its keys as ordered integers in registers, the k-th
 * largest by bisection over 32 bits; ballots compact the list. Then 64 threads times four row quads sum P V.
 * Nothing else tried. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/reduce.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum {
    ROWS = 16,
    PITCH = 20 /* floats from one key to the next: 16-byte rows of four queries, few bank conflicts */,
    THREADS = 256,
    D = 128
};

/* d += a b: m16n8k16, bf16 operands, fp32 sums. */
SWAN_DEV void mma16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* s[key * PITCH + row] = scale * q[row] . k[key] for 16 queries and all keys; warps take every eighth group of 8
 * keys. */
SWAN_DEV void score(float *s, const __nv_bfloat16 *q, const __nv_bfloat16 *k, int64_t ld, int rows, int tiles,
                    float scale)
{
    const int lane = (int)threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    uint32_t a[8][4];
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int r = g + 8 * (e & 1), c = 16 * i + 2 * t + 8 * (e >> 1);
            a[i][e] = r < rows ? __ldg((const uint32_t *)(q + r * ld + c)) : 0;
        }
    for (int n = ((int)threadIdx.x >> 5) * 8; n < tiles; n += THREADS / 32 * 8) {
        const __nv_bfloat16 *row = k + (int64_t)min(n + g, tiles - 1) * ld + 2 * t;
        float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < 8; i++)
            mma16816(d, a[i], __ldg((const uint32_t *)(row + 16 * i)), __ldg((const uint32_t *)(row + 16 * i + 8)));
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int key = n + 2 * t + (e & 1);
            if (key < tiles) s[key * PITCH + g + 8 * (e >> 1)] = d[e] * scale;
        }
    }
}

/* Order-preserving image of a float as an unsigned integer. */
SWAN_DEV uint32_t order_of(float v)
{
    const uint32_t u = __float_as_uint(v + 0.0f); /* -0 becomes 0: they are equal */
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

/* One warp, one row: the topk largest, ascending indices, ties to the lower index; then s becomes e^(s - max) and the
 * sum is returned. N * 32 >= tiles; keys past the end count as smaller than any. */
template <int N> SWAN_DEV float select_row(float *s, int32_t *list, int tiles, int topk)
{
    const int lane = (int)threadIdx.x & 31;
    const uint32_t below = (1u << lane) - 1;
    uint32_t key[N], kth = 0;
    float top = -INFINITY, sum = 0.0f;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int j = i * 32 + lane;
        const float v = j < tiles ? s[j * PITCH] : 0.0f;
        key[i] = j < tiles ? order_of(v) : 0;
        top = j < tiles ? fmaxf(top, v) : top;
    }
    top = swan_warp_max(top);
    for (int bit = 31; bit >= 0; bit--) { /* the largest value that at least topk keys reach */
        const uint32_t want = kth | 1u << bit;
        int count = 0;
#pragma unroll
        for (int i = 0; i < N; i++) count += key[i] >= want;
        count = (int)__reduce_add_sync(0xffffffffu, (unsigned)count);
        kth = count >= topk ? want : kth;
    }
    int more = 0;
#pragma unroll
    for (int i = 0; i < N; i++) more += key[i] > kth;
    int ties = topk - (int)__reduce_add_sync(0xffffffffu, (unsigned)more),
        at = 0; /* how many of the equal ones are taken */
#pragma unroll
    for (int i = 0; i < N; i++) {
        const uint32_t equal = __ballot_sync(0xffffffffu, key[i] == kth);
        const bool in = key[i] > kth || (key[i] == kth && __popc(equal & below) < ties);
        const uint32_t chosen = __ballot_sync(0xffffffffu, in);
        if (in) list[at + __popc(chosen & below)] = i * 32 + lane;
        at += __popc(chosen);
        ties -= min(ties, __popc(equal));
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int j = i * 32 + lane;
        if (j < tiles) {
            const float e = swan_exp2((s[j * PITCH] - top) * 1.4426950408889634f);
            s[j * PITCH] = e;
            sum += e;
        }
    }
    return swan_warp_sum(sum);
}

/* grid (groups of 16 query tiles, heads). */
template <int N> __global__ void __launch_bounds__(THREADS) vsa_coarse_mma(const swan_vsa_coarse_args a)
{
    extern __shared__ float4 s4[];
    __shared__ float sums[ROWS];
    float *s = (float *)s4;
    const int tiles = (int)a.tiles, head = (int)blockIdx.y, row0 = (int)blockIdx.x * ROWS,
              rows = min((int)ROWS, tiles - row0);
    const int64_t ld = a.heads * D, col = (int64_t)head * D;
    swan_grid_wait();
    score(s, (const __nv_bfloat16 *)a.q + row0 * ld + col, (const __nv_bfloat16 *)a.k + col, ld, rows, tiles,
          a.scale);
    __syncthreads();
    for (int r = (int)threadIdx.x >> 5; r < rows; r += THREADS / 32) {
        const float sum = select_row<N>(s + r, a.index + (head * a.tiles + row0 + r) * a.topk, tiles, (int)a.topk);
        if ((threadIdx.x & 31) == 0) sums[r] = sum;
    }
    __syncthreads();
    /* Weighted means of the pooled values: a thread owns two channels of four rows. */
    const int pair = (int)threadIdx.x & 63, quad = (int)threadIdx.x >> 6;
    const uint32_t *v = (const uint32_t *)((const __nv_bfloat16 *)a.v + col) + pair;
    float o[4][2] = {};
#pragma unroll 8
    for (int j = 0; j < tiles; j++) {
        const uint32_t w = __ldg(v + j * (ld / 2));
        const float4 p = s4[j * (PITCH / 4) + quad];
        const float lo = __uint_as_float(w << 16), hi = __uint_as_float(w & 0xffff0000u);
        o[0][0] = fmaf(p.x, lo, o[0][0]), o[0][1] = fmaf(p.x, hi, o[0][1]);
        o[1][0] = fmaf(p.y, lo, o[1][0]), o[1][1] = fmaf(p.y, hi, o[1][1]);
        o[2][0] = fmaf(p.z, lo, o[2][0]), o[2][1] = fmaf(p.z, hi, o[2][1]);
        o[3][0] = fmaf(p.w, lo, o[3][0]), o[3][1] = fmaf(p.w, hi, o[3][1]);
    }
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int r = quad * 4 + e;
        if (r < rows)
            ((uint32_t *)((__nv_bfloat16 *)a.out + (row0 + r) * ld + col))[pair] =
                swan_pack_bf16(o[e][0] / sums[r], o[e][1] / sums[r]);
    }
}

template <int N> cudaError_t launch(cudaStream_t stream, const swan_vsa_coarse_args *a)
{
    const int bytes = (int)a->tiles * PITCH * 4;
    const cudaError_t e = cudaFuncSetAttribute(vsa_coarse_mma<N>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (e) return e;
    vsa_coarse_mma<N>
        <<<dim3((unsigned)((a->tiles + ROWS - 1) / ROWS), (unsigned)a->heads), THREADS, bytes, stream>>>(*a);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_vsa_coarse_mma(cudaStream_t stream, const swan_vsa_coarse_args *a)
{
    if (a->tiles < 1 || a->topk < 1 || a->topk > a->tiles || a->heads < 1 || a->heads > 65535)
        return cudaErrorInvalidValue;
    if (a->head_dim != D || a->tiles > 1216 || swan_misaligned(a->q, a->k, a->v, a->out)) return cudaErrorNotSupported;
    if (a->tiles <= 12 * 32) return launch<12>(stream, a);
    if (a->tiles <= 20 * 32) return launch<20>(stream, a);
    return launch<38>(stream, a);
}
