#include "ops/call.h"

swan_status swan_op_conv3x3(swan_ctx *ctx, const swan_conv_input *in, const swan_conv *layer, bool relu,
                            const swan_tensor *residual, swan_tensor *y)
{
    const swan_tensor *x = in->x, *w = &layer->weight;
    int64_t factor = in->upsample ? 2 : 1;
    SWAN_OP_CHECK(x->ndim == 3 && y->ndim == 3 && w->ndim == 4 && w->dtype == SWAN_F32, "conv3x3", x, w);
    SWAN_OP_CHECK(y->ne[0] == factor * x->ne[0] && y->ne[1] == factor * x->ne[1] && y->ne[2] == w->ne[0], "conv3x3", x, y);
    int64_t Cx = x->ne[2], Cp = w->ne[3] - Cx;
    SWAN_OP_CHECK(in->past ? Cp > 0 && !in->upsample : Cp == 0, "conv3x3", x, w);
    if (in->past && in->past->data) SWAN_OP_CHECK(in->past->ne[2] == Cp && in->past->ne[0] == x->ne[0], "conv3x3", in->past, w);
    if (residual) SWAN_OP_CHECK(swan_tensor_same_shape(residual, y), "conv3x3", residual, y);
    swan_conv_conv3x3_args args = {
        .x = x->data, .past = in->past ? in->past->data : NULL, .w = w->data, .bias = layer->bias.data,
        .residual = residual ? residual->data : NULL, .y = y->data, .H = y->ne[0], .W = y->ne[1], .Cx = Cx, .Cp = Cp,
        .Cout = w->ne[0], .upsample = in->upsample, .relu = relu,
    };
    swan_op_cost cost = {18.0 * (double)(args.H * args.W) * (double)args.Cout * (double)(Cx + Cp),
                         swan_op_bytes(x) + swan_op_bytes(in->past) + swan_op_bytes(w) + swan_op_bytes(y) + swan_op_bytes(residual)};
    SWAN_OP_CALL_WS(ctx, x->dtype, conv_conv3x3, args, cost, y);
    return SWAN_OK;
}

swan_status swan_op_latent_frame(swan_ctx *ctx, const swan_tensor *latent, int64_t t, swan_tensor *y)
{
    SWAN_OP_CHECK(latent->ndim == 4 && latent->dtype == SWAN_F32 && y->ndim == 3 && y->ne[2] == latent->ne[0] &&
                      y->ne[0] == latent->ne[2] && y->ne[1] == latent->ne[3] && t < latent->ne[1], "latent frame", latent, y);
    swan_image_from_latent_args args = {.latent = latent->data, .y = y->data, .C = latent->ne[0], .T = latent->ne[1],
                                        .H = latent->ne[2], .W = latent->ne[3], .t = t};
    SWAN_OP_CALL(ctx, y->dtype, image_from_latent, args, ((swan_op_cost){0, 2 * swan_op_bytes(y)}), y);
    return SWAN_OK;
}

swan_status swan_op_rgb8(swan_ctx *ctx, const swan_tensor *x, swan_tensor *rgb)
{
    SWAN_OP_CHECK(rgb->dtype == SWAN_U8 && swan_tensor_count(x) == swan_tensor_count(rgb), "rgb8", x, rgb);
    swan_image_to_rgb8_args args = {.x = x->data, .rgb = rgb->data, .n = swan_tensor_count(x)};
    SWAN_OP_CALL(ctx, x->dtype, image_to_rgb8, args, ((swan_op_cost){0, swan_op_bytes(x) + swan_op_bytes(rgb)}), rgb);
    return SWAN_OK;
}
