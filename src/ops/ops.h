/* Checked operators: each checks its shapes and types, counts its work, takes its workspace, and makes exactly one call through
 * the kernel table. What is computed stands with the argument structs in kernel/args.h. Errors: SWAN_E_BUG for shapes that do
 * not fit (models check what comes from outside before), SWAN_E_UNSUPPORTED for a slot without a kernel, SWAN_E_CANCELLED. */
#ifndef SWAN_OPS_OPS_H
#define SWAN_OPS_OPS_H

#include "ops/ctx.h"

/* A linear layer's parameters: weight [N, K] in F32, BF16 or F16; bias f32 [N] or data NULL. */
typedef struct swan_linear {
    swan_tensor weight, bias;
} swan_linear;

/* The layers as one, [sum of N, K]: true when their parameters lie behind each other in memory, types and shapes alike. */
bool swan_linear_join(const swan_linear *const *layer, int count, swan_linear *out);
/* y = epilogue(x W^T + b). x [M, K], y [M, N]; gate f32 [N] only with GATED_ADD. */
swan_status swan_op_linear(swan_ctx *ctx, const swan_tensor *x, const swan_linear *layer, swan_epilogue epilogue,
                           const swan_tensor *gate, swan_tensor *y);
/* y = gelu(x gate^T) * (x up^T), layers without biases. x [M, K], y [M, N]. In one launch on a GPU where both lie behind each other. */
swan_status swan_op_linear_gelu_mul(swan_ctx *ctx, const swan_tensor *x, const swan_linear *gate, const swan_linear *up, swan_tensor *y);
/* Layer norm with modulation: y = LN(x) * (1 + scale) + shift; scale, shift f32 [D]. */
swan_status swan_op_modulated_norm(swan_ctx *ctx, const swan_tensor *x, const float *scale, const float *shift, float eps,
                                   swan_tensor *y);
/* Layer norm with affine parameters: y = LN(x) * weight + bias; both f32 [D]. */
swan_status swan_op_affine_norm(swan_ctx *ctx, const swan_tensor *x, const swan_tensor *weight, const swan_tensor *bias,
                                float eps, swan_tensor *y);
/* RMS norm over the last axis, with rotary embedding when rope (f32 [L, head_dim / 2, 2]) is given. y may be x. */
swan_status swan_op_rms_norm(swan_ctx *ctx, const swan_tensor *x, const swan_tensor *weight, float eps,
                             const swan_tensor *rope, swan_tensor *y);

typedef struct swan_rms_norm {
    const swan_tensor *weight; /* f32 [D] */
    const swan_tensor *rope;   /* as above, or NULL */
    float eps;
} swan_rms_norm;
/* The same in place for columns of a wider matrix: rows of x [L, D] are ld elements apart. */
swan_status swan_op_rms_norm_columns(swan_ctx *ctx, swan_tensor *x, int64_t ld, const swan_rms_norm *norm);
/* The same, and mean [tiles, D] = swan_op_vsa_pool of the result, for which fast kernels need not read it again. */
swan_status swan_op_rms_norm_pool(swan_ctx *ctx, swan_tensor *x, int64_t ld, const swan_rms_norm *norm, const swan_tensor *tile_start,
                                  swan_tensor *mean);

/* What attention reads: q [Lq, heads * head_dim], k and v [Lk, ...]; gate as q for VSA, data NULL otherwise. ld: elements from row
 * to row of each, when they are columns of one matrix; 0: heads * head_dim. */
typedef struct swan_qkv {
    swan_tensor q, k, v, gate;
    int64_t ld;
    int64_t ld_kv; /* of k and v, where it is another; 0: ld */
} swan_qkv;
/* key_bias f32 [Lk], rel_bias f32 [heads, Lq + Lk - 1], or NULL; ld_rel: elements from row to row of rel_bias, 0: Lq + Lk - 1. out as q. */
typedef struct swan_attention {
    int64_t heads;
    float scale;
    const swan_tensor *key_bias, *rel_bias;
    int64_t ld_rel;
} swan_attention;
swan_status swan_op_attention(swan_ctx *ctx, const swan_attention *how, const swan_qkv *in, swan_tensor *out);
/* tile_start i32 [tiles + 1], index i32 [heads, tiles, topk]. coarse [tiles, heads * head_dim]: out += in->gate * coarse of each
 * row's tile; NULL: nothing is added. */
typedef struct swan_tile_lists {
    const swan_tensor *tile_start, *index, *coarse;
} swan_tile_lists;
swan_status swan_op_block_sparse(swan_ctx *ctx, const swan_attention *how, const swan_tile_lists *lists, const swan_qkv *in,
                                 swan_tensor *out);
/* out [tiles, D] = means of x [L, D] over tiles; rows of x are ld elements apart, 0: D. */
swan_status swan_op_vsa_pool(swan_ctx *ctx, const swan_tensor *x, int64_t ld, const swan_tensor *tile_start, swan_tensor *out);
/* in (pooled, ld 0) and out [tiles, D]; index i32 [heads, tiles, topk] is written. */
swan_status swan_op_vsa_coarse(swan_ctx *ctx, const swan_attention *how, const swan_qkv *in, swan_tensor *out,
                               swan_tensor *index);
/* fine [L, D] += gate [L, D] * coarse [tiles, D] of each row's tile; of in, the gate and ld alone are read. */
swan_status swan_op_vsa_combine(swan_ctx *ctx, const swan_qkv *in, const swan_tensor *coarse, const swan_tensor *tile_start,
                                swan_tensor *fine);

/* y [n, D] = rows of table [rows, D] (any float type) named by ids i32 [n]. */
swan_status swan_op_embed_rows(swan_ctx *ctx, const swan_tensor *table, const swan_tensor *ids, swan_tensor *y);
/* y f32 [1, freq_dim]: sinusoid of the timestep (cos first). */
swan_status swan_op_embed_timestep(swan_ctx *ctx, double timestep, swan_tensor *y);
/* latent f32 [C, T, H, W] -> y [L, C * 4]; order i32 [L] or NULL. */
swan_status swan_op_patchify(swan_ctx *ctx, const swan_tensor *latent, const swan_tensor *order, swan_tensor *y);
/* x [L, 4 * C] -> latent f32 [C, T, H, W]. */
swan_status swan_op_unpatchify(swan_ctx *ctx, const swan_tensor *x, const swan_tensor *order, swan_tensor *latent);

/* y = sum of coefficient[k] * x[k], all f32 of one size; evaluated in fp64 and rounded once (to bf16 when round_bf16). */
swan_status swan_op_combine(swan_ctx *ctx, int terms, const double *coefficient, const swan_tensor *const *x, bool round_bf16,
                            swan_tensor *y);
/* y = f(x), element by element. */
swan_status swan_op_map(swan_ctx *ctx, swan_map map, const swan_tensor *x, swan_tensor *y);
/* In parity runs: x rounded to bf16 in place, where the reference stack stores bf16. Otherwise nothing. */
swan_status swan_op_round(swan_ctx *ctx, swan_tensor *x);

/* A 3x3 convolution's parameters: weight [Cout, 3, 3, Cin] (channels last), f16 for F16 activations, f32 for others; bias f32
 * [Cout] or data NULL. */
typedef struct swan_conv {
    swan_tensor weight, bias;
} swan_conv;
/* x [F, H, W, Cx] (upsample: [F, H/2, W/2, Cx]); past [F, H, W, Cp] or data NULL (zeros) when the weight has Cx + Cp inputs. Here
 * and below an image [H, W, C] is one frame. */
typedef struct swan_conv_input {
    const swan_tensor *x;
    const swan_tensor *past; /* NULL: no second input */
    bool upsample;
} swan_conv_input;
swan_status swan_op_conv3x3(swan_ctx *ctx, const swan_conv_input *in, const swan_conv *layer, bool relu,
                            const swan_tensor *residual, swan_tensor *y);
/* Growth, x2 enlargement and 3x3 convolution in one: x [F, H, W, Cx], w [grow, 4, Cout, 4, Cx] as conv.up2x2 has it, types as
 * above; y [F * grow, 2H, 2W, Cout]. */
swan_status swan_op_up2x2(swan_ctx *ctx, const swan_tensor *x, const swan_tensor *w, bool relu, swan_tensor *y);
/* Frames t, t + 1, ... of latent f32 [C, T, H, W] -> y [F, H, W, C]. */
swan_status swan_op_latent_frame(swan_ctx *ctx, const swan_tensor *latent, int64_t t, swan_tensor *y);
/* x [H, W, 3] in [0, 1] -> u8 [H, W, 3], truncated as the reference does. */
swan_status swan_op_rgb8(swan_ctx *ctx, const swan_tensor *x, swan_tensor *rgb);
/* The same as planes of video: i420 u8 [H * W * 3 / 2], even sizes. */
swan_status swan_op_i420(swan_ctx *ctx, const swan_tensor *x, swan_tensor *i420);
/* to = from, of one type and size, not overlapping; and y = 0. */
swan_status swan_op_copy(swan_ctx *ctx, const swan_tensor *from, swan_tensor *to);
swan_status swan_op_zero(swan_ctx *ctx, swan_tensor *y);

#endif
