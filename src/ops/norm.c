#include "ops/call.h"

static swan_status layer_norm(swan_ctx *ctx, const swan_tensor *x, swan_norm_layer_args args, swan_tensor *y)
{
    SWAN_OP_CHECK(x->ndim == 2 && swan_tensor_same_shape(x, y), "norm", x, y);
    args.x = x->data;
    args.y = y->data;
    args.L = x->ne[0];
    args.D = args.ldx = args.ldy = x->ne[1];
    swan_op_cost cost = {8.0 * (double)swan_tensor_count(x), swan_op_bytes(x) + swan_op_bytes(y)};
    SWAN_OP_CALL(ctx, x->dtype, norm_layer, args, cost, y);
    return SWAN_OK;
}

swan_status swan_op_modulated_norm(swan_ctx *ctx, const swan_tensor *x, const float *scale, const float *shift, float eps,
                                   swan_tensor *y)
{
    return layer_norm(ctx, x, (swan_norm_layer_args){.scale = scale, .shift = shift, .scale_offset = 1, .eps = eps}, y);
}

swan_status swan_op_affine_norm(swan_ctx *ctx, const swan_tensor *x, const swan_tensor *weight, const swan_tensor *bias,
                                float eps, swan_tensor *y)
{
    SWAN_OP_CHECK(weight->ne[0] == x->ne[1] && bias->ne[0] == x->ne[1], "norm", x, weight);
    return layer_norm(ctx, x, (swan_norm_layer_args){.scale = weight->data, .shift = bias->data, .eps = eps}, y);
}

/* args: weight, eps, strides and tiles; the rest is filled in here. */
static swan_status rms_norm(swan_ctx *ctx, const swan_tensor *x, swan_norm_rms_args args, const swan_tensor *rope, swan_tensor *y)
{
    SWAN_OP_CHECK(x->ndim == 2 && swan_tensor_same_shape(x, y), "rms norm", x, y);
    args.x = x->data;
    args.y = y->data;
    args.L = x->ne[0];
    args.D = args.head_dim = x->ne[1];
    if (rope) {
        SWAN_OP_CHECK(rope->ndim == 3 && rope->ne[0] == x->ne[0] && x->ne[1] % (2 * rope->ne[1]) == 0, "rope", x, rope);
        args.rope = rope->data;
        args.head_dim = 2 * rope->ne[1];
    }
    swan_op_cost cost = {(rope ? 10.0 : 4.0) * (double)swan_tensor_count(x), swan_op_bytes(x) + swan_op_bytes(y) + swan_op_bytes(rope)};
    if (args.mean) {
        cost.flops += (double)swan_tensor_count(x);
        cost.bytes += (double)args.tiles * swan_op_bytes(x) / (double)args.L;
    }
    SWAN_OP_CALL_WS(ctx, x->dtype, norm_rms, args, cost, y);
    return SWAN_OK;
}

swan_status swan_op_rms_norm(swan_ctx *ctx, const swan_tensor *x, const swan_tensor *weight, float eps,
                             const swan_tensor *rope, swan_tensor *y)
{
    int64_t D = x->ne[1];
    SWAN_OP_CHECK(weight->ndim == 1 && weight->ne[0] == D, "rms norm", x, weight);
    return rms_norm(ctx, x, (swan_norm_rms_args){.weight = weight->data, .eps = eps, .ldx = D, .ldy = D}, rope, y);
}

/* args: the tiles. */
static swan_status rms_columns(swan_ctx *ctx, swan_tensor *x, int64_t ld, const swan_rms_norm *norm, swan_norm_rms_args args)
{
    const swan_tensor *weight = norm->weight;
    SWAN_OP_CHECK(weight->ndim == 1 && weight->ne[0] == x->ne[1] && ld >= x->ne[1], "rms norm", x, weight);
    args.weight = weight->data;
    args.eps = norm->eps;
    args.ldx = args.ldy = ld;
    return rms_norm(ctx, x, args, norm->rope, x);
}

swan_status swan_op_rms_norm_columns(swan_ctx *ctx, swan_tensor *x, int64_t ld, const swan_rms_norm *norm)
{
    return rms_columns(ctx, x, ld, norm, (swan_norm_rms_args){0});
}

swan_status swan_op_rms_norm_pool(swan_ctx *ctx, swan_tensor *x, int64_t ld, const swan_rms_norm *norm, const swan_tensor *tile_start,
                                  swan_tensor *mean)
{
    SWAN_OP_CHECK(mean->ndim == 2 && mean->dtype == x->dtype && mean->ne[1] == x->ne[1] && mean->ne[0] == tile_start->ne[0] - 1,
                  "rms norm pool", x, mean);
    return rms_columns(ctx, x, ld, norm, (swan_norm_rms_args){.tile_start = tile_start->data, .mean = mean->data, .tiles = mean->ne[0]});
}
