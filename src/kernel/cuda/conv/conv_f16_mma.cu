/* conv.conv3x3 and conv.up2x2, fp16, sm_80 and up: implicit matrix products over tiles of 16 x 8 pixels.
 *
 * Shapes: x f16 [F, H, W, Cx], past f16 [F, H, W, Cp], w f16 as args.h says, y f16; Cx and Cp multiples of 8, bases aligned to
 * 16 B. Any F, H, W, Cout; up to three output channels: conv_few_mma.cu.
 *
 * Numerics: fp32 products and sums, bias and residual added in fp32, one rounding. Deterministic.
 *
 * Roofline (TAEHV, 81 x 480 x 832: 9.06 TFLOP; H100 989, A100 312, 4090 165 TFLOPS with fp32 sums): 9.2, 29, 55 ms.
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench conv` (bench/LOG.md): 42.2 ms in all for its layers; 265 to 291
 * TFLOPS at 256 channels, 258 to 309 at 128, 151 to 216 at 64; up 248, 178, 143. Not run on other GPUs.
 *
 * Plan: a tile with its margin of one pixel, 64 channels, goes to shared memory once (cp.async, two stages); all taps read it
 * there, ldmatrix taking any pixel as a row. Weights stream through a ring, one tap of 64 channels at a time. Eight warps, 4 x 2:
 * 32 pixels by half of the output channels each. The result leaves through shared memory in 16-byte stores. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/conv/conv_few.cuh"
#include "kernel/cuda/conv/mma_f16.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum { TW = 16, TH = 8, THREADS = 256, A_BYTES = (TW + 2) * (TH + 2) * 128 };

template <int N> struct plan {
    static constexpr int B_BYTES = N * 128, STAGES = N == 64 ? 4 : 3, AT_B = 2 * A_BYTES, SMEM = AT_B + STAGES * B_BYTES,
                         PITCH = N * 2 + 16; /* of a pixel of the result in shared memory */
    static_assert(TW * TH * PITCH <= SMEM, "the result takes the operands' place");
};

struct params {
    conv_shape s;
    int tiles_x, per_frame; /* tiles */
    int columns;            /* parts of N output channels */
};

/* Where a block works. */
struct place {
    int f, x0, y0, n0, rows; /* rows: output channels that exist */
    int64_t row;             /* of w */
    int j, p, q;
};
template <int N> SWAN_DEV place place_of(const params &a)
{
    const int unit = (int)blockIdx.y, group = unit / a.columns, tile = (int)blockIdx.x % a.per_frame;
    place u;
    u.f = (int)blockIdx.x / a.per_frame;
    u.x0 = tile % a.tiles_x * TW;
    u.y0 = tile / a.tiles_x * TH;
    u.n0 = (unit - group * a.columns) * N;
    u.rows = min(N, (int)a.s.Cout - u.n0);
    u.row = (int64_t)group * a.s.Cout + u.n0;
    u.j = group >> 2, u.p = group >> 1 & 1, u.q = group & 1;
    return u;
}

/* Element of y (and the residual) where pixel i of the tile begins, -1 outside. */
SWAN_DEV int64_t target(const conv_shape &s, const place &u, int i)
{
    const int y = u.y0 + i / TW, x = u.x0 + i % TW;
    if (y >= (int)s.H || x >= (int)s.W) return -1;
    const int64_t line = ((int64_t)u.f * s.grow + u.j) * s.scale * s.H + s.scale * y + u.p;
    return (line * s.scale * s.W + s.scale * x + u.q) * s.Cout + u.n0;
}

/* Between shared memory and global memory, all threads: the tile's pixels by the channels that exist. */
template <int N, bool LOAD> SWAN_DEV void move_tile(const conv_shape &s, const place &u, __half *tile, __half *global)
{
    typedef plan<N> P;
    const bool vectors = s.Cout % 8 == 0;
    const int width = vectors ? N / 8 : N;
    for (int i = threadIdx.x; i < TW * TH * width; i += THREADS) {
        const int pixel = i / width, n = i % width * (vectors ? 8 : 1);
        const int64_t at = target(s, u, pixel);
        if (at < 0 || n >= u.rows) continue;
        __half *here = tile + pixel * (P::PITCH / 2) + n, *there = global + at + n;
        if (vectors) {
            if (LOAD) *(uint4 *)here = *(const uint4 *)there;
            else *(uint4 *)there = *(const uint4 *)here;
        } else {
            if (LOAD) *here = *there;
            else *there = *here;
        }
    }
}

/* Bias, residual, ReLU, and the result to where it belongs. */
template <int N> SWAN_DEV void finish(const conv_shape &s, const place &u, __half *tile, const float (&acc)[2][N / 16][4])
{
    typedef plan<N> P;
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, wm = warp & 3, wn = warp >> 2;
    if (s.residual) {
        move_tile<N, true>(s, u, tile, (__half *)s.residual);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < N / 16; j++) {
            const int n = wn * (N / 2) + 8 * j + 2 * (lane & 3);
            const float b0 = s.bias && n < u.rows ? s.bias[u.n0 + n] : 0.0f, b1 = s.bias && n + 1 < u.rows ? s.bias[u.n0 + n + 1] : 0.0f;
#pragma unroll
            for (int r = 0; r < 2; r++) {
                __half2 *at = (__half2 *)(tile + ((2 * wm + i) * TW + (lane >> 2) + 8 * r) * (P::PITCH / 2) + n);
                float v0 = acc[i][j][2 * r] + b0, v1 = acc[i][j][2 * r + 1] + b1;
                if (s.residual) {
                    const float2 old = __half22float2(*at);
                    v0 += old.x, v1 += old.y;
                }
                if (s.relu) v0 = fmaxf(v0, 0.0f), v1 = fmaxf(v1, 0.0f);
                *at = __floats2half2_rn(v0, v1);
            }
        }
    }
    __syncthreads();
    move_tile<N, false>(s, u, tile, (__half *)s.y);
}

template <int N> __global__ void __launch_bounds__(THREADS, 2) conv_f16_mma(const params a)
{
    typedef plan<N> P;
    extern __shared__ __align__(128) uint8_t smem[];
    const uint32_t base = swan_smem_u32(smem);
    const conv_shape &s = a.s;
    const place u = place_of<N>(a);
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, wm = warp & 3, wn = warp >> 2;
    const int blocks = ((int)s.Cx + 63) / 64 + ((int)s.Cp + 63) / 64, steps = blocks * s.taps;
    float acc[2][N / 16][4];
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < N / 16; j++)
#pragma unroll
            for (int k = 0; k < 4; k++) acc[i][j][k] = 0.0f;

    swan_grid_launch_dependents();
    swan_grid_wait();
    /* One group of copies a step: the weights of a later step, and at a block's first the pixels of the next block. */
    int ahead_block = 0, ahead_tap = 0;
    auto fetch_weights = [&](int step) {
        if (step < steps) {
            conv_load_weights<N, THREADS>(s, conv_block_at(s, ahead_block), base + P::AT_B + step % P::STAGES * P::B_BYTES, u.row, u.rows,
                                          ahead_tap);
            if (++ahead_tap == s.taps) ahead_tap = 0, ahead_block++;
        }
    };
    conv_load_pixels<TW, TH, THREADS>(s, conv_block_at(s, 0), base, u.f, u.y0, u.x0);
    for (int i = 0; i < P::STAGES - 1; i++) {
        fetch_weights(i);
        swan_copy_commit();
    }
    int block = 0, tap = 0, slices = (conv_block_at(s, 0).left + 15) / 16;
    for (int step = 0; step < steps; step++) {
        swan_copy_wait<P::STAGES - 2>();
        __syncthreads(); /* this step's operands are there; all are done with the step before */
        if (tap == 0 && block + 1 < blocks)
            conv_load_pixels<TW, TH, THREADS>(s, conv_block_at(s, block + 1), base + (block + 1 & 1) * A_BYTES, u.f, u.y0, u.x0);
        fetch_weights(step + P::STAGES - 1);
        swan_copy_commit();
        const int dy = s.taps == 9 ? tap / 3 : u.p + (tap >> 1), dx = s.taps == 9 ? tap % 3 : u.q + (tap & 1);
        const int pixel = (2 * wm + dy) * (TW + 2) + (lane & 15) + dx;
        const uint32_t from = base + (block & 1) * A_BYTES, weights = base + P::AT_B + step % P::STAGES * P::B_BYTES;
        const int row = wn * (N / 2) + (lane & 7) + (lane >> 4) * 8;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (k >= slices) break;
            uint32_t x[2][4];
#pragma unroll
            for (int i = 0; i < 2; i++) swan_ldmatrix_x4(x[i], conv_unit(from, pixel + i * (TW + 2), 2 * k + (lane >> 4)));
#pragma unroll
            for (int j = 0; j < N / 32; j++) {
                uint32_t w[4];
                swan_ldmatrix_x4(w, conv_unit(weights, row + 16 * j, 2 * k + (lane >> 3 & 1)));
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    swan_mma_f16(acc[i][2 * j], x[i], w[0], w[1]);
                    swan_mma_f16(acc[i][2 * j + 1], x[i], w[2], w[3]);
                }
            }
        }
        if (++tap == s.taps) {
            tap = 0;
            if (++block < blocks) slices = (conv_block_at(s, block).left + 15) / 16;
        }
    }
    swan_copy_wait<0>();
    __syncthreads();

    finish<N>(s, u, (__half *)smem, acc);
}

template <int N> cudaError_t launch(cudaStream_t stream, const conv_shape &s)
{
    params a = {};
    a.s = s;
    a.tiles_x = (int)((s.W + TW - 1) / TW);
    a.per_frame = a.tiles_x * (int)((s.H + TH - 1) / TH);
    a.columns = (int)((s.Cout + N - 1) / N);
    const int64_t blocks = a.per_frame * s.F, units = (int64_t)a.columns * s.grow * s.scale * s.scale;
    if (blocks > INT32_MAX || units > 65535) return cudaErrorNotSupported;
    return swan_start(conv_f16_mma<N>, dim3((unsigned)blocks, (unsigned)units), THREADS, plan<N>::SMEM, stream, a);
}

int run(cudaStream_t stream, const conv_shape &s)
{
    if (conv_extents_invalid(s)) return cudaErrorInvalidValue;
    if (((s.Cx | s.Cp) & 7) || swan_misaligned(s.x, s.past, s.w, s.y, s.residual)) return cudaErrorNotSupported;
    if (s.Cout <= SWAN_CONV_FEW && s.taps == 9) return swan_conv_few(stream, s);
    return s.Cout % 128 && s.Cout < 192 ? launch<64>(stream, s) : launch<128>(stream, s);
}

} // namespace

extern "C" int swan_cuda_conv_conv3x3_mma(cudaStream_t stream, const swan_conv_conv3x3_args *a)
{
    conv_shape s;
    return conv_shape_of(*a, s) ? run(stream, s) : (int)cudaErrorNotSupported;
}

extern "C" int swan_cuda_conv_up2x2_mma(cudaStream_t stream, const swan_conv_up2x2_args *a)
{
    return run(stream, conv_shape_of(*a));
}
