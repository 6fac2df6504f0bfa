/* Dense attention, bf16, head_dim 128, sm_90a: out = softmax(scale q k^T + key_bias) v for each head; any Lq, Lk
 * >= 1. Source of the method: FlashAttention-3 (arXiv 2407.08608).
 *
 * Shapes: q, out bf16 [Lq, H, 128], k, v bf16 [Lk, H, 128]; row strides multiples of 8, bases aligned to 16 B.
 * Nothing past row Lq-1 or Lk-1 is read or written: TMA reads zeros and drops stores there.
 *
 * Numerics: products, sums, maximum and row sum in fp32; P rounded to bf16 for P V (the row sum adds unrounded P);
 * exp2 is ex2.approx (2 ulp). Deterministic: no atomics, one CTA owns a row.
 *
 * Roofline at L = 32,760, 12 heads: 6.59 TFLOP, 6.7 ms at the tensor cores' 989 TFLOPS. HBM: 0.4 GB, 0.14 ms.
 * exp2: 12.9 G at 16 a clock and SM, 3.5 ms: they have to run beside the products.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench attention` (bench/LOG.md):
 * - L = 32,760: 9.72 ms, 678 TFLOPS (PyTorch SDPA with cuDNN, same GPU: 11.48 ms, 575); L = 23,296: 4.91 ms, 680
 *   TFLOPS (4.97 ms, 670).
 * At most 512 keys (cross-attention) are attn/short_bf16_sm90.cu's.
 *
 * Plan: persistent CTAs of one producer warpgroup (one thread issues TMA) and two consumer warpgroups of 64 query
 * rows each; two stages of 128 keys for K and V; heads outermost, so that one head's K and V stay in L2.
 * - Cluster (Lk > 1024): two CTAs share every block of K and V; each loads one half of the columns for both
 *   (multicast).
 * - Ping-pong: a turn barrier makes the warpgroups issue their products alternately, so that one's softmax runs
 *   under the other's products.
 * - Overlap inside a warpgroup: S(i+1) = Q K is issued before O += P(i) V, and S(i+1) is reduced while P V runs.
 * - The last block, the only one with a tail, comes first, so the loop has no mask.
 *
 * Tried, TFLOPS at 32,760 / 23,296: no cluster 589 / 645; 176 keys a block without cluster 660 / 671, with cluster
 * 661 / 631. Holding the exponentials above the wait for P V (swan_flash_hold): without cluster 621 / 638, with it
 * 662 / 665, with 176 keys and cluster 601 / 553.
 *
 * Failed: a branch between wgmma groups (ptxas then serialises them, C7520); `.release.cluster` on the remote
 * arrive (ptxas puts a MEMBAR.GPU before each); setmaxnreg 32 + 2 x 240, more than the launch's 64,512 registers,
 * waits for ever. */
#include "kernel/cuda/attn/flash_sm90.cuh"
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

struct params {
    CUtensorMap q, k, v, o;
    const float *key_bias; /* [Lk] or NULL */
    int Lq, Lk, blocks; /* blocks of KEYS keys */
    int q_tiles, tiles; /* per head and in all; one tile = 128 rows for each CTA of a cluster */
    float scale, scale_log2;
};

/* Named barriers: 1 + wg is the turn to issue matrix products, 3 + wg closes ranks inside one consumer warpgroup. */
enum { BAR_TURN = 1, BAR_WG = 3 };
enum { KEYS = SWAN_FLASH_KEYS };

struct layout {
    static constexpr int half = SWAN_FLASH_TILE_BYTES;
    static constexpr int tile = 2 * half; /* KEYS rows of one head */
    static constexpr int q_wg = SWAN_FLASH_Q_BYTES; /* 64 query rows; later the output's staging */
    static constexpr int k = 2 * q_wg; /* after Q; two stages each */
    static constexpr int v = k + 2 * tile;
    static constexpr int bars = v + 2 * tile; /* 8 bytes each, order of enum below */
    static constexpr int bytes = bars + 12 * 8;
    static constexpr int dynamic = bytes + 1024; /* the base is rounded up to 1024 */
};
enum { Q_FULL = 0, Q_EMPTY = 2, K_FULL = 4, K_EMPTY = 6, V_FULL = 8, V_EMPTY = 10 };

#if SWAN_SM90A

/* One K or V block into stage s of every CTA of the cluster: with two CTAs each brings one half of the head's
 * columns. */
template <int CL>
SWAN_DEV void load_block(const CUtensorMap *map, uint32_t dst, uint32_t full, int col, int row, uint32_t rank)
{
    swan_mbar_expect_tx(full, layout::tile);
    if (CL == 2) {
        swan_tma_load_2d_multicast(dst + rank * layout::half, map, full, col + 64 * (int)rank, row, 3,
                                   SWAN_L2_EVICT_LAST);
    } else {
        swan_tma_load_2d(dst, map, full, col, row, SWAN_L2_EVICT_LAST);
        swan_tma_load_2d(dst + layout::half, map, full, col + 64, row, SWAN_L2_EVICT_LAST);
    }
}

/* The one producer thread. Blocks go from the last (the only one with a tail) to the first; K runs one block ahead of
 * V. */
template <int CL> SWAN_DEV void produce(const params &p, uint32_t base, uint32_t rank, int cluster, int clusters)
{
    const uint32_t bars = base + layout::bars;
    int it = 0, round = 0;
    for (int tile = cluster; tile < p.tiles; tile += clusters, round++) {
        const int col = tile / p.q_tiles * 128;
        const int row = ((tile % p.q_tiles) * CL + (int)rank) * 128;
        for (int i = 0; i <= p.blocks; i++) {
            if (i < p.blocks) {
                const int n = it + i, s = n & 1;
                swan_mbar_wait(bars + 8 * (K_EMPTY + s), ((n >> 1) & 1) ^ 1);
                load_block<CL>(&p.k, base + layout::k + s * layout::tile, bars + 8 * (K_FULL + s), col,
                               (p.blocks - 1 - i) * KEYS, rank);
            }
            if (i == 0) {
                for (int wg = 0; wg < 2; wg++) {
                    const uint32_t full = bars + 8 * (Q_FULL + wg), dst = base + wg * layout::q_wg;
                    swan_mbar_wait(bars + 8 * (Q_EMPTY + wg), (round & 1) ^ 1);
                    swan_mbar_expect_tx(full, layout::q_wg);
                    swan_tma_load_2d(dst, &p.q, full, col, row + 64 * wg, SWAN_L2_EVICT_FIRST);
                    swan_tma_load_2d(dst + layout::q_wg / 2, &p.q, full, col + 64, row + 64 * wg,
                                     SWAN_L2_EVICT_FIRST);
                }
            } else {
                const int n = it + i - 1, s = n & 1;
                swan_mbar_wait(bars + 8 * (V_EMPTY + s), ((n >> 1) & 1) ^ 1);
                load_block<CL>(&p.v, base + layout::v + s * layout::tile, bars + 8 * (V_FULL + s), col,
                               (p.blocks - i) * KEYS, rank);
            }
        }
        it += p.blocks;
    }
}

/* Every consumer warp gives the slot back to every producer that fills it. */
template <int CL> SWAN_DEV void release(uint32_t bar)
{
    const uint32_t lane = threadIdx.x & 31;
    if (CL == 1) {
        if (lane == 0) swan_mbar_arrive(bar);
    } else if (lane < CL) {
        swan_mbar_arrive_cta(bar, lane);
    }
}

/* Keys from Lk on do not exist; the others get their bias, in units of unscaled scores. n0: the block's first key. */
template <bool BIAS> SWAN_DEV void mask_block(float (&s)[KEYS / 2], const params &p, int n0)
{
    const int col0 = n0 + (threadIdx.x & 3) * 2;
    const float unscale = 1.0f / p.scale;
#pragma unroll
    for (int i = 0; i < KEYS / 2; i++) {
        const int col = col0 + (i >> 2) * 8 + (i & 1);
        if (col >= p.Lk) s[i] = -INFINITY;
        else if (BIAS) s[i] = fmaf(__ldg(p.key_bias + col), unscale, s[i]);
    }
}

/* Normalises 64 rows, stages them where Q was and stores them with TMA, which drops rows past Lq. */
SWAN_DEV void store_rows(const params &p, float (&o)[64], float (&l)[2], uint32_t q, uint32_t q_empty, int wg,
                         int head, int row)
{
    swan_bar_sync(BAR_WG + wg, 128); /* all four warps have read their Q for the last time */
    swan_flash_stage_out(o, l, q);
    swan_fence_async_shared();
    swan_bar_sync(BAR_WG + wg, 128);
    if ((threadIdx.x & 127) == 0) {
        swan_tma_store_2d(&p.o, q, head * 128, row);
        swan_tma_store_2d(&p.o, q + SWAN_FLASH_Q_BYTES / 2, head * 128 + 64, row);
        swan_tma_commit();
        swan_tma_wait_read<0>();
        swan_mbar_arrive(q_empty);
    }
}

template <int CL, bool BIAS>
SWAN_DEV void consume(const params &p, uint32_t base, uint32_t rank, int cluster, int clusters, int wg)
{
    const uint32_t bars = base + layout::bars, q = base + wg * layout::q_wg;
    float s[KEYS / 2], o[64], m[2], l[2], corr[2];
    uint32_t pr[KEYS / 4];
    int it = 0, round = 0;
    if (wg == 1) swan_bar_arrive(BAR_TURN, 256); /* warpgroup 0 has the first turn */
    for (int tile = cluster; tile < p.tiles; tile += clusters, round++) {
        const int head = tile / p.q_tiles;
        const int row = ((tile % p.q_tiles) * CL + (int)rank) * 128 + wg * 64;
        swan_mbar_wait(bars + 8 * (Q_FULL + wg), round & 1);
        swan_mbar_wait(bars + 8 * (K_FULL + (it & 1)), (it >> 1) & 1);
        swan_wgmma_fence();
        swan_flash_qk(s, q, base + layout::k + (it & 1) * layout::tile);
#pragma unroll
        for (int i = 0; i < 64; i++) o[i] = 0.0f;
        m[0] = m[1] = -1e30f; /* not -inf: a block whose keys are all masked must not make NaN */
        l[0] = l[1] = 0.0f;
        swan_wgmma_wait<0>();
        swan_wgmma_pin(s);
        release<CL>(bars + 8 * (K_EMPTY + (it & 1)));
        mask_block<BIAS>(s, p, (p.blocks - 1) * KEYS);
        swan_flash_softmax(s, m, l, corr, p.scale_log2);
        swan_flash_round_p(pr, s);
#pragma unroll 1
        for (int i = 1; i < p.blocks; i++) {
            const int nk = it + i, nv = nk - 1, sk = nk & 1, sv = nv & 1;
            swan_mbar_wait(bars + 8 * (K_FULL + sk), (nk >> 1) & 1);
            swan_bar_sync(BAR_TURN + wg, 256);
            swan_wgmma_pin(pr);
            swan_wgmma_fence();
            swan_flash_qk(s, q, base + layout::k + sk * layout::tile);
            swan_mbar_wait(bars + 8 * (V_FULL + sv), (nv >> 1) & 1);
            swan_flash_pv(o, pr, base + layout::v + sv * layout::tile);
            swan_bar_arrive(BAR_TURN + (wg ^ 1), 256);
            swan_wgmma_wait<1>();
            swan_wgmma_pin(s);
            release<CL>(bars + 8 * (K_EMPTY + sk));
            if (BIAS) mask_block<true>(s, p, (p.blocks - 1 - i) * KEYS);
            swan_flash_softmax(s, m, l, corr, p.scale_log2);
            if (CL == 1) /* measured: better without a cluster, worse with one */
                swan_flash_hold(l[0] + l[1], bars);
            swan_wgmma_wait<0>();
            swan_wgmma_pin(o);
            release<CL>(bars + 8 * (V_EMPTY + sv));
            swan_flash_round_p(pr, s);
#pragma unroll
            for (int j = 0; j < 64; j++) o[j] *= corr[(j >> 1) & 1];
        }
        it += p.blocks;
        const int nv = it - 1, sv = nv & 1;
        swan_mbar_wait(bars + 8 * (V_FULL + sv), (nv >> 1) & 1);
        swan_wgmma_pin(pr);
        swan_wgmma_fence();
        swan_flash_pv(o, pr, base + layout::v + sv * layout::tile);
        swan_wgmma_wait<0>();
        swan_wgmma_pin(o);
        release<CL>(bars + 8 * (V_EMPTY + sv));
        store_rows(p, o, l, q, bars + 8 * (Q_EMPTY + wg), wg, head, row);
    }
    if (wg == 0) swan_bar_sync(BAR_TURN, 256); /* takes the turn that is left over */
    swan_tma_wait<0>();
}

#endif /* SWAN_SM90A */

template <int CL, bool BIAS> __global__ void __launch_bounds__(384, 1) dense_bf16(const __grid_constant__ params p)
{
#if SWAN_SM90A
    extern __shared__ uint8_t raw[];
    const uint32_t base = (swan_smem_u32(raw) + 1023u) & ~1023u;
    const uint32_t bars = base + layout::bars;
    const uint32_t rank = CL == 1 ? 0 : swan_cluster_rank();
    const int wg = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 7, 0);
    if (threadIdx.x == 0) {
        for (int i = 0; i < 2; i++) {
            swan_mbar_init(bars + 8 * (Q_FULL + i), 1);
            swan_mbar_init(bars + 8 * (Q_EMPTY + i), 1);
            swan_mbar_init(bars + 8 * (K_FULL + i), 1);
            swan_mbar_init(bars + 8 * (V_FULL + i), 1);
            swan_mbar_init(bars + 8 * (K_EMPTY + i), 8 * CL);
            swan_mbar_init(bars + 8 * (V_EMPTY + i), 8 * CL);
        }
        swan_mbar_init_fence();
    }
    if (CL == 1) __syncthreads();
    else swan_cluster_sync();
    swan_grid_wait();
    const int cluster = (int)blockIdx.x / CL, clusters = (int)gridDim.x / CL;
    if (wg == 0) {
        swan_reg_dec<24>();
        if (threadIdx.x == 0) produce<CL>(p, base, rank, cluster, clusters);
    } else {
        swan_reg_inc<240>();
        consume<CL, BIAS>(p, base, rank, cluster, clusters, wg - 1);
    }
    if (CL != 1) {
        __syncwarp();
        swan_cluster_sync(); /* a peer may still arrive on our barriers */
    }
#endif
}

template <int CL, bool BIAS> cudaError_t launch(cudaStream_t stream, params &p, const swan_attn_dense_args *a)
{
    const uint64_t width = (uint64_t)a->heads * 128;
    int sms = 0;
    cudaError_t e;
    p.blocks = (p.Lk + KEYS - 1) / KEYS;
    p.q_tiles = (p.Lq + 128 * CL - 1) / (128 * CL);
    p.tiles = p.q_tiles * (int)a->heads;
    if ((e = swan_tma_map_bf16(&p.k, a->k, a->Lk, width, a->ldk, KEYS)) ||
        (e = swan_tma_map_bf16(&p.v, a->v, a->Lk, width, a->ldv, KEYS)))
        return e;
    if ((e = swan_multiprocessors(&sms))) return e;
    const int clusters = p.tiles < sms / CL ? p.tiles : sms / CL;
    return swan_start_clusters(dense_bf16<CL, BIAS>, clusters, CL, layout::dynamic, stream, p);
}

} // namespace

extern "C" int swan_cuda_attn_dense_sm90(cudaStream_t stream, const swan_attn_dense_args *a)
{
    params p;
    cudaError_t e;
    if (a->Lk <= 512) return swan_cuda_attn_dense_short_sm90(stream, a);
    if (a->Lq < 1 || a->Lk < 1 || a->heads < 1) return cudaErrorInvalidValue;
    if (a->rel_bias || a->head_dim != 128 || a->Lq > 1 << 24 || a->Lk > 1 << 24 ||
        ((a->ldq | a->ldk | a->ldv | a->ldo) & 7) || swan_misaligned(a->q, a->k, a->v, a->out))
        return cudaErrorNotSupported;
    const uint64_t width = (uint64_t)a->heads * 128;
    if ((e = swan_tma_map_bf16(&p.q, a->q, a->Lq, width, a->ldq, 64)) ||
        (e = swan_tma_map_bf16(&p.o, a->out, a->Lq, width, a->ldo, 64)))
        return e;
    p.key_bias = a->key_bias;
    p.Lq = (int)a->Lq;
    p.Lk = (int)a->Lk;
    p.scale = a->scale;
    p.scale_log2 = a->scale * 1.4426950408889634f;
    if (a->key_bias) return launch<1, true>(stream, p, a);
    return a->Lk > 1024 ? launch<2, false>(stream, p, a) : launch<1, false>(stream, p, a);
}
