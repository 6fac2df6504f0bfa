/* Dense attention to at most 512 keys (the text's), bf16, head_dim 128, sm_90a: out = softmax(scale q k^T + key_bias) v for
 * each head; any Lq >= 1. Source of the method: FlashAttention-3 (arXiv 2407.08608).
 *
 * Shapes, numerics: as attn/dense_bf16_sm90.cu.
 *
 * Roofline at Lq = 32,760, 12 heads: q and out are 201 MB, 69 us at 2.93 TB/s; Lk = 512: 103 GFLOP, 104 us at 989 TFLOPS.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench attention` (bench/LOG.md), Lq = 32,760 | 23,296; before, by the
 * dense kernel, in parentheses: Lk = 512: 191 us, 539 TFLOPS (264) | 141 us (246); Lk = 101 with bias: 86 us (161) | 64 us (146).
 *
 * Plan: the dense kernel spends most of so short a row between rows: Q is fetched when the row before has left, and the first
 * softmax and the last product have nothing beside them. Here
 * - Q has two places and the output one of its own, so that the next rows are there in time;
 * - the next rows' first S = Q K is issued with the last P V of these, so that its softmax has company;
 * - at most 256 keys stay in shared memory: a CTA keeps to one head. More pass through two stages, shared by a cluster of two;
 * - rows go in ascending order over all heads at once, so that whole rows of q and out are in use at a time;
 * - key_bias, -inf from Lk on, waits in shared memory; without bias and tail there is no mask. */
#include "kernel/cuda/attn/flash_sm90.cuh"
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum { KEYS = SWAN_FLASH_KEYS, MOST = 512, STAGES = 2 };

struct params {
    CUtensorMap q, k, v, o;
    const float *key_bias; /* [Lk] or NULL */
    int Lk, blocks;        /* blocks of KEYS keys */
    int heads, tiles;      /* tile i: head i % heads, the (i / heads)-th 128 rows for each CTA of a cluster */
    float scale, scale_log2;
};

enum { BAR_TURN = 1, BAR_WG = 3 };
enum {
    HALF = SWAN_FLASH_TILE_BYTES,
    TILE = 2 * HALF,
    AT_Q = 0, /* [2 places][2 warpgroups] */
    AT_K = AT_Q + 4 * SWAN_FLASH_Q_BYTES,
    AT_V = AT_K + STAGES * TILE,
    AT_OUT = AT_V + STAGES * TILE,
    AT_BIAS = AT_OUT + 2 * SWAN_FLASH_Q_BYTES,
    AT_BARS = AT_BIAS + MOST * 4,
    BYTES = AT_BARS + 16 * 8,
    SMEM_BYTES = BYTES + 768 /* the base is rounded up to 1024; it has always been so already */
};
/* Barriers: Q by 2 * warpgroup + place. */
enum { Q_FULL = 0, Q_EMPTY = 4, K_FULL = 8, K_EMPTY = 10, V_FULL = 12, V_EMPTY = 14 };

#if SWAN_SM90A

/* K or V: its map, its stages, its barriers, and the base that these count from. */
struct stream_at {
    const CUtensorMap *map;
    uint32_t base;
    int at, full, empty;
};

/* Block n of all into its stage of every CTA of the cluster, when that is free: with two CTAs each brings one half of the head's
 * columns. */
template <int CL> SWAN_DEV void load_block(const stream_at &t, int n, int col, int row, uint32_t rank)
{
    const int s = n & 1;
    const uint32_t full = t.base + AT_BARS + 8 * (t.full + s), dst = t.base + t.at + s * TILE;
    swan_mbar_wait(t.base + AT_BARS + 8 * (t.empty + s), ((n >> 1) & 1) ^ 1);
    swan_mbar_expect_tx(full, TILE);
    if (CL == 2) {
        swan_tma_load_2d_multicast(dst + rank * HALF, t.map, full, col + 64 * (int)rank, row, 3, SWAN_L2_EVICT_LAST);
    } else {
        swan_tma_load_2d(dst, t.map, full, col, row, SWAN_L2_EVICT_LAST);
        swan_tma_load_2d(dst + HALF, t.map, full, col + 64, row, SWAN_L2_EVICT_LAST);
    }
}

/* The one producer thread. K runs one block ahead of V, also from tile to tile. */
template <int CL, bool RESIDENT> SWAN_DEV void produce(const params &p, uint32_t base, uint32_t rank, int first, int step)
{
    const uint32_t bars = base + AT_BARS;
    const stream_at k = {&p.k, base, AT_K, K_FULL, K_EMPTY}, v = {&p.v, base, AT_V, V_FULL, V_EMPTY};
    int n = 0, round = 0, old_col = 0;
    for (int i = first; i < p.tiles; i += step, round++) {
        const int col = i % p.heads * 128, row = (i / p.heads * CL + (int)rank) * 128, place = round & 1;
        for (int wg = 0; wg < 2; wg++) {
            const uint32_t full = bars + 8 * (Q_FULL + 2 * wg + place), dst = base + AT_Q + (2 * place + wg) * SWAN_FLASH_Q_BYTES;
            swan_mbar_wait(bars + 8 * (Q_EMPTY + 2 * wg + place), ((round >> 1) & 1) ^ 1);
            swan_mbar_expect_tx(full, SWAN_FLASH_Q_BYTES);
            swan_tma_load_2d(dst, &p.q, full, col, row + 64 * wg, SWAN_L2_EVICT_FIRST);
            swan_tma_load_2d(dst + SWAN_FLASH_Q_BYTES / 2, &p.q, full, col + 64, row + 64 * wg, SWAN_L2_EVICT_FIRST);
        }
        if (RESIDENT && round > 0) continue;
        for (int b = 0; b < p.blocks; b++, n++) {
            load_block<CL>(k, n, col, b * KEYS, rank);
            if (n > 0) load_block<CL>(v, n - 1, b > 0 ? col : old_col, (b > 0 ? b - 1 : p.blocks - 1) * KEYS, rank);
        }
        old_col = col;
        if (RESIDENT) load_block<CL>(v, n - 1, col, (p.blocks - 1) * KEYS, rank);
    }
    if (!RESIDENT && n > 0) load_block<CL>(v, n - 1, old_col, (p.blocks - 1) * KEYS, rank);
}

/* Every consumer warp gives the slot back to every producer that fills it. */
template <int CL> SWAN_DEV void release(uint32_t bar, bool really = true)
{
    const uint32_t lane = threadIdx.x & 31;
    if (CL == 1) {
        if (really && lane == 0) swan_mbar_arrive(bar);
    } else if (really && lane < CL) {
        swan_mbar_arrive_cta(bar, lane);
    }
}

/* Adds the bias, in units of unscaled scores, of block b's keys. */
SWAN_DEV void mask_block(float (&s)[KEYS / 2], uint32_t bias, int b)
{
    bias += (b * KEYS + (threadIdx.x & 3) * 2) * 4;
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++) {
        float x, y;
        asm volatile("ld.shared.v2.f32 {%0,%1}, [%2];" : "=f"(x), "=f"(y) : "r"(bias + 32 * j));
        s[4 * j] += x, s[4 * j + 1] += y, s[4 * j + 2] += x, s[4 * j + 3] += y;
    }
}

/* Normalises 64 rows and stores them through this warpgroup's staging place. */
SWAN_DEV void store_rows(const params &p, const float (&o)[64], float (&l)[2], uint32_t out, int wg, int col, int row)
{
    const bool one = (threadIdx.x & 127) == 0;
    if (one) swan_tma_wait_read<0>(); /* the rows before have left it */
    swan_bar_sync(BAR_WG + wg, 128);
    swan_flash_stage_out(o, l, out);
    swan_fence_async_shared();
    swan_bar_sync(BAR_WG + wg, 128);
    if (one) {
        swan_tma_store_2d(&p.o, out, col, row);
        swan_tma_store_2d(&p.o, out + SWAN_FLASH_Q_BYTES / 2, col + 64, row);
        swan_tma_commit();
    }
}

/* What a consumer warpgroup carries from block to block. */
struct state {
    float s[KEYS / 2], o[64], m[2], l[2], corr[2];
    uint32_t pr[KEYS / 4];
};

/* Where a block is: stages of K and of V, and the address of Q. */
struct place {
    uint32_t q;
    int k, v, v_phase;
};

/* In this warpgroup's turn: S = Q K of one block beside O += P V of the one before. S is ready, P V still runs. K and Q have come. */
SWAN_DEV void issue(state &c, uint32_t base, const place &at, int wg)
{
    swan_bar_sync(BAR_TURN + wg, 256);
    swan_wgmma_pin(c.pr);
    swan_wgmma_fence();
    swan_flash_qk(c.s, at.q, base + AT_K + at.k * TILE);
    swan_mbar_wait(base + AT_BARS + 8 * (V_FULL + at.v), at.v_phase);
    swan_flash_pv(c.o, c.pr, base + AT_V + at.v * TILE);
    swan_bar_arrive(BAR_TURN + (wg ^ 1), 256);
    swan_wgmma_wait<1>();
    swan_wgmma_pin(c.s);
}

/* No keys seen yet. */
SWAN_DEV void restart(state &c)
{
    c.m[0] = c.m[1] = -1e30f; /* not -inf: a block whose keys are all masked must not make NaN */
    c.l[0] = c.l[1] = 0.0f;
}

template <int CL, bool RESIDENT, bool MASK>
SWAN_DEV void consume(const params &p, uint32_t base, uint32_t rank, int first, int step, int wg)
{
    const uint32_t bars = base + AT_BARS, bias = base + AT_BIAS;
    state c;
    int n = 0, round = 0, i = first; /* n: K blocks before, over all tiles */
    /* Where block b is, that is block n of all, and its barriers' phase. */
    auto slot = [&](int at, int b) { return RESIDENT ? b : at & 1; };
    auto phase = [&](int at) { return RESIDENT ? 0 : (at >> 1) & 1; };
    auto q_place = [&](int r) { return base + AT_Q + (2 * (r & 1) + wg) * SWAN_FLASH_Q_BYTES; };
    if (i >= p.tiles) return;
    if (wg == 1) swan_bar_arrive(BAR_TURN, 256); /* warpgroup 0 has the first turn */
    swan_mbar_wait(bars + 8 * (Q_FULL + 2 * wg), 0);
    swan_mbar_wait(bars + 8 * K_FULL, 0);
    swan_wgmma_fence();
    swan_flash_qk(c.s, q_place(0), base + AT_K);
#pragma unroll
    for (int j = 0; j < 64; j++) c.o[j] = 0.0f;
    restart(c);
    swan_wgmma_wait<0>();
    swan_wgmma_pin(c.s);
    if (!RESIDENT) release<CL>(bars + 8 * K_EMPTY);
    release<1>(bars + 8 * (Q_EMPTY + 2 * wg), p.blocks == 1);
    if (MASK) mask_block(c.s, bias, 0);
    swan_flash_softmax(c.s, c.m, c.l, c.corr, p.scale_log2);
    swan_flash_round_p(c.pr, c.s);
    for (;;) {
#pragma unroll 1
        for (int b = 1; b < p.blocks; b++) {
            const int nv = n++, sk = slot(n, b), sv = slot(nv, b - 1);
            swan_mbar_wait(bars + 8 * (K_FULL + sk), phase(n));
            issue(c, base, {q_place(round), sk, sv, phase(nv)}, wg);
            if (!RESIDENT) release<CL>(bars + 8 * (K_EMPTY + sk));
            release<1>(bars + 8 * (Q_EMPTY + 2 * wg + (round & 1)), b == p.blocks - 1);
            if (MASK) mask_block(c.s, bias, b);
            swan_flash_softmax(c.s, c.m, c.l, c.corr, p.scale_log2);
            if (CL == 1) swan_flash_hold(c.l[0] + c.l[1], bars);
            swan_wgmma_wait<0>();
            swan_wgmma_pin(c.o);
            if (!RESIDENT) release<CL>(bars + 8 * (V_EMPTY + sv));
            swan_flash_round_p(c.pr, c.s);
#pragma unroll
            for (int j = 0; j < 64; j++) c.o[j] *= c.corr[(j >> 1) & 1];
        }
        /* The last P V of these rows beside the first Q K of the next, which is made of whatever is there when none follow. */
        const bool more = i + step < p.tiles;
        const int nv = n++, sk = slot(n, 0), sv = slot(nv, p.blocks - 1), next = round + 1;
        if (more) {
            swan_mbar_wait(bars + 8 * (Q_FULL + 2 * wg + (next & 1)), (next >> 1) & 1);
            swan_mbar_wait(bars + 8 * (K_FULL + sk), phase(n));
        }
        issue(c, base, {q_place(next), sk, sv, phase(nv)}, wg);
        if (!RESIDENT) release<CL>(bars + 8 * (K_EMPTY + sk), more);
        release<1>(bars + 8 * (Q_EMPTY + 2 * wg + (next & 1)), more && p.blocks == 1);
        if (MASK) mask_block(c.s, bias, 0);
        float sum[2] = {c.l[0], c.l[1]};
        restart(c);
        swan_flash_softmax(c.s, c.m, c.l, c.corr, p.scale_log2);
        swan_flash_hold(c.l[0] + c.l[1], bars);
        swan_wgmma_wait<0>();
        swan_wgmma_pin(c.o);
        if (!RESIDENT) release<CL>(bars + 8 * (V_EMPTY + sv));
        store_rows(p, c.o, sum, base + AT_OUT + wg * SWAN_FLASH_Q_BYTES, wg, i % p.heads * 128,
                   (i / p.heads * CL + (int)rank) * 128 + wg * 64);
        if (!more) break;
        swan_flash_round_p(c.pr, c.s);
#pragma unroll
        for (int j = 0; j < 64; j++) c.o[j] = 0.0f;
        i += step;
        round = next;
    }
    if (wg == 0) swan_bar_sync(BAR_TURN, 256); /* takes the turn that is left over */
    if ((threadIdx.x & 127) == 0) swan_tma_wait<0>();
}

#endif /* SWAN_SM90A */

template <int CL, bool RESIDENT, bool MASK> __global__ void __launch_bounds__(384, 1) short_bf16(const __grid_constant__ params p)
{
#if SWAN_SM90A
    extern __shared__ uint8_t raw[];
    const uint32_t base = (swan_smem_u32(raw) + 1023u) & ~1023u, bars = base + AT_BARS;
    if (base + BYTES > swan_smem_u32(raw) + SMEM_BYTES) __trap();
    const uint32_t rank = CL == 1 ? 0 : swan_cluster_rank();
    const int wg = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 7, 0);
    if (threadIdx.x == 0) {
        for (int i = 0; i < 4; i++) {
            swan_mbar_init(bars + 8 * (Q_FULL + i), 1);
            swan_mbar_init(bars + 8 * (Q_EMPTY + i), 4);
        }
        for (int i = 0; i < STAGES; i++) {
            swan_mbar_init(bars + 8 * (K_FULL + i), 1);
            swan_mbar_init(bars + 8 * (V_FULL + i), 1);
            swan_mbar_init(bars + 8 * (K_EMPTY + i), 8 * CL);
            swan_mbar_init(bars + 8 * (V_EMPTY + i), 8 * CL);
        }
        swan_mbar_init_fence();
    }
    swan_grid_wait();
    if (MASK)
        for (int i = (int)threadIdx.x; i < p.blocks * KEYS; i += 384) {
            const float b = i >= p.Lk ? -INFINITY : p.key_bias ? p.key_bias[i] / p.scale : 0.0f;
            asm volatile("st.shared.f32 [%0], %1;" ::"r"(base + AT_BIAS + 4 * i), "f"(b) : "memory");
        }
    if (CL == 1) __syncthreads();
    else swan_cluster_sync();
    const int first = (int)blockIdx.x / CL, step = (int)gridDim.x / CL;
    if (wg == 0) {
        swan_reg_dec<24>();
        if (threadIdx.x == 0) produce<CL, RESIDENT>(p, base, rank, first, step);
    } else {
        swan_reg_inc<240>();
        consume<CL, RESIDENT, MASK>(p, base, rank, first, step, wg - 1);
    }
    if (CL != 1) {
        __syncwarp();
        swan_cluster_sync(); /* a peer may still arrive on our barriers */
    }
#endif
}

template <int CL, bool RESIDENT> cudaError_t launch(cudaStream_t stream, params &p, int64_t Lq, int sms)
{
    const int rows = (int)((Lq + 128 * CL - 1) / (128 * CL)), most = sms / CL;
    p.tiles = rows * p.heads;
    int clusters = p.tiles < most ? p.tiles : most;
    if (RESIDENT) clusters -= clusters % p.heads; /* so that a CTA keeps to one head */
    if (p.key_bias || p.Lk % KEYS)
        return swan_start_clusters(short_bf16<CL, RESIDENT, true>, clusters, CL, SMEM_BYTES, stream, p);
    return swan_start_clusters(short_bf16<CL, RESIDENT, false>, clusters, CL, SMEM_BYTES, stream, p);
}

} // namespace

extern "C" int swan_cuda_attn_dense_short_sm90(cudaStream_t stream, const swan_attn_dense_args *a)
{
    params p = {};
    cudaError_t e;
    int sms = 0;
    if (a->Lq < 1 || a->Lk < 1 || a->heads < 1) return cudaErrorInvalidValue;
    if (a->rel_bias || a->head_dim != 128 || a->Lq > 1 << 22 || a->Lk > MOST || a->heads > 1024 ||
        ((a->ldq | a->ldk | a->ldv | a->ldo) & 7) || swan_misaligned(a->q, a->k, a->v, a->out))
        return cudaErrorNotSupported;
    const uint64_t width = (uint64_t)a->heads * 128;
    if ((e = swan_tma_map_bf16(&p.q, a->q, a->Lq, width, a->ldq, 64)) ||
        (e = swan_tma_map_bf16(&p.o, a->out, a->Lq, width, a->ldo, 64)) ||
        (e = swan_tma_map_bf16(&p.k, a->k, a->Lk, width, a->ldk, KEYS)) ||
        (e = swan_tma_map_bf16(&p.v, a->v, a->Lk, width, a->ldv, KEYS)) || (e = swan_multiprocessors(&sms)))
        return e;
    p.key_bias = a->key_bias;
    p.Lk = (int)a->Lk, p.blocks = (p.Lk + KEYS - 1) / KEYS;
    p.heads = (int)a->heads;
    p.scale = a->scale, p.scale_log2 = a->scale * 1.4426950408889634f;
    if (p.blocks <= STAGES && p.heads <= sms) return launch<1, true>(stream, p, a->Lq, sms);
    return p.heads > 1 || a->Lq > 128 ? launch<2, false>(stream, p, a->Lq, sms) : launch<1, false>(stream, p, a->Lq, sms);
}
