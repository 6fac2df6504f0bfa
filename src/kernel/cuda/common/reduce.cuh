/* Sums and maxima over a warp and over a block, fp32, in a fixed order (the result does not depend on timing). */
#ifndef SWAN_KERNEL_CUDA_COMMON_REDUCE_CUH
#define SWAN_KERNEL_CUDA_COMMON_REDUCE_CUH

static __device__ __forceinline__ float swan_warp_sum(float v)
{
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) v += __shfl_xor_sync(0xffffffffu, v, d);
    return v;
}

static __device__ __forceinline__ float swan_warp_max(float v)
{
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, d));
    return v;
}

/* Over a block of at most 1024 threads, a multiple of 32; every thread gets the sum. `scratch` f32 [32], free again
 * on return. */
static __device__ __forceinline__ float swan_block_sum(float v, float *scratch)
{
    const int lane = (int)threadIdx.x & 31, warps = (int)blockDim.x >> 5;
    v = swan_warp_sum(v);
    if (lane == 0) scratch[threadIdx.x >> 5] = v;
    __syncthreads();
    v = swan_warp_sum(lane < warps ? scratch[lane] : 0.0f);
    __syncthreads();
    return v;
}

static __device__ __forceinline__ float swan_block_max(float v, float *scratch)
{
    const int lane = (int)threadIdx.x & 31, warps = (int)blockDim.x >> 5;
    v = swan_warp_max(v);
    if (lane == 0) scratch[threadIdx.x >> 5] = v;
    __syncthreads();
    v = swan_warp_max(lane < warps ? scratch[lane] : -INFINITY);
    __syncthreads();
    return v;
}

#endif
