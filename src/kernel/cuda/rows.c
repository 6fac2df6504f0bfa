/* The rows of kernels.def that run on a GPU: each calls launchers of launch.h on the stream and makes a status of what they
 * return. A fast launcher that declines a shape leaves it to the naive one, so that every row takes every shape. */
#include <cuda_runtime_api.h>

#include "kernel/cuda/cuda.h"
#include "kernel/cuda/launch.h"
#include "kernel/cuda/policy.h"

#define ROW(family, slot, format, variant, run, picked, tested, cpu)                                                   \
    swan_status run(swan_stream *, const swan_##family##_##slot##_args *);
#define ROW_WS(family, slot, format, variant, run, workspace, picked, tested, cpu)                                     \
    swan_status run(swan_stream *, const swan_##family##_##slot##_args *);                                             \
    size_t workspace(const swan_##family##_##slot##_args *, const swan_stream *);
#include "kernel/kernels.def"
#undef ROW
#undef ROW_WS

/* The naive rows, in both formats of activations. */
#define NAIVE(family, slot)                                                                                            \
    swan_status swan_##family##_##slot##_cuda_f32(swan_stream *s, const swan_##family##_##slot##_args *a)              \
    {                                                                                                                  \
        int error = swan_cuda_##family##_##slot##_naive(s->cuda, a, SWAN_F32);                                         \
        return error ? swan_cuda_status(error, #family "." #slot "=naive (F32)") : SWAN_OK;                            \
    }                                                                                                                  \
    swan_status swan_##family##_##slot##_cuda_bf16(swan_stream *s, const swan_##family##_##slot##_args *a)             \
    {                                                                                                                  \
        int error = swan_cuda_##family##_##slot##_naive(s->cuda, a, SWAN_BF16);                                        \
        return error ? swan_cuda_status(error, #family "." #slot "=naive (BF16)") : SWAN_OK;                           \
    }
SWAN_SLOTS(NAIVE)
#undef NAIVE

/* The same in F16, for the slots of the image decoder. */
#define NAIVE_F16(family, slot)                                                                                        \
    swan_status swan_##family##_##slot##_cuda_f16(swan_stream *s, const swan_##family##_##slot##_args *a)              \
    {                                                                                                                  \
        int error = swan_cuda_##family##_##slot##_naive(s->cuda, a, SWAN_F16);                                         \
        return error ? swan_cuda_status(error, #family "." #slot "=naive (F16)") : SWAN_OK;                            \
    }
NAIVE_F16(elem, map)
NAIVE_F16(conv, conv3x3)
NAIVE_F16(conv, up2x2)
NAIVE_F16(image, from_latent)
NAIVE_F16(image, to_rgb8)
NAIVE_F16(image, to_i420)
#undef NAIVE_F16

/* The fast ones of these; what one declines goes to `otherwise`. */
#define FAST_F16(family, slot, variant, otherwise)                                                                     \
    swan_status swan_##family##_##slot##_##variant(swan_stream *s, const swan_##family##_##slot##_args *a)             \
    {                                                                                                                  \
        int error = swan_cuda_##family##_##slot##_##variant(s->cuda, a);                                               \
        if (error == cudaErrorNotSupported) return swan_##family##_##slot##_##otherwise(s, a);                         \
        return error ? swan_cuda_status(error, #family "." #slot "=" #variant) : SWAN_OK;                              \
    }
FAST_F16(conv, conv3x3, mma, cuda_f16)
FAST_F16(conv, up2x2, mma, cuda_f16)
FAST_F16(conv, conv3x3, sm90, mma)
FAST_F16(image, to_i420, vec, cuda_f16)
FAST_F16(conv, up2x2, sm90, mma)
#undef FAST_F16

#define FAST(family, slot, variant)                                                                                    \
    swan_status swan_##family##_##slot##_##variant(swan_stream *s, const swan_##family##_##slot##_args *a)             \
    {                                                                                                                  \
        int error = swan_cuda_##family##_##slot##_##variant(s->cuda, a);                                               \
        if (error == cudaErrorNotSupported) return swan_##family##_##slot##_cuda_bf16(s, a);                           \
        return error ? swan_cuda_status(error, #family "." #slot "=" #variant) : SWAN_OK;                              \
    }
FAST(norm, layer, vec)
FAST(norm, rms, vec)
FAST(vsa, combine, vec)
FAST(vsa, pool, vec)
FAST(vsa, coarse, mma)
FAST(linear, bf16, mma)
FAST(attn, dense, mma)
FAST(attn, dense, mma_small)
FAST(attn, block_sparse, mma)
FAST(attn, block_sparse, mma_small)
FAST(attn, block_sparse, sm90)
FAST(linear, bf16, sm90)
FAST(linear, bf16, skinny)
FAST(linear, bf16, skinny_sm90)
#undef FAST

/* What it does not take (heads of 64 channels, positional bias: the text encoder) is not worth more than mma. */
swan_status swan_attn_dense_sm90(swan_stream *s, const swan_attn_dense_args *a)
{
    int error = swan_cuda_attn_dense_sm90(s->cuda, a);
    if (error == cudaErrorNotSupported) return swan_attn_dense_mma(s, a);
    return error ? swan_cuda_status(error, "attn.dense=sm90") : SWAN_OK;
}

swan_status swan_linear_bf16_cublaslt(swan_stream *s, const swan_linear_bf16_args *a)
{
    int error = swan_cublaslt_linear_bf16(s->cuda, a);
    if (error == cudaErrorNotSupported) return swan_linear_bf16_cuda_bf16(s, a);
    return error ? swan_cuda_status(error, "linear.bf16=cublaslt") : SWAN_OK;
}

size_t swan_linear_bf16_cublaslt_workspace(const swan_linear_bf16_args *a, const swan_stream *s)
{
    (void)s;
    return swan_cublaslt_linear_bf16_bytes(a);
}

size_t swan_linear_bf16_skinny_workspace(const swan_linear_bf16_args *a, const swan_stream *s)
{
    (void)s;
    return swan_cuda_linear_bf16_skinny_bytes(a);
}

size_t swan_linear_bf16_skinny_sm90_workspace(const swan_linear_bf16_args *a, const swan_stream *s)
{
    (void)s;
    return swan_cuda_linear_bf16_skinny_sm90_bytes(a);
}

/* wide_sm90, and what it does not take by skinny_sm90. */
swan_status swan_linear_bf16_wide_sm90(swan_stream *s, const swan_linear_bf16_args *a)
{
    int error = swan_cuda_linear_bf16_wide_sm90(s->cuda, a);
    if (error == cudaErrorNotSupported) return swan_linear_bf16_skinny_sm90(s, a);
    return error ? swan_cuda_status(error, "linear.bf16=wide_sm90") : SWAN_OK;
}

size_t swan_linear_bf16_wide_sm90_workspace(const swan_linear_bf16_args *a, const swan_stream *s)
{
    return swan_linear_bf16_skinny_sm90_workspace(a, s);
}

/* skinny for few rows, else mma. */
swan_status swan_linear_bf16_mma_skinny(swan_stream *s, const swan_linear_bf16_args *a)
{
    return swan_linear_is_skinny(a) ? swan_linear_bf16_skinny(s, a) : swan_linear_bf16_mma(s, a);
}

size_t swan_linear_bf16_mma_skinny_workspace(const swan_linear_bf16_args *a, const swan_stream *s)
{
    return swan_linear_is_skinny(a) ? swan_linear_bf16_skinny_workspace(a, s) : 0;
}

/* wide_sm90, skinny_sm90, sm90 and cublaslt, whichever the policy says. */
swan_status swan_linear_bf16_sm90_lt(swan_stream *s, const swan_linear_bf16_args *a)
{
    if (swan_linear_is_skinny_sm90(a)) return swan_linear_bf16_wide_sm90(s, a);
    int error = swan_linear_prefers_cublaslt(a) ? swan_cublaslt_linear_bf16(s->cuda, a) : cudaErrorNotSupported;
    if (error == cudaErrorNotSupported) return swan_linear_bf16_sm90(s, a);
    return error ? swan_cuda_status(error, "linear.bf16=sm90_lt") : SWAN_OK;
}

size_t swan_linear_bf16_sm90_lt_workspace(const swan_linear_bf16_args *a, const swan_stream *s)
{
    if (swan_linear_is_skinny_sm90(a)) return swan_linear_bf16_skinny_sm90_workspace(a, s);
    return swan_linear_prefers_cublaslt(a) ? swan_linear_bf16_cublaslt_workspace(a, s) : 0;
}

/* linear.gelu_mul in two products by a row of linear.bf16, which wants the same scratch for both. */
typedef swan_status linear_bf16_row(swan_stream *, const swan_linear_bf16_args *);
static swan_status gelu_mul_by(linear_bf16_row *row, swan_stream *s, const swan_linear_gelu_mul_args *a)
{
    for (int i = 0; i < 2; i++) {
        swan_linear_bf16_args one = swan_linear_gelu_mul_product(a, i);
        SWAN_TRY(row(s, &one));
    }
    return SWAN_OK;
}

swan_status swan_linear_gelu_mul_mma_skinny(swan_stream *s, const swan_linear_gelu_mul_args *a)
{
    return gelu_mul_by(swan_linear_bf16_mma_skinny, s, a);
}

size_t swan_linear_gelu_mul_mma_skinny_workspace(const swan_linear_gelu_mul_args *a, const swan_stream *s)
{
    swan_linear_bf16_args one = swan_linear_gelu_mul_product(a, 0);
    return swan_linear_bf16_mma_skinny_workspace(&one, s);
}

swan_status swan_linear_gelu_mul_wide_sm90(swan_stream *s, const swan_linear_gelu_mul_args *a)
{
    int error = swan_cuda_linear_gelu_mul_wide_sm90(s->cuda, a);
    if (error == cudaErrorNotSupported) return gelu_mul_by(swan_linear_bf16_sm90_lt, s, a);
    return error ? swan_cuda_status(error, "linear.gelu_mul=wide_sm90") : SWAN_OK;
}

size_t swan_linear_gelu_mul_wide_sm90_workspace(const swan_linear_gelu_mul_args *a, const swan_stream *s)
{
    swan_linear_bf16_args one = swan_linear_gelu_mul_product(a, 0);
    return swan_linear_bf16_sm90_lt_workspace(&one, s);
}
