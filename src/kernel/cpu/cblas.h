/* The CBLAS rows' way into the library: single-threaded products, called from our own tasks. */
#ifndef SWAN_KERNEL_CPU_CBLAS_H
#define SWAN_KERNEL_CPU_CBLAS_H

#include <stdint.h>

/* Once before the first product of a run: the library must not start threads of its own below our pool. OpenBLAS
 * takes its packing buffers from a pool of its own that fills on first use and is kept; it allocates nothing after
 * that. */
void swan_cblas_prepare(void);

/* c [M, N] = a [M, K] b [N, K]^T, all f32, rows lda, ldb, ldc floats apart. */
typedef struct swan_cblas_product {
    const float *a, *b;
    float *c;
    int64_t M, N, K, lda, ldb, ldc;
} swan_cblas_product;
void swan_cblas_multiply(const swan_cblas_product *p);

#endif
