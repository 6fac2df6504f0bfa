#include "ops/call.h"

swan_status swan_op_embed_rows(swan_ctx *ctx, const swan_tensor *table, const swan_tensor *ids, swan_tensor *y)
{
    SWAN_OP_CHECK(table->ndim == 2 && y->ndim == 2 && y->ne[1] == table->ne[1] && ids->ne[0] == y->ne[0], "embedding", table, y);
    swan_embed_rows_args args = {.table = table->data, .ids = ids->data, .y = y->data, .n = y->ne[0], .D = y->ne[1],
                                 .table_dtype = table->dtype};
    SWAN_OP_CALL(ctx, y->dtype, embed_rows, args, ((swan_op_cost){0, 2 * swan_op_bytes(y)}), y);
    return SWAN_OK;
}

swan_status swan_op_embed_timestep(swan_ctx *ctx, double timestep, swan_tensor *y)
{
    SWAN_OP_CHECK(y->dtype == SWAN_F32 && y->ne[y->ndim - 1] % 2 == 0, "timestep embedding", y, y);
    swan_embed_timestep_args args = {.timestep = timestep, .y = y->data, .freq_dim = swan_tensor_count(y)};
    SWAN_OP_CALL(ctx, SWAN_F32, embed_timestep, args, ((swan_op_cost){0, swan_op_bytes(y)}), y);
    return SWAN_OK;
}

static bool latent_fits(const swan_tensor *latent, const swan_tensor *tokens, const swan_tensor *order)
{
    return latent->ndim == 4 && latent->dtype == SWAN_F32 && latent->ne[2] % 2 == 0 && latent->ne[3] % 2 == 0 &&
           tokens->ndim == 2 && tokens->ne[1] == 4 * latent->ne[0] &&
           tokens->ne[0] == latent->ne[1] * (latent->ne[2] / 2) * (latent->ne[3] / 2) &&
           (!order || order->ne[0] == tokens->ne[0]);
}

swan_status swan_op_patchify(swan_ctx *ctx, const swan_tensor *latent, const swan_tensor *order, swan_tensor *y)
{
    SWAN_OP_CHECK(latent_fits(latent, y, order), "patchify", latent, y);
    swan_embed_patchify_args args = {.latent = latent->data, .y = y->data, .order = order ? order->data : NULL,
                                     .C = latent->ne[0], .T = latent->ne[1], .H = latent->ne[2], .W = latent->ne[3]};
    SWAN_OP_CALL(ctx, y->dtype, embed_patchify, args, ((swan_op_cost){0, swan_op_bytes(latent) + swan_op_bytes(y)}), y);
    return SWAN_OK;
}

swan_status swan_op_unpatchify(swan_ctx *ctx, const swan_tensor *x, const swan_tensor *order, swan_tensor *latent)
{
    SWAN_OP_CHECK(latent_fits(latent, x, order), "unpatchify", x, latent);
    swan_embed_unpatchify_args args = {.x = x->data, .latent = latent->data, .order = order ? order->data : NULL,
                                       .C = latent->ne[0], .T = latent->ne[1], .H = latent->ne[2], .W = latent->ne[3]};
    SWAN_OP_CALL(ctx, x->dtype, embed_unpatchify, args, ((swan_op_cost){0, swan_op_bytes(latent) + swan_op_bytes(x)}), latent);
    return SWAN_OK;
}
