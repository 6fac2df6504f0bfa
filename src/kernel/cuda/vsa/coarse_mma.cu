/* VSA's coarse branch on pooled tiles, from sm_80 up: scores, exact top-k, softmax and the weighted mean of pooled
 * values in one kernel. Source: VSA (arXiv 2505.13389).
 *
 * Shapes: q, k, v, out bf16 [tiles, H * 128]; index i32 [H, tiles, topk], ascending; tiles <= 1216.
 *
 * Numerics: scores are bf16 products summed in fp32 by mma.sync and not rounded; the selection is exact on them
 * (ties to the lower tile); softmax weights in fp32, for their product with v as the sum of two bf16 (2^-17). Deterministic.
 *
 * Roofline at 624 tiles, 12 heads: 2.4 GFLOP, 10 MB, 150 MB out of L2; latency and instruction issue set the time, not a ceiling
 * of the chip.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench vsa` (bench/LOG.md): 624 tiles 0.064 ms, 364 tiles
 * 0.032 to 0.034 ms (0.138 and 0.065 ms when all was read by 4 bytes and P V summed by FMA; naive 2.85 and 0.99 ms).
 *
 * Plan: a block owns 16 query tiles of one head. Scores: m16n8k16 straight from global memory, fp32 in shared memory [key][16 + 1].
 * A warp selects for one row at a time: its keys as ordered integers in registers, the k-th largest by bisection over 32 bits,
 * ended where exactly k are left; ballots compact the list. P V: m16n8k16 again; a warp owns 32 channels and half of the keys.
 * Which of the 16 products' places holds which channel or key is free, as long as both operands agree: so every lane reads 8 or
 * 16 consecutive bytes, and shared memory of that pitch without conflicts worth mentioning. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/mma.cuh"
#include "kernel/cuda/common/reduce.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum {
    ROWS = 16,
    PITCH = 17, /* floats from one key to the next */
    THREADS = 256,
    D = 128,
    PART = 32,  /* channels of P V a warp owns: four warps for each half of the keys */
    OTHER = 17  /* floats from one lane's sums of the second half to the next */
};

/* Shared memory: the scores, rows of a multiple of 16 keys, then the sums of the second half. */
__host__ __device__ inline int score_floats(int64_t tiles) { return (int)((tiles + 15) / 16) * 16 * PITCH; }

/* s[key * PITCH + row] = scale * q[row] . k[key] for 16 queries and all keys; warps take every eighth group of 8 keys. Of 32
 * channels lane t of a quad has 8 t .. 8 t + 7, which are two products' worth; of 8 keys, columns 2 t and 2 t + 1 are t and t + 4. */
SWAN_DEV void score(float *s, const __nv_bfloat16 *q, const __nv_bfloat16 *k, int ld, int rows, int tiles, float scale)
{
    const int lane = (int)threadIdx.x & 31, g = lane >> 2, t = lane & 3, key_of_column = (g >> 1) + 4 * (g & 1);
    const uint4 none = make_uint4(0, 0, 0, 0);
    uint4 a[4][2];
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int e = 0; e < 2; e++) a[i][e] = g + 8 * e < rows ? __ldg((const uint4 *)(q + (g + 8 * e) * ld + 32 * i + 8 * t)) : none;
    for (int n = ((int)threadIdx.x >> 5) * 8; n < tiles; n += THREADS / 32 * 8) {
        const uint4 *row = (const uint4 *)(k + min(n + key_of_column, tiles - 1) * ld) + t;
        uint4 b[4];
        float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < 4; i++) b[i] = __ldg(row + 4 * i);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            swan_mma(d, a[i][0].x, a[i][1].x, a[i][0].y, a[i][1].y, b[i].x, b[i].y);
            swan_mma(d, a[i][0].z, a[i][1].z, a[i][0].w, a[i][1].w, b[i].z, b[i].w);
        }
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int key = n + t + 4 * (e & 1);
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

/* One warp, one row: the topk largest, ascending indices, ties to the lower index; then s becomes e^(s - max), zero for keys past
 * the end up to a multiple of 16, and the sum is returned. N * 32 >= tiles; keys past the end count as smaller than any. */
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
    for (int bit = 31; bit >= 0; bit--) { /* the largest value that at least topk keys reach, or one that exactly topk reach */
        const uint32_t want = kth | 1u << bit;
        int count = 0;
#pragma unroll
        for (int i = 0; i < N; i++) count += key[i] >= want;
        count = (int)__reduce_add_sync(0xffffffffu, (unsigned)count);
        kth = count >= topk ? want : kth;
        if (count == topk) break;
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
        if (j < (tiles + 15) / 16 * 16) {
            const float e = j < tiles ? swan_exp2((s[j * PITCH] - top) * 1.4426950408889634f) : 0.0f;
            s[j * PITCH] = e;
            sum += e;
        }
    }
    return swan_warp_sum(sum);
}

/* Two weights as bf16, and what is left of them. */
SWAN_DEV void split(float x, float y, uint32_t &high, uint32_t &low)
{
    high = swan_pack_bf16(x, y);
    low = swan_pack_bf16(x - __uint_as_float(high << 16), y - __uint_as_float(high & 0xffff0000u));
}

/* o += p v over this warp's half of the keys, for 16 rows and 32 channels. Of 16 keys lane t of a quad has t, t + 4, t + 8 and
 * t + 12; column g of the four products' B is channel 4 g and the next three, so that o[c][e] is row g + 8 (e / 2), channel
 * 8 t + 4 (e % 2) + c. */
SWAN_DEV void weigh(float (&o)[4][4], const float *s, const __nv_bfloat16 *v, int ld, int tiles, int half)
{
    const int lane = (int)threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    v += 4 * g;
#pragma unroll 2
    for (int n = half * 16; n < tiles; n += 2 * 16) {
        uint2 w[4];
        uint32_t high[4], low[4];
#pragma unroll
        for (int i = 0; i < 4; i++) w[i] = __ldg((const uint2 *)(v + min(n + t + 4 * i, tiles - 1) * ld));
        const float *p = s + (n + t) * PITCH + g;
#pragma unroll
        for (int e = 0; e < 4; e++) /* rows g and g + 8, the first two keys and the last two */
            split(p[(e >> 1) * 8 * PITCH + (e & 1) * 8], p[((e >> 1) * 8 + 4) * PITCH + (e & 1) * 8], high[e], low[e]);
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const uint32_t pick = c & 1 ? 0x7632 : 0x5410; /* of two words the high or the low halves */
            const uint32_t b0 = __byte_perm(c < 2 ? w[0].x : w[0].y, c < 2 ? w[1].x : w[1].y, pick),
                           b1 = __byte_perm(c < 2 ? w[2].x : w[2].y, c < 2 ? w[3].x : w[3].y, pick);
            swan_mma(o[c], low[0], low[1], low[2], low[3], b0, b1);
            swan_mma(o[c], high[0], high[1], high[2], high[3], b0, b1);
        }
    }
}

/* Blocks on a multiprocessor: as its shared memory holds at 600 tiles, or two where it holds one, so that registers suffice. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ != 800 && __CUDA_ARCH__ != 900 && __CUDA_ARCH__ != 1000
#define BLOCKS 2
#else
#define BLOCKS 4
#endif

/* grid (groups of 16 query tiles, heads). */
template <int N> __global__ void __launch_bounds__(THREADS, BLOCKS) vsa_coarse_mma(const swan_vsa_coarse_args a)
{
    extern __shared__ float s[];
    __shared__ float sums[ROWS];
    const int tiles = (int)a.tiles, head = (int)blockIdx.y, row0 = (int)blockIdx.x * ROWS,
              rows = min((int)ROWS, tiles - row0);
    const int ld = (int)a.heads * D, col = head * D; /* tiles * ld fits: swan_cuda_vsa_coarse_mma */
    swan_grid_launch_dependents();
    swan_grid_wait();
    score(s, (const __nv_bfloat16 *)a.q + row0 * ld + col, (const __nv_bfloat16 *)a.k + col, ld, rows, tiles, a.scale);
    __syncthreads();
    for (int r = (int)threadIdx.x >> 5; r < rows; r += THREADS / 32) {
        const float sum = select_row<N>(s + r, a.index + (head * a.tiles + row0 + r) * a.topk, tiles, (int)a.topk);
        if ((threadIdx.x & 31) == 0) sums[r] = sum;
    }
    __syncthreads();
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, part = warp % (D / PART), half = warp / (D / PART);
    float o[4][4] = {};
    weigh(o, s, (const __nv_bfloat16 *)a.v + col + part * PART, ld, tiles, half);
    float *other = s + score_floats(tiles) + (part * 32 + lane) * OTHER;
    if (half == 1)
#pragma unroll
        for (int i = 0; i < 16; i++) other[i] = o[i >> 2][i & 3];
    __syncthreads();
    if (half == 1) return;
#pragma unroll
    for (int i = 0; i < 16; i++) o[i >> 2][i & 3] += other[i];
#pragma unroll
    for (int e = 0; e < 2; e++) {
        const int r = (lane >> 2) + 8 * e;
        if (r >= rows) break;
        const float inverse = 1.0f / sums[r];
        float row[8];
#pragma unroll
        for (int c = 0; c < 8; c++) row[c] = o[c & 3][2 * e + (c >> 2)] * inverse;
        *(uint4 *)((__nv_bfloat16 *)a.out + (row0 + r) * ld + col + part * PART + 8 * (lane & 3)) = swan_pack8(row);
    }
}

template <int N> cudaError_t launch(cudaStream_t stream, const swan_vsa_coarse_args *a)
{
    const size_t bytes = (size_t)(score_floats(a->tiles) + D / PART * 32 * OTHER) * 4;
    return swan_start(vsa_coarse_mma<N>, dim3((unsigned)((a->tiles + ROWS - 1) / ROWS), (unsigned)a->heads), THREADS, bytes, stream,
                      *a);
}

} // namespace

extern "C" int swan_cuda_vsa_coarse_mma(cudaStream_t stream, const swan_vsa_coarse_args *a)
{
    if (a->tiles < 1 || a->topk < 1 || a->topk > a->tiles || a->heads < 1)
        return cudaErrorInvalidValue;
    if (a->head_dim != D || a->tiles > 1216 || a->heads > 1024 || swan_misaligned(a->q, a->k, a->v, a->out)) return cudaErrorNotSupported;
    if (a->tiles <= 12 * 32) return launch<12>(stream, a);
    if (a->tiles <= 20 * 32) return launch<20>(stream, a);
    return launch<38>(stream, a);
}
