/* Block-sparse attention over listed tiles (VSA's fine branch), bf16, head_dim 128, mma.sync, sm_80 and up: each tile of at most
 * 64 query rows attends to the rows of topk tiles; VSA's gated sum with it. Source: VSA (arXiv 2505.13389); inner loop after
 * FlashAttention-2 (arXiv 2307.08691).
 *
 * Shapes: q, k, v, out bf16 [L, H, 128] in tile order without padding; tile_start i32 [tiles+1], index i32 [H, tiles, topk]. Row
 * strides multiples of 8, bases aligned to 16 B.
 *
 * Numerics: as the dense kernel: fp32 sums and statistics, P rounded to bf16. Deterministic.
 *
 * Roofline at L = 32,760, 624 tiles, top-k 125: 1.32 TFLOP of rows that exist, 8 ms on an RTX 4090 (165 TFLOPS with fp32 sums),
 * 4.2 ms on an A100 (312).
 *
 * Measured, 2026-11-22, one H100 80GB SXM, random lists (bench/LOG.md): 624 tiles, top-k 125: 4.62 ms, 285 TFLOPS of rows that
 * exist, 425 counting tiles as full; 364 full tiles, top-k 73: 1.98 ms, 337 TFLOPS. mma_small: 5.17 and 2.28 ms. Run on no other
 * GPU.
 *
 * Plan: a block owns one query tile; warps past the tile's end only help to copy. The rows of the listed tiles are packed: keys
 * go in blocks of 64 without gaps, each row copied from where it is, so that partial tiles cost what they hold and only the last
 * block has a mask. K and V pass through one buffer of 16 KiB each, as in the dense kernel.
 * - `mma`: two warps of 32 rows, Q in shared memory, 48 KiB a block, three or four to a multiprocessor of 164 KiB and more: K and
 *   V are read from shared memory twice, which is the narrow place where tensor cores are fast.
 * - `mma_small`: four warps of 16 rows, Q in registers, 32 KiB, two to a multiprocessor with 100 KiB (sm_86, 89, 120), whose tensor
 *   cores take four times as long. */
#include "kernel/cuda/attn/flash_mma.cuh"
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum { D = 128, BM = 64, BN = 64, TILE_BYTES = BN * 2 * D, MAX_BYTES = 99 * 1024 };

/* MT x 16 rows a warp. */
template <int MT> struct shape {
    static constexpr int threads = 128 / MT, q_bytes = MT == 1 ? 0 : TILE_BYTES, blocks = MT == 1 ? 2 : 4;
};

struct params {
    const __nv_bfloat16 *q, *k, *v;
    __nv_bfloat16 *out;
    const int32_t *start, *index;
    swan_gated_rows add;
    int64_t ldq, ldo;
    uint32_t ldk, ldv; /* bytes */
    int tiles, topk;
    float scale_log2;
};

/* The listed keys without gaps: entry j of the list holds keys at[j] .. at[j + 1] - 1, rows from row[j] on; block b of 64 keys
 * begins in entry first[b]. rows: two blocks' rows; past the last key: the last key's, again. */
struct keys {
    int32_t *at, *row, *first, *rows;
    int total;
};

static int keys_bytes(int topk) { return (3 * topk + 2 + 2 * BN) * 4; }

/* All threads; the first warp sums the counts up. */
SWAN_DEV void list_keys(keys &l, int32_t *smem, const int32_t *list, const params &p, int warp)
{
    const int lane = (int)threadIdx.x & 31;
    l.rows = smem, l.at = l.rows + 2 * BN, l.row = l.at + p.topk + 1, l.first = l.row + p.topk;
    for (int j = (int)threadIdx.x; j < p.topk; j += (int)blockDim.x) {
        const int tile = __ldg(list + j), row = __ldg(p.start + tile);
        l.row[j] = row;
        l.at[j + 1] = __ldg(p.start + tile + 1) - row;
    }
    if (threadIdx.x == 0) l.at[0] = 0;
    __syncthreads();
    if (warp == 0) {
        int before = 0;
        for (int j0 = 0; j0 < p.topk; j0 += 32) {
            const int j = j0 + lane, count = j < p.topk ? l.at[j + 1] : 0;
            int end = count;
#pragma unroll
            for (int d = 1; d < 32; d <<= 1) {
                const int other = __shfl_up_sync(0xffffffffu, end, d);
                if (lane >= d) end += other;
            }
            end += before;
            if (j < p.topk) l.at[j + 1] = end;
            const int block = (end - count + BN - 1) / BN; /* at most one begins here: a tile has at most 64 rows */
            if (block * BN < end) l.first[block] = j;
            before = __shfl_sync(0xffffffffu, end, 31);
        }
    }
    __syncthreads();
    l.total = l.at[p.topk];
}

/* Threads 0 .. 63: the rows of block b. */
SWAN_DEV void list_rows(const keys &l, int b)
{
    if (threadIdx.x >= BN) return;
    const int key = min(b * BN + (int)threadIdx.x, l.total - 1);
    int j = l.first[b];
    while (l.at[j + 1] <= key) j++;
    l.rows[(b & 1) * BN + (int)threadIdx.x] = l.row[j] + key - l.at[j];
}

/* Block b of K or V, consecutive rows a thread. ld: bytes; rows: shared address of the block's list. */
template <int MT> SWAN_DEV void copy_block(uint32_t dst, const __nv_bfloat16 *src, uint32_t ld, uint32_t rows)
{
    constexpr int EACH = BN * 16 / shape<MT>::threads;
    const int chunk = (int)threadIdx.x & 15, r0 = ((int)threadIdx.x >> 4) * EACH;
    const char *from = (const char *)src + chunk * 16;
#pragma unroll
    for (int i = 0; i < EACH; i += 4) {
        const uint4 row = swan_lds16(rows + (r0 + i) * 4);
        swan_copy16(dst + swan_flash_mma_at<D>(r0 + i, chunk), from + (uint64_t)row.x * ld, true);
        swan_copy16(dst + swan_flash_mma_at<D>(r0 + i + 1, chunk), from + (uint64_t)row.y * ld, true);
        swan_copy16(dst + swan_flash_mma_at<D>(r0 + i + 2, chunk), from + (uint64_t)row.z * ld, true);
        swan_copy16(dst + swan_flash_mma_at<D>(r0 + i + 3, chunk), from + (uint64_t)row.w * ld, true);
    }
}

template <int MT> SWAN_DEV void mask(float (&s)[MT][BN / 8][4], int left)
{
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (8 * j + (e & 1) >= left) {
#pragma unroll
                for (int i = 0; i < MT; i++) s[i][j][e] = -INFINITY;
            }
}

/* grid (tiles, heads). */
template <int MT> __global__ void __launch_bounds__(shape<MT>::threads, shape<MT>::blocks) sparse_bf16_mma(const params p)
{
    extern __shared__ float4 raw[];
    const uint32_t k = swan_smem_u32(raw), v = k + TILE_BYTES, at_q = MT == 1 ? v : v + TILE_BYTES;
    const int head = (int)blockIdx.y, tile = (int)blockIdx.x, lane = (int)threadIdx.x & 31;
    const int warp = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 5, 0); /* uniform, so that branches on it are */
    swan_grid_wait();
    const int row0 = __ldg(p.start + tile), rows = __ldg(p.start + tile + 1) - row0;
    swan_flash_mma_copy<D, BM, shape<MT>::threads>(at_q, p.q + row0 * p.ldq + head * D, p.ldq, rows);
    swan_copy_commit();
    keys l;
    list_keys(l, (int32_t *)raw + (2 * TILE_BYTES + shape<MT>::q_bytes) / 4,
              p.index + ((int64_t)head * p.tiles + tile) * p.topk, p, warp);
    const uint32_t at_rows = swan_smem_u32(l.rows);
    list_rows(l, 0);
    __syncthreads();
    copy_block<MT>(k, p.k + head * D, p.ldk, at_rows);
    swan_copy_commit();

    float o[MT][D / 8][4], s[MT][BN / 8][4];
    uint32_t q_regs[D / 16][4];
    swan_flash_mma_stats<MT> st;
    swan_flash_mma_begin<D, MT>(o, st);
    const uint32_t q = at_q + warp * 16 * MT * 2 * D + swan_flash_mma_lane_a<D>();
    if (MT == 1) {
        swan_copy_wait<1>();
        __syncthreads();
#pragma unroll
        for (int i = 0; i < D / 16; i++) swan_ldmatrix_x4(q_regs[i], q ^ (i * 32));
    }
    const uint32_t at_k = k + swan_flash_mma_lane_b<D>(), at_v = v + swan_flash_mma_lane_a<D>();
    const bool busy = warp * 16 * MT < rows;
    const int blocks = (l.total + BN - 1) / BN;
#pragma unroll 1
    for (int b = 0; b < blocks; b++) {
        const int left = l.total - b * BN;
        swan_copy_wait<0>();
        __syncthreads(); /* K is there, and V (at first: Q in its place) has been read */
        copy_block<MT>(v, p.v + head * D, p.ldv, at_rows + (b & 1) * BN * 4);
        swan_copy_commit();
        if (left > BN) list_rows(l, b + 1);
        if (busy) swan_flash_mma_qk<D, MT, BN>(s, MT == 1 ? q_regs : nullptr, q, at_k);
        swan_copy_wait<0>();
        __syncthreads(); /* V is there, and K has been read */
        if (left > BN) {
            copy_block<MT>(k, p.k + head * D, p.ldk, at_rows + (~b & 1) * BN * 4);
            swan_copy_commit();
        }
        if (busy) {
            if (left < BN) mask<MT>(s, left - 2 * (lane & 3));
            swan_flash_mma_softmax<D, MT, BN>(s, o, st, p.scale_log2);
            swan_flash_mma_pv<D, MT, BN>(o, s, at_v);
        }
    }
    if (!busy) return;
    const int row = warp * 16 * MT;
    swan_flash_mma_store<D, MT>(p.out + (row0 + row) * p.ldo + head * D, p.ldo, rows - row, o, st, k + row * 2 * D,
                                swan_gated_at(p.add, row0 + row, tile, (int)gridDim.y * D, head * D));
}

template <int MT> cudaError_t sparse(cudaStream_t stream, const swan_attn_block_sparse_args *a)
{
    if (a->L < 1 || a->tiles < 1 || a->heads < 1 || a->topk < 1 || a->topk > a->tiles) return cudaErrorInvalidValue;
    if (a->head_dim != D || a->L > 1 << 24 || a->heads > 65535 || a->topk > 1 << 16 || a->ldk > 1 << 28 || a->ldv > 1 << 28 ||
        ((a->ldq | a->ldk | a->ldv | a->ldo | a->ld_gate) & 7) || swan_misaligned(a->q, a->k, a->v, a->out) ||
        swan_misaligned(a->gate, a->coarse))
        return cudaErrorNotSupported;
    const int bytes = 2 * TILE_BYTES + shape<MT>::q_bytes + keys_bytes((int)a->topk);
    if (bytes > MAX_BYTES) return cudaErrorNotSupported;
    const cudaError_t e = cudaFuncSetAttribute(sparse_bf16_mma<MT>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (e) return e;
    params p;
    p.q = (const __nv_bfloat16 *)a->q, p.k = (const __nv_bfloat16 *)a->k, p.v = (const __nv_bfloat16 *)a->v;
    p.out = (__nv_bfloat16 *)a->out;
    p.start = a->tile_start, p.index = a->index;
    p.add = {(const __nv_bfloat16 *)a->gate, (const __nv_bfloat16 *)a->coarse, a->ld_gate};
    p.ldq = a->ldq, p.ldo = a->ldo;
    p.ldk = (uint32_t)a->ldk * 2, p.ldv = (uint32_t)a->ldv * 2;
    p.tiles = (int)a->tiles, p.topk = (int)a->topk;
    p.scale_log2 = a->scale * 1.4426950408889634f;
    sparse_bf16_mma<MT><<<dim3((unsigned)p.tiles, (unsigned)a->heads), shape<MT>::threads, bytes, stream>>>(p);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_attn_block_sparse_mma(cudaStream_t stream, const swan_attn_block_sparse_args *a)
{
    return sparse<2>(stream, a);
}
extern "C" int swan_cuda_attn_block_sparse_mma_small(cudaStream_t stream, const swan_attn_block_sparse_args *a)
{
    return sparse<1>(stream, a);
}
