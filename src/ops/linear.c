#include "ops/call.h"

/* Does b begin where a ends, and is it like a? Two that are missing are. */
static bool follows(const swan_tensor *a, const swan_tensor *b)
{
    if (!a->data || !b->data) return !a->data && !b->data;
    return (const uint8_t *)a->data + swan_tensor_bytes(a) == b->data && a->dtype == b->dtype && swan_tensor_same_shape(a, b);
}

bool swan_linear_join(const swan_linear *const *layer, int count, swan_linear *out)
{
    for (int i = 1; i < count; i++)
        if (!follows(&layer[i - 1]->weight, &layer[i]->weight) || !follows(&layer[i - 1]->bias, &layer[i]->bias)) return false;
    *out = *layer[0];
    out->weight.ne[0] *= count;
    out->bias.ne[0] *= count;
    return true;
}

swan_status swan_op_linear(swan_ctx *ctx, const swan_tensor *x, const swan_linear *layer, swan_epilogue epilogue,
                           const swan_tensor *gate, swan_tensor *y)
{
    const swan_tensor *w = &layer->weight;
    SWAN_OP_CHECK(x->ndim == 2 && w->ndim == 2 && x->ne[1] == w->ne[1], "linear", x, w);
    SWAN_OP_CHECK(y->ndim == 2 && y->ne[0] == x->ne[0] && y->ne[1] == w->ne[0], "linear", y, w);
    SWAN_OP_CHECK((epilogue == SWAN_EPI_GATED_ADD) == (gate != NULL), "linear gate", x, w);
    swan_linear_args args = {
        .x = x->data, .w = w->data, .bias = layer->bias.data, .gate = gate ? gate->data : NULL, .y = y->data,
        .M = x->ne[0], .N = w->ne[0], .K = w->ne[1], .ldx = x->ne[1], .ldy = y->ne[1], .epilogue = epilogue,
    };
    bool reads_y = epilogue >= SWAN_EPI_MUL;
    swan_op_cost cost = {2.0 * (double)args.M * (double)args.N * (double)args.K,
                         swan_op_bytes(x) + swan_op_bytes(w) + swan_op_bytes(y) * (reads_y ? 2 : 1)};
    switch (w->dtype) {
    case SWAN_F32: SWAN_OP_CALL_WS(ctx, x->dtype, linear_f32, args, cost, y); return SWAN_OK;
    case SWAN_BF16: SWAN_OP_CALL_WS(ctx, x->dtype, linear_bf16, args, cost, y); return SWAN_OK;
    case SWAN_F16: SWAN_OP_CALL_WS(ctx, x->dtype, linear_f16, args, cost, y); return SWAN_OK;
    default: return swan_op_mismatch("linear weight type", x, w);
    }
}

swan_status swan_op_linear_gelu_mul(swan_ctx *ctx, const swan_tensor *x, const swan_linear *gate, const swan_linear *up, swan_tensor *y)
{
    const swan_linear *const both[] = {gate, up};
    const swan_tensor *w = &gate->weight;
    swan_linear joined;
    SWAN_OP_CHECK(!gate->bias.data && !up->bias.data, "gated linear bias", &gate->bias, &up->bias);
    if (swan_ctx_on_host(ctx) || w->dtype != SWAN_BF16 || !swan_linear_join(both, 2, &joined)) {
        for (int i = 0; i < 2; i++) SWAN_TRY(swan_op_linear(ctx, x, both[i], swan_linear_gelu_mul_epilogue(i), NULL, y));
        return SWAN_OK;
    }
    SWAN_OP_CHECK(x->ndim == 2 && w->ndim == 2 && x->ne[1] == w->ne[1], "gated linear", x, w);
    SWAN_OP_CHECK(y->ndim == 2 && y->ne[0] == x->ne[0] && y->ne[1] == w->ne[0], "gated linear", y, w);
    swan_linear_gelu_mul_args args = {.x = x->data, .w = w->data, .y = y->data, .M = x->ne[0], .N = w->ne[0], .K = w->ne[1],
                                      .ldx = x->ne[1], .ldy = y->ne[1], .epilogue = SWAN_EPI_NONE};
    swan_op_cost cost = {4.0 * (double)args.M * (double)args.N * (double)args.K, swan_op_bytes(x) + 2 * swan_op_bytes(w) + swan_op_bytes(y)};
    SWAN_OP_CALL_WS(ctx, x->dtype, linear_gelu_mul, args, cost, y);
    return SWAN_OK;
}
