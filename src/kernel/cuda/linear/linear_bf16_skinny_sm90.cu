/* Matrix product with few rows on sm_90a: linear_bf16_skinny.cu with wgmma and TMA. See there for shapes, numerics, roofline and the
 * way of sums over blocks; up to 256 rows here.
 *
 * Measured, 2026-11-22, one H200 (4.6 TB/s of reading), `check_cuda bench linear only=skinny_sm90` (bench/LOG.md), M = 32 / 64 / 128 / 256:
 * 4096 x 4096 14.3 / 15.8 / 17.7 / 25.3 us; 10,240 x 4096 26.4 / 28.6 / 33.6 / 54.5 us; UMT5 as a graph 3.17 / 3.52 / 4.27 / 7.06 ms, on one H100
 * 3.98 / 4.30 / 5.28 / 7.98. What linear_bf16_wide_sm90.cu takes it does faster.
 *
 * Plan: y^T = W x^T; a block of 128 rows of W and all tokens: two warpgroups of 64 rows each; thread 0 also feeds the ring, which takes the
 * multiprocessor's shared memory.
 *
 * Tried: half of the ring, so that the next kernel's blocks (programmatic dependent launch) move in beside these and fetch their first
 * stages of W: up to 64 tokens a product is as fast, but norms and attention find no room, and UMT5 takes 4.1 to 4.3 instead of 3.1 to 3.4
 * ms; at 128 tokens 5.3 instead of 4.3. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/epilogue.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/common/wgmma.cuh"
#include "kernel/cuda/launch.h"
#include "kernel/cuda/linear/skinny.cuh"

namespace
{

enum { BN = SWAN_SKINNY_BN, BK = SWAN_SKINNY_BK, THREADS = SWAN_SKINNY_THREADS, W_BYTES = BN * BK * 2 };

struct params {
    CUtensorMap x, w;
    swan_skinny to;
};

/* NT: groups of 8 tokens. */
template <int NT> struct layout {
    static constexpr int stages = NT == 8 ? 8 : NT == 12 ? 7 : NT == 16 ? 6 : 4;
    static constexpr int stage_bytes = W_BYTES + NT * 8 * BK * 2;
    static constexpr int bars = stages * stage_bytes; /* full, then empty */
    static constexpr int bytes = bars + 2 * stages * 8 + 1024; /* the base is rounded up to 1024 */
};

#if SWAN_SM90A

/* A stage's two copies; bar: its barrier. */
SWAN_DEV void load_w(const params &p, uint32_t to, uint32_t bar, int unit)
{
    swan_tma_load_2d(to, &p.w, bar, unit % p.to.k_blocks * BK, unit / p.to.k_blocks * BN, SWAN_L2_EVICT_FIRST);
}
SWAN_DEV void load_x(const params &p, uint32_t to, uint32_t bar, int unit)
{
    swan_tma_load_2d(to + W_BYTES, &p.x, bar, unit % p.to.k_blocks * BK, 0, SWAN_L2_EVICT_LAST);
}

template <int NT> SWAN_DEV void run(const params &p, uint32_t base)
{
    constexpr int S = layout<NT>::stages, BYTES = layout<NT>::stage_bytes;
    const uint32_t full = base + layout<NT>::bars, empty = full + 8 * S;
    const int u0 = swan_skinny_first(p.to, (int)blockIdx.x), u1 = swan_skinny_first(p.to, (int)blockIdx.x + 1);
    const int wg = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 7, 0), warp = threadIdx.x >> 5;
    const bool producer = threadIdx.x == 0;
    float acc[4 * NT];
    int s = 0, phase = 0, last = 0, old = 0; /* stage and phase to come; stage before and its phase */
    if (producer)
        for (int i = 0; i < S && u0 + i < u1; i++) {
            swan_mbar_expect_tx(full + 8 * i, BYTES);
            load_w(p, base + i * BYTES, full + 8 * i, u0 + i);
        }
    swan_grid_launch_dependents();
    swan_grid_wait();
    if (producer)
        for (int i = 0; i < S && u0 + i < u1; i++) load_x(p, base + i * BYTES, full + 8 * i, u0 + i);
    __syncwarp();
    /* Gives back stage `last`, whose products have ended, and fetches unit u into it when everybody has. */
    auto recycle = [&](int u) {
        if ((threadIdx.x & 31) == 0) swan_mbar_arrive(empty + 8 * last);
        if (producer && u < u1) {
            swan_mbar_wait(empty + 8 * last, old);
            swan_mbar_expect_tx(full + 8 * last, BYTES);
            load_w(p, base + last * BYTES, full + 8 * last, u);
            load_x(p, base + last * BYTES, full + 8 * last, u);
        }
        __syncwarp();
    };
    for (int u = u0; u < u1;) {
        const int tile = u / p.to.k_blocks, end = min(u1, (tile + 1) * p.to.k_blocks);
#pragma unroll 1
        for (int i = u; i < end; i++) {
            const uint32_t at = base + s * BYTES;
            const uint64_t da = swan_wgmma_desc(at + wg * (W_BYTES / 2), 0), db = swan_wgmma_desc(at + W_BYTES, 0);
            swan_mbar_wait(full + 8 * s, phase);
            swan_wgmma_fence();
#pragma unroll
            for (int j = 0; j < BK / 16; j++) swan_wgmma_ss(acc, da + 2 * j, db + 2 * j, i > u || j > 0);
            swan_wgmma_commit();
            if (i > u) {
                swan_wgmma_wait<1>();
                recycle(i - 1 + S);
            }
            last = s, old = phase;
            if (++s == S) s = 0, phase ^= 1;
        }
        swan_wgmma_wait<0>();
        swan_wgmma_pin(acc);
        recycle(end - 1 + S);
        swan_skinny_finish<NT>(
            p.to, tile, [&](int k) { return make_float4(acc[4 * k], acc[4 * k + 1], acc[4 * k + 2], acc[4 * k + 3]); },
            [&](int k) { return make_int2(8 * k, warp * 16); });
        u = end;
    }
}

#endif /* SWAN_SM90A */

/* Half of the registers, so that a norm's blocks can wait beside these. */
template <int NT>
__global__ void __launch_bounds__(THREADS, NT > 16 ? 1 : 2) linear_bf16_skinny_sm90(const __grid_constant__ params p)
{
#if SWAN_SM90A
    extern __shared__ uint8_t raw[];
    const uint32_t base = (swan_smem_u32(raw) + 1023u) & ~1023u, bars = base + layout<NT>::bars;
    if (threadIdx.x == 0) {
        for (int i = 0; i < layout<NT>::stages; i++) {
            swan_mbar_init(bars + 8 * i, 1);
            swan_mbar_init(bars + 8 * (layout<NT>::stages + i), THREADS / 32);
        }
        swan_mbar_init_fence();
    }
    __syncthreads();
    run<NT>(p, base);
#endif
}

template <int NT> cudaError_t launch(cudaStream_t stream, const swan_linear_args *a, params &p, int blocks)
{
    cudaError_t e;
    swan_skinny_layout(&p.to, a->workspace, blocks, NT);
    if ((e = swan_tma_map_bf16(&p.x, a->x, a->M, a->K, a->ldx, NT * 8)) ||
        (e = swan_tma_map_bf16(&p.w, a->w, a->N, a->K, a->K, BN)))
        return e;
    return swan_start(linear_bf16_skinny_sm90<NT>, (unsigned)blocks, THREADS, layout<NT>::bytes, stream, p);
}

int items_of(const swan_linear_args *a) { return a->M <= 64 ? 8 : a->M <= 96 ? 12 : a->M <= 128 ? 16 : 32; }

} // namespace

extern "C" size_t swan_cuda_linear_bf16_skinny_sm90_bytes(const swan_linear_bf16_args *a)
{
    swan_skinny to;
    int blocks = 0;
    if (!swan_skinny_takes(a, 256) || swan_skinny_plan(a, &to, &blocks)) return 0;
    return swan_skinny_layout(&to, nullptr, blocks, items_of(a));
}

extern "C" int swan_cuda_linear_bf16_skinny_sm90(cudaStream_t stream, const swan_linear_bf16_args *a)
{
    params p = {};
    int blocks = 0;
    cudaError_t e;
    if (swan_linear_invalid(a)) return cudaErrorInvalidValue;
    if (!swan_skinny_takes(a, 256) || !a->workspace || swan_misaligned(a->x, a->w, a->y, a->workspace) ||
        swan_misaligned(a->bias, a->gate))
        return cudaErrorNotSupported;
    if ((e = swan_skinny_plan(a, &p.to, &blocks))) return e;
    switch (items_of(a)) {
    case 8: return launch<8>(stream, a, p, blocks);
    case 12: return launch<12>(stream, a, p, blocks);
    case 16: return launch<16>(stream, a, p, blocks);
    default: return launch<32>(stream, a, p, blocks);
    }
}
