#include "ops/call.h"

swan_status swan_op_attention(swan_ctx *ctx, const swan_attention *how, const swan_qkv *in, swan_tensor *out)
{
    const swan_tensor *q = &in->q, *k = &in->k, *v = &in->v;
    SWAN_OP_CHECK(q->ndim == 2 && swan_tensor_same_shape(q, out), "attention", q, out);
    SWAN_OP_CHECK(swan_tensor_same_shape(k, v) && k->ne[1] == q->ne[1] && q->ne[1] % how->heads == 0, "attention", q, k);
    int64_t Lq = q->ne[0], Lk = k->ne[0], D = q->ne[1], ld = in->ld ? in->ld : D, ld_kv = in->ld_kv ? in->ld_kv : ld;
    if (how->key_bias) SWAN_OP_CHECK(how->key_bias->ne[0] == Lk, "attention key bias", k, how->key_bias);
    if (how->rel_bias)
        SWAN_OP_CHECK(how->rel_bias->ne[0] == how->heads && how->rel_bias->ne[1] == Lq + Lk - 1, "attention position bias", k,
                      how->rel_bias);
    swan_attn_dense_args args = {
        .q = q->data, .k = k->data, .v = v->data, .out = out->data, .scale = how->scale, .Lq = Lq, .Lk = Lk,
        .heads = how->heads, .head_dim = D / how->heads, .ldq = ld, .ldk = ld_kv, .ldv = ld_kv, .ldo = D,
        .key_bias = how->key_bias ? how->key_bias->data : NULL, .rel_bias = how->rel_bias ? how->rel_bias->data : NULL,
        .ld_rel = how->ld_rel,
    };
    swan_op_cost cost = {4.0 * (double)Lq * (double)Lk * (double)D,
                         swan_op_bytes(q) + swan_op_bytes(k) + swan_op_bytes(v) + swan_op_bytes(out)};
    SWAN_OP_CALL_WS(ctx, q->dtype, attn_dense, args, cost, out);
    return SWAN_OK;
}

swan_status swan_op_block_sparse(swan_ctx *ctx, const swan_attention *how, const swan_tile_lists *lists, const swan_qkv *in,
                                 swan_tensor *out)
{
    const swan_tensor *q = &in->q, *k = &in->k, *v = &in->v, *index = lists->index, *coarse = lists->coarse;
    SWAN_OP_CHECK(q->ndim == 2 && swan_tensor_same_shape(q, out), "block-sparse attention", q, out);
    SWAN_OP_CHECK(swan_tensor_same_shape(k, q) && swan_tensor_same_shape(v, q), "block-sparse attention", q, k);
    int64_t D = q->ne[1], tiles = lists->tile_start->ne[0] - 1, ld = in->ld ? in->ld : D;
    SWAN_OP_CHECK(index->ndim == 3 && index->ne[0] == how->heads && index->ne[1] == tiles && index->ne[2] <= tiles,
                  "block-sparse attention", q, index);
    if (coarse) {
        SWAN_OP_CHECK(swan_tensor_same_shape(&in->gate, q), "block-sparse attention", q, &in->gate);
        SWAN_OP_CHECK(coarse->ndim == 2 && coarse->ne[0] == tiles && coarse->ne[1] == D, "block-sparse attention", q, coarse);
    }
    swan_attn_block_sparse_args args = {
        .q = q->data, .k = k->data, .v = v->data, .out = out->data, .tile_start = lists->tile_start->data, .index = index->data,
        .scale = how->scale, .L = q->ne[0], .tiles = tiles, .topk = index->ne[2], .heads = how->heads,
        .head_dim = D / how->heads, .ldq = ld, .ldk = ld, .ldv = ld, .ldo = D,
    };
    if (coarse) args.gate = in->gate.data, args.coarse = coarse->data, args.ld_gate = ld;
    /* keys per query tile: topk tiles of the mean size; the exact number depends on the selection */
    double keys = (double)args.topk * (double)args.L / (double)tiles;
    swan_op_cost cost = {4.0 * (double)args.L * keys * (double)D + (coarse ? 2.0 * (double)swan_tensor_count(q) : 0),
                         swan_op_bytes(q) + swan_op_bytes(k) + swan_op_bytes(v) + swan_op_bytes(out) +
                             (coarse ? swan_op_bytes(&in->gate) + swan_op_bytes(coarse) : 0)};
    SWAN_OP_CALL_WS(ctx, q->dtype, attn_block_sparse, args, cost, out);
    return SWAN_OK;
}

swan_status swan_op_vsa_pool(swan_ctx *ctx, const swan_tensor *x, int64_t ld, const swan_tensor *tile_start, swan_tensor *out)
{
    SWAN_OP_CHECK(x->ndim == 2 && out->ndim == 2 && out->ne[1] == x->ne[1] && out->ne[0] == tile_start->ne[0] - 1, "vsa pool", x,
                  out);
    swan_vsa_pool_args args = {.x = x->data, .out = out->data, .tile_start = tile_start->data, .tiles = out->ne[0],
                               .D = x->ne[1], .ldx = ld ? ld : x->ne[1]};
    SWAN_OP_CALL(ctx, x->dtype, vsa_pool, args, ((swan_op_cost){(double)swan_tensor_count(x), swan_op_bytes(x)}), out);
    return SWAN_OK;
}

swan_status swan_op_vsa_coarse(swan_ctx *ctx, const swan_attention *how, const swan_qkv *in, swan_tensor *out,
                               swan_tensor *index)
{
    const swan_tensor *q = &in->q, *k = &in->k, *v = &in->v;
    SWAN_OP_CHECK(swan_tensor_same_shape(q, k) && swan_tensor_same_shape(q, v) && swan_tensor_same_shape(q, out) && !in->ld,
                  "vsa coarse", q, k);
    SWAN_OP_CHECK(index->ndim == 3 && index->ne[0] == how->heads && index->ne[1] == q->ne[0] && index->ne[2] <= q->ne[0],
                  "vsa coarse", q, index);
    swan_vsa_coarse_args args = {
        .q = q->data, .k = k->data, .v = v->data, .out = out->data, .index = index->data, .scale = how->scale,
        .tiles = q->ne[0], .topk = index->ne[2], .heads = how->heads, .head_dim = q->ne[1] / how->heads,
    };
    swan_op_cost cost = {4.0 * (double)args.tiles * (double)swan_tensor_count(q), 4 * swan_op_bytes(q) + swan_op_bytes(index)};
    SWAN_OP_CALL_WS(ctx, q->dtype, vsa_coarse, args, cost, out);
    return SWAN_OK;
}

swan_status swan_op_vsa_combine(swan_ctx *ctx, const swan_qkv *in, const swan_tensor *coarse, const swan_tensor *tile_start,
                                swan_tensor *fine)
{
    const swan_tensor *gate = &in->gate;
    SWAN_OP_CHECK(swan_tensor_same_shape(gate, fine), "vsa combine", gate, fine);
    SWAN_OP_CHECK(coarse->ne[1] == fine->ne[1] && coarse->ne[0] == tile_start->ne[0] - 1, "vsa combine", coarse, fine);
    swan_vsa_combine_args args = {.fine = fine->data, .gate = gate->data, .coarse = coarse->data,
                                  .tile_start = tile_start->data, .tiles = coarse->ne[0], .D = fine->ne[1],
                                  .ld_fine = fine->ne[1], .ld_gate = in->ld ? in->ld : gate->ne[1]};
    SWAN_OP_CALL(ctx, fine->dtype, vsa_combine, args, ((swan_op_cost){2.0 * (double)swan_tensor_count(fine), 3 * swan_op_bytes(fine)}), fine);
    return SWAN_OK;
}
