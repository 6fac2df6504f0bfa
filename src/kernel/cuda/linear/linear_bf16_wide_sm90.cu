/* Matrix product with few rows of x on sm_90a where the rows of W go round: r = x W^T + bias with a fused epilogue; or two products of
 * the same x, y = gelu(x Wg^T) * (x Wu^T). For the text encoder, whose 9.3 GB of weights meet at most 128 tokens.
 *
 * Shapes: x bf16 [M <= 128, K], W bf16 [N, K] contiguous (two products: [2 N, K], Wg first), y bf16 [M, N]; bias, gate f32 [N]; K and
 * strides multiples of 8, bases aligned to 16 B; N a multiple of the rows of a block, with blocks for three quarters of the multiprocessors
 * and no more than for all. Nothing outside is read or written.
 *
 * Numerics: fp32 products and sums, one rounding; a cluster's parts of k are added in order. The result does not depend on the GPU's size.
 *
 * Roofline: bytes of W over copy bandwidth (2.93 TB/s): 12,288 x 4096 101 MB, 34 us; 2 x 10,240 x 4096 168 MB, 57 us; 4096 x 4096 11.5 us.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench linear only=wide_sm90` (bench/LOG.md), M = 64 / 128: 12,288 x 4096 36.5 / 38.1 us;
 * 4096 x 4096 14.8 / 15.9 us; 4096 x 10,240 31.3 / 33.1 us. UMT5 as a graph, M = 32 / 64 / 96 / 128: 3.51 / 3.55 / 3.78 / 3.82 ms; skinny_sm90 in
 * the same run 3.98 / 4.30 / 4.65 / 5.28 ms. One H200: 2.80 / 2.82 / 3.22 / 3.35 and 3.17 / 3.52 / 3.83 / 4.27 ms; 2 x 10,240 x 4096 43.5 / 45.3 us.
 *
 * Plan: tokens are the rows of a wgmma, rows of W its columns: so a block may own any 8 rows of W. A warpgroup for each 64 tokens; thread
 * 0 also feeds the ring, which takes all of the multiprocessor's shared memory.
 * - Many rows of W (q, k, v: 96 a block; gate and up: 2 x 80): a block has all of k, and the end of a launch is a store.
 * - 4096 rows: a cluster of two blocks shares 64 rows, each with half of k; what it has of the other's columns goes there through
 *   distributed shared memory.
 * - Launched programmatically dependent: the ring fills with W as soon as the block of the kernel before has left.
 *
 * Tried, on the H200: rings of half the size, so that the next launch's blocks wait beside these with their rings full: 10 to 45 % slower. Clusters of
 * four with 128 rows: 40 to 75 % slower for 4096 x 4096 (not all of 32 such clusters find room at once). W prefetched into L2, 4 to 16
 * stages ahead of the ring: 15 to 30 % slower at any distance. Not tried: x to two blocks at once. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/apply.cuh"
#include "kernel/cuda/common/epilogue.cuh"
#include "kernel/cuda/common/mma.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/common/wgmma.cuh"
#include "kernel/cuda/launch.h"

namespace
{

enum { BK = 64, MOST = 208 << 10, STAGES = 12 /* at most: bytes of shared memory, stages */ };

struct params {
    CUtensorMap x, w;
    __nv_bfloat16 *y;
    const float *bias, *gate;
    int64_t ldy;
    int M, N, k_blocks, epilogue;
};

/* R: rows of W that a block or cluster owns, of each of PARTS matrices; SPLIT: blocks of a cluster; GROUPS: of 64 tokens. */
template <int R, int PARTS, int SPLIT, int GROUPS> struct plan {
    static constexpr int rows = R * PARTS, w_bytes = rows * BK * 2, stage_bytes = w_bytes + GROUPS * 64 * BK * 2;
    static constexpr int threads = GROUPS * 128, columns = R / 8 / SPLIT; /* groups of 8 columns that a block finishes */
    static constexpr int exchange_bytes = SPLIT > 1 ? SPLIT * columns * threads * 16 : 0;
    static constexpr int fit = (MOST - exchange_bytes - 16 * STAGES) / stage_bytes, stages = fit > STAGES ? STAGES : fit;
    static constexpr int exchange = stages * stage_bytes, bars = exchange + exchange_bytes, bytes = bars + 2 * stages * 8;
};

#if SWAN_SM90A

/* Tokens m and m + 8, columns n and n + 1 of y; old: what they are, two a word. */
SWAN_DEV void put(const params &p, const float4 &r, const uint32_t (&old)[2], int m, int n)
{
    float b[2] = {}, g[2] = {};
    if (p.bias) b[0] = __ldg(p.bias + n), b[1] = __ldg(p.bias + n + 1);
    if (p.epilogue == SWAN_EPI_GATED_ADD) g[0] = __ldg(p.gate + n), g[1] = __ldg(p.gate + n + 1);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float lo = swan_apply(p.epilogue, (h ? r.z : r.x) + b[0], g[0], __uint_as_float(old[h] << 16));
        const float hi = swan_apply(p.epilogue, (h ? r.w : r.y) + b[1], g[1], __uint_as_float(old[h] & 0xffff0000u));
        if (m + 8 * h < p.M) *(uint32_t *)(p.y + (m + 8 * h) * p.ldy + n) = swan_pack_bf16(lo, hi);
    }
}

template <int J> SWAN_DEV void load_old(const params &p, uint32_t (&old)[J][2], int m, int n)
{
    if (p.epilogue < SWAN_EPI_MUL) return;
#pragma unroll
    for (int j = 0; j < J; j++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            if (m + 8 * h < p.M) old[j][h] = *(const uint32_t *)(p.y + (m + 8 * h) * p.ldy + n + 8 * j);
}

template <int A> SWAN_DEV float4 group(const float (&acc)[A], int j)
{
    return make_float4(acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]);
}

/* Adds up what the cluster's blocks have of this block's columns. */
template <typename P, int SPLIT, int A> SWAN_DEV void exchange(float4 (&sum)[P::columns], const float (&acc)[A], uint32_t base, uint32_t rank)
{
    const uint32_t at = base + P::exchange + threadIdx.x * 16;
#pragma unroll
    for (uint32_t c = 0; c < SPLIT; c++)
#pragma unroll
        for (int i = 0; i < P::columns; i++)
            swan_cluster_store(at + (rank * P::columns + i) * P::threads * 16, c, group(acc, c * P::columns + i));
    swan_cluster_sync();
#pragma unroll
    for (int i = 0; i < P::columns; i++) {
        sum[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
        for (int c = 0; c < SPLIT; c++) {
            const uint4 u = swan_lds16(at + (c * P::columns + i) * P::threads * 16);
            sum[i].x += __uint_as_float(u.x), sum[i].y += __uint_as_float(u.y);
            sum[i].z += __uint_as_float(u.z), sum[i].w += __uint_as_float(u.w);
        }
    }
}

template <int R, int PARTS, int SPLIT, typename P> SWAN_DEV void run(const params &p, uint32_t base)
{
    const uint32_t full = base + P::bars, empty = full + 8 * P::stages, rank = SPLIT > 1 ? swan_cluster_rank() : 0;
    const int wg = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 7, 0), lane = (int)threadIdx.x & 31;
    const int k0 = p.k_blocks * (int)rank / SPLIT, k1 = p.k_blocks * ((int)rank + 1) / SPLIT, row0 = (int)blockIdx.x / SPLIT * R;
    const bool producer = threadIdx.x == 0;
    auto load_x = [&](int stage, int i) {
        swan_tma_load_2d(base + stage * P::stage_bytes + P::w_bytes, &p.x, full + 8 * stage, i * BK, 0, SWAN_L2_EVICT_LAST);
    };
    auto load_w = [&](int stage, int i) {
        swan_mbar_expect_tx(full + 8 * stage, P::stage_bytes);
#pragma unroll
        for (int part = 0; part < PARTS; part++)
            swan_tma_load_2d(base + stage * P::stage_bytes + part * R * BK * 2, &p.w, full + 8 * stage, i * BK, part * p.N + row0,
                             SWAN_L2_EVICT_FIRST);
    };
    if (producer)
        for (int i = 0; i < P::stages && k0 + i < k1; i++) load_w(i, k0 + i);
    swan_grid_launch_dependents();
    swan_grid_wait();
    if (producer)
        for (int i = 0; i < P::stages && k0 + i < k1; i++) load_x(i, k0 + i);
    __syncwarp();
    float acc[P::rows / 2];
    if (SPLIT > 1) { /* a block may have no part of k */
#pragma unroll
        for (int i = 0; i < P::rows / 2; i++) acc[i] = 0.0f;
    }
    int s = 0, phase = 0, last = 0, before = 0; /* stage and phase to come; stage before and its phase */
#pragma unroll 1
    for (int i = k0; i < k1; i++) {
        const uint32_t at = base + s * P::stage_bytes;
        const uint64_t da = swan_wgmma_desc(at + P::w_bytes + wg * 64 * BK * 2, 0), db = swan_wgmma_desc(at, 0);
        swan_mbar_wait(full + 8 * s, phase);
        swan_wgmma_fence();
#pragma unroll
        for (int j = 0; j < BK / 16; j++) swan_wgmma_ss(acc, da + 2 * j, db + 2 * j, i > k0 || j > 0);
        swan_wgmma_commit();
        if (i > k0) { /* the stage before has been read */
            const int next = i - 1 + P::stages;
            swan_wgmma_wait<1>();
            if (lane == 0) swan_mbar_arrive(empty + 8 * last);
            if (producer && next < k1) {
                swan_mbar_wait(empty + 8 * last, before);
                load_w(last, next);
                load_x(last, next);
            }
            __syncwarp();
        }
        last = s, before = phase;
        if (++s == P::stages) s = 0, phase ^= 1;
    }
    const int m = wg * 64 + ((int)threadIdx.x >> 5 & 3) * 16 + (lane >> 2);
    const int n = row0 + 8 * P::columns * (int)rank + 2 * (lane & 3);
    uint32_t old[P::columns][2] = {};
    if (PARTS == 1) load_old(p, old, m, n);
    swan_wgmma_wait<0>();
    swan_wgmma_pin(acc);
    float4 sum[P::columns];
    if (SPLIT > 1) exchange<P, SPLIT>(sum, acc, base, rank);
#pragma unroll
    for (int j = 0; j < P::columns; j++) {
        float4 v = SPLIT > 1 ? sum[j] : group(acc, j);
        if (PARTS == 2) {
            const float4 up = group(acc, P::columns + j);
            v = make_float4(swan_gelu(v.x) * up.x, swan_gelu(v.y) * up.y, swan_gelu(v.z) * up.z, swan_gelu(v.w) * up.w);
        }
        put(p, v, old[j], m, n + 8 * j);
    }
}

#endif /* SWAN_SM90A */

template <int R, int PARTS, int SPLIT, int GROUPS>
__global__ void __launch_bounds__(GROUPS * 128, 1) linear_bf16_wide_sm90(const __grid_constant__ params p)
{
#if SWAN_SM90A
    using P = plan<R, PARTS, SPLIT, GROUPS>;
    extern __shared__ __align__(1024) uint8_t raw[];
    const uint32_t base = swan_smem_u32(raw), bars = base + P::bars;
    if (threadIdx.x == 0) {
        if (base & 1023) __trap(); /* swizzled tiles: there is no room to round up */
        for (int i = 0; i < P::stages; i++) {
            swan_mbar_init(bars + 8 * i, 1);
            swan_mbar_init(bars + 8 * (P::stages + i), GROUPS * 4);
        }
        swan_mbar_init_fence();
    }
    __syncwarp();
    if (SPLIT > 1) swan_cluster_sync(); /* the others have begun: their shared memory can be written */
    else __syncthreads();
    run<R, PARTS, SPLIT, P>(p, base);
#endif
}

template <int R, int PARTS, int SPLIT, int GROUPS> cudaError_t launch(cudaStream_t stream, const swan_linear_args *a)
{
    using P = plan<R, PARTS, SPLIT, GROUPS>;
    params p = {};
    cudaError_t e;
    p.y = (__nv_bfloat16 *)a->y, p.bias = a->bias, p.gate = a->gate, p.ldy = a->ldy;
    p.M = (int)a->M, p.N = (int)a->N, p.k_blocks = (int)((a->K + BK - 1) / BK), p.epilogue = a->epilogue;
    if ((e = swan_tma_map_bf16(&p.x, a->x, a->M, a->K, a->ldx, GROUPS * 64)) ||
        (e = swan_tma_map_bf16(&p.w, a->w, a->N * PARTS, a->K, a->K, R)))
        return e;
    return swan_start(linear_bf16_wide_sm90<R, PARTS, SPLIT, GROUPS>, (unsigned)(a->N / R * SPLIT), P::threads, P::bytes, stream, p,
                      SPLIT);
}

template <int R, int PARTS, int SPLIT> cudaError_t start(cudaStream_t stream, const swan_linear_args *a)
{
    return a->M <= 64 ? launch<R, PARTS, SPLIT, 1>(stream, a) : launch<R, PARTS, SPLIT, 2>(stream, a);
}

bool takes(const swan_linear_args *a)
{
    return a->M >= 1 && a->M <= 128 && a->N >= 1 && a->K >= 1 && a->K <= 1 << 17 && !((a->K | a->ldx | a->ldy) & 7) &&
           !swan_misaligned(a->x, a->w, a->y);
}

/* Do blocks of r rows of W, or clusters of `split` for r rows, go round on this GPU, each multiprocessor with one and few with none? */
bool go_round(const swan_linear_args *a, int r, int split)
{
    int sms = 0;
    const int64_t blocks = a->N / r * split;
    return a->N % r == 0 && !swan_multiprocessors(&sms) && blocks <= sms && 4 * blocks >= 3 * (int64_t)sms;
}

} // namespace

extern "C" int swan_cuda_linear_bf16_wide_sm90(cudaStream_t stream, const swan_linear_bf16_args *a)
{
    if (swan_linear_invalid(a)) return cudaErrorInvalidValue;
    if (!takes(a)) return cudaErrorNotSupported;
    if (go_round(a, 64, 2)) return start<64, 1, 2>(stream, a);
    if (go_round(a, 80, 1)) return start<80, 1, 1>(stream, a);
    if (go_round(a, 96, 1)) return start<96, 1, 1>(stream, a);
    return cudaErrorNotSupported;
}

extern "C" int swan_cuda_linear_gelu_mul_wide_sm90(cudaStream_t stream, const swan_linear_gelu_mul_args *a)
{
    if (swan_linear_invalid(a) || a->bias || a->epilogue) return cudaErrorInvalidValue;
    if (!takes(a) || !go_round(a, 80, 1)) return cudaErrorNotSupported;
    return start<80, 2, 1>(stream, a);
}
