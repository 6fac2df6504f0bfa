/* The epilogues of linear, accurate: for the naive rows and for products that a library made. */
#ifndef SWAN_KERNEL_CUDA_COMMON_EPILOGUE_CUH
#define SWAN_KERNEL_CUDA_COMMON_EPILOGUE_CUH

#include "kernel/args.h"
#include "kernel/cuda/common/scalar.cuh"

/* y = f(r + bias) or f(y, r + bias), one rounding; r: the product. */
template <typename T>
static __device__ __forceinline__ void swan_epilogue_put(const swan_linear_args &a, float r, T *y, int64_t n)
{
    if (a.bias) r += a.bias[n];
    switch (a.epilogue) {
    case SWAN_EPI_GELU: r = 0.5f * r * (1.0f + tanhf(0.7978845608028654f * (r + 0.044715f * r * r * r))); break;
    case SWAN_EPI_SILU: r = r / (1.0f + expf(-r)); break;
    case SWAN_EPI_MUL: r = swan_get(*y) * r; break;
    case SWAN_EPI_ADD: r = swan_get(*y) + r; break;
    case SWAN_EPI_GATED_ADD: r = swan_get(*y) + a.gate[n] * r; break;
    default: break;
    }
    swan_put(y, r);
}

/* What every row of linear refuses. */
static inline bool swan_linear_invalid(const swan_linear_args *a)
{
    return a->M < 1 || a->N < 1 || a->K < 1 || (unsigned)a->epilogue >= SWAN_EPI_COUNT ||
           (a->epilogue == SWAN_EPI_GATED_ADD && !a->gate);
}

#endif
