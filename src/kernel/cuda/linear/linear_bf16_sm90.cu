/* Matrix product with fused epilogue, bf16, sm_90a: r = x W^T + bias; y = r, gelu(r), silu(r), y * r, y + r or y +
 * gate * r.
 *
 * Shapes: x bf16 [M, K], W bf16 [N, K] contiguous, y bf16 [M, N]; bias, gate f32 [N]. N, K and strides multiples
 * of 8, bases aligned to 16 B. Any M, N, K: TMA reads zeros outside and drops stores there.
 *
 * Numerics: fp32 products and sums, one rounding at the end (the old y is read as bf16, the sum is fp32). GELU is
 * the tanh form as x / (1 + e^-2u). Deterministic.
 *
 * Roofline (M = 32,760, 989 TFLOPS): QKV 0.464 TFLOP, 0.47 ms; O 0.155, 0.16 ms; FFN1 and FFN2 0.902, 0.91 ms
 * each.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench linear` (bench/LOG.md): TFLOPS at M = 32,760 |
 * 23,296, in parentheses cuBLASLt, the best of its first eight algorithms, in the same run:
 * - QKV 4608 x 1536: 777 (754) | 765 (736); O plain 1536 x 1536: 647 (652) | 606 (659); FFN1 plain 775 (717) | 669 (731)
 * - O gated: 579 (653) | 553 (640); FFN1 gelu 8960 x 1536: 692 (719) | 680 (706); FFN2 gated 1536 x 8960: 669 (710) | 604 (680).
 *   cuBLASLt adds old values in that time, but multiplies by no gate.
 *
 * Plan: persistent clusters of two CTAs (256 x 256 outputs, 128 x 256 each); one producer thread, two consumer
 * warpgroups of 64 x 256; four stages of K = 64 (48 KiB); each CTA loads its rows of x, and half of W's rows for
 * both (multicast). Tiles go in groups of 8 cluster rows that sweep N, so that x is read once from HBM.
 * - Epilogue: in registers, at once, into 64 registers of bf16 pairs, so that the accumulators are free for the next tile.
 *   The pairs leave through swizzled shared memory and TMA beside the next tile's first four k blocks; old values come into
 *   the same registers beside the last two.
 * - The products of a tile take 24,870 clocks of the ideal 24,576 at K = 1536; so what is lost is what stands between tiles.
 *
 * Tried: the epilogue between tiles, 64 columns at a time: 3,600 clocks without old values, 9,400 with them, 7,900 with GELU: 742
 * at QKV, 559 O plain, 500 O gated, 642 FFN1 gelu. Groups of 1 to 22 rows and other L2 hints: within the noise; 128 rows: 20 %
 * slower. Not tried: 192-wide tiles for N = 1536, old values through TMA. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/apply.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/common/wgmma.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum { BM = 128, BN = 256, BK = 64, STAGES = 4, CL = 2, GROUP = 8 };
enum { LEAST = 6 }; /* k blocks: four to store beside, two to fetch beside */

struct params {
    CUtensorMap x, w, y;
    const float *bias, *gate;
    const __nv_bfloat16 *old; /* y, for epilogues that read it */
    int64_t ldy;
    int M, N;
    int k_blocks, m_tiles, n_tiles; /* m_tiles counts pairs: 256 rows, 128 for each CTA of the cluster */
    int group; /* cluster rows that sweep N together */
};

enum { BAR_WG = 1 };
enum {
    A_BYTES = BM * BK * 2,
    B_BYTES = BN * BK * 2,
    STAGE_BYTES = A_BYTES + B_BYTES,
    OUT_BYTES = 64 * 128, /* 64 rows of 64 columns; two for each consumer warpgroup */
    AT_OUT = STAGES * STAGE_BYTES,
    AT_BARS = AT_OUT + 4 * OUT_BYTES,
    SMEM_BYTES = AT_BARS + 2 * STAGES * 8 + 1024 /* the base is rounded up to 1024 */
};

#if SWAN_SM90A

/* Tiles in groups of cluster rows, n outer, so that the running clusters share W tiles and a group's x stays in L2.
 */
SWAN_DEV void tile_at(const params &p, int i, int &m, int &n)
{
    const int full = p.group * p.n_tiles, g = i / full, left = p.m_tiles - g * p.group;
    const int rows = left < p.group ? left : p.group, at = i - g * full;
    m = g * p.group + at % rows;
    n = at / rows;
}

/* The one producer thread: its own 128 rows of x, and half of W's 256 rows for both CTAs. */
SWAN_DEV void produce(const params &p, uint32_t base, int rank, int cluster, int clusters)
{
    const uint32_t full = base + AT_BARS, empty = full + 8 * STAGES;
    int s = 0, phase = 1;
    for (int i = cluster; i < p.m_tiles * p.n_tiles; i += clusters) {
        int m, n;
        tile_at(p, i, m, n);
        for (int k = 0; k < p.k_blocks; k++) {
            const uint32_t at = base + s * STAGE_BYTES;
            swan_mbar_wait(empty + 8 * s, phase);
            swan_mbar_expect_tx(full + 8 * s, STAGE_BYTES);
            swan_tma_load_2d(at, &p.x, full + 8 * s, k * BK, (m * CL + rank) * BM, SWAN_L2_EVICT_NORMAL);
            swan_tma_load_2d_multicast(at + A_BYTES + rank * (B_BYTES / 2), &p.w, full + 8 * s, k * BK,
                                       n * BN + rank * (BN / 2), 3, SWAN_L2_EVICT_LAST);
            if (++s == STAGES) {
                s = 0;
                phase ^= 1;
            }
        }
    }
}

SWAN_DEV void release(uint32_t bar)
{
    const uint32_t lane = threadIdx.x & 31;
    if (lane < CL) swan_mbar_arrive_cta(bar, lane);
}

/* Loads of one place of the epilogue: zeros where !in. One base for a whole row of places, and not before this point of the
 * program: left to itself the compiler makes 64 addresses and fetches the tables early, and spills. */
template <int BYTES> SWAN_DEV uint32_t old_at(const __nv_bfloat16 *base, bool in)
{
    uint32_t v;
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %2, 0;\n\tmov.b32 %0, 0;\n\t@p ld.global.b32 %0, [%1 + %3];\n\t}"
                 : "=r"(v)
                 : "l"(base), "r"((int)in), "n"(BYTES)
                 : "memory");
    return v;
}
template <int BYTES> SWAN_DEV float2 pair_at(const float *base, bool in)
{
    float2 v;
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %3, 0;\n\tmov.b32 %0, 0;\n\tmov.b32 %1, 0;\n\t"
                 "@p ld.global.nc.v2.f32 {%0, %1}, [%2 + %4];\n\t}"
                 : "=f"(v.x), "=f"(v.y)
                 : "l"(base), "r"((int)in), "n"(BYTES)
                 : "memory");
    return v;
}

/* The old values at this thread's places in the order of its results. */
template <int J = 0> SWAN_DEV void load_old(const params &p, uint32_t (&old)[BN / 4], int row, int col)
{
    const __nv_bfloat16 *at = p.old + row * p.ldy + col;
    old[2 * J] = old_at<16 * J>(at, row < p.M && col + 8 * J < p.N);
    old[2 * J + 1] = old_at<16 * J>(at + 8 * p.ldy, row + 8 < p.M && col + 8 * J < p.N);
    if constexpr (J + 1 < BN / 8) load_old<J + 1>(p, old, row, col);
}

/* Epilogue in registers: out holds the old values and gets the results, two columns to a register. */
template <int EPI, int J = 0> SWAN_DEV void apply_all(const params &p, const float (&acc)[BN / 2], uint32_t (&out)[BN / 4], int col)
{
    const bool in = col + 8 * J < p.N;
    const float2 b = pair_at<32 * J>(p.bias + col, p.bias && in);
    float2 g = {0.0f, 0.0f};
    if (EPI == SWAN_EPI_GATED_ADD) g = pair_at<32 * J>(p.gate + col, in);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const uint32_t old = EPI >= SWAN_EPI_MUL ? out[2 * J + r] : 0;
        const float lo = swan_apply(EPI, acc[4 * J + 2 * r] + b.x, g.x, __uint_as_float(old << 16));
        const float hi = swan_apply(EPI, acc[4 * J + 2 * r + 1] + b.y, g.y, __uint_as_float(old & 0xffff0000u));
        out[2 * J + r] = swan_pack_bf16(lo, hi);
    }
    if constexpr (J + 1 < BN / 8) apply_all<EPI, J + 1>(p, acc, out, col);
}

/* Columns 64 c .. 64 c + 63 of this warpgroup's 64 rows: swizzled staging, TMA store (which drops what is outside). */
SWAN_DEV void store_chunk(const params &p, const uint32_t (&out)[BN / 4], int c, uint32_t base, int wg, int row, int col, bool really)
{
    const int t = threadIdx.x & 127, lane = t & 31, r = (t >> 5) * 16 + (lane & 15);
    const uint32_t stage = base + AT_OUT + (2 * wg + (c & 1)) * OUT_BYTES;
    if (t == 0) swan_tma_wait_read<1>(); /* the store before last has left this buffer */
    swan_bar_sync(BAR_WG + wg, 128);
#pragma unroll
    for (int i = 0; i < 4; i++)
        swan_stmatrix_x4(stage + r * 128 + (((2 * i + (lane >> 4)) ^ (r & 7)) << 4), out[16 * c + 4 * i], out[16 * c + 4 * i + 1],
                         out[16 * c + 4 * i + 2], out[16 * c + 4 * i + 3]);
    swan_fence_async_shared();
    swan_bar_sync(BAR_WG + wg, 128);
    if (t == 0 && really) {
        swan_tma_store_2d(&p.y, stage, col + 64 * c, row);
        swan_tma_commit();
    }
}

/* The ring of stages as a consumer sees it. */
struct ring {
    uint32_t base;
    int s, phase, last; /* the stage to come, and the one whose products may still run */
};

/* One k block of products; gives back the stage before. */
SWAN_DEV void multiply(float (&acc)[BN / 2], ring &r, int wg, bool first)
{
    const uint32_t at = r.base + r.s * STAGE_BYTES, full = r.base + AT_BARS, empty = full + 8 * STAGES;
    const uint64_t da = swan_wgmma_desc(at + wg * (A_BYTES / 2), 0), db = swan_wgmma_desc(at + A_BYTES, 0);
    swan_mbar_wait(full + 8 * r.s, r.phase);
    swan_wgmma_fence();
#pragma unroll
    for (int j = 0; j < BK / 16; j++) swan_wgmma_ss(acc, da + 2 * j, db + 2 * j, !first || j > 0);
    swan_wgmma_commit();
    if (!first) {
        swan_wgmma_wait<1>();
        release(empty + 8 * r.last);
    }
    r.last = r.s;
    if (++r.s == STAGES) r.s = 0, r.phase ^= 1;
}

template <int EPI> SWAN_DEV void consume(const params &p, uint32_t base, int rank, int cluster, int clusters, int wg)
{
    const int t = threadIdx.x & 127, at_row = (t >> 5) * 16 + ((t & 31) >> 2), at_col = 2 * (t & 3);
    float acc[BN / 2];
    uint32_t out[BN / 4] = {}; /* the tile before: leaves while the next one's products run */
    int row = 0, col = 0;
    ring r = {base, 0, 0, 0};
    for (int i = cluster; i < p.m_tiles * p.n_tiles; i += clusters) {
        int m, n;
        tile_at(p, i, m, n);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            multiply(acc, r, wg, k == 0);
            store_chunk(p, out, k, base, wg, row, col, i != cluster);
        }
        row = (m * CL + rank) * BM + wg * 64, col = n * BN;
#pragma unroll 1
        for (int k = 4; k < p.k_blocks - 2; k++) multiply(acc, r, wg, false);
        if (EPI >= SWAN_EPI_MUL) load_old(p, out, row + at_row, col + at_col);
        multiply(acc, r, wg, false);
        multiply(acc, r, wg, false);
        swan_wgmma_wait<0>();
        swan_wgmma_pin(acc);
        release(base + AT_BARS + 8 * (STAGES + r.last));
        apply_all<EPI>(p, acc, out, col + at_col);
    }
#pragma unroll
    for (int c = 0; c < 4; c++) store_chunk(p, out, c, base, wg, row, col, true);
    if (t == 0) swan_tma_wait<0>();
}

#endif /* SWAN_SM90A */

template <int EPI> __global__ void __launch_bounds__(384, 1) linear_bf16(const __grid_constant__ params p)
{
#if SWAN_SM90A
    extern __shared__ uint8_t raw[];
    const uint32_t base = (swan_smem_u32(raw) + 1023u) & ~1023u, bars = base + AT_BARS;
    const int rank = (int)swan_cluster_rank(), cluster = (int)blockIdx.x / CL, clusters = (int)gridDim.x / CL;
    const int wg = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 7, 0);
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            swan_mbar_init(bars + 8 * i, 1);
            swan_mbar_init(bars + 8 * (STAGES + i), 8 * CL);
        }
        swan_mbar_init_fence();
    }
    swan_cluster_sync();
    swan_grid_wait();
    if (wg == 0) {
        swan_reg_dec<24>();
        if (threadIdx.x == 0) produce(p, base, rank, cluster, clusters);
    } else {
        swan_reg_inc<240>();
        consume<EPI>(p, base, rank, cluster, clusters, wg - 1);
    }
    __syncwarp();
    swan_cluster_sync(); /* a peer may still arrive on our barriers */
#endif
}

template <int EPI> cudaError_t launch(cudaStream_t stream, const params &p)
{
    int sms = 0;
    const cudaError_t e = swan_multiprocessors(&sms);
    if (e) return e;
    const int tiles = p.m_tiles * p.n_tiles, clusters = tiles < sms / CL ? tiles : sms / CL;
    return swan_start_clusters(linear_bf16<EPI>, clusters, CL, SMEM_BYTES, stream, p);
}

} // namespace

extern "C" int swan_cuda_linear_bf16_sm90(cudaStream_t stream, const swan_linear_bf16_args *a)
{
    params p;
    cudaError_t e;
    if (a->M < 1 || a->N < 1 || a->K < 1 || (a->epilogue == SWAN_EPI_GATED_ADD && !a->gate))
        return cudaErrorInvalidValue;
    if (a->M > 1 << 24 || a->N > 1 << 20 || ((a->N | a->K | a->ldx | a->ldy) & 7) ||
        swan_misaligned(a->x, a->w, a->y) || swan_misaligned(a->bias, a->gate))
        return cudaErrorNotSupported;
    if ((e = swan_tma_map_bf16(&p.x, a->x, a->M, a->K, a->ldx, BM)) ||
        (e = swan_tma_map_bf16(&p.w, a->w, a->N, a->K, a->K, BN / 2)) ||
        (e = swan_tma_map_bf16(&p.y, a->y, a->M, a->N, a->ldy, 64)))
        return e;
    p.bias = a->bias, p.gate = a->gate;
    p.old = (const __nv_bfloat16 *)a->y;
    p.ldy = a->ldy;
    p.M = (int)a->M, p.N = (int)a->N;
    p.k_blocks = (int)((a->K + BK - 1) / BK);
    if (p.k_blocks < LEAST) p.k_blocks = LEAST; /* reads past K are zeros */
    p.m_tiles = (p.M + BM * CL - 1) / (BM * CL);
    p.n_tiles = (p.N + BN - 1) / BN;
    p.group = GROUP;
    switch (a->epilogue) {
    case SWAN_EPI_NONE: return launch<SWAN_EPI_NONE>(stream, p);
    case SWAN_EPI_GELU: return launch<SWAN_EPI_GELU>(stream, p);
    case SWAN_EPI_SILU: return launch<SWAN_EPI_SILU>(stream, p);
    case SWAN_EPI_MUL: return launch<SWAN_EPI_MUL>(stream, p);
    case SWAN_EPI_ADD: return launch<SWAN_EPI_ADD>(stream, p);
    case SWAN_EPI_GATED_ADD: return launch<SWAN_EPI_GATED_ADD>(stream, p);
    default: return cudaErrorInvalidValue;
    }
}
