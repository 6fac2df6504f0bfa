/* The epilogue of a product that a library has made: y = f(r + bias) or f(y, r + bias), r f32 [M, N] contiguous, y bf16
 * [M, N]. sm_80 and up.
 *
 * Numerics: fp32, one rounding.
 *
 * Roofline: r comes from the L2 cache (cublaslt.c makes it in chunks for that); 2 or 4 bytes an element of HBM. Not timed.
 *
 * Plan: a thread an element. */
#include "kernel/cuda/common/epilogue.cuh"
#include "kernel/cuda/launch.h"

#include <cuda_runtime.h>

namespace
{

__global__ void __launch_bounds__(256) linear_epilogue(const swan_linear_args a, const float *r)
{
    SWAN_EACH (i, a.M * a.N) {
        const int64_t m = i / a.N, n = i % a.N;
        swan_epilogue_put(a, r[i], (__nv_bfloat16 *)a.y + m * a.ldy + n, n);
    }
}

} // namespace

extern "C" int swan_cuda_linear_epilogue(cudaStream_t stream, const swan_linear_args *a, const float *r)
{
    if (swan_linear_invalid(a)) return cudaErrorInvalidValue;
    linear_epilogue<<<swan_blocks(a->M * a->N), 256, 0, stream>>>(*a, r);
    return cudaGetLastError();
}
