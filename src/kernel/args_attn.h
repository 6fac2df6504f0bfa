/* What the slots of attention compute, dense and sparse: part of kernel/args.h, which says what holds for all. C11 and C++17. */
#ifndef SWAN_KERNEL_ARGS_ATTN_H
#define SWAN_KERNEL_ARGS_ATTN_H

#include <stdint.h>

/* softmax(q k^T * scale + key_bias[k] + rel_bias[h, k - q + Lq - 1]) v for each head. q, k, v, out: row l, head h begins at
 * l * ld + h * head_dim. No buffer of Lq x Lk. */
typedef struct swan_attn_dense_args {
    const void *q, *k, *v;
    void *out;
    const float *key_bias; /* [Lk] or NULL */
    const float *rel_bias; /* [heads, Lq + Lk - 1] or NULL */
    float scale;
    int64_t Lq, Lk, heads, head_dim, ldq, ldk, ldv, ldo;
    int64_t ld_rel; /* of rel_bias; 0: contiguous */
    void *workspace;
} swan_attn_dense_args;

static inline int64_t swan_attn_ld_rel(const swan_attn_dense_args *a) { return a->ld_rel ? a->ld_rel : a->Lq + a->Lk - 1; }

/* The same over selected tiles: query tile i owns rows tile_start[i] .. tile_start[i + 1] - 1, and attends to the rows of the
 * tiles index[h, i, 0 .. topk - 1] (ascending). No padding rows exist. With gate, VSA's sum comes with it: out[l, :] += gate[l, :] *
 * coarse[tile of l, :]; a row may round out to the activations' format before. Source: VSA, arXiv 2505.13389, fine branch. */
typedef struct swan_attn_block_sparse_args {
    const void *q, *k, *v;
    void *out;
    const int32_t *tile_start; /* [tiles + 1] */
    const int32_t *index;      /* [heads, tiles, topk] */
    const void *gate, *coarse; /* [L, heads * head_dim], [tiles, heads * head_dim] without gaps; or NULL */
    float scale;
    int64_t L, tiles, topk, heads, head_dim, ldq, ldk, ldv, ldo, ld_gate;
    void *workspace;
} swan_attn_block_sparse_args;

/* out[i, :] = mean over the rows of tile i of x, f32 accumulation. x [L, D], out [tiles, D]. */
typedef struct swan_vsa_pool_args {
    const void *x;
    void *out;
    const int32_t *tile_start;
    int64_t tiles, D, ldx;
} swan_vsa_pool_args;

/* VSA coarse branch over pooled q, k, v [tiles, heads * head_dim]: s = q k^T * scale; out = softmax(s) v; index[h, i] = the
 * topk tiles of the largest s[i, :], ascending; ties go to the lower tile. Exactly topk are selected. */
typedef struct swan_vsa_coarse_args {
    const void *q, *k, *v;
    void *out;
    int32_t *index; /* [heads, tiles, topk] */
    float scale;
    int64_t tiles, topk, heads, head_dim;
    void *workspace;
} swan_vsa_coarse_args;

/* fine[l, c] += gate[l, c] * coarse[tile of l, c]. For what attn.block_sparse does not do by itself. */
typedef struct swan_vsa_combine_args {
    void *fine;
    const void *gate, *coarse;
    const int32_t *tile_start;
    int64_t tiles, D, ld_fine, ld_gate;
} swan_vsa_combine_args;

/* The sum that block-sparse attention with a gate ends with, for rows that do it in a pass of its own. */
static inline swan_vsa_combine_args swan_attn_block_sparse_sum(const swan_attn_block_sparse_args *a)
{
    swan_vsa_combine_args c;
    c.fine = a->out, c.gate = a->gate, c.coarse = a->coarse;
    c.tile_start = a->tile_start;
    c.tiles = a->tiles, c.D = a->heads * a->head_dim, c.ld_fine = a->ldo, c.ld_gate = a->ld_gate;
    return c;
}

#endif
