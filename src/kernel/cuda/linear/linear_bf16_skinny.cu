/* Matrix product with few rows, bf16, at the speed at which the weights can be read: r = x W^T + bias with a fused epilogue.
 * sm_80 and up. For the text encoder, whose 9.3 GB of weights meet at most a few hundred tokens.
 *
 * Shapes: x bf16 [M <= 160, K], W bf16 [N, K] contiguous, y bf16 [M, N]; bias, gate f32 [N]; N, K and strides multiples of 8,
 * bases aligned to 16 B. Nothing outside is read or written.
 *
 * Numerics: fp32 products and sums, one rounding. The number of blocks, and so the order of sums, depends on the number of
 * multiprocessors; on one GPU the result is always the same (no atomics).
 *
 * Roofline: bytes of W over copy bandwidth: 4096 x 4096 33.5 MB, 11.5 us at 2.93 TB/s; 10,240 x 4096 83.9 MB, 28.6 us. At
 * M = 128 this takes 370 TFLOPS of mma.sync, and x comes from L2 once for every 128 rows of W: as many bytes as W.
 *
 * Plan: y^T = W x^T, so that W is the 16-row operand. A block's eight warps are 4 groups of 32 rows of W x 2 halves of each
 * 64 columns, all tokens in every warp.
 * - The order of k inside a product is free: a lane takes 8 neighbouring values (16 bytes) of its row for two k16 steps, and
 *   the same 8 of x. So W goes from HBM to the very lane that multiplies it, through a private ring in shared memory
 *   (cp.async), without a shuffle or a bank conflict; x through a ring that the block shares.
 * - Stream-K: the (tile, k block) units are dealt out evenly to one block an SM. Who has the first k of a tile ends it;
 *   others leave their part in the workspace, an fp32 tile and a flag. A flag is up when it holds the launch's number, so
 *   that the workspace needs no clearing; it is taken down by its reader, so that a graph can be replayed.
 * - Launched programmatically dependent: the first stages of W are on their way before the kernel that makes x has ended. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/apply.cuh"
#include "kernel/cuda/common/mma.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/launch.h"

#include <atomic>
#include <cuda_runtime.h>

namespace
{

enum {
    BN = 128, /* rows of W */
    BK = 64,
    THREADS = 256,
    W_BYTES = BN * BK * 2,
    CHUNK = 32,     /* tokens that go through shared memory at a time in the end */
    PITCH = BN + 4, /* of that tile, in floats: the accumulators of a warp fall into 32 banks */
    CHUNK_BYTES = CHUNK * PITCH * 4
};

struct params {
    const __nv_bfloat16 *x, *w;
    __nv_bfloat16 *y;
    const float *bias, *gate;
    float *part;              /* [blocks][8 NT][BN] */
    unsigned long long *flag; /* [blocks] */
    unsigned long long number;
    int64_t ldx, ldy;
    int M, N, K, k_blocks, units, epilogue; /* unit = (tile of BN rows, k block), k inner */
};

/* Block b owns the units from first(b) to first(b + 1) - 1. */
SWAN_DEV int first_unit(const params &p, int b) { return (int)((int64_t)p.units * b / gridDim.x); }
SWAN_DEV int block_of(const params &p, int unit) { return (int)(((int64_t)(unit + 1) * gridDim.x - 1) / p.units); }

/* Where a unit's operands are; steps through a block's units. */
struct cursor {
    int row, k; /* of W */
    __device__ __forceinline__ void step(const params &p)
    {
        k += BK;
        if (k >= p.k_blocks * BK) k = 0, row += BN;
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
        const bool in = k < p.K && row + 8 * i < p.N;
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
        const bool in = m < p.M && k < p.K;
        swan_copy16(stage + m * 128 + ((chunk ^ (m & 1) << 2) << 4), in ? p.x + m * p.ldx + k : p.x, in);
    }
}

template <int NT> SWAN_DEV void multiply(float (&acc)[2][NT][4], uint32_t w, uint32_t x)
{
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2;
    const uint32_t own = w + (warp * 4 * 32 + lane) * 16;
    const uint4 a = swan_lds16(own), b = swan_lds16(own + 512), c = swan_lds16(own + 1024), d = swan_lds16(own + 1536);
    x += g * 128 + ((((warp >> 2) * 4 + (lane & 3)) ^ (g & 1) << 2) << 4);
#pragma unroll
    for (int j = 0; j < NT; j++) {
        const uint4 v = swan_lds16(x + j * 1024);
        swan_mma(acc[0][j], a.x, b.x, a.y, b.y, v.x, v.y);
        swan_mma(acc[1][j], c.x, d.x, c.y, d.y, v.x, v.y);
        swan_mma(acc[0][j], a.z, b.z, a.w, b.w, v.z, v.w);
        swan_mma(acc[1][j], c.z, d.z, c.w, d.w, v.z, v.w);
    }
}

/* One place of the tile: 8 columns of y in row m. */
SWAN_DEV void put(const params &p, float (&v)[8], int m, int n)
{
    float b[8] = {}, g[8] = {}, old[8] = {};
    __nv_bfloat16 *y = p.y + m * p.ldy + n;
    if (p.bias) swan_load8(b, p.bias + n);
    if (p.epilogue == SWAN_EPI_GATED_ADD) swan_load8(g, p.gate + n);
    if (p.epilogue >= SWAN_EPI_MUL) swan_unpack8(*(const uint4 *)y, old);
#pragma unroll
    for (int e = 0; e < 8; e++) v[e] = swan_apply(p.epilogue, v[e] + b[e], g[e], old[e]);
    *(uint4 *)y = swan_pack8(v);
}

SWAN_DEV void add8(float (&v)[8], const float *from)
{
    const float4 a = __ldcg((const float4 *)from), b = __ldcg((const float4 *)from + 1);
    v[0] += a.x, v[1] += a.y, v[2] += a.z, v[3] += a.w, v[4] += b.x, v[5] += b.y, v[6] += b.z, v[7] += b.w;
}

/* Waits for the parts of the blocks after this one, up to `last`, and takes their flags down. */
SWAN_DEV void await(const params &p, int last)
{
    for (int b = (int)blockIdx.x + 1 + (int)threadIdx.x; b <= last; b += THREADS) {
        unsigned long long is;
        do asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(is) : "l"(p.flag + b) : "memory");
        while (is != p.number);
        p.flag[b] = 0;
    }
    __syncthreads();
}

/* The sums of one tile (or of this block's part of it), both halves of k added up, go where they belong. */
template <int NT>
SWAN_DEV void finish(const params &p, float (&acc)[2][NT][4], float *tile, int row, bool whole, int last)
{
    const int t = threadIdx.x, lane = t & 31, warp = t >> 5, half = warp >> 2;
    float *own = tile + (lane & 3) * 2 * PITCH + (warp & 3) * 32 + (lane >> 2);
    if (whole) await(p, last);
#pragma unroll
    for (int c = 0; c < NT / 4; c++) {
        if (c * CHUNK >= p.M) break;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            if (half == h)
#pragma unroll
                for (int i = 0; i < 2; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++)
#pragma unroll
                        for (int e = 0; e < 4; e++) {
                            float *at = own + (8 * j + (e & 1)) * PITCH + 16 * i + 8 * (e >> 1);
                            *at = h ? *at + acc[i][4 * c + j][e] : acc[i][4 * c + j][e];
                        }
            __syncthreads();
        }
#pragma unroll
        for (int i = t; i < CHUNK * BN / 8; i += THREADS) {
            const int m = c * CHUNK + i / (BN / 8), n = i % (BN / 8) * 8;
            const float *from = tile + i / (BN / 8) * PITCH + n;
            if (m >= p.M || row + n >= p.N) continue;
            float v[8];
            *(float4 *)v = *(const float4 *)from, *(float4 *)(v + 4) = *(const float4 *)(from + 4);
            if (whole) {
#pragma unroll 4
                for (int b = (int)blockIdx.x + 1; b <= last; b++) add8(v, p.part + ((int64_t)b * NT * 8 + m) * BN + n);
                put(p, v, m, row + n);
            } else {
                float4 *to = (float4 *)(p.part + ((int64_t)blockIdx.x * NT * 8 + m) * BN + n);
                __stcg(to, *(float4 *)v);
                __stcg(to + 1, *(float4 *)(v + 4));
            }
        }
        __syncthreads();
    }
    if (!whole && t == 0) {
        __threadfence();
        asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(p.flag + blockIdx.x), "l"(p.number) : "memory");
    }
}

/* NT: groups of 8 tokens; STAGES of the rings. */
template <int NT, int STAGES> __global__ void __launch_bounds__(THREADS, 1) linear_bf16_skinny(const params p)
{
    constexpr int stage_bytes = W_BYTES + NT * 8 * BK * 2;
    extern __shared__ float4 shared[];
    float *tile = (float *)shared;
    const uint32_t ring = swan_smem_u32(shared) + CHUNK_BYTES;
    const int u0 = first_unit(p, (int)blockIdx.x), count = first_unit(p, (int)blockIdx.x + 1) - u0;
    cursor in = {u0 / p.k_blocks * BN, u0 % p.k_blocks * BK}, at = in, w = in;
    bool whole = at.k == 0;
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
        const int row = at.row;
        at.step(p);
        if (at.k == 0 || i == count - 1) { /* the tile ends, or this block's part of it */
            finish<NT>(p, acc, tile, row, whole, at.k == 0 ? (int)blockIdx.x : block_of(p, (row / BN + 1) * p.k_blocks - 1));
            whole = true;
#pragma unroll
            for (int a = 0; a < 2; a++)
#pragma unroll
                for (int j = 0; j < NT; j++)
#pragma unroll
                    for (int e = 0; e < 4; e++) acc[a][j][e] = 0.0f;
        }
    }
}

template <int NT, int STAGES> constexpr int smem_bytes = CHUNK_BYTES + STAGES * (W_BYTES + NT * 8 * BK * 2);

/* As many stages as the GPU has shared memory for. */
template <int NT> cudaError_t launch(cudaStream_t stream, const params &p, unsigned blocks, int smem)
{
    constexpr int most = NT > 16 ? 5 : 6;
    if (smem >= smem_bytes<NT, most>)
        return swan_start(linear_bf16_skinny<NT, most>, blocks, THREADS, smem_bytes<NT, most>, stream, p);
    if (smem >= smem_bytes<NT, 4>)
        return swan_start(linear_bf16_skinny<NT, 4>, blocks, THREADS, smem_bytes<NT, 4>, stream, p);
    if (smem >= smem_bytes<NT, 2>)
        return swan_start(linear_bf16_skinny<NT, 2>, blocks, THREADS, smem_bytes<NT, 2>, stream, p);
    return cudaErrorNotSupported;
}

int units_of(const swan_linear_args *a) { return (int)((a->N + BN - 1) / BN * ((a->K + BK - 1) / BK)); }

/* One an SM, but at least four k blocks each. */
cudaError_t blocks_of(const swan_linear_args *a, int *blocks, int *smem)
{
    int dev = 0, sms = 0;
    cudaError_t e;
    if ((e = cudaGetDevice(&dev)) || (e = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, dev)) ||
        (e = cudaDeviceGetAttribute(smem, cudaDevAttrMaxSharedMemoryPerBlockOptin, dev)))
        return e;
    const int most = (units_of(a) + 3) / 4;
    *blocks = most < sms ? most : sms;
    return cudaSuccess;
}

int tokens_of(const swan_linear_args *a) { return a->M <= 32 ? 32 : a->M <= 64 ? 64 : a->M <= 96 ? 96 : a->M <= 128 ? 128 : 160; }

bool takes(const swan_linear_args *a)
{
    return a->M >= 1 && a->M <= 160 && a->N >= 1 && a->N <= 1 << 20 && a->K >= 1 && a->K <= 1 << 17 &&
           !((a->N | a->K | a->ldx | a->ldy) & 7);
}

} // namespace

extern "C" size_t swan_cuda_linear_bf16_skinny_bytes(const swan_linear_bf16_args *a)
{
    int blocks = 0, smem = 0;
    if (!takes(a) || blocks_of(a, &blocks, &smem)) return 0;
    return (size_t)blocks * ((size_t)tokens_of(a) * BN * sizeof(float) + sizeof(unsigned long long));
}

extern "C" int swan_cuda_linear_bf16_skinny(cudaStream_t stream, const swan_linear_bf16_args *a)
{
    static std::atomic<uint64_t> launches{0};
    int blocks = 0, smem = 0;
    cudaError_t e;
    if (a->M < 1 || a->N < 1 || a->K < 1 || (a->epilogue == SWAN_EPI_GATED_ADD && !a->gate) ||
        (unsigned)a->epilogue >= SWAN_EPI_COUNT)
        return cudaErrorInvalidValue;
    if (!takes(a) || !a->workspace || swan_misaligned(a->x, a->w, a->y, a->workspace) || swan_misaligned(a->bias, a->gate))
        return cudaErrorNotSupported;
    if ((e = blocks_of(a, &blocks, &smem))) return e;
    params p = {};
    p.x = (const __nv_bfloat16 *)a->x, p.w = (const __nv_bfloat16 *)a->w, p.y = (__nv_bfloat16 *)a->y;
    p.bias = a->bias, p.gate = a->gate;
    p.part = (float *)a->workspace;
    p.flag = (unsigned long long *)(p.part + (size_t)blocks * tokens_of(a) * BN);
    p.number = (++launches * 2 + 1) * 0x9E3779B97F4A7C15ull; /* 64 bits that no other data holds by chance */
    p.ldx = a->ldx, p.ldy = a->ldy;
    p.M = (int)a->M, p.N = (int)a->N, p.K = (int)a->K;
    p.k_blocks = (p.K + BK - 1) / BK;
    p.units = units_of(a);
    p.epilogue = a->epilogue;
    switch (tokens_of(a)) {
    case 32: return launch<4>(stream, p, (unsigned)blocks, smem);
    case 64: return launch<8>(stream, p, (unsigned)blocks, smem);
    case 96: return launch<12>(stream, p, (unsigned)blocks, smem);
    case 128: return launch<16>(stream, p, (unsigned)blocks, smem);
    default: return launch<20>(stream, p, (unsigned)blocks, smem);
    }
}
