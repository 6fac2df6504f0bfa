/* Matrix product with fused epilogue, bf16, mma.sync, sm_80 and up: r = x W^T + bias; y = r, gelu(r), silu(r), y * r, y + r or
 * y + gate * r.
 *
 * Shapes: x bf16 [M, K], W bf16 [N, K] contiguous, y bf16 [M, N]; bias, gate f32 [N]. N, K and strides multiples of 8, bases
 * aligned to 16 B. Any M, N, K: rows past the end are copies of the last one and are not stored, columns past K are zeros.
 *
 * Numerics: fp32 products and sums in ascending k, one rounding at the end. GELU is the tanh form as x / (1 + e^-2u).
 * Deterministic.
 *
 * Roofline: the tensor cores; QKV of Wan 1.3B (M = 32,760, N = 4608, K = 1536) is 0.464 TFLOP: 2.8 ms on an RTX 4090 (165 TFLOPS
 * with fp32 sums), 1.5 ms on an A100 (312). An H100 reaches about 60 % of its 989 TFLOPS through mma.sync.
 *
 * Measured, 2026-11-22, one H100 80GB SXM (bench/LOG.md), TFLOPS at M = 32,760 on a cool card; in parentheses cuBLASLt, which has
 * wgmma there: QKV 4608 x 1536 445 (770), O gated 393 (673), FFN1 gelu 402 (731), FFN2 gated 460 (743). A card that has got
 * warm loses 10 to 15 %. Run on no other GPU.
 *
 * Plan: a block owns 128 x 128 outputs (four warps of 64 x 64, two blocks to a multiprocessor, four stages of k = 32, 64 KiB, or
 * three where 100 KiB must do: sm_86, 89, 120) or, over a long K, 128 x 256 (eight warps, four stages, 96 KiB). Rows of 64 B in
 * shared memory, their 16-byte chunks swizzled so that ldmatrix has no conflicts. The fragments of the next half of a stage are
 * loaded while this one's products run. Epilogue: fp32 through shared memory, a warp for itself, so that y is read and written
 * in runs of 128 B. Blocks go in groups of 16 rows of tiles that sweep N, so that x and W come from L2.
 *
 * Tried: wide blocks at K = 1536: equal for QKV, 5 to 10 % slower for O and FFN1; three stages of wide blocks: 3 to 8 % slower;
 * groups of 8 and 32: equal; old values not prefetched: O 2 to 9 % slower. Not tried on a GPU: wide blocks that stay and fetch
 * the next tile's first stage during the epilogue. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/mma.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum { BM = 128, BK = 32, GROUP = 16, ROW_BYTES = BK * 2, PITCH = 72 /* floats of a staged row: float2 writes without conflicts */ };

struct params {
    const __nv_bfloat16 *x, *w;
    __nv_bfloat16 *y;
    const float *bias, *gate;
    int64_t ldx, ldy;
    int M, N, K, m_tiles, n_tiles;
    int epilogue;
};

/* WN warps side by side: 64 columns each; two rows of them. */
template <int WN, int STAGES> struct shape {
    static constexpr int BN = 64 * WN, threads = 64 * WN, stages = STAGES, blocks = WN == 4 ? 1 : 2;
    static constexpr int a_bytes = BM * ROW_BYTES, stage_bytes = a_bytes + BN * ROW_BYTES;
    static constexpr int bytes = stages * stage_bytes;
    static_assert(bytes >= 2 * WN * 32 * PITCH * 4, "the epilogue is staged there too");
    static_assert(bytes <= 99 * 1024, "sm_86, sm_89 and sm_120 have no more");
};

/* What one thread copies: rows threadIdx.x / 4 + i * ROWS of x and of W, always the same 16-byte chunk of k. */
template <typename S> struct copier {
    static constexpr int ROWS = S::threads / 4, XS = BM / ROWS, WS = S::BN / ROWS;
    const __nv_bfloat16 *x, *w;
    int at_x[XS], at_w[WS]; /* elements from x and w */
    uint32_t dst;
    int left; /* columns from the chunk's first to K; the next stage's */
};

template <typename S> SWAN_DEV void start(copier<S> &c, const params &p, uint32_t smem, int m0, int n0)
{
    const int row = (int)threadIdx.x >> 2, chunk = (int)threadIdx.x & 3;
    c.x = p.x + m0 * p.ldx + chunk * 8;
    c.w = p.w + (int64_t)n0 * p.K + chunk * 8;
#pragma unroll
    for (int i = 0; i < c.XS; i++) c.at_x[i] = (int)((min(row + i * c.ROWS, p.M - 1 - m0)) * p.ldx);
#pragma unroll
    for (int i = 0; i < c.WS; i++) c.at_w[i] = min(row + i * c.ROWS, p.N - 1 - n0) * p.K;
    c.dst = smem + row * ROW_BYTES + ((chunk ^ ((row >> 1) & 3)) << 4);
    c.left = p.K - chunk * 8;
}

/* The next stage into slot; zeros past K. */
template <typename S> SWAN_DEV void copy(copier<S> &c, int slot)
{
    const uint32_t to = c.dst + slot * S::stage_bytes;
    const bool there = c.left > 0;
#pragma unroll
    for (int i = 0; i < c.XS; i++) swan_copy16(to + i * c.ROWS * ROW_BYTES, c.x + c.at_x[i], there);
#pragma unroll
    for (int i = 0; i < c.WS; i++)
        swan_copy16(to + S::a_bytes + i * c.ROWS * ROW_BYTES, c.w + c.at_w[i], there);
    swan_copy_commit();
    c.x += BK, c.w += BK, c.left -= BK;
}

struct fragments {
    uint32_t a[4][4], b[4][4]; /* 64 rows; 64 columns, two tiles of eight in each b */
};

SWAN_DEV void load_fragments(fragments &f, uint32_t a, uint32_t b)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        swan_ldmatrix_x4(f.a[i], a + i * 16 * ROW_BYTES);
        swan_ldmatrix_x4(f.b[i], b + i * 16 * ROW_BYTES);
    }
}

SWAN_DEV void multiply(float (&acc)[4][8][4], const fragments &f)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) swan_mma(acc[i][j], f.a[i][0], f.a[i][1], f.a[i][2], f.a[i][3], f.b[j >> 1][2 * (j & 1)],
                     f.b[j >> 1][2 * (j & 1) + 1]);
}

/* r becomes y. old: y as it was, gate: of these columns; zeros where the epilogue has none. */
SWAN_DEV void apply(int epilogue, float (&r)[8], const float (&gate)[8], const float (&old)[8])
{
    switch (epilogue) {
    case SWAN_EPI_GELU:
#pragma unroll
        for (int e = 0; e < 8; e++) r[e] = swan_gelu(r[e]);
        break;
    case SWAN_EPI_SILU:
#pragma unroll
        for (int e = 0; e < 8; e++) r[e] = __fdividef(r[e], 1.0f + swan_exp2(-1.4426950408889634f * r[e]));
        break;
    case SWAN_EPI_MUL:
#pragma unroll
        for (int e = 0; e < 8; e++) r[e] *= old[e];
        break;
    case SWAN_EPI_ADD:
#pragma unroll
        for (int e = 0; e < 8; e++) r[e] += old[e];
        break;
    case SWAN_EPI_GATED_ADD:
#pragma unroll
        for (int e = 0; e < 8; e++) r[e] = fmaf(gate[e], r[e], old[e]);
        break;
    default: break;
    }
}

/* Brings a warp's 64 x 64 old values into the L2 cache: all blocks end together, and would wait for them together. */
SWAN_DEV void prefetch_old(const params &p, int m0, int n0)
{
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int m = m0 + 32 * i + ((int)threadIdx.x & 31);
        if (m < p.M && n0 < p.N) asm volatile("prefetch.global.L2 [%0];" ::"l"(p.y + m * p.ldy + n0));
    }
}

/* Eight f32 of a vector; zeros without one. */
SWAN_DEV void load8(float (&v)[8], const float *from)
{
    const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const float4 lo = from ? __ldg((const float4 *)from) : zero, hi = from ? __ldg((const float4 *)from + 1) : zero;
    v[0] = lo.x, v[1] = lo.y, v[2] = lo.z, v[3] = lo.w, v[4] = hi.x, v[5] = hi.y, v[6] = hi.z, v[7] = hi.w;
}

/* A warp's 64 x 64 outputs from (m0, n0) on, 32 rows at a time through its own 9 KiB of shared memory. */
SWAN_DEV void store(const params &p, const float (&acc)[4][8][4], float *stage, int m0, int n0)
{
    const int lane = (int)threadIdx.x & 31, g = lane >> 2, t = lane & 3, n = n0 + (lane & 7) * 8;
    float bias[8], gate[8];
    load8(bias, p.bias && n < p.N ? p.bias + n : nullptr);
    load8(gate, p.epilogue == SWAN_EPI_GATED_ADD && n < p.N ? p.gate + n : nullptr);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const float *d = acc[2 * half + i][j];
                float *to = stage + (16 * i + g) * PITCH + 8 * j + 2 * t;
                *(float2 *)to = make_float2(d[0], d[1]);
                *(float2 *)(to + 8 * PITCH) = make_float2(d[2], d[3]);
            }
        __syncwarp();
#pragma unroll 1
        for (int i0 = lane >> 3; i0 < 32; i0 += 16) { /* four rows' loads under way at once */
            uint4 old[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int m = m0 + 32 * half + i0 + 4 * i;
                if (p.epilogue >= SWAN_EPI_MUL && m < p.M && n < p.N) old[i] = *(const uint4 *)(p.y + m * p.ldy + n);
                else old[i] = make_uint4(0, 0, 0, 0);
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int m = m0 + 32 * half + i0 + 4 * i;
                const float4 *from = (const float4 *)(stage + (i0 + 4 * i) * PITCH + (lane & 7) * 8);
                const float4 lo = from[0], hi = from[1];
                float r[8] = {lo.x, lo.y, lo.z, lo.w, hi.x, hi.y, hi.z, hi.w}, was[8];
                swan_unpack8(old[i], was);
#pragma unroll
                for (int e = 0; e < 8; e++) r[e] += bias[e];
                apply(p.epilogue, r, gate, was);
                if (m < p.M && n < p.N) *(uint4 *)(p.y + m * p.ldy + n) = swan_pack8(r);
            }
        }
    }
}

template <int WN, int STAGES>
__global__ void __launch_bounds__(64 * WN, WN == 4 ? 1 : 2) linear_bf16_mma(const params p)
{
    using S = shape<WN, STAGES>;
    extern __shared__ float4 raw[];
    const uint32_t smem = swan_smem_u32(raw);
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, wm = warp / WN, wn = warp % WN;
    const int full = GROUP * p.n_tiles, group = (int)blockIdx.x / full, at = (int)blockIdx.x - group * full;
    const int rows = min((int)GROUP, p.m_tiles - group * GROUP);
    const int m0 = (group * GROUP + at % rows) * BM, n0 = at / rows * S::BN;
    swan_grid_wait();
    copier<S> c;
    start(c, p, smem, m0, n0);
#pragma unroll
    for (int i = 0; i < S::stages - 1; i++) copy(c, i);

    /* Of the first half of k; the second half's addresses have bit 5 flipped. */
    const int turn = (lane >> 1) & 3;
    const uint32_t at_a = (wm * 64 + (lane & 15)) * ROW_BYTES + (((lane >> 4) ^ turn) << 4);
    const uint32_t at_b = S::a_bytes + (wn * 64 + (lane & 7) + ((lane >> 4) << 3)) * ROW_BYTES + ((((lane >> 3) & 1) ^ turn) << 4);
    const int steps = (p.K + BK - 1) / BK, prefetch_at = p.epilogue >= SWAN_EPI_MUL ? max(0, steps - 12) : -1;
    float acc[4][8][4] = {};
    fragments f[2];
    int slot = 0, free_slot = S::stages - 1;
    swan_copy_wait<S::stages - 2>();
    __syncthreads();
    load_fragments(f[0], smem + at_a, smem + at_b);
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
        uint32_t base = smem + slot * S::stage_bytes;
        load_fragments(f[1], base + (at_a ^ 32), base + (at_b ^ 32));
        copy(c, free_slot); /* its last readers have passed the barrier below */
        if (step == prefetch_at) prefetch_old(p, m0 + wm * 64, n0 + wn * 64);
        multiply(acc, f[0]);
        swan_copy_wait<S::stages - 2>();
        __syncthreads();
        free_slot = slot;
        slot = slot + 1 == S::stages ? 0 : slot + 1;
        base = smem + slot * S::stage_bytes;
        load_fragments(f[0], base + at_a, base + at_b); /* after the last step: zeros, not used */
        multiply(acc, f[1]);
    }
    swan_copy_wait<0>();
    __syncthreads();
    store(p, acc, (float *)raw + warp * 32 * PITCH, m0 + wm * 64, n0 + wn * 64);
}

template <int WN, int STAGES> cudaError_t launch(cudaStream_t stream, params &p)
{
    using S = shape<WN, STAGES>;
    const cudaError_t e =
        cudaFuncSetAttribute(linear_bf16_mma<WN, STAGES>, cudaFuncAttributeMaxDynamicSharedMemorySize, S::bytes);
    if (e) return e;
    p.n_tiles = (p.N + S::BN - 1) / S::BN;
    linear_bf16_mma<WN, STAGES><<<(unsigned)(p.m_tiles * p.n_tiles), S::threads, S::bytes, stream>>>(p);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_linear_bf16_mma(cudaStream_t stream, const swan_linear_bf16_args *a)
{
    params p;
    cudaError_t e;
    int dev = 0, sms = 0, shared = 0;
    if (a->M < 1 || a->N < 1 || a->K < 1 || (unsigned)a->epilogue >= SWAN_EPI_COUNT ||
        (a->epilogue == SWAN_EPI_GATED_ADD && !a->gate))
        return cudaErrorInvalidValue;
    if (a->M > 1 << 24 || a->N > 1 << 20 || a->K > 1 << 22 || a->ldx > 1 << 22 || ((a->N | a->K | a->ldx | a->ldy) & 7) ||
        swan_misaligned(a->x, a->w, a->y) || swan_misaligned(a->bias, a->gate))
        return cudaErrorNotSupported;
    if ((e = cudaGetDevice(&dev)) || (e = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, dev)) ||
        (e = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerMultiprocessor, dev)))
        return e;
    p.x = (const __nv_bfloat16 *)a->x, p.w = (const __nv_bfloat16 *)a->w, p.y = (__nv_bfloat16 *)a->y;
    p.bias = a->bias, p.gate = a->gate;
    p.ldx = a->ldx, p.ldy = a->ldy;
    p.M = (int)a->M, p.N = (int)a->N, p.K = (int)a->K;
    p.m_tiles = (p.M + BM - 1) / BM;
    p.epilogue = a->epilogue;
    /* Two narrow blocks take as long as a wide one and hide each other's ends; the wide one reads less, which is the better
     * over a long K, unless it needs more waves. */
    const int64_t wide = (int64_t)p.m_tiles * ((p.N + 255) / 256), narrow = (int64_t)p.m_tiles * ((p.N + 127) / 128);
    if (p.K > 4096 && (wide + sms - 1) / sms <= (narrow + 2 * sms - 1) / (2 * sms)) return launch<4, 4>(stream, p);
    return shared < 2 * (shape<2, 4>::bytes + 1024) ? launch<2, 3>(stream, p) : launch<2, 4>(stream, p);
}
