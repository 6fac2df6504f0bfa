#include "ops/call.h"

swan_status swan_op_combine(swan_ctx *ctx, int terms, const double *coefficient, const swan_tensor *const *x, bool round_bf16,
                            swan_tensor *y)
{
    if (terms < 0 || terms > SWAN_COMBINE_MAX) return SWAN_BUG("combine: %d terms", terms);
    swan_elem_combine_args args = {.terms = terms, .round_bf16 = round_bf16, .y = y->data, .n = swan_tensor_count(y)};
    for (int i = 0; i < terms; i++) {
        SWAN_OP_CHECK(x[i]->dtype == SWAN_F32 && y->dtype == SWAN_F32 && swan_tensor_count(x[i]) == args.n, "combine", x[i], y);
        args.x[i] = x[i]->data;
        args.coefficient[i] = coefficient[i];
    }
    swan_op_cost cost = {2.0 * terms * (double)args.n, (terms + 1) * swan_op_bytes(y)};
    SWAN_OP_CALL(ctx, SWAN_F32, elem_combine, args, cost, y);
    return SWAN_OK;
}

swan_status swan_op_map(swan_ctx *ctx, swan_map map, const swan_tensor *x, swan_tensor *y)
{
    SWAN_OP_CHECK(x->dtype == y->dtype && swan_tensor_count(x) == swan_tensor_count(y), "map", x, y);
    swan_elem_map_args args = {.x = x->data, .y = y->data, .n = swan_tensor_count(x), .map = map};
    SWAN_OP_CALL(ctx, x->dtype, elem_map, args, ((swan_op_cost){(double)args.n, swan_op_bytes(x) + swan_op_bytes(y)}), y);
    return SWAN_OK;
}

swan_status swan_op_round(swan_ctx *ctx, swan_tensor *x)
{
    return ctx->parity_bf16 ? swan_op_map(ctx, SWAN_MAP_ROUND_BF16, x, x) : SWAN_OK;
}
