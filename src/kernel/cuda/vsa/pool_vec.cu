/* VSA's pooling: out[i, :] = mean over the rows of tile i of x. bf16, sm_80 and up. Source: VSA (arXiv 2505.13389).
 *
 * Shapes: x bf16 [L, D], D and ldx multiples of 8, bases aligned to 16 B; out bf16 [tiles, D]; tiles of any size.
 *
 * Numerics: fp32 sums in a fixed order (four interleaved partial sums), one rounding.
 *
 * Roofline: x is read once: 101 MB at L = 32,760, D = 1536, 34 us at 2.93 TB/s.
 *
 * Plan: a block sums 512 columns of one tile: 64 lanes of 16 bytes times four groups of rows, eight loads in flight a lane. */
#include "kernel/cuda/common/align.cuh"
#include "kernel/cuda/common/convert.cuh"
#include "kernel/cuda/common/start.cuh"
#include "kernel/cuda/launch.h"

namespace
{

enum { LANES = 64, GROUPS = 4, THREADS = LANES * GROUPS };

__global__ void __launch_bounds__(THREADS) vsa_pool_vec(const swan_vsa_pool_args a)
{
    __shared__ float parts[GROUPS - 1][8][LANES];
    const int r0 = a.tile_start[blockIdx.x], r1 = a.tile_start[blockIdx.x + 1];
    const int lane = (int)threadIdx.x % LANES, group = (int)threadIdx.x / LANES;
    const int64_t at = ((int64_t)blockIdx.y * LANES + lane) * 8;
    float sum[8] = {};
    swan_grid_launch_dependents();
    swan_grid_wait();
    if (at < a.D) {
        const __nv_bfloat16 *x = (const __nv_bfloat16 *)a.x + at;
        int r = r0 + group;
        for (; r + 7 * GROUPS < r1; r += 8 * GROUPS) {
            uint4 raw[8];
#pragma unroll
            for (int i = 0; i < 8; i++) raw[i] = swan_load_stream(x + (int64_t)(r + i * GROUPS) * a.ldx);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                float v[8];
                swan_unpack8(raw[i], v);
#pragma unroll
                for (int e = 0; e < 8; e++) sum[e] += v[e];
            }
        }
        for (; r < r1; r += GROUPS) {
            float v[8];
            swan_unpack8(swan_load_stream(x + (int64_t)r * a.ldx), v);
#pragma unroll
            for (int e = 0; e < 8; e++) sum[e] += v[e];
        }
    }
    if (group > 0)
#pragma unroll
        for (int e = 0; e < 8; e++) parts[group - 1][e][lane] = sum[e];
    __syncthreads();
    if (group > 0 || at >= a.D) return;
    const float rows = (float)(r1 - r0);
#pragma unroll
    for (int e = 0; e < 8; e++) {
        for (int g = 0; g < GROUPS - 1; g++) sum[e] += parts[g][e][lane];
        sum[e] /= rows;
    }
    *(uint4 *)((__nv_bfloat16 *)a.out + (int64_t)blockIdx.x * a.D + at) = swan_pack8(sum);
}

} // namespace

extern "C" int swan_cuda_vsa_pool_vec(cudaStream_t stream, const swan_vsa_pool_args *a)
{
    if (a->tiles < 1 || a->D < 1) return cudaErrorInvalidValue;
    if (((a->D | a->ldx) & 7) || a->D > 1 << 20 || swan_misaligned(a->x, a->out)) return cudaErrorNotSupported;
    const dim3 grid((unsigned)a->tiles, (unsigned)((a->D + LANES * 8 - 1) / (LANES * 8)));
    return swan_start(vsa_pool_vec, grid, THREADS, 0, stream, *a);
}
