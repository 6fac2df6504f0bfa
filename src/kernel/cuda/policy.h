/* Which row takes which shape, where more than one could. Pure functions of the shape. C11. */
#ifndef SWAN_KERNEL_CUDA_POLICY_H
#define SWAN_KERNEL_CUDA_POLICY_H

#include "kernel/args.h"

/* Can cuBLASLt do this product in one call, with one rounding? (cublaslt.c says what it does otherwise.) */
static inline bool swan_linear_direct(const swan_linear_args *a)
{
    return !a->bias && (a->epilogue == SWAN_EPI_NONE || a->epilogue == SWAN_EPI_ADD);
}

/* Few rows: the time is that of reading W, which the skinny rows do best. They decline sizes that are no multiples of 8. */
static inline bool swan_linear_is_skinny(const swan_linear_args *a)
{
    return a->M <= 128;
}
static inline bool swan_linear_is_skinny_sm90(const swan_linear_args *a)
{
    return a->M <= 256;
}

/* On sm_90, where it is not skinny: cuBLASLt or our kernel? Measured (bench/LOG.md, 2026-11-22): ours is 6 to 10 % faster at
 * M = 32,760, and 2 % slower at M = 23,296 with N = K = 1536; fewer rows than the transformer's were not compared. */
static inline bool swan_linear_prefers_cublaslt(const swan_linear_args *a)
{
    return swan_linear_direct(a) && a->M < 8192;
}

#endif
