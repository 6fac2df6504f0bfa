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
 * Measured, 2026-11-22, one H200 (an H100's clocks and limit of 700 W), `check_cuda bench linear`, in alternation with cuBLASLt, the best
 * of its first eight algorithms with its own epilogues (bench/LOG.md): TFLOPS at M = 32,760 | 23,296, in parentheses cuBLASLt:
 * - QKV 4608 x 1536: 747 (689) | 803 (754); with VSA's gate 6144 x 1536: 723 (666) | 685 (620); FFN1 gelu 8960 x 1536: 792 (746) | 757 (634)
 * - O gated 1536 x 1536: 744 (545 with a kernel for the gate, 716 where it adds without gate) | 694 (524, 692)
 * - FFN2 gated 1536 x 8960: 685 (658, 708) | 661 (639, 685); O plain: 724 (678) | 721 (734)
 * The card is at its power limit in all of these: 1,410 of 1,980 MHz, where the products take 85 to 90 % of the tensor cores' time.
 *
 * Plan: persistent clusters of two CTAs, one above the other; one producer thread, two consumer warpgroups that take turns:
 * each has tiles of its own, 128 x 192 or 128 x 128 in registers, and while one multiplies at the tensor cores' full rate the
 * other does its epilogue. Four or six stages of K = 64 (40 or 32 KiB); each CTA loads its rows of x, and half of W's rows for
 * both (multicast). Tiles go in groups of cluster rows that sweep N, so that x is read once from HBM.
 * - What is left after the whole rounds over the multiprocessors goes as half tiles, 64 rows for each CTA, if these fit one round.
 * - The width is whichever ends first, rounds times width. 192 needs a sixth less of L2, so that 128 must save more than 3 %.
 * - Epilogue: each warp for itself, 16 x 64 at a time through its own staging (swizzled): old values come by TMA while the
 *   products run, results leave by TMA, first to be evicted from L2 (2 % in long runs).
 *
 * Tried: 128 x 256 tiles that both consumers share, the epilogue between tiles: 542 to 744 TFLOPS; its stores beside the next tile's
 * products: 777 at QKV, 579 O gated, 692 FFN1 gelu; the second consumer one or two k blocks behind the first: nothing. Turns with
 * clusters of four (128 x 128 in two by two, 64 x 256 in a row of four): 5 to 14 % slower, 64 x 256 in twos 2 to 9 %. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/apply.cuh"
#include "kernel/cuda/common/mma.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/common/wgmma.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>
#include <limits.h>

namespace
{

enum { BM = 128, BK = 64, CL = 2, WARPS = 8 };

struct params {
    CUtensorMap x, w, y;
    const float *bias, *gate;
    int N;
    int k_blocks, m_tiles, n_tiles; /* m_tiles counts pairs: 256 rows, 128 for each CTA of the cluster */
    int group;                      /* cluster rows that sweep N together */
    int halves, units;              /* from this unit on units are half tiles; how many units */
};

/* A chunk is what a warp finishes at a time: 16 rows of 64 columns. */
template <int BN> struct layout {
    enum {
        STAGES = BN == 192 ? 4 : 6,
        BUFFERS = BN == 192 ? 4 : 2, /* chunks of staging a warp */
        CHUNKS = 2 * BN / 64,        /* a warp and tile: upper 64 rows of the tile first */
        A_BYTES = BM * BK * 2,
        B_BYTES = BN * BK * 2,
        STAGE_BYTES = A_BYTES + B_BYTES,
        CHUNK_BYTES = 16 * 128,
        AT_OUT = STAGES * STAGE_BYTES,
        AT_BARS = AT_OUT + WARPS * BUFFERS * CHUNK_BYTES,
        SMEM_BYTES = AT_BARS + (2 * STAGES + WARPS * BUFFERS) * 8 + 1024 /* the base is rounded up to 1024 */
    };
};

enum { BAR_TURN = 1 }; /* and 2: the consumer whose products are next */

#if SWAN_SM90A

/* What a cluster does at a time: a tile, or half of its rows. Here for one CTA: its first row, and how many times 64 rows. */
struct unit {
    int row, col, halves;
};

/* Tiles in groups of cluster rows, n outer, so that the running clusters share W tiles and a group's x stays in L2.
 */
template <int BN> SWAN_DEV unit unit_at(const params &p, int i, int rank)
{
    const int half = max(i - p.halves, -1), tile = half < 0 ? i : p.halves + half / 2;
    const int full = p.group * p.n_tiles, g = tile / full, rows = min(p.m_tiles - g * p.group, p.group), at = tile - g * full;
    const int row = (g * p.group + at % rows) * (CL * BM), col = at / rows * BN;
    if (half < 0) return {row + rank * BM, col, 2};
    return {row + (half & 1) * BM + rank * 64, col, 1};
}

/* The one producer thread: its own rows of x, and half of W's rows for both CTAs. */
template <int BN> SWAN_DEV void produce(const params &p, uint32_t base, int rank, int cluster, int clusters)
{
    typedef layout<BN> at_;
    const uint32_t full = base + at_::AT_BARS, empty = full + 8 * at_::STAGES;
    int s = 0, phase = 1;
    for (int i = cluster; i < p.units; i += clusters) {
        const unit u = unit_at<BN>(p, i, rank);
        for (int k = 0; k < p.k_blocks; k++) {
            const uint32_t to = base + s * at_::STAGE_BYTES;
            swan_mbar_wait(empty + 8 * s, phase);
            swan_mbar_expect_tx(full + 8 * s, u.halves * (at_::A_BYTES / 2) + at_::B_BYTES);
            for (int h = 0; h < u.halves; h++)
                swan_tma_load_2d(to + h * (at_::A_BYTES / 2), &p.x, full + 8 * s, k * BK, u.row + 64 * h, SWAN_L2_EVICT_NORMAL);
            swan_tma_load_2d_multicast(to + at_::A_BYTES + rank * (at_::B_BYTES / 2), &p.w, full + 8 * s, k * BK,
                                       u.col + rank * (BN / 2), 3, SWAN_L2_EVICT_LAST);
            if (++s == at_::STAGES) s = 0, phase ^= 1;
        }
    }
}

SWAN_DEV void release(uint32_t bar)
{
    const uint32_t lane = threadIdx.x & 31;
    if (lane < CL) swan_mbar_arrive_cta(bar, lane);
}

/* A pair of a table; zeros where !in. Not before this point of the program: left to itself the compiler fetches the tables
 * early, and spills. */
SWAN_DEV float2 pair_at(const float *at, bool in)
{
    float2 v;
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %3, 0;\n\tmov.b32 %0, 0;\n\tmov.b32 %1, 0;\n\t"
                 "@p ld.global.nc.v2.f32 {%0, %1}, [%2];\n\t}"
                 : "=f"(v.x), "=f"(v.y)
                 : "l"(at), "r"((int)in)
                 : "memory");
    return v;
}

/* Where a warp's chunks of a tile are in y, its staging, and the barriers of old values with their phases, a bit each. */
template <int BN> struct chunks {
    int row, col, count;
    uint32_t staging, bars, phases;
    __device__ __forceinline__ int row_of(int c) const { return row + c / (BN / 64) * 64; }
    __device__ __forceinline__ int col_of(int c) const { return col + c % (BN / 64) * 64; }
    __device__ __forceinline__ uint32_t buffer(int c) const
    {
        return staging + c % layout<BN>::BUFFERS * layout<BN>::CHUNK_BYTES;
    }
    __device__ __forceinline__ uint32_t bar(int c) const { return bars + 8 * (c % layout<BN>::BUFFERS); }
};

/* Old values of chunk c into its buffer. One lane. */
template <int BN> SWAN_DEV void fetch_old(const params &p, const chunks<BN> &w, int c)
{
    swan_mbar_expect_tx(w.bar(c), layout<BN>::CHUNK_BYTES);
    swan_tma_load_2d(w.buffer(c), &p.y, w.bar(c), w.col_of(c), w.row_of(c), SWAN_L2_EVICT_FIRST);
}

/* Eight columns at 16 i + 8 e of a chunk: out holds the old values of rows g and g + 8, and gets the results. */
template <int EPI> SWAN_DEV void apply_pair(const params &p, const float *acc, int col, uint32_t &upper, uint32_t &lower)
{
    const bool in = col < p.N;
    const float2 b = pair_at(p.bias + col, p.bias && in);
    float2 g = {0.0f, 0.0f};
    if (EPI == SWAN_EPI_GATED_ADD) g = pair_at(p.gate + col, in);
    upper = swan_pack_bf16(swan_apply(EPI, acc[0] + b.x, g.x, __uint_as_float(upper << 16)),
                           swan_apply(EPI, acc[1] + b.y, g.y, __uint_as_float(upper & 0xffff0000u)));
    lower = swan_pack_bf16(swan_apply(EPI, acc[2] + b.x, g.x, __uint_as_float(lower << 16)),
                           swan_apply(EPI, acc[3] + b.y, g.y, __uint_as_float(lower & 0xffff0000u)));
}

/* Chunk C and those after it, from the accumulators to y. */
template <int BN, int EPI, int C = 0> SWAN_DEV void finish(const params &p, const float (&acc)[2][BN / 2], chunks<BN> &w)
{
    typedef layout<BN> at_;
    const int lane = threadIdx.x & 31, r = lane & 15, buffer = C % at_::BUFFERS;
    if (EPI >= SWAN_EPI_MUL) {
        swan_mbar_wait(w.bar(C), w.phases >> buffer & 1);
        w.phases ^= 1u << buffer;
    } else {
        if (lane == 0) swan_tma_wait_read<at_::BUFFERS - 1>(); /* the last store from this buffer has left it */
        __syncwarp();
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const uint32_t at = w.buffer(C) + r * 128 + (((2 * i + (lane >> 4)) ^ (r & 7)) << 4);
        const float *from = &acc[C / (BN / 64)][32 * (C % (BN / 64)) + 8 * i];
        uint32_t v[4] = {};
        if (EPI >= SWAN_EPI_MUL) {
            swan_ldmatrix_x4(v, at);
            __syncwarp(); /* results go where other lanes have read */
        }
        apply_pair<EPI>(p, from, w.col_of(C) + 2 * (lane & 3) + 16 * i, v[0], v[1]);
        apply_pair<EPI>(p, from + 4, w.col_of(C) + 2 * (lane & 3) + 16 * i + 8, v[2], v[3]);
        swan_stmatrix_x4(at, v[0], v[1], v[2], v[3]);
    }
    swan_fence_async_shared();
    __syncwarp();
    if (lane == 0) {
        swan_tma_store_2d(&p.y, w.buffer(C), w.col_of(C), w.row_of(C), SWAN_L2_EVICT_FIRST);
        swan_tma_commit();
        if (EPI >= SWAN_EPI_MUL && C >= 1 && C - 1 + at_::BUFFERS < at_::CHUNKS && C - 1 + at_::BUFFERS < w.count) {
            swan_tma_wait_read<1>();
            fetch_old(p, w, C - 1 + at_::BUFFERS);
        }
    }
    __syncwarp();
    if (C + 1 == at_::CHUNKS / 2 && w.count == at_::CHUNKS / 2) return;
    if constexpr (C + 1 < at_::CHUNKS) finish<BN, EPI, C + 1>(p, acc, w);
}

/* The products of one unit of HALVES x 64 rows: blocks from `block` of the ring on. Returns the stage of the last, which may still
 * run and is not given back. */
template <int BN, int HALVES> SWAN_DEV int multiply(float (&acc)[2][BN / 2], uint32_t base, int block, int k_blocks)
{
    typedef layout<BN> at_;
    const uint32_t full = base + at_::AT_BARS, empty = full + 8 * at_::STAGES;
    int s = block % at_::STAGES, phase = block / at_::STAGES & 1, last = 0;
#pragma unroll 1
    for (int k = 0; k < k_blocks; k++) {
        const uint32_t at = base + s * at_::STAGE_BYTES;
        const uint64_t da = swan_wgmma_desc(at, 0), db = swan_wgmma_desc(at + at_::A_BYTES, 0);
        swan_mbar_wait(full + 8 * s, phase);
        swan_wgmma_fence();
#pragma unroll
        for (int j = 0; j < BK / 16; j++)
#pragma unroll
            for (int h = 0; h < HALVES; h++)
                swan_wgmma_ss(acc[h], da + h * (at_::A_BYTES / 2 >> 4) + 2 * j, db + 2 * j, k > 0 || j > 0);
        swan_wgmma_commit();
        if (k > 0) {
            swan_wgmma_wait<1>();
            release(empty + 8 * last);
        }
        last = s;
        if (++s == at_::STAGES) s = 0, phase ^= 1;
    }
    return last;
}

/* Warpgroup wg takes every other unit of the CTA. Before its products all loads of the tile before have been seen by the other
 * warpgroup, so that no phase of a stage is mistaken for the one before it. */
template <int BN, int EPI> SWAN_DEV void consume(const params &p, uint32_t base, int rank, int cluster, int clusters, int wg)
{
    typedef layout<BN> at_;
    const int warp = (int)threadIdx.x >> 5 & 3, lane = threadIdx.x & 31;
    const uint32_t empty = base + at_::AT_BARS + 8 * at_::STAGES;
    float acc[2][BN / 2];
    chunks<BN> w = {};
    w.staging = base + at_::AT_OUT + (wg * 4 + warp) * at_::BUFFERS * at_::CHUNK_BYTES;
    w.bars = empty + 8 * at_::STAGES + 8 * (wg * 4 + warp) * at_::BUFFERS;
    int block = wg * p.k_blocks;
    if (wg == 1) swan_bar_arrive(BAR_TURN, 256);
    for (int i = cluster + wg * clusters; i < p.units; i += 2 * clusters, block += 2 * p.k_blocks) {
        const unit u = unit_at<BN>(p, i, rank);
        w.row = u.row + warp * 16, w.col = u.col, w.count = u.halves * at_::CHUNKS / 2;
        if (EPI >= SWAN_EPI_MUL) {
            if (lane == 0) {
                swan_tma_wait_read<0>();
                for (int c = 0; c < at_::BUFFERS && c < w.count; c++) fetch_old(p, w, c);
            }
            __syncwarp();
        }
        swan_bar_sync(BAR_TURN + wg, 256);
        const int last = u.halves == 2 ? multiply<BN, 2>(acc, base, block, p.k_blocks)
                                       : multiply<BN, 1>(acc, base, block, p.k_blocks);
        swan_bar_arrive(BAR_TURN + 1 - wg, 256);
        swan_wgmma_wait<0>();
        swan_wgmma_pin(acc[0]);
        swan_wgmma_pin(acc[1]);
        release(empty + 8 * last);
        finish<BN, EPI>(p, acc, w);
    }
    if (lane == 0) swan_tma_wait<0>();
}

#endif /* SWAN_SM90A */

template <int BN, int EPI> __global__ void __launch_bounds__(384, 1) linear_bf16(const __grid_constant__ params p)
{
#if SWAN_SM90A
    typedef layout<BN> at_;
    extern __shared__ uint8_t raw[];
    const uint32_t base = (swan_smem_u32(raw) + 1023u) & ~1023u, bars = base + at_::AT_BARS;
    const int rank = (int)swan_cluster_rank(), cluster = (int)blockIdx.x / CL, clusters = (int)gridDim.x / CL;
    const int wg = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 7, 0);
    if (threadIdx.x == 0) {
        for (int i = 0; i < at_::STAGES; i++) {
            swan_mbar_init(bars + 8 * i, 1);
            swan_mbar_init(bars + 8 * (at_::STAGES + i), 4 * CL);
        }
        for (int i = 0; i < WARPS * at_::BUFFERS; i++) swan_mbar_init(bars + 8 * (2 * at_::STAGES + i), 1);
        swan_mbar_init_fence();
    }
    swan_cluster_sync();
    swan_grid_wait();
    if (wg == 0) {
        swan_reg_dec<EPI >= SWAN_EPI_MUL ? 24 : 40>();
        if (threadIdx.x == 0) produce<BN>(p, base, rank, cluster, clusters);
    } else {
        swan_reg_inc<EPI >= SWAN_EPI_MUL ? 240 : 232>();
        consume<BN, EPI>(p, base, rank, cluster, clusters, wg - 1);
    }
    __syncwarp();
    swan_cluster_sync(); /* a peer may still arrive on our barriers */
#endif
}

template <int BN> cudaError_t launch(cudaStream_t stream, const params &p, int epilogue, int clusters)
{
    const size_t smem = layout<BN>::SMEM_BYTES;
    switch (epilogue) {
    case SWAN_EPI_NONE: return swan_start_clusters(linear_bf16<BN, SWAN_EPI_NONE>, clusters, CL, smem, stream, p);
    case SWAN_EPI_GELU: return swan_start_clusters(linear_bf16<BN, SWAN_EPI_GELU>, clusters, CL, smem, stream, p);
    case SWAN_EPI_SILU: return swan_start_clusters(linear_bf16<BN, SWAN_EPI_SILU>, clusters, CL, smem, stream, p);
    case SWAN_EPI_MUL: return swan_start_clusters(linear_bf16<BN, SWAN_EPI_MUL>, clusters, CL, smem, stream, p);
    case SWAN_EPI_ADD: return swan_start_clusters(linear_bf16<BN, SWAN_EPI_ADD>, clusters, CL, smem, stream, p);
    case SWAN_EPI_GATED_ADD: return swan_start_clusters(linear_bf16<BN, SWAN_EPI_GATED_ADD>, clusters, CL, smem, stream, p);
    default: return cudaErrorInvalidValue;
    }
}

/* Whole rounds over the clusters, and whether half tiles are enough for the rest. */
struct rounds {
    int whole, rest;
    bool halves;
};
rounds rounds_of(int tiles, int clusters)
{
    const int rest = tiles % clusters;
    return {tiles - rest, rest, 2 * rest <= clusters};
}

/* Time of all tiles, in columns and half rounds. */
int64_t time_of(int m_tiles, int N, int width, int clusters)
{
    const rounds r = rounds_of(m_tiles * ((N + width - 1) / width), clusters);
    return (int64_t)width * (r.whole / clusters * 2 + (r.rest ? 2 - r.halves : 0));
}

} // namespace

extern "C" int swan_cuda_linear_bf16_sm90(cudaStream_t stream, const swan_linear_bf16_args *a)
{
    params p;
    cudaError_t e;
    int sms = 0;
    if (a->M < 1 || a->N < 1 || a->K < 1 || (a->epilogue == SWAN_EPI_GATED_ADD && !a->gate))
        return cudaErrorInvalidValue;
    if (a->M > 1 << 24 || a->N > 1 << 20 || a->K > 1 << 24 || ((a->N | a->K | a->ldx | a->ldy) & 7) ||
        swan_misaligned(a->x, a->w, a->y) || swan_misaligned(a->bias, a->gate))
        return cudaErrorNotSupported;
    if ((e = swan_multiprocessors(&sms))) return e;
    p.N = (int)a->N;
    p.m_tiles = (int)((a->M + BM * CL - 1) / (BM * CL));
    const int most = sms / CL;
    const bool wide = time_of(p.m_tiles, p.N, 192, most) * 100 <= time_of(p.m_tiles, p.N, 128, most) * 103;
    const int width = wide ? 192 : 128;
    if ((e = swan_tma_map_bf16(&p.x, a->x, a->M, a->K, a->ldx, 64)) ||
        (e = swan_tma_map_bf16(&p.w, a->w, a->N, a->K, a->K, (uint32_t)width / 2)) ||
        (e = swan_tma_map_bf16(&p.y, a->y, a->M, a->N, a->ldy, 16)))
        return e;
    p.bias = a->bias, p.gate = a->gate;
    p.k_blocks = (int)((a->K + BK - 1) / BK);
    p.n_tiles = (p.N + width - 1) / width;
    p.group = p.n_tiles > 16 ? 16 : 8;
    const rounds r = rounds_of(p.m_tiles * p.n_tiles, most);
    p.halves = r.halves ? r.whole : INT_MAX;
    p.units = r.whole + (r.halves ? 2 * r.rest : r.rest);
    const int clusters = p.units < most ? p.units : most;
    return wide ? launch<192>(stream, p, a->epilogue, clusters) : launch<128>(stream, p, a->epilogue, clusters);
}
