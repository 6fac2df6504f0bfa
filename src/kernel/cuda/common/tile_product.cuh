/* The naive matrix product: 64 x 64 outputs a block of 256 threads, 16 a thread, operands staged in shared memory as
 * fp32, products and sums in fp32 in ascending k. */
#ifndef SWAN_KERNEL_CUDA_COMMON_TILE_PRODUCT_CUH
#define SWAN_KERNEL_CUDA_COMMON_TILE_PRODUCT_CUH

#include <stdint.h>

#define SWAN_TILE 64
#define SWAN_TILE_STEP 16

/* acc[i][j] = sum over k < K of x(r, k) w(c, k) with r = ty + 16 i, c = tx + 16 j, tx = thread % 16, ty = thread / 16.
 * x(0 .. 63, 0 .. K - 1) and w(the same) give elements of the block's rows and columns, 0 outside the matrix. */
template <typename X, typename W>
static __device__ __forceinline__ void swan_tile_product(float (&acc)[4][4], int64_t K, const X &x, const W &w)
{
    __shared__ float xs[SWAN_TILE_STEP][SWAN_TILE + 1], ws[SWAN_TILE_STEP][SWAN_TILE + 1];
    const int tx = (int)threadIdx.x & 15, ty = (int)threadIdx.x >> 4;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) acc[i][j] = 0.0f;
    for (int64_t k0 = 0; k0 < K; k0 += SWAN_TILE_STEP) {
        for (int i = (int)threadIdx.x; i < SWAN_TILE * SWAN_TILE_STEP; i += 256) {
            const int r = i / SWAN_TILE_STEP, k = i % SWAN_TILE_STEP;
            const bool in = k0 + k < K;
            xs[k][r] = in ? x(r, k0 + k) : 0.0f;
            ws[k][r] = in ? w(r, k0 + k) : 0.0f;
        }
        __syncthreads();
        for (int k = 0; k < SWAN_TILE_STEP; k++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) acc[i][j] = fmaf(xs[k][ty + 16 * i], ws[k][tx + 16 * j], acc[i][j]);
        __syncthreads();
    }
}

#endif
