/* The CUDA kernels as plain functions over the argument structs of the kernel seam, without CUDA headers (C11 and
 * C++17).
 *
 * Activations are bf16, arithmetic is fp32. Every launcher enqueues on `stream` and returns a cudaError_t as int
 * (0: launched). None allocates, synchronises, or reads device memory on the host; all may be captured into a CUDA
 * graph. A launcher returns cudaErrorInvalidValue (1) for shapes or strides that it does not take and
 * cudaErrorNotSupported (801) for a combination that it leaves to another row; nothing has been enqueued then.
 * Nothing outside the extents that the args name is read or written.
 *
 * `_naive`: sm_80 and up, any shape (head_dim <= 128), obviously right. `_vec`, `_mma`: sm_80 and up. `_sm90`:
 * compute capability 9.0 alone. Fast rows need 16-byte aligned bases and strides that are multiples of 8. */
#ifndef SWAN_KERNEL_CUDA_LAUNCH_H
#define SWAN_KERNEL_CUDA_LAUNCH_H

#include "kernel/args.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* cudaStream_t is a pointer to it */

int swan_cuda_linear_bf16_naive(struct CUstream_st *stream, const swan_linear_bf16_args *a);
int swan_cuda_linear_f16_naive(struct CUstream_st *stream, const swan_linear_f16_args *a);
int swan_cuda_linear_f32_naive(struct CUstream_st *stream, const swan_linear_f32_args *a);
int swan_cuda_norm_layer_naive(struct CUstream_st *stream, const swan_norm_layer_args *a);
int swan_cuda_norm_rms_naive(struct CUstream_st *stream, const swan_norm_rms_args *a);
int swan_cuda_attn_dense_naive(struct CUstream_st *stream, const swan_attn_dense_args *a);
int swan_cuda_attn_block_sparse_naive(struct CUstream_st *stream, const swan_attn_block_sparse_args *a);
int swan_cuda_vsa_pool_naive(struct CUstream_st *stream, const swan_vsa_pool_args *a);
int swan_cuda_vsa_coarse_naive(struct CUstream_st *stream, const swan_vsa_coarse_args *a); /* tiles <= 8192 */
int swan_cuda_vsa_combine_naive(struct CUstream_st *stream, const swan_vsa_combine_args *a);

/* D a multiple of 8; norms: at most 5120. */
int swan_cuda_norm_layer_vec(struct CUstream_st *stream, const swan_norm_layer_args *a);
int swan_cuda_norm_rms_vec(struct CUstream_st *stream,
                           const swan_norm_rms_args *a); /* with rope: head_dim a multiple of 8 */
int swan_cuda_vsa_combine_vec(struct CUstream_st *stream, const swan_vsa_combine_args *a);

/* head_dim 128, at most 1216 tiles (shared memory holds 16 rows of scores). */
int swan_cuda_vsa_coarse_mma(struct CUstream_st *stream, const swan_vsa_coarse_args *a);

/* K a multiple of 8, N a multiple of 8. */
int swan_cuda_linear_bf16_sm90(struct CUstream_st *stream, const swan_linear_bf16_args *a);
/* head_dim 128; no rel_bias. */
int swan_cuda_attn_dense_sm90(struct CUstream_st *stream, const swan_attn_dense_args *a);
int swan_cuda_attn_block_sparse_sm90(struct CUstream_st *stream, const swan_attn_block_sparse_args *a);

#ifdef __cplusplus
}
#endif
#endif
