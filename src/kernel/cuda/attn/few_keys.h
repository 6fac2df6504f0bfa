/* Attention over few keys (few_keys.cu), called by dense_bf16_mma.cu. C++. */
#ifndef SWAN_KERNEL_CUDA_ATTN_FEW_KEYS_H
#define SWAN_KERNEL_CUDA_ATTN_FEW_KEYS_H

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

enum { SWAN_FEW_KEYS = 128 };

/* What kernels of dense attention through mma.sync are given: swan_attn_dense_args, checked; scale_log2: scale / ln 2. */
struct swan_dense_mma_params {
    const __nv_bfloat16 *q, *k, *v;
    __nv_bfloat16 *out;
    const float *key_bias, *rel_bias;
    int64_t ldq, ldk, ldv, ldo, ld_rel;
    int Lq, Lk;
    float scale_log2;
};

/* head_dim 64, Lk <= SWAN_FEW_KEYS. */
cudaError_t swan_few_keys(cudaStream_t stream, const swan_dense_mma_params &p, unsigned heads);

#endif
