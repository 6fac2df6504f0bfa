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
 * - QKV 4608 x 1536: 743 (746) | 727 (713)
 * - O gated 1536 x 1536: 551 (638) | 500 (627)
 * - FFN1 gelu 8960 x 1536: 675 (713) | 669 (698)
 * - FFN2 gated 1536 x 8960: 657 (728) | 596 (668)
 *
 * So QKV is at cuBLASLt's speed and the others are 4 to 20 % below it: cuBLASLt should fill those shapes until
 * this is mended.
 *
 * Plan: persistent clusters of two CTAs (256 x 256 outputs, 128 x 256 each); one producer thread, two consumer
 * warpgroups of 64 x 256; four stages of K = 64 (48 KiB); each CTA loads its rows of x, and half of W's rows for
 * both (multicast). Epilogue from registers: old values are fetched before the last products end; 64 columns at a
 * time go through swizzled shared memory to a TMA store. Tiles go in groups of 8 cluster rows that sweep N, so
 * that x is read once from HBM.
 *
 * Known costs: the epilogue is exposed (the accumulators fill the registers), which weighs most at K = 1536; the
 * 768 cluster tiles of the 1536 x 1536 product are 11.6 waves of 66 clusters.
 *
 * Tried: groups of 4 and 16 rows: within the noise; 32: worse (703 at QKV). Not tried: wider stores, 192-wide
 * tiles for N = 1536, an epilogue that overlaps the next tile's products. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/common/wgmma.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum { BM = 128, BN = 256, BK = 64, STAGES = 4, CL = 2, GROUP = 8 };

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

template <int EPI> SWAN_DEV float apply(float r, float gate, float old)
{
    switch (EPI) {
    case SWAN_EPI_GELU: return swan_gelu(r);
    case SWAN_EPI_SILU: return __fdividef(r, 1.0f + swan_exp2(-1.4426950408889634f * r));
    case SWAN_EPI_MUL: return old * r;
    case SWAN_EPI_ADD: return old + r;
    case SWAN_EPI_GATED_ADD: return fmaf(gate, r, old);
    default: return r;
    }
}

/* The old values of 64 columns at this thread's places; outside the matrix: 0. */
template <int EPI> SWAN_DEV void load_old(const params &p, uint32_t (&old)[16], int row, int col)
{
    if constexpr (EPI >= SWAN_EPI_MUL) {
#pragma unroll
        for (int j = 0; j < 8; j++) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const int m = row + 8 * r, n = col + 8 * j;
                old[2 * j + r] = m < p.M && n < p.N ? *(const uint32_t *)(p.old + m * p.ldy + n) : 0;
            }
        }
    }
}

/* 64 columns of this warpgroup's 64 rows: epilogue, swizzled staging, TMA store (which drops what is outside). */
template <int EPI> SWAN_DEV void store_chunk(const params &p, const float *acc, const uint32_t (&old)[16],
                                             uint32_t out, int wg, int row0, int col0)
{
    const int t = threadIdx.x & 127, lane = t & 31, warp = t >> 5;
    uint32_t packed[16];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        const int n = col0 + 8 * j + 2 * (lane & 3);
        float2 b = {0.0f, 0.0f}, g = {0.0f, 0.0f};
        if (p.bias && n < p.N) b = __ldg((const float2 *)(p.bias + n));
        if (EPI == SWAN_EPI_GATED_ADD && n < p.N) g = __ldg((const float2 *)(p.gate + n));
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float o0 = __uint_as_float(old[2 * j + r] << 16),
                        o1 = __uint_as_float(old[2 * j + r] & 0xffff0000u);
            packed[2 * j + r] = swan_pack_bf16(apply<EPI>(acc[4 * j + 2 * r] + b.x, g.x, o0),
                                               apply<EPI>(acc[4 * j + 2 * r + 1] + b.y, g.y, o1));
        }
    }
    if (t == 0) swan_tma_wait_read<1>(); /* the store before last has left this buffer */
    swan_bar_sync(BAR_WG + wg, 128);
    const int r = warp * 16 + (lane & 15);
#pragma unroll
    for (int c = 0; c < 4; c++)
        swan_stmatrix_x4(out + r * 128 + (((2 * c + (lane >> 4)) ^ (r & 7)) << 4), packed[4 * c], packed[4 * c + 1],
                         packed[4 * c + 2], packed[4 * c + 3]);
    swan_fence_async_shared();
    swan_bar_sync(BAR_WG + wg, 128);
    if (t == 0) {
        swan_tma_store_2d(&p.y, out, col0, row0);
        swan_tma_commit();
    }
}

template <int EPI> SWAN_DEV void consume(const params &p, uint32_t base, int rank, int cluster, int clusters, int wg)
{
    const uint32_t full = base + AT_BARS, empty = full + 8 * STAGES;
    const int t = threadIdx.x & 127, at_row = (t >> 5) * 16 + ((t & 31) >> 2), at_col = 2 * (t & 3);
    float acc[BN / 2];
    int s = 0, phase = 0;
    for (int i = cluster; i < p.m_tiles * p.n_tiles; i += clusters) {
        int m, n, last = 0;
        tile_at(p, i, m, n);
#pragma unroll 1
        for (int k = 0; k < p.k_blocks; k++) {
            const uint32_t at = base + s * STAGE_BYTES;
            const uint64_t da = swan_wgmma_desc(at + wg * (A_BYTES / 2), 0), db = swan_wgmma_desc(at + A_BYTES, 0);
            swan_mbar_wait(full + 8 * s, phase);
            swan_wgmma_fence();
#pragma unroll
            for (int j = 0; j < BK / 16; j++) swan_wgmma_ss(acc, da + 2 * j, db + 2 * j, k > 0 || j > 0);
            swan_wgmma_commit();
            if (k > 0) {
                swan_wgmma_wait<1>();
                release(empty + 8 * last);
            }
            last = s;
            if (++s == STAGES) {
                s = 0;
                phase ^= 1;
            }
        }
        const int row0 = (m * CL + rank) * BM + wg * 64, col0 = n * BN;
        uint32_t old[2][16];
        load_old<EPI>(p, old[0], row0 + at_row, col0 + at_col);
        load_old<EPI>(p, old[1], row0 + at_row, col0 + 64 + at_col);
        swan_wgmma_wait<0>();
        swan_wgmma_pin(acc);
        release(empty + 8 * last);
#pragma unroll
        for (int c = 0; c < 4; c++) {
            store_chunk<EPI>(p, acc + 32 * c, old[c & 1], base + AT_OUT + (2 * wg + (c & 1)) * OUT_BYTES, wg, row0,
                             col0 + 64 * c);
            if (c < 2) load_old<EPI>(p, old[c], row0 + at_row, col0 + 64 * (c + 2) + at_col);
        }
    }
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
    int dev = 0, sms = 0;
    cudaError_t e;
    if ((e = cudaGetDevice(&dev)) || (e = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, dev)) ||
        (e = cudaFuncSetAttribute(linear_bf16<EPI>, cudaFuncAttributeMaxDynamicSharedMemorySize, SMEM_BYTES)))
        return e;
    const int tiles = p.m_tiles * p.n_tiles, clusters = tiles < sms / CL ? tiles : sms / CL;
    cudaLaunchConfig_t cfg = {};
    cudaLaunchAttribute attr[1];
    cfg.gridDim = dim3(clusters * CL);
    cfg.blockDim = dim3(384);
    cfg.dynamicSmemBytes = SMEM_BYTES;
    cfg.stream = stream;
    attr[0].id = cudaLaunchAttributeClusterDimension;
    attr[0].val.clusterDim.x = CL;
    attr[0].val.clusterDim.y = attr[0].val.clusterDim.z = 1;
    cfg.attrs = attr;
    cfg.numAttrs = 1;
    return cudaLaunchKernelEx(&cfg, linear_bf16<EPI>, p);
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
