/* What every kernel slot computes: its arguments as a plain struct, passed by designated initialiser.
 *
 * Activations have the format of the table (F32, BF16, or F16 for images alone, see kernel/table.h) unless a comment says
 * otherwise; vectors (bias, norm weight, modulation, gate, rope) and latents are always f32. `ld*` are row strides in elements. Pointers are device
 * pointers of the table's backend. `workspace` has at least the bytes that the row asks for. C11 and C++17. */
#ifndef SWAN_KERNEL_ARGS_H
#define SWAN_KERNEL_ARGS_H

#include <stdint.h>

#include "kernel/args_attn.h"
#include "kernel/args_image.h"
#include "tensor/tensor.h"

/* r = x W^T + bias;  y = f(r) or y = f(y, r). x [M, K], W [N, K] contiguous in the slot's weight format, y [M, N]. */
typedef enum swan_epilogue {
    SWAN_EPI_NONE,      /* y = r */
    SWAN_EPI_GELU,      /* y = gelu_tanh(r) */
    SWAN_EPI_SILU,      /* y = r * sigmoid(r) */
    SWAN_EPI_MUL,       /* y = y * r */
    SWAN_EPI_ADD,       /* y = y + r */
    SWAN_EPI_GATED_ADD, /* y = y + gate[n] * r */
    SWAN_EPI_COUNT
} swan_epilogue;

typedef struct swan_linear_args {
    const void *x;
    const void *w;
    const float *bias; /* [N] or NULL */
    const float *gate; /* [N], only with GATED_ADD */
    void *y;
    int64_t M, N, K, ldx, ldy;
    swan_epilogue epilogue;
    void *workspace;
} swan_linear_args;
typedef swan_linear_args swan_linear_f32_args;  /* weights F32 */
typedef swan_linear_args swan_linear_bf16_args; /* weights BF16 */
typedef swan_linear_args swan_linear_f16_args;  /* weights F16 */
/* y = gelu_tanh(x Wg^T) * (x Wu^T): w holds Wg [N, K] and behind it Wu [N, K], BF16. No bias, gate or epilogue. What gelu gives may be
 * rounded to the activations' format before it is multiplied. */
typedef swan_linear_args swan_linear_gelu_mul_args;
/* Where no kernel makes both at once it is two products, that of Wg (i = 0) and that of Wu (i = 1): the second meets in y what the
 * first one left there. */
static inline swan_epilogue swan_linear_gelu_mul_epilogue(int i) { return i ? SWAN_EPI_MUL : SWAN_EPI_GELU; }
static inline swan_linear_bf16_args swan_linear_gelu_mul_product(const swan_linear_gelu_mul_args *a, int i)
{
    swan_linear_bf16_args one = *a;
    one.w = (const uint16_t *)a->w + i * a->N * a->K;
    one.epilogue = swan_linear_gelu_mul_epilogue(i);
    return one;
}

/* y[l, :] = (x[l, :] - mean) / sqrt(var + eps) * (scale + scale_offset) + shift, statistics over D in at least fp32.
 * Modulation: scale_offset 1. Affine layer norm: scale = weight, shift = bias, scale_offset 0. y may be x. */
typedef struct swan_norm_layer_args {
    const void *x;
    void *y;
    const float *scale, *shift; /* [D] */
    float scale_offset, eps;
    int64_t L, D, ldx, ldy;
} swan_norm_layer_args;

/* y[l, :] = x[l, :] / sqrt(mean(x[l, :]^2) + eps) * weight, the mean over all D channels (for QK: all heads together).
 * With rope (f32 [L, head_dim / 2, 2] = cos, sin): each head's interleaved pairs are then rotated,
 * (a, b) -> (a cos - b sin, a sin + b cos). y may be x.
 * With mean [tiles, D]: also vsa.pool of y, over tiles that hold all L rows: of y as it is stored, rounded to its format. */
typedef struct swan_norm_rms_args {
    const void *x;
    void *y;
    const float *weight; /* [D] */
    const float *rope;   /* or NULL */
    float eps;
    int64_t L, D, head_dim, ldx, ldy;
    const int32_t *tile_start; /* [tiles + 1], with mean alone */
    void *mean;                /* or NULL */
    int64_t tiles;
    void *workspace;
} swan_norm_rms_args;

/* The means, for rows that make them in a pass of their own. */
static inline swan_vsa_pool_args swan_norm_rms_means(const swan_norm_rms_args *a)
{
    swan_vsa_pool_args p;
    p.x = a->y, p.out = a->mean;
    p.tile_start = a->tile_start;
    p.tiles = a->tiles, p.D = a->D, p.ldx = a->ldy;
    return p;
}

/* y[i, :] = table[ids[i], :]; table [rows, D] in table_dtype (F32, F16 or BF16). ids are checked by the caller. */
typedef struct swan_embed_rows_args {
    const void *table;
    const int32_t *ids;
    void *y;
    int64_t n, D;
    swan_dtype table_dtype;
} swan_embed_rows_args;

/* y [freq_dim] f32 = [cos(t f_0) .. cos(t f_{h-1}), sin(t f_0) ..], h = freq_dim / 2, f_i = 10000^(-i / h), in fp64. */
typedef struct swan_embed_timestep_args {
    double timestep;
    float *y;
    int64_t freq_dim;
} swan_embed_timestep_args;

/* latent f32 [C, T, H, W] -> y [L, C * 4], column order (c, py, px); patch (1, 2, 2), L = T * H/2 * W/2. Row l is the raster
 * token order[l] (order NULL: l). */
typedef struct swan_embed_patchify_args {
    const float *latent;
    void *y;
    const int32_t *order; /* [L] or NULL */
    int64_t C, T, H, W;
} swan_embed_patchify_args;

/* x [L, 4 * C], column order (py, px, c) -> latent f32 [C, T, H, W]; the inverse placement of patchify. */
typedef struct swan_embed_unpatchify_args {
    const void *x;
    float *latent;
    const int32_t *order;
    int64_t C, T, H, W;
} swan_embed_unpatchify_args;

/* y[i] = sum over k of coefficient[k] * x[k][i], all f32 in memory, products and sum in fp64, one rounding. y may be any x[k].
 * Samplers, guidance and modulation tables. round_bf16: the result is rounded to bf16 (kept as f32), for parity runs. */
#define SWAN_COMBINE_MAX 8
typedef struct swan_elem_combine_args {
    const float *x[SWAN_COMBINE_MAX];
    double coefficient[SWAN_COMBINE_MAX];
    int terms;
    bool round_bf16;
    float *y;
    int64_t n;
} swan_elem_combine_args;

typedef enum swan_map {
    SWAN_MAP_SILU,
    SWAN_MAP_CLAMP_TANH3, /* 3 tanh(x / 3): TAEHV's input clamp */
    SWAN_MAP_ROUND_BF16,  /* nearest bf16, kept in the activation format: parity runs */
    SWAN_MAP_COUNT
} swan_map;
/* y[i] = f(x[i]); y may be x. */
typedef struct swan_elem_map_args {
    const void *x;
    void *y;
    int64_t n;
    swan_map map;
} swan_elem_map_args;

#endif
