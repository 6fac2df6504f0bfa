/* Matrix product with few rows, bf16, at the speed at which the weights can be read: r = x W^T + bias with a fused epilogue.
 * sm_80 and up. For the text encoder, whose 9.3 GB of weights meet at most a few hundred tokens.
 *
 * Shapes: x bf16 [M <= 128, K], W bf16 [N, K] contiguous, y bf16 [M, N]; bias, gate f32 [N]; N, K and strides multiples of 8,
 * bases aligned to 16 B. Nothing outside is read or written.
 *
 * Numerics: fp32 products and sums, one rounding. The number of blocks, and so the order of sums, depends on the number of
 * multiprocessors; on one GPU the result is always the same (no atomics).
 *
 * Roofline: bytes of W over copy bandwidth: 4096 x 4096 33.5 MB, 11.5 us at 2.93 TB/s; 10,240 x 4096 83.9 MB, 28.6 us. At
 * M = 128 this takes 370 TFLOPS of mma.sync, and x comes from L2 once for every 128 rows of W: as many bytes as W.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench linear only=skinny` (bench/LOG.md), M = 32 / 64 / 128: 4096 x 4096 18.4 /
 * 20.6 / 27.9 us; 10,240 x 4096 37.1 / 42.8 / 56.1 us, 2.26 / 1.96 / 1.49 TB/s of W. A k block takes 0.8 us at M = 32 (bandwidth: 0.74)
 * and 1.2 at 128; the rest is the end of a tile, 6 to 9 us a launch. On sm_90 linear_bf16_skinny_sm90.cu is faster.
 *
 * Plan: y^T = W x^T, so that W is the 16-row operand. A block's eight warps are 4 groups of 32 rows of W x 2 halves of each
 * 64 columns, all tokens in every warp.
 * - The order of k inside a product is free: a lane takes 8 neighbouring values (16 bytes) of its row for two k16 steps, and
 *   the same 8 of x. So W goes from HBM to the very lane that multiplies it, through a private ring in shared memory
 *   (cp.async), without a shuffle or a bank conflict; x through a ring that the block shares.
 * - Stream-K: the (tile, k block) units are dealt out evenly to one block an SM. Blocks that share a tile and end with it
 * add up a part of it each; a block that has more to do afterwards only leaves its sums. What they exchange lies in the
 * workspace in the order of the accumulators, with a flag for each reader. A flag is up when it holds the launch's number, so
 * that the workspace needs no clearing; its reader takes it down, so that a graph can be replayed.
 * - y in accumulator order is y^T; 8 x 8 transposes in registers (movmatrix) give accesses of 16 bytes a token.
 * - Launched programmatically dependent: the first stages of W are on their way before the kernel that makes x has ended. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/epilogue.cuh"
#include "kernel/cuda/common/mma.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/launch.h"
#include "kernel/cuda/linear/skinny.cuh"

#include <cuda_runtime.h>

namespace
{

enum { BN = SWAN_SKINNY_BN, BK = SWAN_SKINNY_BK, THREADS = SWAN_SKINNY_THREADS, W_BYTES = BN * BK * 2 };

struct params {
    const __nv_bfloat16 *x, *w;
    int64_t ldx;
    int K;
    swan_skinny to;
};

/* Where a unit's operands are; steps through a block's units. */
struct cursor {
    int row, k; /* of W */
    __device__ __forceinline__ void step(const params &p)
    {
        k += BK;
        if (k >= p.to.k_blocks * BK) k = 0, row += BN;
    }
};

/* This lane's four times 16 bytes of W: rows g, g + 8, g + 16, g + 24 of its warp's 32. */
SWAN_DEV void load_w(const params &p, uint32_t stage, const cursor &c)
{
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int row = c.row + (warp & 3) * 32 + (lane >> 2), k = c.k + (warp >> 2) * 32 + (lane & 3) * 8;
    const __nv_bfloat16 *from = p.w + (int64_t)row * p.K + k;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const bool in = k < p.K && row + 8 * i < p.to.N;
        swan_copy16(stage + ((warp * 4 + i) * 32 + lane) * 16, in ? from + (int64_t)8 * i * p.K : p.w, in);
    }
}

/* All tokens, 64 columns: rows of 128 bytes, the two halves exchanged in odd rows, so that two tokens of four lanes each fall
 * into different banks. */
template <int NT> SWAN_DEV void load_x(const params &p, uint32_t stage, const cursor &c)
{
#pragma unroll
    for (int i = 0; i < NT / 4; i++) {
        const int m = i * 32 + (threadIdx.x >> 3), chunk = threadIdx.x & 7, k = c.k + chunk * 8;
        const bool in = m < p.to.M && k < p.K;
        swan_copy16(stage + m * 128 + ((chunk ^ (m & 1) << 2) << 4), in ? p.x + m * p.ldx + k : p.x, in);
    }
}

template <int NT> SWAN_DEV void multiply(float (&acc)[2][NT][4], uint32_t w, uint32_t x)
{
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2;
    const uint32_t own = w + (warp * 4 * 32 + lane) * 16;
    uint4 v[2][4];
    x += g * 128 + ((((warp >> 2) * 4 + (lane & 3)) ^ (g & 1) << 2) << 4);
    const uint4 a = swan_lds16(own), b = swan_lds16(own + 512), c = swan_lds16(own + 1024), d = swan_lds16(own + 1536);
#pragma unroll
    for (int i = 0; i < 4; i++) v[0][i] = swan_lds16(x + i * 1024);
#pragma unroll
    for (int j = 0; j < NT; j += 4) { /* products that add to the same place are eight apart */
        const uint4(&u)[4] = v[j >> 2 & 1];
        if (j + 4 < NT)
#pragma unroll
            for (int i = 0; i < 4; i++) v[~j >> 2 & 1][i] = swan_lds16(x + (j + 4 + i) * 1024);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            swan_mma(acc[0][j + i], a.x, b.x, a.y, b.y, u[i].x, u[i].y);
            swan_mma(acc[1][j + i], c.x, d.x, c.y, d.y, u[i].x, u[i].y);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            swan_mma(acc[0][j + i], a.z, b.z, a.w, b.w, u[i].z, u[i].w);
            swan_mma(acc[1][j + i], c.z, d.z, c.w, d.w, u[i].z, u[i].w);
        }
    }
}

/* Adds the two halves of k. A warp of the first half gets the first half of the tokens, its partner the other: item
 * i * NT / 2 + j of sum is row block i, token group j of the half. */
template <int NT> SWAN_DEV void merge(float4 (&sum)[NT], const float (&acc)[2][NT][4], uint32_t exchange)
{
    const int t = threadIdx.x & 127, half = threadIdx.x >> 7;
    const uint32_t to = exchange + (half * (NT / 2) * 128 + t) * 16, from = exchange + ((half ^ 1) * (NT / 2) * 128 + t) * 16;
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < NT / 2; j++) {
            const float *mine = acc[i][j], *theirs = acc[i][j + NT / 2];
            float4 send;
            send.x = half ? mine[0] : theirs[0], send.y = half ? mine[1] : theirs[1];
            send.z = half ? mine[2] : theirs[2], send.w = half ? mine[3] : theirs[3];
            asm volatile("st.shared.v4.f32 [%0], {%1,%2,%3,%4};" ::"r"(to + j * 2048), "f"(send.x), "f"(send.y), "f"(send.z),
                         "f"(send.w)
                         : "memory");
            sum[i * (NT / 2) + j] = half ? make_float4(theirs[0], theirs[1], theirs[2], theirs[3])
                                         : make_float4(mine[0], mine[1], mine[2], mine[3]);
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < NT / 2; j++) {
            const uint4 u = swan_lds16(from + j * 2048);
            float4 &v = sum[i * (NT / 2) + j];
            v.x += __uint_as_float(u.x), v.y += __uint_as_float(u.y), v.z += __uint_as_float(u.z), v.w += __uint_as_float(u.w);
        }
        __syncthreads();
    }
}

/* NT: groups of 8 tokens; STAGES of the rings. */
template <int NT, int STAGES> __global__ void __launch_bounds__(THREADS, 1) linear_bf16_skinny(const params p)
{
    constexpr int stage_bytes = W_BYTES + NT * 8 * BK * 2;
    extern __shared__ float4 shared[];
    const uint32_t exchange = swan_smem_u32(shared), ring = exchange + NT * 2048;
    const int u0 = swan_skinny_first(p.to, (int)blockIdx.x), count = swan_skinny_first(p.to, (int)blockIdx.x + 1) - u0;
    cursor in = {u0 / p.to.k_blocks * BN, u0 % p.to.k_blocks * BK}, at = in, w = in;
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < count) load_w(p, ring + i * stage_bytes, w);
        swan_copy_commit();
        w.step(p);
    }
    swan_grid_launch_dependents();
    swan_grid_wait();
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < count) load_x<NT>(p, ring + i * stage_bytes + W_BYTES, in);
        swan_copy_commit();
        in.step(p);
    }
    float acc[2][NT][4] = {};
    int slot = 0, free = STAGES - 1;
#pragma unroll 1
    for (int i = 0; i < count; i++) {
        swan_copy_wait<STAGES - 2>();
        __syncthreads(); /* everybody's part of this stage is there, and everybody has left the stage before */
        if (i + STAGES - 1 < count) {
            load_w(p, ring + free * stage_bytes, in);
            load_x<NT>(p, ring + free * stage_bytes + W_BYTES, in);
            in.step(p);
        }
        swan_copy_commit();
        multiply<NT>(acc, ring + slot * stage_bytes, ring + slot * stage_bytes + W_BYTES);
        free = slot;
        if (++slot == STAGES) slot = 0;
        const int tile = at.row / BN;
        at.step(p);
        if (at.k == 0 || i == count - 1) { /* the tile ends, or this block's part of it */
            const int warp = threadIdx.x >> 5;
            float4 sum[NT];
            merge<NT>(sum, acc, exchange);
            swan_skinny_finish<NT>(
                p.to, tile, [&](int k) { return sum[k]; },
                [&](int k) { return make_int2(((warp >> 2) * (NT / 2) + k % (NT / 2)) * 8, (warp & 3) * 32 + k / (NT / 2) * 16); });
#pragma unroll
            for (int a = 0; a < 2; a++)
#pragma unroll
                for (int j = 0; j < NT; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++) acc[a][j][e] = 0.0f;
        }
    }
}

template <int NT, int STAGES> constexpr int smem_bytes = NT * 2048 + STAGES * (W_BYTES + NT * 8 * BK * 2);

/* As many stages as the GPU has shared memory for. */
template <int NT> cudaError_t launch(cudaStream_t stream, const params &p, unsigned blocks, int smem)
{
    if (smem >= smem_bytes<NT, 6>)
        return swan_start(linear_bf16_skinny<NT, 6>, blocks, THREADS, smem_bytes<NT, 6>, stream, p);
    if (smem >= smem_bytes<NT, 4>)
        return swan_start(linear_bf16_skinny<NT, 4>, blocks, THREADS, smem_bytes<NT, 4>, stream, p);
    if (smem >= smem_bytes<NT, 2>)
        return swan_start(linear_bf16_skinny<NT, 2>, blocks, THREADS, smem_bytes<NT, 2>, stream, p);
    return cudaErrorNotSupported;
}

int items_of(const swan_linear_args *a) { return a->M <= 32 ? 4 : a->M <= 64 ? 8 : a->M <= 96 ? 12 : 16; }

} // namespace

extern "C" size_t swan_cuda_linear_bf16_skinny_bytes(const swan_linear_bf16_args *a)
{
    swan_skinny to;
    int blocks = 0;
    if (!swan_skinny_takes(a, 128) || swan_skinny_plan(a, &to, &blocks)) return 0;
    return swan_skinny_layout(&to, nullptr, blocks, items_of(a));
}

extern "C" int swan_cuda_linear_bf16_skinny(cudaStream_t stream, const swan_linear_bf16_args *a)
{
    params p = {};
    int blocks = 0, smem = 0, dev = 0;
    cudaError_t e;
    if (swan_linear_invalid(a)) return cudaErrorInvalidValue;
    if (!swan_skinny_takes(a, 128) || !a->workspace || swan_misaligned(a->x, a->w, a->y, a->workspace) ||
        swan_misaligned(a->bias, a->gate))
        return cudaErrorNotSupported;
    if ((e = swan_skinny_plan(a, &p.to, &blocks)) || (e = cudaGetDevice(&dev)) ||
        (e = cudaDeviceGetAttribute(&smem, cudaDevAttrMaxSharedMemoryPerBlockOptin, dev)))
        return e;
    swan_skinny_layout(&p.to, a->workspace, blocks, items_of(a));
    p.x = (const __nv_bfloat16 *)a->x, p.w = (const __nv_bfloat16 *)a->w;
    p.ldx = a->ldx;
    p.K = (int)a->K;
    switch (items_of(a)) {
    case 4: return launch<4>(stream, p, (unsigned)blocks, smem);
    case 8: return launch<8>(stream, p, (unsigned)blocks, smem);
    case 12: return launch<12>(stream, p, (unsigned)blocks, smem);
    default: return launch<16>(stream, p, (unsigned)blocks, smem);
    }
}
