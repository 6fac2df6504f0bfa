/* conv.conv3x3 and conv.up2x2, fp16, sm_90a: implicit matrix products over tiles of 256 pixels.
 *
 * Shapes: x f16 [F, H, W, Cx], past f16 [F, H, W, Cp], w f16 as args.h says, y f16; Cx, Cp and Cout multiples of 64, bases
 * aligned to 16 B. Any F, H, W: TMA reads zeros outside of an image, which is the padding, and drops stores there.
 *
 * Numerics: fp32 products and sums, bias and residual added in fp32, one rounding. Deterministic.
 *
 * Roofline (TAEHV, 81 x 480 x 832: 9.06 TFLOP, 989 TFLOPS): 9.2 ms; bytes: about 20 GB, 7 ms.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench conv` (bench/LOG.md): 15.2 ms in all for its layers, TFLOPS:
 * 256 channels 739 (with past), 690, 662 (with residual), up 663; 128: 713, 614, 572, up 555; 64: 616, 522, 490, up 455. The
 * products alone, from shared memory: 859 with 64 columns, 842 with 128.
 *
 * Plan: a tile of pixels (tw x 256 / tw) with its margin, 64 channels, is loaded once; all taps read it from shared memory: rows
 * are pixels at 128 B, and a tap is another start address. A product of 64 rows covers 8 x 8 pixels: eight in x are the rows of a
 * core matrix, the groups of eight rows stand an image row of the tile apart. The 128-byte swizzle acts on address bits, so any
 * pixel may come first. Weights stream through a ring, one tap of 64 channels at a time.
 * Persistent blocks: warp 0 of the first warpgroup loads, warps 1 and 2 serve the consumers' staging tiles (residual in, result
 * out, both by TMA). Two consumer warpgroups: with 128 output channels they share a tile, 128 pixels each; with 64 each has tiles
 * of its own, so that one's epilogue hides behind the other's products; their main loops take turns, because a barrier tells
 * its last phase from the one before and no more: who skips the other's phases must know that they are over.
 * `hold`: when all of a tile's channels fit one load, it stays for all of its units (up2x2 at the end of the decoder). */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/common/tma_host.h"
#include "kernel/cuda/common/wgmma.cuh"
#include "kernel/cuda/conv/conv_shape.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace
{

enum { BAR_TURN = 1 }; /* and 2: the consumer whose main loop is next */
enum {
    PIXELS = 256,
    A_BYTES = 44 * 1024, /* (8 + 2) x (32 + 2) pixels of 128 B, up to a multiple of 1024 */
    A_STAGES = 2,
    BLOCK_BYTES = 64 * 128, /* 64 pixels of 64 channels */
    STAGING_BYTES = 32 * 1024, /* of one consumer: 128 accumulators a thread, in fp16 */
};

template <int N> struct plan {
    enum {
        OWN_TILES = N == 64,
        B_BYTES = N * 128,
        B_STAGES = N == 64 ? 8 : 4,
        BLOCKS = N == 64 ? 4 : 2, /* of 64 pixels, for each consumer */
        AT_B = A_STAGES * A_BYTES,
        AT_STAGING = AT_B + B_STAGES * B_BYTES,
        A_FULL = AT_STAGING + 2 * STAGING_BYTES, /* barriers */
        A_EMPTY = A_FULL + 8 * A_STAGES,
        B_FULL = A_EMPTY + 8 * A_STAGES,
        B_EMPTY = B_FULL + 8 * B_STAGES,
        STAGED = B_EMPTY + 8 * B_STAGES,
        READY = STAGED + 16,
        SMEM = READY + 16 + 1024 /* the base is rounded up to 1024 */
    };
};

struct params {
    CUtensorMap x, past, w, y, residual;
    const float *bias;
    int x_blocks, blocks;     /* of 64 input channels: of x, in all */
    int taps, channels, Cout; /* channels: of the input, the step of a tap in w */
    int tw, th, tiles_x, tiles_y, tiles; /* pixels of a tile; tiles of a frame; in all */
    int units;                /* of a tile */
    int grow;
    int relu, residual_on, hold;
};

#if SWAN_SM90A

struct unit {
    int f, x0, y0; /* frame and first pixel */
    int n0;        /* first output channel */
    int row;       /* of w */
    int j, p, q;   /* up2x2: frame made, place in the 2 x 2 */
    int index;     /* the running number of the unit's tile in this block */
};

/* The seq-th unit of this block. */
template <int N> SWAN_DEV bool unit_at(const params &p, int seq, unit &u)
{
    int tile, n;
    if (p.hold) {
        u.index = seq / p.units;
        n = seq - u.index * p.units;
        tile = (int)blockIdx.x + u.index * (int)gridDim.x;
    } else {
        const int i = (int)blockIdx.x + seq * (int)gridDim.x;
        tile = i / p.units;
        n = i - tile * p.units;
        u.index = seq;
    }
    if (tile >= p.tiles) return false;
    const int per_frame = p.tiles_x * p.tiles_y, at = tile % per_frame, columns = p.Cout / N, group = n / columns;
    u.f = tile / per_frame;
    u.x0 = at % p.tiles_x * p.tw;
    u.y0 = at / p.tiles_x * p.th;
    u.n0 = (n - group * columns) * N;
    u.row = group * p.Cout + u.n0;
    u.j = group >> 2, u.p = group >> 1 & 1, u.q = group & 1;
    return true;
}

SWAN_DEV void load_4d(uint32_t dst, const CUtensorMap *map, uint32_t bar, int c, int x, int y, int f)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3,%4,%5,%6}], [%2];" ::"r"(
                     dst),
                 "l"(map), "r"(bar), "r"(c), "r"(x), "r"(y), "r"(f)
                 : "memory");
}
SWAN_DEV void load_5d(uint32_t dst, const CUtensorMap *map, uint32_t bar, int c, int x, int p, int y, int f)
{
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3,%4,%5,%6,%7}], [%2];" ::"r"(dst),
        "l"(map), "r"(bar), "r"(c), "r"(x), "r"(p), "r"(y), "r"(f)
        : "memory");
}
SWAN_DEV void store_5d(const CUtensorMap *map, uint32_t src, int c, int x, int p, int y, int f)
{
    asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2,%3,%4,%5,%6}], [%1];" ::"l"(map), "r"(src), "r"(c),
                 "r"(x), "r"(p), "r"(y), "r"(f)
                 : "memory");
}

template <int N> SWAN_DEV void produce(const params &p, uint32_t base)
{
    typedef plan<N> P;
    const int a_bytes = (p.tw + 2) * (p.th + 2) * 128, steps = p.blocks * p.taps;
    int a = 0, a_phase = 1, b = 0, b_phase = 1;
    unit u;
    for (int seq = 0; unit_at<N>(p, seq, u); seq++) {
        const bool fresh = !p.hold || seq % p.units == 0;
        int block = 0, tap = 0;
        for (int k = 0; k < steps; k++) {
            if (tap == 0 && fresh) {
                swan_mbar_wait(base + P::A_EMPTY + 8 * a, a_phase);
                swan_mbar_expect_tx(base + P::A_FULL + 8 * a, a_bytes);
                const bool past = block >= p.x_blocks;
                load_4d(base + a * A_BYTES, past ? &p.past : &p.x, base + P::A_FULL + 8 * a,
                        64 * (past ? block - p.x_blocks : block), u.x0 - 1, u.y0 - 1, u.f);
                if (++a == A_STAGES) a = 0, a_phase ^= 1;
            }
            swan_mbar_wait(base + P::B_EMPTY + 8 * b, b_phase);
            swan_mbar_expect_tx(base + P::B_FULL + 8 * b, P::B_BYTES);
            swan_tma_load_2d(base + P::AT_B + b * P::B_BYTES, &p.w, base + P::B_FULL + 8 * b, tap * p.channels + 64 * block, u.row,
                             SWAN_L2_EVICT_LAST);
            if (++b == P::B_STAGES) b = 0, b_phase ^= 1;
            if (++tap == p.taps) tap = 0, block++;
        }
    }
}

/* The staging tile of consumer wg: block i of 64 pixels and 64 channels. What it covers: */
template <int N> SWAN_DEV void place(const params &p, const unit &u, int wg, int i, int &c, int &x, int &y)
{
    const int columns = N / 64, at = (plan<N>::OWN_TILES ? 0 : wg * plan<N>::BLOCKS) + i / columns, across = p.tw / 8;
    c = u.n0 + 64 * (i % columns);
    x = u.x0 + 8 * (at % across);
    y = u.y0 + 8 * (at / across);
}

/* Hands the staging tile of one consumer over, before each unit, with the residual in it where there is one; stores it after. */
template <int N> SWAN_DEV void serve(const params &p, uint32_t base, int wg)
{
    typedef plan<N> P;
    const uint32_t staging = base + P::AT_STAGING + wg * STAGING_BYTES, staged = base + P::STAGED + 8 * wg;
    const int step = P::OWN_TILES ? 2 : 1, H_TILES = STAGING_BYTES / BLOCK_BYTES;
    unit u, next;
    bool more = unit_at<N>(p, P::OWN_TILES ? wg : 0, next);
    for (int seq = P::OWN_TILES ? wg : 0, parity = 0;; seq += step, parity ^= 1) {
        if (!more) break;
        u = next;
        if (p.residual_on) {
            swan_mbar_expect_tx(staged, STAGING_BYTES);
            for (int i = 0; i < H_TILES; i++) {
                int c, x, y;
                place<N>(p, u, wg, i, c, x, y);
                load_5d(staging + i * BLOCK_BYTES, &p.residual, staged, c, x, 0, y, u.f);
            }
        } else {
            swan_mbar_arrive(staged);
        }
        more = unit_at<N>(p, seq + step, next);
        swan_mbar_wait(base + P::READY + 8 * wg, parity);
        for (int i = 0; i < H_TILES; i++) {
            int c, x, y;
            place<N>(p, u, wg, i, c, x, y);
            store_5d(&p.y, staging + i * BLOCK_BYTES, c + u.q * p.Cout, x, u.p, y, u.f * p.grow + u.j);
        }
        swan_tma_commit();
        swan_tma_wait_read<0>();
    }
    swan_tma_wait<0>();
}

SWAN_DEV void ldmatrix_x4(uint32_t addr, uint32_t (&r)[4])
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(addr)
                 : "memory");
}
SWAN_DEV uint32_t pack_f16(float lo, float hi)
{
    uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

/* 64 pixels by N channels from the accumulators to the staging tile. */
template <int N, int M> SWAN_DEV void finish_block(const params &p, const float (&acc)[M], uint32_t staging, const float *bias)
{
    const int t = threadIdx.x & 127, lane = t & 31, r = (t >> 5) * 16 + (lane & 15);
#pragma unroll
    for (int c = 0; c < N / 16; c++) {
        const uint32_t at = staging + c / 4 * BLOCK_BYTES + r * 128 + (((2 * (c & 3) + (lane >> 4)) ^ (r & 7)) << 4);
        uint32_t old[4] = {0, 0, 0, 0}, out[4];
        if (p.residual_on) ldmatrix_x4(at, old);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float2 b = {0.0f, 0.0f};
            if (bias) b = __ldg((const float2 *)(bias + 16 * c + 8 * h + 2 * (lane & 3)));
#pragma unroll
            for (int g = 0; g < 2; g++) {
                const float2 o = __half22float2(*(const __half2 *)&old[2 * h + g]);
                float v0 = acc[8 * c + 4 * h + 2 * g] + b.x + o.x, v1 = acc[8 * c + 4 * h + 2 * g + 1] + b.y + o.y;
                if (p.relu) v0 = fmaxf(v0, 0.0f), v1 = fmaxf(v1, 0.0f);
                out[2 * h + g] = pack_f16(v0, v1);
            }
        }
        swan_stmatrix_x4(at, out[0], out[1], out[2], out[3]);
    }
}

template <int N> SWAN_DEV void consume(const params &p, uint32_t base, int wg)
{
    typedef plan<N> P;
    const bool leader = (threadIdx.x & 127) == 0;
    const int pitch = p.tw + 2, steps = p.blocks * p.taps, across = p.tw / 8;
    const uint32_t staging = base + P::AT_STAGING + wg * STAGING_BYTES;
    uint32_t from[P::BLOCKS];
#pragma unroll
    for (int i = 0; i < P::BLOCKS; i++) {
        const int at = (P::OWN_TILES ? 0 : wg * P::BLOCKS) + i;
        from[i] = (uint32_t)(at / across * 8 * pitch + at % across * 8) * 128;
    }
    float acc[P::BLOCKS][N / 2];
    unit u;
    const int step = P::OWN_TILES ? 2 : 1;
    int turn = 0;
    if (P::OWN_TILES && wg == 1) swan_bar_arrive(BAR_TURN, 256);
    for (int seq = P::OWN_TILES ? wg : 0; unit_at<N>(p, seq, u); seq += step, turn++) {
        if (P::OWN_TILES) swan_bar_sync(BAR_TURN + wg, 256);
        int tap = 0, last = -1, a = 0;
        unsigned b_at = (unsigned)seq * steps, a_at = p.hold ? (unsigned)u.index : (unsigned)seq * p.blocks;
#pragma unroll 1
        for (int k = 0; k < steps; k++, b_at++) {
            if (tap == 0) {
                a = (int)(a_at % A_STAGES);
                swan_mbar_wait(base + P::A_FULL + 8 * a, a_at / A_STAGES & 1);
            }
            const int b = (int)(b_at % P::B_STAGES);
            const int dy = p.taps == 9 ? tap / 3 : u.p + (tap >> 1), dx = p.taps == 9 ? tap % 3 : u.q + (tap & 1);
            const uint32_t a0 = base + a * A_BYTES + (uint32_t)(dy * pitch + dx) * 128;
            const uint64_t db = swan_wgmma_desc(base + P::AT_B + b * P::B_BYTES, 0);
            swan_mbar_wait(base + P::B_FULL + 8 * b, b_at / P::B_STAGES & 1);
            swan_wgmma_fence();
#pragma unroll
            for (int i = 0; i < P::BLOCKS; i++) {
                const uint64_t da = swan_wgmma_desc_rows(a0 + from[i], (uint32_t)pitch * 128);
#pragma unroll
                for (int j = 0; j < 4; j++) swan_wgmma_ss_f16(acc[i], da + 2 * j, db + 2 * j, k > 0 || j > 0);
            }
            swan_wgmma_commit();
            if (k > 0) {
                swan_wgmma_wait<1>();
                if (leader) {
                    swan_mbar_arrive(base + P::B_EMPTY + 8 * last);
                    if (tap == 0 && !p.hold) swan_mbar_arrive(base + P::A_EMPTY + 8 * (int)((a_at - 1) % A_STAGES));
                }
            }
            last = b;
            if (++tap == p.taps) tap = 0, a_at++;
        }
        if (P::OWN_TILES) swan_bar_arrive(BAR_TURN + 1 - wg, 256); /* all that this one waits for has come */
        swan_wgmma_wait<0>();
#pragma unroll
        for (int i = 0; i < P::BLOCKS; i++) swan_wgmma_pin(acc[i]);
        if (leader) {
            swan_mbar_arrive(base + P::B_EMPTY + 8 * last);
            /* held: this consumer's last unit of the tile */
            if (!p.hold || seq % p.units + step >= p.units) swan_mbar_arrive(base + P::A_EMPTY + 8 * a);
        }
        swan_mbar_wait(base + P::STAGED + 8 * wg, turn & 1);
#pragma unroll
        for (int i = 0; i < P::BLOCKS; i++)
            finish_block<N>(p, acc[i], staging + i * (N / 64) * BLOCK_BYTES, p.bias ? p.bias + u.n0 : nullptr);
        swan_fence_async_shared();
        swan_mbar_arrive(base + P::READY + 8 * wg);
    }
}

#endif /* SWAN_SM90A */

template <int N> __global__ void __launch_bounds__(384, 1) conv_f16(const __grid_constant__ params p)
{
#if SWAN_SM90A
    typedef plan<N> P;
    extern __shared__ uint8_t raw[];
    const uint32_t base = (swan_smem_u32(raw) + 1023u) & ~1023u;
    const int wg = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 7, 0), warp = __shfl_sync(0xffffffffu, (int)threadIdx.x >> 5, 0);
    if (threadIdx.x == 0) {
        /* who must let go of a stage: the consumers that read it */
        const int readers = P::OWN_TILES ? 1 : 2;
        for (int i = 0; i < A_STAGES; i++) {
            swan_mbar_init(base + P::A_FULL + 8 * i, 1);
            swan_mbar_init(base + P::A_EMPTY + 8 * i, p.hold ? 2 : readers);
        }
        for (int i = 0; i < P::B_STAGES; i++) {
            swan_mbar_init(base + P::B_FULL + 8 * i, 1);
            swan_mbar_init(base + P::B_EMPTY + 8 * i, readers);
        }
        for (int i = 0; i < 2; i++) {
            swan_mbar_init(base + P::STAGED + 8 * i, 1);
            swan_mbar_init(base + P::READY + 8 * i, 128);
        }
        swan_mbar_init_fence();
    }
    __syncthreads();
    swan_grid_launch_dependents();
    if (wg == 0) {
        swan_reg_dec<40>();
        if ((threadIdx.x & 31) == 0) {
            swan_grid_wait(); /* the consumers see the stream's memory through what is loaded and stored here */
            if (warp == 0) produce<N>(p, base);
            else if (warp < 3) serve<N>(p, base, warp - 1);
        }
    } else {
        swan_reg_inc<232>();
        consume<N>(p, base, wg - 1);
    }
#endif
}

/* f16 [.., x, c] as boxes of 64 channels. dims and strides (bytes, of dims 1..) innermost first. */
cudaError_t map_f16(CUtensorMap *map, const void *base, int rank, const cuuint64_t *dims, const cuuint64_t *strides,
                    const cuuint32_t *box)
{
    swan_tma_encode_fn encode;
    const cudaError_t e = swan_tma_encoder(&encode);
    if (e) return e;
    const cuuint32_t one[5] = {1, 1, 1, 1, 1};
    const CUresult r = encode(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, (cuuint32_t)rank, (void *)(uintptr_t)base, dims, strides, box, one,
                              CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                              CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return r == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t map_input(CUtensorMap *map, const void *x, const conv_shape &s, int64_t C, int tw, int th)
{
    const cuuint64_t dims[4] = {(cuuint64_t)C, (cuuint64_t)s.W, (cuuint64_t)s.H, (cuuint64_t)s.F},
                     strides[3] = {(cuuint64_t)C * 2, (cuuint64_t)(s.W * C) * 2, (cuuint64_t)(s.H * s.W * C) * 2};
    const cuuint32_t box[4] = {64, (cuuint32_t)tw + 2, (cuuint32_t)th + 2, 1};
    return map_f16(map, x, 4, dims, strides, box);
}

/* y, and the residual: pixel (scale h + p, scale w + q) of a frame as (q, c), w, p, h. */
cudaError_t map_output(CUtensorMap *map, const void *y, const conv_shape &s)
{
    const cuuint64_t k = (cuuint64_t)s.scale, C = (cuuint64_t)s.Cout, W = (cuuint64_t)s.W, H = (cuuint64_t)s.H,
                     dims[5] = {k * C, W, k, H, (cuuint64_t)(s.F * s.grow)},
                     strides[4] = {k * C * 2, k * W * C * 2, k * k * W * C * 2, k * k * W * H * C * 2};
    const cuuint32_t box[5] = {64, 8, 1, 8, 1};
    return map_f16(map, y, 5, dims, strides, box);
}

cudaError_t map_weights(CUtensorMap *map, const conv_shape &s, int rows)
{
    const cuuint64_t K = (cuuint64_t)(s.taps * (s.Cx + s.Cp)),
                     dims[2] = {K, (cuuint64_t)(s.Cout * s.grow * s.scale * s.scale)}, strides[1] = {K * 2};
    const cuuint32_t box[2] = {64, (cuuint32_t)rows};
    return map_f16(map, s.w, 2, dims, strides, box);
}

template <int N> cudaError_t launch(cudaStream_t stream, const params &p)
{
    int dev = 0, sms = 0;
    cudaError_t e;
    if ((e = cudaGetDevice(&dev)) || (e = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, dev))) return e;
    const int work = p.hold ? p.tiles : p.tiles * p.units;
    return swan_start(conv_f16<N>, dim3((unsigned)(work < sms ? work : sms)), 384, plan<N>::SMEM, stream, p);
}

/* Pixels across a tile, 8 or 16: what wastes less at the borders; 16 when equal, whose margin is smaller. */
int tile_width(int64_t W, int64_t H)
{
    const int64_t wide = (W + 15) / 16 * ((H + 15) / 16), narrow = (W + 7) / 8 * ((H + 31) / 32);
    return narrow < wide ? 8 : 16;
}

int run(cudaStream_t stream, const conv_shape &s)
{
    if (conv_extents_invalid(s)) return cudaErrorInvalidValue;
    if (((s.Cx | s.Cp | s.Cout) & 63) || swan_misaligned(s.x, s.past, s.w, s.y) || swan_misaligned(s.residual, s.bias))
        return cudaErrorNotSupported;
    params p = {};
    const int tw = tile_width(s.W, s.H), th = PIXELS / tw, N = s.Cout % 128 ? 64 : 128;
    cudaError_t e;
    if ((e = map_input(&p.x, s.x, s, s.Cx, tw, th)) || (s.Cp && (e = map_input(&p.past, s.past, s, s.Cp, tw, th))) ||
        (e = map_weights(&p.w, s, N)) || (e = map_output(&p.y, s.y, s)) ||
        (s.residual && (e = map_output(&p.residual, s.residual, s))))
        return e;
    const int64_t tiles = s.F * ((s.W + tw - 1) / tw) * ((s.H + th - 1) / th), units = s.Cout / N * s.grow * s.scale * s.scale;
    if (tiles * units > INT32_MAX / 1024) return cudaErrorNotSupported;
    p.bias = s.bias;
    p.x_blocks = (int)(s.Cx / 64), p.blocks = (int)((s.Cx + s.Cp) / 64);
    p.taps = s.taps, p.channels = (int)(s.Cx + s.Cp), p.Cout = (int)s.Cout;
    p.tw = tw, p.th = th;
    p.tiles_x = (int)((s.W + tw - 1) / tw), p.tiles_y = (int)((s.H + th - 1) / th), p.tiles = (int)tiles;
    p.units = (int)units, p.grow = s.grow;
    p.relu = s.relu, p.residual_on = s.residual != nullptr;
    p.hold = N == 64 && p.blocks == 1 && units % 2 == 0;
    return N == 64 ? launch<64>(stream, p) : launch<128>(stream, p);
}

} // namespace

extern "C" int swan_cuda_conv_conv3x3_sm90(cudaStream_t stream, const swan_conv_conv3x3_args *a)
{
    conv_shape s;
    return conv_shape_of(*a, s) ? run(stream, s) : (int)cudaErrorNotSupported;
}

extern "C" int swan_cuda_conv_up2x2_sm90(cudaStream_t stream, const swan_conv_up2x2_args *a)
{
    return run(stream, conv_shape_of(*a));
}
