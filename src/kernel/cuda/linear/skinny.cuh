/* What the kernels for few rows of x share: the division of the work over the blocks (stream-K), the exchange of partial sums,
 * and the way of accumulators to y. linear_bf16_skinny.cu says why. */
#ifndef SWAN_KERNEL_CUDA_LINEAR_SKINNY_CUH
#define SWAN_KERNEL_CUDA_LINEAR_SKINNY_CUH

#include "kernel/cuda/common/apply.cuh"

#include <atomic>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

enum {
    SWAN_SKINNY_BN = 128, /* rows of W in a tile */
    SWAN_SKINNY_BK = 64,
    SWAN_SKINNY_THREADS = 256, /* that have sums */
    SWAN_SKINNY_OWNERS = 16    /* blocks that add up one tile, at most */
};

/* A unit is one k block of one tile, k inner; the units are dealt out evenly. `items`: groups of four sums a thread and tile. */
struct swan_skinny {
    __nv_bfloat16 *y;
    const float *bias, *gate;
    float4 *part;             /* [blocks][2][items][SWAN_SKINNY_THREADS], see swan_skinny_place */
    unsigned long long *flag; /* [blocks][2][SWAN_SKINNY_OWNERS] */
    unsigned long long number; /* of the launch */
    int64_t ldy;
    int M, N, k_blocks, units, epilogue;
};

/* Block b owns the units from first(b) to first(b + 1) - 1. block: who owns this unit. */
SWAN_DEV int swan_skinny_first(const swan_skinny &p, int b) { return (int)((int64_t)p.units * b / gridDim.x); }
SWAN_DEV int swan_skinny_block(const swan_skinny &p, int unit) { return (int)(((int64_t)(unit + 1) * gridDim.x - 1) / p.units); }

/* Lane (g, t) has column 2t, 2t + 1 of row g of an 8 x 8 matrix of bf16, and gets those of row g of its transpose. */
SWAN_DEV uint32_t swan_skinny_transpose(uint32_t v)
{
    uint32_t r;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
    return r;
}

/* One item: rows n and n + 8 of W (this lane's g), tokens 2t and 2t + 1 from m on. */
SWAN_DEV void swan_skinny_put(const swan_skinny &p, const float4 &v, int m, int n0)
{
    const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int n = n0 + 8 * h + g, at = n0 + 8 * h + 2 * t;
        const bool in = m + g < p.M && at < p.N;
        uint32_t *y = (uint32_t *)(p.y + (m + g) * p.ldy + at), old = 0;
        if (p.epilogue >= SWAN_EPI_MUL) old = swan_skinny_transpose(in ? *y : 0);
        const float b = p.bias && n < p.N ? __ldg(p.bias + n) : 0.0f;
        const float gate = p.epilogue == SWAN_EPI_GATED_ADD && n < p.N ? __ldg(p.gate + n) : 0.0f;
        const float lo = swan_apply(p.epilogue, (h ? v.z : v.x) + b, gate, __uint_as_float(old << 16));
        const float hi = swan_apply(p.epilogue, (h ? v.w : v.y) + b, gate, __uint_as_float(old & 0xffff0000u));
        const uint32_t out = swan_skinny_transpose(swan_pack_bf16(lo, hi));
        if (in) *y = out;
    }
}

/* The blocks that share a tile: first .. last, of which the first `owners` add it up. */
struct swan_skinny_share {
    int first, last, owners;
};
SWAN_DEV swan_skinny_share swan_skinny_share_of(const swan_skinny &p, int tile)
{
    swan_skinny_share s = {swan_skinny_block(p, tile * p.k_blocks), swan_skinny_block(p, (tile + 1) * p.k_blocks - 1), 1};
    const bool last_ends = swan_skinny_first(p, s.last + 1) == (tile + 1) * p.k_blocks;
    if (s.last > s.first) s.owners = min(s.last - s.first + last_ends, (int)SWAN_SKINNY_OWNERS);
    return s;
}

/* A block may have sums of two shared tiles in the workspace at a time: of the one that it begins, and of the one before. */
SWAN_DEV int swan_skinny_place(const swan_skinny_share &s, int b) { return 2 * b + (b == s.first); }

/* The sums of one tile, or of this block's part of it, go where they belong. All threads that have sums.
 * sum(k): this thread's item k < NT; at(k): its first token and its first row of W. Every item goes through the workspace, also
 * those that nobody else adds to: what is left to do with them then needs few registers and little code. */
template <int NT, typename S, typename A>
SWAN_DEV void swan_skinny_finish(const swan_skinny &p, int tile, const S &sum, const A &at)
{
    const swan_skinny_share s = swan_skinny_share_of(p, tile);
    const int me = (int)blockIdx.x - s.first, t = threadIdx.x, place = swan_skinny_place(s, (int)blockIdx.x);
#pragma unroll
    for (int k = 0; k < NT; k++)
        if (at(k).x < p.M) __stcg(p.part + ((int64_t)place * NT + k) * SWAN_SKINNY_THREADS + t, sum(k));
    if (s.last > s.first) {
        swan_bar_sync(1, SWAN_SKINNY_THREADS);
        if (t < s.owners && t != me) {
            __threadfence();
            asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(p.flag + place * SWAN_SKINNY_OWNERS + t), "l"(p.number)
                         : "memory");
        }
        if (me >= s.owners) return;
        for (int b = s.first + t; b <= s.last; b += SWAN_SKINNY_THREADS) {
            if (b == (int)blockIdx.x) continue;
            unsigned long long *flag = p.flag + swan_skinny_place(s, b) * SWAN_SKINNY_OWNERS + me, is;
            do asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(is) : "l"(flag) : "memory");
            while (is != p.number);
            *flag = 0;
        }
        swan_bar_sync(1, SWAN_SKINNY_THREADS);
    }
    enum { I = 4, B = 4 }; /* loads in flight: of four items, from four blocks */
#pragma unroll 1
    for (int k0 = me; k0 < NT; k0 += I * s.owners) { /* item k belongs to owner k % owners */
        float4 total[I] = {};
#pragma unroll 1
        for (int b0 = s.first; b0 <= s.last; b0 += B) {
            float4 v[B][I];
#pragma unroll
            for (int b = 0; b < B; b++)
#pragma unroll
                for (int i = 0; i < I; i++) {
                    const int k = k0 + i * s.owners;
                    v[b][i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                    if (b0 + b <= s.last && k < NT && at(k).x < p.M)
                        v[b][i] = __ldcg(p.part + ((int64_t)swan_skinny_place(s, b0 + b) * NT + k) * SWAN_SKINNY_THREADS + t);
                }
#pragma unroll
            for (int b = 0; b < B; b++)
#pragma unroll
                for (int i = 0; i < I; i++)
                    total[i].x += v[b][i].x, total[i].y += v[b][i].y, total[i].z += v[b][i].z, total[i].w += v[b][i].w;
        }
#pragma unroll
        for (int i = 0; i < I; i++) {
            const int k = k0 + i * s.owners;
            if (k < NT && at(k).x < p.M) swan_skinny_put(p, total[i], at(k).x, tile * SWAN_SKINNY_BN + at(k).y);
        }
    }
}

/* Host side: the blocks of a launch, at most one an SM and at least four units each; fills all but part and flag. */
static inline cudaError_t swan_skinny_plan(const swan_linear_args *a, swan_skinny *p, int *blocks)
{
    static std::atomic<uint64_t> launches{0};
    int dev = 0, sms = 0;
    cudaError_t e;
    if ((e = cudaGetDevice(&dev)) || (e = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, dev))) return e;
    p->y = (__nv_bfloat16 *)a->y;
    p->bias = a->bias, p->gate = a->gate;
    p->number = (++launches * 2 + 1) * 0x9E3779B97F4A7C15ull; /* 64 bits that no other data holds by chance */
    p->ldy = a->ldy;
    p->M = (int)a->M, p->N = (int)a->N;
    p->k_blocks = (int)((a->K + SWAN_SKINNY_BK - 1) / SWAN_SKINNY_BK);
    p->units = (int)((a->N + SWAN_SKINNY_BN - 1) / SWAN_SKINNY_BN) * p->k_blocks;
    p->epilogue = a->epilogue;
    const int most = (p->units + 3) / 4;
    *blocks = most < sms ? most : sms;
    return cudaSuccess;
}

/* Bytes of workspace, and where its parts are. */
static inline size_t swan_skinny_layout(swan_skinny *p, void *workspace, int blocks, int items)
{
    const size_t parts = (size_t)blocks * 2 * items * SWAN_SKINNY_THREADS;
    p->part = (float4 *)workspace;
    p->flag = (unsigned long long *)(p->part + parts);
    return parts * sizeof(float4) + (size_t)blocks * 2 * SWAN_SKINNY_OWNERS * sizeof(unsigned long long);
}

static inline bool swan_skinny_takes(const swan_linear_args *a, int most)
{
    return a->M >= 1 && a->M <= most && a->N >= 1 && a->N <= 1 << 20 && a->K >= 1 && a->K <= 1 << 17 &&
           !((a->N | a->K | a->ldx | a->ldy) & 7);
}

#endif
