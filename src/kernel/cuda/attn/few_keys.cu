/* Attention over at most 128 keys, bf16, head_dim 64, mma.sync, sm_80 and up: out = softmax(scale q k^T + key_bias + rel_bias) v for each
 * head; any Lq. The text encoder's, where a launch's latency is what it costs.
 *
 * Shapes and numerics: those of dense_bf16_mma.cu, which calls this.
 *
 * Roofline at 128 tokens, 64 heads: 6 MB, 2 us; below that a launch's latency.
 *
 * Plan: a block owns 64 query rows of one head, four warps of 16; all keys and values lie in shared memory after one wait, Q in
 * registers, so that softmax is done once, over all scores; the biases of the head are read meanwhile. Launched programmatically
 * dependent, and small enough (128 registers a thread, 34 KiB) to wait beside the products before and after it. */
#include "kernel/cuda/attn/few_keys.h"
#include "kernel/cuda/attn/flash_mma.cuh"
#include "kernel/cuda/common/start.cuh"

#include <cuda_runtime.h>

namespace
{

enum { D = 64, BM = 64, THREADS = 128 };

typedef swan_dense_mma_params params;

/* Row g and row g + 8 of this warp's q as operand A. */
SWAN_DEV void load_q(uint32_t (&a)[D / 16][4], const params &p, const __nv_bfloat16 *q, int row)
{
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int step = 0; step < D / 16; step++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int r = row + 8 * (e & 1), c = 16 * step + 8 * (e >> 1) + 2 * t;
            a[step][e] = r < p.Lq ? *(const uint32_t *)(q + r * p.ldq + c) : 0;
        }
}

/* grid (tiles of BM rows, heads). BN: keys, a multiple of 32 of which the last are missing. */
template <int BN> __global__ void __launch_bounds__(THREADS, 4) few_keys(const params p)
{
    __shared__ __align__(1024) uint8_t tile[2][(BN > BM ? BN : BM) * 2 * D];
    __shared__ float key_bias[BN], rel_bias[BM + BN];
    const uint32_t k = swan_smem_u32(tile[0]), v = swan_smem_u32(tile[1]);
    const int head = (int)blockIdx.y, row0 = (int)blockIdx.x * BM, warp = (int)threadIdx.x >> 5, lane = (int)threadIdx.x & 31;
    const int row = row0 + warp * 16 + (lane >> 2);
    swan_grid_launch_dependents();
    swan_grid_wait();
    swan_flash_mma_copy<D, BN, THREADS>(k, p.k + head * D, p.ldk, p.Lk);
    swan_flash_mma_copy<D, BN, THREADS>(v, p.v + head * D, p.ldv, p.Lk);
    swan_copy_commit();
    uint32_t q[D / 16][4];
    load_q(q, p, p.q + head * D, row);
    /* what key 0 and query BM - 1 of the tile have stands first */
    for (int i = threadIdx.x; i < BM + BN; i += THREADS) {
        const int at = p.Lq - 1 + i - (BM - 1) - row0;
        rel_bias[i] = p.rel_bias && at >= 0 && at < p.Lq + p.Lk - 1
                          ? p.rel_bias[head * p.ld_rel + at] * 1.4426950408889634f
                          : 0.0f;
    }
    for (int i = threadIdx.x; i < BN; i += THREADS)
        key_bias[i] = i >= p.Lk ? -INFINITY : p.key_bias ? p.key_bias[i] * 1.4426950408889634f : 0.0f;
    swan_copy_wait<0>();
    __syncthreads();
    float o[1][D / 8][4], s[1][BN / 8][4];
    swan_flash_mma_stats<1> st;
    swan_flash_mma_begin<D, 1>(o, st);
    swan_flash_mma_qk<D, 1, BN>(s, q, 0, k + swan_flash_mma_lane_b<D>());
    const float *rel = rel_bias + BM - 1 + row0 - row;
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int key = 8 * j + 2 * (lane & 3) + (e & 1);
            s[0][j][e] = fmaf(s[0][j][e], p.scale_log2, key_bias[key] + rel[key - 8 * (e >> 1)]);
        }
    swan_flash_mma_softmax<D, 1, BN>(s, o, st, 1.0f);
    swan_flash_mma_pv<D, 1, BN>(o, s, v + swan_flash_mma_lane_a<D>());
    __syncthreads(); /* K has been read: its memory turns the rows into accesses of 16 bytes */
    const int first = row0 + warp * 16;
    swan_flash_mma_store<D, 1>(p.out + first * p.ldo + head * D, p.ldo, p.Lq - first, o, st, k + warp * 16 * 2 * D);
}

} // namespace

cudaError_t swan_few_keys(cudaStream_t stream, const swan_dense_mma_params &p, unsigned heads)
{
    const dim3 grid((unsigned)((p.Lq + BM - 1) / BM), heads);
    if (p.Lk <= 32) return swan_start(few_keys<32>, grid, THREADS, 0, stream, p);
    if (p.Lk <= 64) return swan_start(few_keys<64>, grid, THREADS, 0, stream, p);
    if (p.Lk <= 96) return swan_start(few_keys<96>, grid, THREADS, 0, stream, p);
    return swan_start(few_keys<128>, grid, THREADS, 0, stream, p);
}
