/* The epilogues of linear as the fast rows compute them: fp32, __fdividef and ex2.approx (2 ulp of fp32). */
#ifndef SWAN_KERNEL_CUDA_COMMON_APPLY_CUH
#define SWAN_KERNEL_CUDA_COMMON_APPLY_CUH

#include "kernel/args.h"
#include "kernel/cuda/common/convert.cuh"

/* r: product + bias; old: the value that y has. A constant epi leaves one case. */
SWAN_DEV float swan_apply(int epi, float r, float gate, float old)
{
    switch (epi) {
    case SWAN_EPI_GELU: return swan_gelu(r);
    case SWAN_EPI_SILU: return __fdividef(r, 1.0f + swan_exp2(-1.4426950408889634f * r));
    case SWAN_EPI_MUL: return old * r;
    case SWAN_EPI_ADD: return old + r;
    case SWAN_EPI_GATED_ADD: return fmaf(gate, r, old);
    default: return r;
    }
}

#endif
