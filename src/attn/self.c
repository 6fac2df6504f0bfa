#include "attn/self.h"

#include <math.h>

static swan_status normalise(swan_ctx *ctx, const swan_qk_norm *norm, swan_qkv *in)
{
    SWAN_TRY(swan_op_rms_norm_columns(ctx, &in->q, in->ld, &norm->q));
    SWAN_TRY(swan_op_rms_norm_columns(ctx, &in->k, in->ld, &norm->k));
    SWAN_TRY(swan_op_round(ctx, &in->q));
    return swan_op_round(ctx, &in->k);
}

/* The same, and q and k pooled: by the norm, where nothing is to be rounded between the two. */
static swan_status normalise_and_pool(const swan_self_attention *a, swan_ctx *ctx, const swan_qk_norm *norm, swan_qkv *in, swan_qkv *pooled)
{
    if (!ctx->parity_bf16) {
        SWAN_TRY(swan_op_rms_norm_pool(ctx, &in->q, in->ld, &norm->q, &a->tile_start, &pooled->q));
        return swan_op_rms_norm_pool(ctx, &in->k, in->ld, &norm->k, &a->tile_start, &pooled->k);
    }
    SWAN_TRY(normalise(ctx, norm, in));
    SWAN_TRY(swan_op_vsa_pool(ctx, &in->q, in->ld, &a->tile_start, &pooled->q));
    return swan_op_vsa_pool(ctx, &in->k, in->ld, &a->tile_start, &pooled->k);
}

/* As swan_self_attention_run, by how. */
static swan_status vsa(const swan_self_attention *a, swan_ctx *ctx, const swan_attention *how, const swan_qk_norm *norm, swan_qkv *in,
                       swan_tensor *out)
{
    int64_t D = in->q.ne[1], tiles = a->tile_start.ne[0] - 1;
    size_t mark = swan_arena_mark(ctx->arena);
    swan_tensor coarse, index;
    swan_qkv pooled = {0};
    SWAN_TRY(swan_ctx_tensor_2d(ctx, tiles, D, "vsa.q", &pooled.q));
    SWAN_TRY(swan_ctx_tensor_2d(ctx, tiles, D, "vsa.k", &pooled.k));
    SWAN_TRY(swan_ctx_tensor_2d(ctx, tiles, D, "vsa.v", &pooled.v));
    SWAN_TRY(swan_ctx_tensor_2d(ctx, tiles, D, "vsa.coarse", &coarse));
    SWAN_TRY(swan_ctx_tensor(ctx, SWAN_I32, 3, (int64_t[]){a->heads, tiles, a->topk}, "vsa.index", &index));
    SWAN_TRY(normalise_and_pool(a, ctx, norm, in, &pooled));
    SWAN_TRY(swan_op_vsa_pool(ctx, &in->v, in->ld, &a->tile_start, &pooled.v));
    SWAN_TRY(swan_op_vsa_coarse(ctx, how, &pooled, &coarse, &index));
    if (a->topk == tiles) {
        SWAN_TRY(swan_op_attention(ctx, how, in, out));
        SWAN_TRY(swan_op_vsa_combine(ctx, in, &coarse, &a->tile_start, out));
    } else {
        swan_tile_lists lists = {&a->tile_start, &index, &coarse};
        SWAN_TRY(swan_op_block_sparse(ctx, how, &lists, in, out));
    }
    swan_arena_release(ctx->arena, mark);
    return SWAN_OK;
}

swan_status swan_self_attention_run(const swan_self_attention *a, swan_ctx *ctx, const swan_qk_norm *norm, swan_qkv *in, swan_tensor *out)
{
    swan_attention how = {.heads = a->heads, .scale = 1.0f / sqrtf((float)(in->q.ne[1] / a->heads))};
    if (a->kind == SWAN_ATTN_VSA) return vsa(a, ctx, &how, norm, in, out);
    SWAN_TRY(normalise(ctx, norm, in));
    return swan_op_attention(ctx, &how, in, out);
}
