/* Block-sparse attention over listed tiles (VSA's fine branch), bf16, head_dim 128, sm_90a: each tile of at most
 * 64 query rows attends to the rows of topk tiles. Source: VSA (arXiv 2505.13389); inner loop after
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
 * 624 tiles, top-k 125: 3.97 ms, 494 TFLOPS on padded FLOPs; 364 tiles, top-k 73: 1.36 ms, 491 TFLOPS. The target
 * of 540 is not reached.
 *
 * Plan: persistent CTAs of one producer warpgroup and two consumer warpgroups. A consumer warpgroup and a producer
 * thread form an independent stream: one query tile at a time, pairs of listed tiles (128 keys) as one block, a
 * ring of three 32 KiB units through which K and V pass in the order K0 K1 V0 K2 V1 ..; S(i+1) = Q K is issued
 * before O += P(i) V. Items run head by head, so that one head's K and V stay in L2. The producer reads the list
 * and hands the key counts over with each unit of K.
 *
 * Tried: counts read by the consumers (dependent global loads stall them before each product): replaced before it
 * was timed. Not tried: a mask only for pairs with partial tiles (now 128 instructions an iteration); a turn
 * barrier between the streams; clusters that share the union of two neighbours' lists; smaller blocks with more
 * streams. */
#include "kernel/cuda/attn/flash_sm90.cuh"
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/launch.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace
{

struct params {
    CUtensorMap q, k, v;
    __nv_bfloat16 *out;
    const int32_t *start, *index;
    int64_t ldo;
    int tiles, topk, items; /* items = heads * tiles */
    float scale_log2;
};

/* Each consumer warpgroup has its own stream: 64 query rows and a ring of three units; a unit is the K or the V of
 * two tiles. */
enum {
    PAIR = SWAN_FLASH_KEYS, /* keys of two tiles */
    UNIT = PAIR * 256,
    RING = 3,
    AT_Q = 0,
    AT_RING = 2 * SWAN_FLASH_Q_BYTES,
    AT_BARS = AT_RING + 2 * RING * UNIT,
    BARS = 2 + 3 * RING, /* a stream's, 8 bytes each: Q full, Q empty, units full, units empty, and the key counts of
                            K units */
    SMEM_BYTES = AT_BARS + 2 * BARS * 8 + 1024
};
enum { Q_FULL = 0, Q_EMPTY = 1, FULL = 2, EMPTY = 2 + RING, COUNTS = 2 + 2 * RING };
enum { BAR_WG = 1 };

#if SWAN_SM90A

/* Places of a stream's things in shared memory. */
struct stream_at {
    uint32_t q, ring, bars;
};
SWAN_DEV stream_at stream_of(uint32_t base, int s)
{
    return {base + AT_Q + s * SWAN_FLASH_Q_BYTES, base + AT_RING + s * RING * UNIT, base + AT_BARS + s * BARS * 8};
}

/* Order of the units of one item with n pairs: K0, K1, V0, K2, V1, .. K(n-1), V(n-2), V(n-1). */
SWAN_DEV int unit_k(int i) { return i == 0 ? 0 : 2 * i - 1; }
SWAN_DEV int unit_v(int i, int n) { return i == n - 1 ? 2 * n - 1 : 2 * i + 2; }

/* Two tiles of the list: first rows and how many keys each really holds. An odd list's last pair has its tile twice,
 * the second time with no keys, so that what is in shared memory is always finite. */
struct pair {
    int row[2], count[2];
};
SWAN_DEV pair pair_at(const params &p, const int32_t *list, int i)
{
    pair r;
#pragma unroll
    for (int b = 0; b < 2; b++) {
        const int t = __ldg(list + min(2 * i + b, p.topk - 1));
        r.row[b] = __ldg(p.start + t);
        r.count[b] = 2 * i + b < p.topk ? __ldg(p.start + t + 1) - r.row[b] : 0;
    }
    return r;
}

SWAN_DEV void load_pair(const CUtensorMap *map, const stream_at &at, const pair &r, int unit, int col)
{
    const int slot = unit % RING;
    const uint32_t full = at.bars + 8 * (FULL + slot), dst = at.ring + slot * UNIT;
    swan_mbar_wait(at.bars + 8 * (EMPTY + slot), ((unit / RING) & 1) ^ 1);
    asm volatile("st.shared.v2.b32 [%0], {%1,%2};" ::"r"(at.bars + 8 * (COUNTS + slot)), "r"(r.count[0]),
                 "r"(r.count[1])
                 : "memory");
    swan_mbar_expect_tx(full, UNIT);
#pragma unroll
    for (int b = 0; b < 2; b++) {
        swan_tma_load_2d(dst + b * 8192, map, full, col, r.row[b], SWAN_L2_EVICT_LAST);
        swan_tma_load_2d(dst + UNIT / 2 + b * 8192, map, full, col + 64, r.row[b], SWAN_L2_EVICT_LAST);
    }
}

SWAN_DEV void produce(const params &p, const stream_at &at, int first, int step)
{
    const int n = (p.topk + 1) / 2;
    int units = 0, round = 0;
    for (int item = first; item < p.items; item += step, round++) {
        const int col = item / p.tiles * 128, row = p.start[item % p.tiles];
        const int32_t *list = p.index + (int64_t)item * p.topk;
        pair now = pair_at(p, list, 0);
        load_pair(&p.k, at, now, units, col);
        swan_mbar_wait(at.bars + 8 * Q_EMPTY, (round & 1) ^ 1);
        swan_mbar_expect_tx(at.bars + 8 * Q_FULL, SWAN_FLASH_Q_BYTES);
        swan_tma_load_2d(at.q, &p.q, at.bars + 8 * Q_FULL, col, row, SWAN_L2_EVICT_FIRST);
        swan_tma_load_2d(at.q + SWAN_FLASH_Q_BYTES / 2, &p.q, at.bars + 8 * Q_FULL, col + 64, row,
                         SWAN_L2_EVICT_FIRST);
        for (int i = 1; i < n; i++) {
            const pair next = pair_at(p, list, i);
            load_pair(&p.k, at, next, units + unit_k(i), col);
            load_pair(&p.v, at, now, units + unit_v(i - 1, n), col);
            now = next;
        }
        load_pair(&p.v, at, now, units + unit_v(n - 1, n), col);
        units += 2 * n;
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

/* Key counts that came with a K unit. */
SWAN_DEV int2 unit_counts(const stream_at &at, int unit)
{
    int2 c;
    asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];"
                 : "=r"(c.x), "=r"(c.y)
                 : "r"(at.bars + 8 * (COUNTS + unit % RING))
                 : "memory");
    return c;
}

SWAN_DEV void mask_pair(float (&s)[PAIR / 2], int2 count)
{
    const int col0 = (threadIdx.x & 3) * 2;
#pragma unroll
    for (int i = 0; i < PAIR / 2; i++) {
        const int col = col0 + ((i >> 2) & 7) * 8 + (i & 1);
        if (col >= (i < PAIR / 4 ? count.x : count.y)) s[i] = -INFINITY;
    }
}

/* Stages the tile's rows and writes those that exist, 16 bytes a thread. */
SWAN_DEV void store_rows(const params &p, const stream_at &at, const float (&o)[64], float (&l)[2], int wg, int item)
{
    const int t = threadIdx.x & 127, tile = item % p.tiles;
    const int row0 = p.start[tile], rows = p.start[tile + 1] - row0;
    __nv_bfloat16 *out = p.out + row0 * p.ldo + item / p.tiles * 128;
    swan_bar_sync(BAR_WG + wg, 128);
    swan_flash_stage_out(o, l, at.q);
    swan_bar_sync(BAR_WG + wg, 128);
    const int chunk = t & 15;
#pragma unroll
    for (int r = t >> 4; r < 64; r += 8) {
        uint32_t v[4];
        const uint32_t from =
            at.q + (chunk >> 3) * (SWAN_FLASH_Q_BYTES / 2) + r * 128 + (((chunk & 7) ^ (r & 7)) << 4);
        asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                     : "r"(from)
                     : "memory");
        if (r < rows) *(uint4 *)(out + r * p.ldo + chunk * 8) = make_uint4(v[0], v[1], v[2], v[3]);
    }
    swan_fence_async_shared();
    swan_bar_sync(BAR_WG + wg, 128);
    if (t == 0) swan_mbar_arrive(at.bars + 8 * Q_EMPTY);
}

SWAN_DEV void consume(const params &p, const stream_at &at, int first, int step, int wg)
{
    const int n = (p.topk + 1) / 2;
    float s[PAIR / 2], o[64], m[2], l[2], corr[2];
    uint32_t pr[PAIR / 4];
    int units = 0, round = 0;
    for (int item = first; item < p.items; item += step, round++) {
        swan_mbar_wait(at.bars + 8 * Q_FULL, round & 1);
        wait_unit(at, units);
        int2 count = unit_counts(at, units);
        swan_wgmma_fence();
        swan_flash_qk(s, at.q, unit_addr(at, units));
#pragma unroll
        for (int i = 0; i < 64; i++) o[i] = 0.0f;
        m[0] = m[1] = -1e30f;
        l[0] = l[1] = 0.0f;
        swan_wgmma_wait<0>();
        swan_wgmma_pin(s);
        release(at, units);
        mask_pair(s, count);
        swan_flash_softmax(s, m, l, corr, p.scale_log2);
        swan_flash_round_p(pr, s);
#pragma unroll 1
        for (int i = 1; i < n; i++) {
            const int uk = units + unit_k(i), uv = units + unit_v(i - 1, n);
            wait_unit(at, uk);
            count = unit_counts(at, uk);
            swan_wgmma_pin(pr);
            swan_wgmma_fence();
            swan_flash_qk(s, at.q, unit_addr(at, uk));
            wait_unit(at, uv);
            swan_flash_pv(o, pr, unit_addr(at, uv));
            swan_wgmma_wait<1>();
            swan_wgmma_pin(s);
            release(at, uk);
            mask_pair(s, count);
            swan_flash_softmax(s, m, l, corr, p.scale_log2);
            swan_flash_hold(l[0] + l[1], at.bars);
            swan_wgmma_wait<0>();
            swan_wgmma_pin(o);
            release(at, uv);
            swan_flash_round_p(pr, s);
#pragma unroll
            for (int j = 0; j < 64; j++) o[j] *= corr[(j >> 1) & 1];
        }
        const int uv = units + 2 * n - 1;
        wait_unit(at, uv);
        swan_wgmma_pin(pr);
        swan_wgmma_fence();
        swan_flash_pv(o, pr, unit_addr(at, uv));
        swan_wgmma_wait<0>();
        swan_wgmma_pin(o);
        release(at, uv);
        store_rows(p, at, o, l, wg, item);
        units += 2 * n;
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
            swan_mbar_init(bars + 8 * (FULL + i), 1);
            swan_mbar_init(bars + 8 * (EMPTY + i), 4);
        }
        swan_mbar_init_fence();
    }
    __syncthreads();
    swan_grid_wait();
    const int step = (int)gridDim.x * 2;
    if (wg == 0) {
        swan_reg_dec<40>();
        const int s = (int)threadIdx.x >> 5; /* warps 0 and 1 feed one stream each */
        if (s < 2 && (threadIdx.x & 31) == 0) produce(p, stream_of(base, s), (int)blockIdx.x * 2 + s, step);
    } else {
        swan_reg_inc<232>();
        consume(p, stream_of(base, wg - 1), (int)blockIdx.x * 2 + wg - 1, step, wg - 1);
    }
#endif
}

} // namespace

extern "C" int swan_cuda_attn_block_sparse_sm90(cudaStream_t stream, const swan_attn_block_sparse_args *a)
{
    params p;
    cudaError_t e;
    int dev = 0, sms = 0;
    if (a->L < 1 || a->tiles < 1 || a->heads < 1 || a->topk < 1 || a->topk > a->tiles) return cudaErrorInvalidValue;
    if (a->head_dim != 128 || a->L > 1 << 24 || a->tiles * a->heads > 1 << 24 ||
        ((a->ldq | a->ldk | a->ldv | a->ldo) & 7) || swan_misaligned(a->q, a->k, a->v, a->out))
        return cudaErrorNotSupported;
    const uint64_t width = (uint64_t)a->heads * 128;
    if ((e = swan_tma_map_bf16(&p.q, a->q, a->L, width, a->ldq, 64)) ||
        (e = swan_tma_map_bf16(&p.k, a->k, a->L, width, a->ldk, 64)) ||
        (e = swan_tma_map_bf16(&p.v, a->v, a->L, width, a->ldv, 64)))
        return e;
    if ((e = cudaGetDevice(&dev)) || (e = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, dev)) ||
        (e = cudaFuncSetAttribute(sparse_bf16, cudaFuncAttributeMaxDynamicSharedMemorySize, SMEM_BYTES)))
        return e;
    p.out = (__nv_bfloat16 *)a->out;
    p.start = a->tile_start, p.index = a->index;
    p.ldo = a->ldo;
    p.tiles = (int)a->tiles, p.topk = (int)a->topk, p.items = (int)(a->tiles * a->heads);
    p.scale_log2 = a->scale * 1.4426950408889634f;
    const int ctas = (p.items + 1) / 2;
    const int grid = ctas < sms ? ctas : sms;
    sparse_bf16<<<grid, 384, SMEM_BYTES, stream>>>(p);
    return cudaGetLastError();
}
