/* Attention over few keys (few_keys.cu), called by dense_bf16_mma.cu. C++. */
#ifndef SWAN_KERNEL_CUDA_ATTN_FEW_KEYS_H
#define SWAN_KERNEL_CUDA_ATTN_FEW_KEYS_H

#include "kernel/args.h"

#include <cuda_runtime.h>

enum { SWAN_FEW_KEYS = 128 };

/* head_dim 64, Lk <= SWAN_FEW_KEYS; otherwise what dense_bf16_mma.cu takes. */
cudaError_t swan_few_keys(cudaStream_t stream, const swan_attn_dense_args *a);

#endif
