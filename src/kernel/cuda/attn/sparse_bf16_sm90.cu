/* Block-sparse attention over listed tiles (VSA's fine branch), bf16, head_dim 128, sm_90a: each tile of at most
 * 64 query rows attends to the rows of topk tiles; VSA's gated sum with it. Source: VSA (arXiv 2505.13389); inner loop after
 * FlashAttention-3 (arXiv 2407.08608).
 *
 * Shapes: q, k, v, out bf16 [L, H, 128] in tile order without padding; tile_start i32 [tiles+1], index i32 [H,
 * tiles, topk]. Row strides multiples of 8, bases aligned to 16 B. Keys past a tile's end are masked, rows past it
 * not written.
 *
 * Numerics: as the dense kernel: fp32 sums and statistics, P rounded to bf16. Deterministic.
 *
 * Roofline at L = 32,760, 624 tiles, top-k 125: 1.96 TFLOP counting tiles as full (1.3 without padding), 2.0 ms at
 * 989 TFLOPS. A 64-row query tile does 64 FLOP for a byte of K and V, so L2 is the other wall: 30.7 GB, 4.4 ms at
 * 7 TB/s.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench attention`, uniformly random lists (bench/LOG.md):
 * 624 tiles, top-k 125: 3.34 ms, 588 TFLOPS on padded FLOPs; 364 tiles, all full, top-k 73: 1.35 ms, 494 TFLOPS.
 * Both read 7.7 TB/s from L2. At full clock (H200, among kernels that need less power): 2.97 and 1.20 ms, 661 and 557 TFLOPS,
 * 8.4 and 8.7 TB/s; the loads alone 2.75 and 1.16 ms, the products alone 2.54 and 1.05. So L2 sets the time, 36 B a clock and
 * multiprocessor, and 96 % of that is reached. With VSA's sum: 1.33 to 1.39 and 3.34 to 3.46 ms; with that in a pass of its own
 * 1.40 to 1.47 and 3.44 to 3.53.
 *
 * Plan: persistent CTAs of one producer warpgroup and two consumer warpgroups. A consumer warpgroup and a producer
 * warp form an independent stream: one query tile at a time, a ring of three 32 KiB units through which K and V pass
 * in the order K0 K1 V0 K2 V1 ..; S(i+1) = Q K is issued before O += P(i) V. Items run head by head, so that one
 * head's K and V stay in L2.
 * - The listed tiles are packed: a tile takes its rows rounded up to 8 (the swizzle's period), tiles follow each other
 *   without gaps, and a block is 128 such rows, whichever tiles they come from. At 81 frames the mean tile has 52.5 of
 *   64 rows, so this saves 18 % of the products and of the L2 traffic.
 * - The producer warp holds 32 entries of the list, one a lane; a lane copies its tile's part of the block, as boxes
 *   of 64, 32, 16 or 8 rows. With each unit of K come 128 bits, which keys exist, and whether the block is the last.
 * - VSA's sum: gate and coarse row are fetched beside the list's last product and added to the rows as they leave.
 * - Blocks are masked where they can have gaps: the first and the last of a list, and all of them if the size of any
 *   tile is no multiple of 8.
 *
 * Tried: counts read by the consumers (dependent global loads stall them before each product): replaced before it
 * was timed. Tiles padded to 64 rows and all blocks masked: 3.97 and 1.36 ms. Smaller blocks and more units: 96 keys 14 %,
 * 64 keys 37 % slower. Rows of O straight from registers: no difference. What two neighbours both list loaded once, through one
 * ring: 50 % slower, one producer warp cannot feed two consumers; with two it is the way to less than L2's time. */
#include "kernel/cuda/attn/flash_sm90.cuh"
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/gated.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/launch.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace
{

enum { SIZES = 4 }; /* boxes of 8, 16, 32 and 64 rows */

struct params {
    CUtensorMap q, k[SIZES], v[SIZES];
    __nv_bfloat16 *out;
    const int32_t *start, *index;
    swan_gated_rows add;
    int64_t ldo;
    int tiles, topk, items, width; /* items = heads * tiles; width = heads * 128 */
    float scale_log2;
};

/* Each consumer warpgroup has its own stream: 64 query rows and a ring of three units; a unit is the K or the V of
 * one block of 16 groups of 8 rows. */
enum {
    KEYS = SWAN_FLASH_KEYS,
    GROUPS = KEYS / 8, /* of a block */
    UNIT = KEYS * 256,
    RING = 3,
    INFO = 32, /* bytes that come with a unit of K: a bit for each key, then 1 if the block is the list's last */
    AT_Q = 0,
    AT_RING = 2 * SWAN_FLASH_Q_BYTES,
    AT_BARS = AT_RING + 2 * RING * UNIT,
    STREAM_BARS = (2 + 2 * RING) * 8 + RING * INFO, /* Q full, Q empty, units full, units empty, infos */
    SMEM_BYTES = AT_BARS + 2 * STREAM_BARS + 1024
};
enum { Q_FULL = 0, Q_EMPTY = 1, FULL = 2, EMPTY = 2 + RING, INFOS = 2 + 2 * RING };
enum { BAR_WG = 1 };

#if SWAN_SM90A

/* Places of a stream's things in shared memory. */
struct stream_at {
    uint32_t q, ring, bars;
};
SWAN_DEV stream_at stream_of(uint32_t base, int s)
{
    return {base + AT_Q + s * SWAN_FLASH_Q_BYTES, base + AT_RING + s * RING * UNIT, base + AT_BARS + s * STREAM_BARS};
}

/* Order of the units of one item with n blocks: K0, K1, V0, K2, V1, .. K(n-1), V(n-2), V(n-1). */
SWAN_DEV int unit_k(int i) { return i == 0 ? 0 : 2 * i - 1; }
SWAN_DEV int unit_v(int i, bool last) { return last ? 2 * i + 1 : 2 * i + 2; }

/* 32 entries of a list, one a lane, and the next 32 on their way. begin, end: the entry's groups among all of the
 * list; `to`: where the 32 end. */
struct window {
    int row, count, begin, end, to, at;
    int next_row, next_count;
};
SWAN_DEV void fetch(window &w, const params &p, const int32_t *list)
{
    const int i = w.at + (int)(threadIdx.x & 31);
    w.next_row = w.next_count = 0;
    if (i < p.topk) {
        const int t = __ldg(list + i);
        w.next_row = __ldg(p.start + t);
        w.next_count = __ldg(p.start + t + 1) - w.next_row;
    }
}
SWAN_DEV void advance(window &w, const params &p, const int32_t *list)
{
    const int lane = threadIdx.x & 31, groups = (w.next_count + 7) / 8;
    int sum = groups;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int below = __shfl_up_sync(0xffffffffu, sum, d);
        if (lane >= d) sum += below;
    }
    w.row = w.next_row, w.count = w.next_count;
    w.end = w.to + sum, w.begin = w.end - groups;
    w.to = __shfl_sync(0xffffffffu, w.end, 31);
    w.at += 32;
    fetch(w, p, list);
}
SWAN_DEV window open_list(const params &p, const int32_t *list)
{
    window w = {};
    fetch(w, p, list);
    advance(w, p, list);
    return w;
}

/* One block of K or V into its unit: the list's groups from 16 * block on. Returns whether it is the last. All lanes
 * of the producer warp. */
SWAN_DEV bool load_block(const CUtensorMap *maps, const params &p, const stream_at &at, const int32_t *list, window &w,
                         int block, int unit, int col)
{
    const int slot = unit % RING, lane = threadIdx.x & 31, from = block * GROUPS, to = from + GROUPS;
    const uint32_t full = at.bars + 8 * (FULL + slot), info = at.bars + 8 * INFOS + INFO * slot,
                   dst = at.ring + slot * UNIT;
    swan_mbar_wait(at.bars + 8 * (EMPTY + slot), ((unit / RING) & 1) ^ 1);
    if (lane < 4) asm volatile("st.shared.b32 [%0], 0;" ::"r"(info + 4 * lane) : "memory");
    for (;;) {
        const int lo = max(w.begin, from), hi = min(w.end, to), here = min(w.to, to) - max(from, __shfl_sync(0xffffffffu, w.begin, 0));
        if (lane == 0) swan_mbar_expect_more(full, here * 2048);
        __syncwarp();
        int row = w.row + (lo - w.begin) * 8, left = w.row + w.count - row;
        for (int g = lo; g < hi;) {
            const int size = min(31 - __clz(hi - g), SIZES - 1), rows = 8 << size;
            const uint32_t box = dst + (g - from) * 1024;
            swan_tma_load_2d(box, maps + size, full, col, row, SWAN_L2_EVICT_LAST);
            swan_tma_load_2d(box + UNIT / 2, maps + size, full, col + 64, row, SWAN_L2_EVICT_LAST);
            for (int i = 0; i < rows / 8; i++) {
                const int n = min(left - 8 * i, 8);
                asm volatile("st.shared.u8 [%0], %1;" ::"r"(info + g - from + i), "r"((1 << n) - 1) : "memory");
            }
            g += rows / 8, row += rows, left -= rows;
        }
        if (w.to >= to || w.at >= p.topk) break;
        advance(w, p, list);
    }
    const bool last = w.to <= to && w.at >= p.topk;
    if (lane == 0) asm volatile("st.shared.b32 [%0], %1;" ::"r"(info + 16), "r"((int)last) : "memory");
    swan_mbar_arrive(full); /* every lane for its own bits */
    return last;
}

/* A producer warp. */
SWAN_DEV void produce(const params &p, const stream_at &at, int first, int step)
{
    int units = 0, round = 0;
    for (int item = first; item < p.items; item += step, round++) {
        const int col = item / p.tiles * 128, row = p.start[item % p.tiles];
        const int32_t *list = p.index + (int64_t)item * p.topk;
        window k = open_list(p, list), v = k;
        bool last = load_block(p.k, p, at, list, k, 0, units, col);
        swan_mbar_wait(at.bars + 8 * Q_EMPTY, (round & 1) ^ 1);
        if ((threadIdx.x & 31) == 0) {
            swan_mbar_expect_tx(at.bars + 8 * Q_FULL, SWAN_FLASH_Q_BYTES);
            swan_tma_load_2d(at.q, &p.q, at.bars + 8 * Q_FULL, col, row, SWAN_L2_EVICT_FIRST);
            swan_tma_load_2d(at.q + SWAN_FLASH_Q_BYTES / 2, &p.q, at.bars + 8 * Q_FULL, col + 64, row,
                             SWAN_L2_EVICT_FIRST);
        }
        __syncwarp();
        int i = 0;
        while (!last) {
            last = load_block(p.k, p, at, list, k, i + 1, units + unit_k(i + 1), col);
            load_block(p.v, p, at, list, v, i, units + unit_v(i, false), col);
            i++;
        }
        load_block(p.v, p, at, list, v, i, units + unit_v(i, true), col);
        units += 2 * (i + 1);
    }
}

SWAN_DEV void wait_unit(const stream_at &at, int unit)
{
    swan_mbar_wait(at.bars + 8 * (FULL + unit % RING), (unit / RING) & 1);
}
SWAN_DEV uint32_t unit_addr(const stream_at &at, int unit) { return at.ring + unit % RING * UNIT; }
SWAN_DEV void release(const stream_at &at, int unit)
{
    if ((threadIdx.x & 31) == 0) swan_mbar_arrive(at.bars + 8 * (EMPTY + unit % RING));
}

/* Which keys of a block exist, a bit each. A unit's bits are read by the lane that gives the unit back. */
SWAN_DEV uint4 unit_keys(const stream_at &at, int unit)
{
    uint4 k = {};
    if ((threadIdx.x & 31) == 0)
        asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(k.x), "=r"(k.y), "=r"(k.z), "=r"(k.w)
                     : "r"(at.bars + 8 * INFOS + INFO * (unit % RING))
                     : "memory");
    k.x = __shfl_sync(0xffffffffu, k.x, 0), k.y = __shfl_sync(0xffffffffu, k.y, 0);
    k.z = __shfl_sync(0xffffffffu, k.z, 0), k.w = __shfl_sync(0xffffffffu, k.w, 0);
    return k;
}
SWAN_DEV bool unit_last(const stream_at &at, int unit)
{
    uint32_t last = 0;
    if ((threadIdx.x & 31) == 0)
        asm volatile("ld.shared.b32 %0, [%1];" : "=r"(last) : "r"(at.bars + 8 * INFOS + INFO * (unit % RING) + 16) : "memory");
    return __shfl_sync(0xffffffffu, last, 0); /* tells the compiler that the warp agrees */
}

SWAN_DEV void mask_block(float (&s)[KEYS / 2], const uint4 &keys)
{
    const int shift = (threadIdx.x & 3) * 2;
    const uint32_t w[4] = {keys.x >> shift, keys.y >> shift, keys.z >> shift, keys.w >> shift};
#pragma unroll
    for (int i = 0; i < KEYS / 2; i++)
        if (!(w[i >> 4] >> ((i >> 2 & 3) * 8 + (i & 1)) & 1)) s[i] = -INFINITY;
}

/* An item's rows as a thread writes them: 16 bytes at `column` of rows first + i * STEP of those that exist. */
enum { STEP = 8 };
struct item_rows {
    int tile, row0, rows, first, column;
};
SWAN_DEV item_rows rows_of(const params &p, int item)
{
    const int t = threadIdx.x & 127, tile = item % p.tiles, row0 = __ldg(p.start + tile);
    return {tile, row0, __ldg(p.start + tile + 1) - row0, t >> 4, item / p.tiles * 128 + (t & 15) * 8};
}

/* What is added to them. */
struct addends {
    uint4 gate[64 / STEP], coarse;
};
SWAN_DEV void fetch_addends(addends &a, const params &p, const item_rows &r)
{
    const swan_gated_rows g = swan_gated_at(p.add, r.row0 + r.first, r.tile, p.width, r.column);
    const uint4 none = make_uint4(0, 0, 0, 0); /* a register that is not always written would live through the whole kernel */
    a.coarse = g.gate ? __ldg((const uint4 *)g.coarse) : none;
#pragma unroll
    for (int i = 0; i < 64 / STEP; i++)
        a.gate[i] = g.gate && r.first + i * STEP < r.rows ? swan_load_stream(g.gate + i * STEP * g.ld) : none;
}

/* Stages the tile's rows and writes those that exist. */
SWAN_DEV void store_rows(const params &p, const stream_at &at, const float (&o)[64], float (&l)[2], int wg, const item_rows &r,
                         const addends &add)
{
    __nv_bfloat16 *out = p.out + (r.row0 + r.first) * p.ldo + r.column;
    swan_bar_sync(BAR_WG + wg, 128);
    swan_flash_stage_out(o, l, at.q);
    swan_bar_sync(BAR_WG + wg, 128);
    const int chunk = threadIdx.x & 15;
    const uint32_t from = at.q + (chunk >> 3) * (SWAN_FLASH_Q_BYTES / 2) + r.first * 128 + (((chunk & 7) ^ (r.first & 7)) << 4);
#pragma unroll
    for (int i = 0; i < 64 / STEP; i++, out += STEP * p.ldo) {
        uint4 v = swan_lds16(from + i * STEP * 128);
        if (r.first + i * STEP >= r.rows) continue;
        if (p.add.gate) v = swan_gated_sum(v, add.gate[i], add.coarse);
        *(uint4 *)out = v;
    }
    swan_fence_async_shared();
    swan_bar_sync(BAR_WG + wg, 128);
    if ((threadIdx.x & 127) == 0) swan_mbar_arrive(at.bars + 8 * Q_EMPTY);
}

/* What a consumer warpgroup carries from block to block. */
struct state {
    float s[KEYS / 2], o[64], m[2], l[2];
    uint32_t pr[KEYS / 4];
};

/* S = Q K of block uk, while O += P V of block uv runs; P of uk. */
template <bool MASKED> SWAN_DEV void step_block(const params &p, const stream_at &at, state &c, int uk, int uv)
{
    float corr[2];
    uint4 keys = {};
    if (MASKED) keys = unit_keys(at, uk);
    swan_wgmma_pin(c.pr);
    swan_wgmma_fence();
    swan_flash_qk(c.s, at.q, unit_addr(at, uk));
    wait_unit(at, uv);
    swan_flash_pv(c.o, c.pr, unit_addr(at, uv));
    swan_wgmma_wait<1>();
    swan_wgmma_pin(c.s);
    release(at, uk);
    if (MASKED) mask_block(c.s, keys);
    swan_flash_softmax(c.s, c.m, c.l, corr, p.scale_log2);
    swan_flash_hold(c.l[0] + c.l[1], at.bars);
    swan_wgmma_wait<0>();
    swan_wgmma_pin(c.o);
    release(at, uv);
    swan_flash_round_p(c.pr, c.s);
#pragma unroll
    for (int j = 0; j < 64; j++) c.o[j] *= corr[(j >> 1) & 1];
}

/* RAGGED: some tile's size is no multiple of 8. */
template <bool RAGGED> SWAN_DEV void consume(const params &p, const stream_at &at, int first, int step, int wg)
{
    state c;
    float corr[2];
    int units = 0, round = 0;
    for (int item = first; item < p.items; item += step, round++) {
        swan_mbar_wait(at.bars + 8 * Q_FULL, round & 1);
        wait_unit(at, units);
        uint4 keys = unit_keys(at, units);
        bool last = unit_last(at, units);
        swan_wgmma_fence();
        swan_flash_qk(c.s, at.q, unit_addr(at, units));
#pragma unroll
        for (int i = 0; i < 64; i++) c.o[i] = 0.0f;
        c.m[0] = c.m[1] = -1e30f;
        c.l[0] = c.l[1] = 0.0f;
        swan_wgmma_wait<0>();
        swan_wgmma_pin(c.s);
        release(at, units);
        mask_block(c.s, keys);
        swan_flash_softmax(c.s, c.m, c.l, corr, p.scale_log2);
        swan_flash_round_p(c.pr, c.s);
        int i = 0;
        if (!last) {
#pragma unroll 1
            for (;; i++) {
                wait_unit(at, units + unit_k(i + 1));
                if (unit_last(at, units + unit_k(i + 1))) break;
                step_block<RAGGED>(p, at, c, units + unit_k(i + 1), units + unit_v(i, false));
            }
            step_block<true>(p, at, c, units + unit_k(i + 1), units + unit_v(i, false));
            i++;
        }
        const int uv = units + unit_v(i, true);
        const item_rows rows = rows_of(p, item);
        wait_unit(at, uv);
        swan_wgmma_pin(c.pr);
        swan_wgmma_fence();
        swan_flash_pv(c.o, c.pr, unit_addr(at, uv));
        addends add;
        fetch_addends(add, p, rows);
        swan_wgmma_wait<0>();
        swan_wgmma_pin(c.o);
        release(at, uv);
        store_rows(p, at, c.o, c.l, wg, rows, add);
        units += 2 * (i + 1);
    }
}

#endif /* SWAN_SM90A */

__global__ void __launch_bounds__(384, 1) sparse_bf16(const __grid_constant__ params p)
{
#if SWAN_SM90A
    extern __shared__ uint8_t raw[];
    const uint32_t base = (swan_smem_u32(raw) + 1023u) & ~1023u;
    const int wg = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 7, 0);
    if (threadIdx.x < 2) {
        const uint32_t bars = stream_of(base, (int)threadIdx.x).bars;
        swan_mbar_init(bars + 8 * Q_FULL, 1);
        swan_mbar_init(bars + 8 * Q_EMPTY, 1);
        for (int i = 0; i < RING; i++) {
            swan_mbar_init(bars + 8 * (FULL + i), 32);
            swan_mbar_init(bars + 8 * (EMPTY + i), 4);
        }
        swan_mbar_init_fence();
    }
    /* Rows of a unit that nothing is copied to meet weights of zero: they must be finite. */
    for (uint32_t i = threadIdx.x * 16; i < 2 * RING * UNIT; i += 384 * 16)
        asm volatile("st.shared.v4.b32 [%0], {0, 0, 0, 0};" ::"r"(base + AT_RING + i) : "memory");
    swan_fence_async_shared();
    swan_grid_wait();
    int odd = 0;
    for (int i = (int)threadIdx.x; i <= p.tiles; i += 384) odd |= __ldg(p.start + i) & 7;
    const bool ragged = __shfl_sync(0xffffffffu, __syncthreads_or(odd), 0);
    const int step = (int)gridDim.x * 2;
    if (wg == 0) {
        swan_reg_dec<72>();
        const int s = (int)threadIdx.x >> 5; /* warps 0 and 1 feed one stream each */
        if (s < 2) produce(p, stream_of(base, s), (int)blockIdx.x * 2 + s, step);
    } else {
        swan_reg_inc<216>();
        if (ragged) consume<true>(p, stream_of(base, wg - 1), (int)blockIdx.x * 2 + wg - 1, step, wg - 1);
        else consume<false>(p, stream_of(base, wg - 1), (int)blockIdx.x * 2 + wg - 1, step, wg - 1);
    }
#endif
}

} // namespace

extern "C" int swan_cuda_attn_block_sparse_sm90(cudaStream_t stream, const swan_attn_block_sparse_args *a)
{
    params p;
    cudaError_t e;
    int sms = 0;
    if (a->L < 1 || a->tiles < 1 || a->heads < 1 || a->topk < 1 || a->topk > a->tiles) return cudaErrorInvalidValue;
    if (a->head_dim != 128 || a->L > 1 << 24 || a->tiles * a->heads > 1 << 24 ||
        ((a->ldq | a->ldk | a->ldv | a->ldo | a->ld_gate) & 7) || swan_misaligned(a->q, a->k, a->v, a->out) ||
        swan_misaligned(a->gate, a->coarse))
        return cudaErrorNotSupported;
    const uint64_t width = (uint64_t)a->heads * 128;
    p.width = (int)width;
    if ((e = swan_tma_map_bf16(&p.q, a->q, a->L, width, a->ldq, 64))) return e;
    for (int i = 0; i < SIZES; i++)
        if ((e = swan_tma_map_bf16(&p.k[i], a->k, a->L, width, a->ldk, 8u << i)) ||
            (e = swan_tma_map_bf16(&p.v[i], a->v, a->L, width, a->ldv, 8u << i)))
            return e;
    if ((e = swan_multiprocessors(&sms)) ||
        (e = cudaFuncSetAttribute(sparse_bf16, cudaFuncAttributeMaxDynamicSharedMemorySize, SMEM_BYTES)))
        return e;
    p.out = (__nv_bfloat16 *)a->out;
    p.start = a->tile_start, p.index = a->index;
    p.add = {(const __nv_bfloat16 *)a->gate, (const __nv_bfloat16 *)a->coarse, a->ld_gate};
    p.ldo = a->ldo;
    p.tiles = (int)a->tiles, p.topk = (int)a->topk, p.items = (int)(a->tiles * a->heads);
    p.scale_log2 = a->scale * 1.4426950408889634f;
    const int ctas = (p.items + 1) / 2;
    const int grid = ctas < sms ? ctas : sms;
    sparse_bf16<<<grid, 384, SMEM_BYTES, stream>>>(p);
    return cudaGetLastError();
}
