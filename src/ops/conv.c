#include <string.h>

#include "ops/call.h"

/* [F, H, W, C]; an image [H, W, C] is one frame. */
static int64_t frames_of(const swan_tensor *t) { return t->ndim == 4 ? t->ne[0] : 1; }
static const int64_t *size_of(const swan_tensor *t) { return t->ne + (t->ndim == 4); }
static bool is_image(const swan_tensor *t) { return t->ndim == 3 || t->ndim == 4; }

swan_status swan_op_conv3x3(swan_ctx *ctx, const swan_conv_input *in, const swan_conv *layer, bool relu,
                            const swan_tensor *residual, swan_tensor *y)
{
    const swan_tensor *x = in->x, *w = &layer->weight;
    int64_t factor = in->upsample ? 2 : 1;
    SWAN_OP_CHECK(is_image(x) && is_image(y) && w->ndim == 4 && w->dtype == (x->dtype == SWAN_F16 ? SWAN_F16 : SWAN_F32), "conv3x3", x, w);
    const int64_t *xs = size_of(x), *ys = size_of(y);
    SWAN_OP_CHECK(frames_of(x) == frames_of(y) && ys[0] == factor * xs[0] && ys[1] == factor * xs[1] && ys[2] == w->ne[0], "conv3x3", x, y);
    int64_t Cx = xs[2], Cp = w->ne[3] - Cx;
    SWAN_OP_CHECK(in->past ? Cp > 0 && !in->upsample : Cp == 0, "conv3x3", x, w);
    if (in->past && in->past->data)
        SWAN_OP_CHECK(is_image(in->past) && frames_of(in->past) == frames_of(x) && size_of(in->past)[2] == Cp &&
                          size_of(in->past)[0] == xs[0], "conv3x3", in->past, w);
    if (residual) SWAN_OP_CHECK(swan_tensor_same_shape(residual, y), "conv3x3", residual, y);
    swan_conv_conv3x3_args args = {
        .x = x->data, .past = in->past ? in->past->data : NULL, .w = w->data, .bias = layer->bias.data,
        .residual = residual ? residual->data : NULL, .y = y->data, .F = frames_of(y), .H = ys[0], .W = ys[1], .Cx = Cx, .Cp = Cp,
        .Cout = w->ne[0], .upsample = in->upsample, .relu = relu,
    };
    swan_op_cost cost = {18.0 * (double)(args.F * args.H * args.W) * (double)args.Cout * (double)(Cx + Cp),
                         swan_op_bytes(x) + swan_op_bytes(in->past) + swan_op_bytes(w) + swan_op_bytes(y) + swan_op_bytes(residual)};
    SWAN_OP_CALL_WS(ctx, x->dtype, conv_conv3x3, args, cost, y);
    return SWAN_OK;
}

swan_status swan_op_up2x2(swan_ctx *ctx, const swan_tensor *x, const swan_tensor *w, bool relu, swan_tensor *y)
{
    SWAN_OP_CHECK(is_image(x) && is_image(y) && w->ndim == 5 && w->ne[1] == 4 && w->ne[3] == 4 &&
                      w->dtype == (x->dtype == SWAN_F16 ? SWAN_F16 : SWAN_F32), "up2x2", x, w);
    const int64_t *xs = size_of(x), *ys = size_of(y);
    SWAN_OP_CHECK(frames_of(y) == frames_of(x) * w->ne[0] && ys[0] == 2 * xs[0] && ys[1] == 2 * xs[1] && ys[2] == w->ne[2] &&
                      xs[2] == w->ne[4], "up2x2", x, y);
    swan_conv_up2x2_args args = {.x = x->data, .w = w->data, .y = y->data, .F = frames_of(x), .H = xs[0], .W = xs[1], .Cx = xs[2],
                                 .Cout = ys[2], .grow = w->ne[0], .relu = relu};
    swan_op_cost cost = {8.0 * (double)swan_tensor_count(y) * (double)args.Cx, swan_op_bytes(x) + swan_op_bytes(w) + swan_op_bytes(y)};
    SWAN_OP_CALL(ctx, x->dtype, conv_up2x2, args, cost, y);
    return SWAN_OK;
}

swan_status swan_op_latent_frame(swan_ctx *ctx, const swan_tensor *latent, int64_t t, swan_tensor *y)
{
    SWAN_OP_CHECK(is_image(y), "latent frame", latent, y);
    const int64_t *ys = size_of(y), F = frames_of(y);
    SWAN_OP_CHECK(latent->ndim == 4 && latent->dtype == SWAN_F32 && ys[2] == latent->ne[0] && ys[0] == latent->ne[2] &&
                      ys[1] == latent->ne[3] && t >= 0 && t + F <= latent->ne[1], "latent frame", latent, y);
    swan_image_from_latent_args args = {.latent = latent->data, .y = y->data, .C = latent->ne[0], .T = latent->ne[1],
                                        .H = latent->ne[2], .W = latent->ne[3], .t = t, .F = F};
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

swan_status swan_op_i420(swan_ctx *ctx, const swan_tensor *x, swan_tensor *i420)
{
    SWAN_OP_CHECK(x->ndim == 3 && x->ne[2] == 3 && i420->dtype == SWAN_U8 && 2 * swan_tensor_count(i420) == swan_tensor_count(x) &&
                      x->ne[0] % 2 == 0 && x->ne[1] % 2 == 0, "i420", x, i420);
    swan_image_to_i420_args args = {.x = x->data, .i420 = i420->data, .H = x->ne[0], .W = x->ne[1]};
    SWAN_OP_CALL(ctx, x->dtype, image_to_i420, args, ((swan_op_cost){0, swan_op_bytes(x) + swan_op_bytes(i420)}), i420);
    return SWAN_OK;
}

/* Moved by the device's copy engine, not by a kernel: not in the counters. */
swan_status swan_op_copy(swan_ctx *ctx, const swan_tensor *from, swan_tensor *to)
{
    SWAN_OP_CHECK(from->dtype == to->dtype && swan_tensor_count(from) == swan_tensor_count(to), "copy", from, to);
    if (ctx->mode == SWAN_DRY) return SWAN_OK;
    if (ctx->device) return ctx->device->backend->copy(ctx->stream, to->data, from->data, swan_tensor_bytes(to));
    memcpy(to->data, from->data, swan_tensor_bytes(to));
    return SWAN_OK;
}

swan_status swan_op_zero(swan_ctx *ctx, swan_tensor *y)
{
    if (ctx->mode == SWAN_DRY) return SWAN_OK;
    if (ctx->device) return ctx->device->backend->fill(ctx->stream, y->data, 0, swan_tensor_bytes(y));
    memset(y->data, 0, swan_tensor_bytes(y));
    return SWAN_OK;
}
