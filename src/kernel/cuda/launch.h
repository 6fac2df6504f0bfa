/* The CUDA kernels as plain functions over the argument structs of the kernel seam, without CUDA headers (C11 and
 * C++17). rows.c makes rows of kernels.def of them.
 *
 * Every launcher enqueues on `stream` and returns a cudaError_t as int (0: launched). None allocates, synchronises, or
 * reads device memory on the host; all may be captured into a CUDA graph. A launcher returns cudaErrorInvalidValue (1)
 * for arguments that make no sense, and cudaErrorNotSupported (801) for shapes, strides or alignments that it leaves to
 * another row; nothing has been enqueued then. Nothing outside the extents that the args name is read or written.
 *
 * `_naive`: sm_80 and up, activations of `format` (F32 or BF16), any shape (attention: head_dim <= 128; coarse: at most
 * 8,192 tiles), obviously right. The others take bf16 activations, 16-byte aligned bases and strides that are multiples
 * of 8. `_vec`, `_mma`, `_skinny`: sm_80 and up. `_sm90`: compute capability 9.0 alone. */
#ifndef SWAN_KERNEL_CUDA_LAUNCH_H
#define SWAN_KERNEL_CUDA_LAUNCH_H

#include "kernel/args.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* cudaStream_t is a pointer to it */

#define SWAN_CUDA_NAIVE(slot)                                                                                        \
    int swan_cuda_##slot##_naive(struct CUstream_st *stream, const swan_##slot##_args *a, swan_dtype format);
SWAN_CUDA_NAIVE(linear_f32)
SWAN_CUDA_NAIVE(linear_bf16)
SWAN_CUDA_NAIVE(linear_f16)
SWAN_CUDA_NAIVE(linear_gelu_mul)
SWAN_CUDA_NAIVE(norm_layer)
SWAN_CUDA_NAIVE(norm_rms)
SWAN_CUDA_NAIVE(attn_dense)
SWAN_CUDA_NAIVE(attn_block_sparse)
SWAN_CUDA_NAIVE(vsa_pool)
SWAN_CUDA_NAIVE(vsa_coarse)
SWAN_CUDA_NAIVE(vsa_combine)
SWAN_CUDA_NAIVE(embed_rows)
SWAN_CUDA_NAIVE(embed_timestep)
SWAN_CUDA_NAIVE(embed_patchify)
SWAN_CUDA_NAIVE(embed_unpatchify)
SWAN_CUDA_NAIVE(elem_combine)
SWAN_CUDA_NAIVE(elem_map)
SWAN_CUDA_NAIVE(conv_conv3x3)
SWAN_CUDA_NAIVE(conv_up2x2)
SWAN_CUDA_NAIVE(image_from_latent)
SWAN_CUDA_NAIVE(image_to_rgb8)
SWAN_CUDA_NAIVE(image_to_i420)
#undef SWAN_CUDA_NAIVE

#define SWAN_CUDA_FAST(slot, variant)                                                                                \
    int swan_cuda_##slot##_##variant(struct CUstream_st *stream, const swan_##slot##_args *a);
SWAN_CUDA_FAST(norm_layer, vec)         /* D a multiple of 8, at most 5120 */
SWAN_CUDA_FAST(norm_rms, vec)           /* the same; with rope: head_dim a multiple of 8 */
SWAN_CUDA_FAST(vsa_combine, vec)        /* D a multiple of 8 */
SWAN_CUDA_FAST(vsa_pool, vec)           /* D a multiple of 8 */
SWAN_CUDA_FAST(vsa_coarse, mma)         /* head_dim 128, at most 1216 tiles (shared memory holds 16 rows of scores) */
SWAN_CUDA_FAST(linear_bf16, sm90)       /* K and N multiples of 8 */
SWAN_CUDA_FAST(linear_bf16, skinny)     /* M at most 128, K and N multiples of 8; wants a workspace */
SWAN_CUDA_FAST(linear_bf16, skinny_sm90) /* the same, M at most 256 */
SWAN_CUDA_FAST(linear_bf16, wide_sm90)     /* M at most 128, K a multiple of 8, N a multiple of 64, 80 or 96 that goes round */
SWAN_CUDA_FAST(linear_gelu_mul, wide_sm90) /* the same, N a multiple of 80 */
SWAN_CUDA_FAST(attn_dense, sm90)        /* head_dim 128; no rel_bias */
SWAN_CUDA_FAST(attn_block_sparse, sm90) /* head_dim 128 */
SWAN_CUDA_FAST(linear_bf16, mma)        /* K and N multiples of 8 */
SWAN_CUDA_FAST(attn_dense, mma)         /* head_dim 64 or 128 */
SWAN_CUDA_FAST(attn_dense, mma_small)   /* the same, for multiprocessors with 100 KiB of shared memory */
SWAN_CUDA_FAST(attn_block_sparse, mma)  /* head_dim 128 */
SWAN_CUDA_FAST(attn_block_sparse, mma_small)
/* F16 activations */
SWAN_CUDA_FAST(conv_conv3x3, mma)  /* Cx and Cp multiples of 8, past given when Cp is not 0; no upsample */
SWAN_CUDA_FAST(conv_up2x2, mma)    /* Cx a multiple of 8 */
SWAN_CUDA_FAST(conv_conv3x3, sm90) /* Cx, Cp and Cout multiples of 64, past given when Cp is not 0; no upsample */
SWAN_CUDA_FAST(conv_up2x2, sm90)   /* Cx and Cout multiples of 64 */
SWAN_CUDA_FAST(image_to_i420, vec) /* W a multiple of 8 */
#undef SWAN_CUDA_FAST
size_t swan_cuda_linear_bf16_skinny_bytes(const swan_linear_bf16_args *a); /* of workspace, for the current GPU */
size_t swan_cuda_linear_bf16_skinny_sm90_bytes(const swan_linear_bf16_args *a);

/* norm_rms_vec with mean, for what one kernel does; norm_rms_vec checks the arguments and calls it. */
int swan_cuda_norm_rms_pool_vec(struct CUstream_st *stream, const swan_norm_rms_args *a);

/* attn_dense_sm90 for at most 512 keys; attn_dense_sm90 calls it. */
int swan_cuda_attn_dense_short_sm90(struct CUstream_st *stream, const swan_attn_dense_args *a);

/* y = epilogue(r + bias) for products that a library made: r f32 [M, N] contiguous, the rest from a. */
int swan_cuda_linear_epilogue(struct CUstream_st *stream, const swan_linear_args *a, const float *r);

#ifdef __cplusplus
}
#endif
#endif
