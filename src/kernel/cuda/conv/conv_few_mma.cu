/* conv.conv3x3 with at most three output channels, fp16, sm_80 and up: the decoder's last layer, 64 -> 3.
 *
 * Shapes: conv_f16_mma.cu. Numerics: fp32 products and sums, first over the channels of each tap, then over the taps; one rounding.
 * Deterministic.
 *
 * Roofline (81 x 480 x 832, 64 -> 3): x is read once, 4.14 GB: 1.4 ms at 3 TB/s (H100).
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench conv` (bench/LOG.md): 2.21 ms, 1.9 TB/s.
 *
 * Plan: tiles of 16 x 16 pixels. Few output channels leave no work for the nine times that a convolution reads each input from
 * shared memory; so the product comes first, every pixel of the tile and its margin by the 27 columns (tap, channel), read once,
 * and the nine shifted sums are taken of its fp32 result, which goes where the pixels were. Several blocks on a multiprocessor
 * hide each other's loads.
 *
 * Tried: 36 products of 16 x 8 a pixel row, every tap reading shared memory again: 2.64 ms. Not tried: the number of channels as a
 * constant, which saves much of the address arithmetic of the sums; the layer before it fused, which saves 8 GB. */
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/conv/conv_few.cuh"
#include "kernel/cuda/conv/mma_f16.cuh"

namespace
{

enum {
    TW = 16,
    TH = 16,
    LINE = TW + 2,
    THREADS = 256,
    ROWS = LINE * (TH + 2),       /* pixels with the margin */
    PARTS = (ROWS + 15) / 16,     /* of 16 rows, dealt to eight warps */
    PER_WARP = (PARTS + 7) / 8,
    A_BYTES = PARTS * 16 * 128,   /* the last part reads past the pixels, to no effect */
    B_BYTES = 32 * 128,
    PITCH = 29,                   /* floats of a row of the result: odd, so that the sums find no two in one bank */
    SMEM = A_BYTES + B_BYTES
};
static_assert(ROWS * PITCH * 4 <= A_BYTES, "the result takes the pixels' place");

struct params {
    conv_shape s;
    int tiles_x, per_frame; /* tiles */
};

/* Row tap * Cout + n: 64 input channels of output channel n under the tap. */
SWAN_DEV void load_columns(const conv_shape &s, const conv_block &b, uint32_t to)
{
    const int row = (int)threadIdx.x >> 3, unit = (int)threadIdx.x & 7, Cout = (int)s.Cout, tap = row / Cout, n = row - tap * Cout;
    const bool in = tap < 9 && unit * 8 < b.left;
    const __half *w = (const __half *)s.w;
    swan_copy16(conv_unit(to, row, unit), in ? w + (n * 9 + tap) * (s.Cx + s.Cp) + b.at + unit * 8 : w, in);
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define RESIDENT 2 /* blocks on a multiprocessor; three would spill, and do not fit most */
#else
#define RESIDENT 3
#endif

__global__ void __launch_bounds__(THREADS, RESIDENT) conv_few_mma(const params a)
{
    extern __shared__ __align__(128) uint8_t smem[];
    const uint32_t base = swan_smem_u32(smem), weights = base + A_BYTES;
    const conv_shape &s = a.s;
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, tile = (int)blockIdx.x % a.per_frame;
    const int f = (int)blockIdx.x / a.per_frame, x0 = tile % a.tiles_x * TW, y0 = tile / a.tiles_x * TH, Cout = (int)s.Cout;
    const int blocks = ((int)s.Cx + 63) / 64 + ((int)s.Cp + 63) / 64;
    float acc[PER_WARP][4][4] = {};
    swan_grid_launch_dependents();
    swan_grid_wait();
    for (int block = 0; block < blocks; block++) {
        const conv_block b = conv_block_at(s, block);
        if (block) __syncthreads();
        conv_load_pixels<TW, TH, THREADS>(s, b, base, f, y0, x0);
        load_columns(s, b, weights);
        swan_copy_commit();
        swan_copy_wait<0>();
        __syncthreads();
        const int slices = (b.left + 15) / 16;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (k >= slices) break;
            uint32_t w[2][4];
#pragma unroll
            for (int j = 0; j < 2; j++)
                swan_ldmatrix_x4(w[j], conv_unit(weights, 16 * j + (lane & 7) + (lane >> 4) * 8, 2 * k + (lane >> 3 & 1)));
#pragma unroll
            for (int i = 0; i < PER_WARP; i++) {
                if (warp + 8 * i >= PARTS) break;
                uint32_t x[4];
                swan_ldmatrix_x4(x, conv_unit(base, (warp + 8 * i) * 16 + (lane & 15), 2 * k + (lane >> 4)));
#pragma unroll
                for (int j = 0; j < 4; j++) swan_mma_f16(acc[i][j], x, w[j >> 1][2 * (j & 1)], w[j >> 1][2 * (j & 1) + 1]);
            }
        }
    }
    __syncthreads();
    float *sums = (float *)smem;
#pragma unroll
    for (int i = 0; i < PER_WARP; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const int row = (warp + 8 * i) * 16 + (lane >> 2) + 8 * (k >> 1), column = 8 * j + 2 * (lane & 3) + (k & 1);
                if (row < ROWS && column < 27) sums[row * PITCH + column] = acc[i][j][k];
            }
    __syncthreads();
    const int ty = (int)threadIdx.x / TW, tx = (int)threadIdx.x % TW, y = y0 + ty, x = x0 + tx;
    if (y >= (int)s.H || x >= (int)s.W) return;
    const int64_t at = (((int64_t)f * s.H + y) * s.W + x) * Cout;
    for (int n = 0; n < Cout; n++) {
        float v = s.bias ? s.bias[n] : 0.0f;
#pragma unroll
        for (int tap = 0; tap < 9; tap++) v += sums[((ty + tap / 3) * LINE + tx + tap % 3) * PITCH + tap * Cout + n];
        if (s.residual) v += __half2float(((const __half *)s.residual)[at + n]);
        ((__half *)s.y)[at + n] = __float2half_rn(s.relu ? fmaxf(v, 0.0f) : v);
    }
}

} // namespace

cudaError_t swan_conv_few(cudaStream_t stream, const conv_shape &s)
{
    params a = {};
    a.s = s;
    a.tiles_x = (int)((s.W + TW - 1) / TW);
    a.per_frame = a.tiles_x * (int)((s.H + TH - 1) / TH);
    const int64_t blocks = a.per_frame * s.F;
    return blocks > INT32_MAX ? cudaErrorNotSupported : swan_start(conv_few_mma, dim3((unsigned)blocks), THREADS, SMEM, stream, a);
}
