/* Video sparse attention around the fine branch, naive: pooling, coarse attention with top-k selection, gated sum;
 * f32 or bf16 activations; sm_80 and up. Source: VSA (arXiv 2505.13389).
 *
 * Numerics: fp32 between; scores are not rounded, so that the selection is that of the exact path
 * up to the order of fp32 sums. Selection is exact: a tile is chosen when fewer than topk tiles beat it (greater
 * score, or equal score and lower index).
 *
 * Measured, 2026-11-22, one H100 80GB SXM, `check_cuda bench vsa`, 624 tiles, bf16: pool 58 us (1.74 TB/s), coarse 2.85
 * ms, combine 249 us.
 *
 * Plan: pool: one block a tile; coarse: one block for each (head, tile), scores in shared memory, every tile
 * counts its betters (tiles^2 comparisons a row); combine: one block a tile. */
#include "kernel/cuda/common/reduce.cuh"
#include "kernel/cuda/common/scalar.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

enum { MAX_TILES = 8192 };

template <typename T> __global__ void __launch_bounds__(256) vsa_pool_naive(const swan_vsa_pool_args a)
{
    const T *x = (const T *)a.x;
    T *out = (T *)a.out;
    const int r0 = a.tile_start[blockIdx.x], r1 = a.tile_start[blockIdx.x + 1];
    for (int d = (int)threadIdx.x; d < (int)a.D; d += 256) {
        float sum = 0.0f;
        for (int r = r0; r < r1; r++) sum += swan_get(x[r * a.ldx + d]);
        swan_put(&out[blockIdx.x * a.D + d], sum / (float)(r1 - r0));
    }
}

template <typename T> __global__ void __launch_bounds__(256) vsa_coarse_naive(const swan_vsa_coarse_args a)
{
    extern __shared__ float s[]; /* scores, then weights: [tiles] */
    __shared__ float scratch[32];
    __shared__ int counts[256];
    const int n = (int)a.tiles, D = (int)a.head_dim, tile = (int)blockIdx.x, head = (int)blockIdx.y,
              t = (int)threadIdx.x;
    const int64_t ld = a.heads * a.head_dim;
    const T *q = (const T *)a.q + tile * ld + (int64_t)head * D;
    const T *k = (const T *)a.k + (int64_t)head * D,
                        *v = (const T *)a.v + (int64_t)head * D;
    T *out = (T *)a.out + tile * ld + (int64_t)head * D;
    for (int j = t; j < n; j += 256) {
        float sum = 0.0f;
        for (int d = 0; d < D; d++) sum = fmaf(swan_get(q[d]), swan_get(k[j * ld + d]), sum);
        s[j] = sum * a.scale;
    }
    __syncthreads();
    /* Selection. A thread owns a run of consecutive tiles, so that the list comes out ascending. */
    const int run = (n + 255) / 256, j0 = t * run, j1 = j0 + run < n ? j0 + run : n;
    uint32_t chosen = 0; /* run <= 32 */
    for (int j = j0; j < j1; j++) {
        int betters = 0;
        for (int i = 0; i < n; i++) betters += s[i] > s[j] || (s[i] == s[j] && i < j);
        chosen |= (uint32_t)(betters < (int)a.topk) << (j - j0);
    }
    counts[t] = __popc(chosen);
    __syncthreads();
    int at = 0;
    for (int i = 0; i < t; i++) at += counts[i];
    for (int j = j0; j < j1; j++)
        if ((chosen >> (j - j0) & 1) && at < (int)a.topk) /* a NaN has no betters: at stops them */
            a.index[((int64_t)head * n + tile) * a.topk + at++] = j;
    /* Softmax and the weighted mean of the pooled values. */
    float top = -INFINITY, sum = 0.0f;
    for (int j = t; j < n; j += 256) top = fmaxf(top, s[j]);
    top = swan_block_max(top, scratch);
    for (int j = t; j < n; j += 256) {
        s[j] = expf(s[j] - top);
        sum += s[j];
    }
    sum = swan_block_sum(sum, scratch);
    for (int d = t; d < D; d += 256) {
        float o = 0.0f;
        for (int j = 0; j < n; j++) o = fmaf(s[j], swan_get(v[j * ld + d]), o);
        swan_put(&out[d], o / sum);
    }
}

template <typename T> __global__ void __launch_bounds__(256) vsa_combine_naive(const swan_vsa_combine_args a)
{
    const int r0 = a.tile_start[blockIdx.x], r1 = a.tile_start[blockIdx.x + 1];
    const T *gate = (const T *)a.gate,
                        *coarse = (const T *)a.coarse + blockIdx.x * a.D;
    T *fine = (T *)a.fine;
    for (int r = r0; r < r1; r++)
        for (int d = (int)threadIdx.x; d < (int)a.D; d += 256) {
            const float f = swan_get(fine[r * a.ld_fine + d]), g = swan_get(gate[r * a.ld_gate + d]);
            swan_put(&fine[r * a.ld_fine + d], fmaf(g, swan_get(coarse[d]), f));
        }
}

template <typename T> cudaError_t run_pool(cudaStream_t stream, const swan_vsa_pool_args &a)
{
    if (a.tiles < 1 || a.D < 1) return cudaErrorInvalidValue;
    vsa_pool_naive<T><<<(unsigned)a.tiles, 256, 0, stream>>>(a);
    return cudaGetLastError();
}

template <typename T> cudaError_t run_coarse(cudaStream_t stream, const swan_vsa_coarse_args &a)
{
    if (a.tiles < 1 || a.tiles > MAX_TILES || a.topk < 1 || a.topk > a.tiles || a.heads < 1 || a.heads > 65535)
        return cudaErrorInvalidValue;
    const dim3 grid((unsigned)a.tiles, (unsigned)a.heads);
    /* whole 16 bytes: ptxas makes one load of four scores where the loop over i ends, and uses as many as there are */
    vsa_coarse_naive<T><<<grid, 256, (size_t)((a.tiles + 3) & ~3) * sizeof(float), stream>>>(a);
    return cudaGetLastError();
}

template <typename T> cudaError_t run_combine(cudaStream_t stream, const swan_vsa_combine_args &a)
{
    if (a.tiles < 1 || a.D < 1) return cudaErrorInvalidValue;
    vsa_combine_naive<T><<<(unsigned)a.tiles, 256, 0, stream>>>(a);
    return cudaGetLastError();
}

} // namespace

extern "C" int swan_cuda_vsa_pool_naive(cudaStream_t stream, const swan_vsa_pool_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run_pool, stream, a);
}

extern "C" int swan_cuda_vsa_coarse_naive(cudaStream_t stream, const swan_vsa_coarse_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run_coarse, stream, a);
}

extern "C" int swan_cuda_vsa_combine_naive(cudaStream_t stream, const swan_vsa_combine_args *a, swan_dtype format)
{
    return SWAN_BY_FORMAT(format, run_combine, stream, a);
}
