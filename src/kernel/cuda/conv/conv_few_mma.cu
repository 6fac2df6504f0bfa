/* conv.conv3x3 with at most eight output channels, fp16, sm_80 and up: the decoder's last layer, 64 -> 3.
 *
 * Shapes and numerics: conv_f16_mma.cu.
 *
 * Roofline (81 x 480 x 832, 64 -> 3): x is read once, 4.14 GB: 1.4 ms at 3 TB/s (H100).
 *
 * Plan: tiles of 16 x 16 pixels, 64 channels at a time with all nine taps' weights; eight warps of two image rows each, one
 * ldmatrix and one m16n8k16 for 16 pixels, tap and 16 channels. Several blocks on a multiprocessor hide each other's loads. */
#include "kernel/cuda/conv/conv_few.cuh"
#include "kernel/cuda/conv/mma_f16.cuh"

namespace
{

enum { TW = 16, TH = 16, THREADS = 256, A_BYTES = (TW + 2) * (TH + 2) * 128, B_BYTES = 9 * 8 * 128, SMEM = A_BYTES + B_BYTES };

__global__ void __launch_bounds__(THREADS, 4) conv_few_mma(const conv_shape s, int tiles_x, int per_frame)
{
    extern __shared__ __align__(128) uint8_t smem[];
    const uint32_t base = swan_smem_u32(smem), weights = base + A_BYTES;
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, tile = (int)blockIdx.x % per_frame;
    const int f = (int)blockIdx.x / per_frame, x0 = tile % tiles_x * TW, y0 = tile / tiles_x * TH, Cout = (int)s.Cout;
    const int blocks = ((int)s.Cx + 63) / 64 + ((int)s.Cp + 63) / 64;
    float acc[2][4] = {};
    for (int block = 0; block < blocks; block++) {
        const conv_block b = conv_block_at(s, block);
        if (block) __syncthreads();
        conv_load_pixels<TW, TH, THREADS>(s, b, base, f, y0, x0);
        for (int tap = 0; tap < 9; tap++) conv_load_weights<8, THREADS>(s, b, weights + tap * 1024, 0, Cout, tap);
        swan_copy_commit();
        swan_copy_wait<0>();
        __syncthreads();
        const int pairs = (b.left + 31) / 32;
#pragma unroll
        for (int tap = 0; tap < 9; tap++) {
            const int pixel = (2 * warp + tap / 3) * (TW + 2) + (lane & 15) + tap % 3;
#pragma unroll
            for (int k = 0; k < 2; k++) {
                if (k >= pairs) break;
                uint32_t w[4];
                swan_ldmatrix_x4(w, conv_unit(weights + tap * 1024, lane & 7, 4 * k + (lane >> 3)));
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    uint32_t x[4];
                    swan_ldmatrix_x4(x, conv_unit(base, pixel + i * (TW + 2), 4 * k + (lane >> 4)));
                    swan_mma_f16(acc[i], x, w[0], w[1]);
                    swan_ldmatrix_x4(x, conv_unit(base, pixel + i * (TW + 2), 4 * k + 2 + (lane >> 4)));
                    swan_mma_f16(acc[i], x, w[2], w[3]);
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int y = y0 + 2 * warp + i;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const int x = x0 + (lane >> 2) + 8 * (k >> 1), n = 2 * (lane & 3) + (k & 1);
            if (y >= (int)s.H || x >= (int)s.W || n >= Cout) continue;
            const int64_t at = (((int64_t)f * s.H + y) * s.W + x) * Cout + n;
            float v = acc[i][k] + (s.bias ? s.bias[n] : 0.0f);
            if (s.residual) v += __half2float(((const __half *)s.residual)[at]);
            ((__half *)s.y)[at] = __float2half_rn(s.relu ? fmaxf(v, 0.0f) : v);
        }
    }
}

} // namespace

cudaError_t swan_conv_few(cudaStream_t stream, const conv_shape &s)
{
    const int tiles_x = (int)((s.W + TW - 1) / TW), per_frame = tiles_x * (int)((s.H + TH - 1) / TH);
    const int64_t blocks = per_frame * s.F;
    if (blocks > INT32_MAX) return cudaErrorNotSupported;
    const cudaError_t e = cudaFuncSetAttribute(conv_few_mma, cudaFuncAttributeMaxDynamicSharedMemorySize, SMEM);
    if (e) return e;
    conv_few_mma<<<(unsigned)blocks, THREADS, SMEM, stream>>>(s, tiles_x, per_frame);
    return cudaGetLastError();
}
