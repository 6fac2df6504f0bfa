/* How an op becomes one kernel call: counted in every mode, run in all but DRY, timed and reported in TRACE. For ops only. */
#ifndef SWAN_OPS_CALL_H
#define SWAN_OPS_CALL_H

#include "ops/ctx.h"
#include "ops/ops.h"

typedef struct swan_op_cost {
    double flops, bytes;
} swan_op_cost;

/* Counts the call; fails when the slot is empty or the run was cancelled. */
swan_status swan_op_begin(swan_ctx *ctx, const swan_kernel_row *row, const char *slot, swan_dtype format, swan_op_cost cost,
                          double *start);
/* Reports to the trace; passes status through. */
swan_status swan_op_end(swan_ctx *ctx, swan_status status, const swan_kernel_row *row, const swan_tensor *out, double start);
/* Bytes of a tensor as a double, for costs; 0 for NULL. */
double swan_op_bytes(const swan_tensor *t);
/* SWAN_E_BUG with the op's name and both shapes unless the condition holds. */
swan_status swan_op_mismatch(const char *op, const swan_tensor *a, const swan_tensor *b);

/* format: the type of the activations at hand, which chooses the table. */
#define SWAN_OP_CALL(ctx, format, slot, args, cost, out)                                                               \
    do {                                                                                                               \
        const swan_kernels *table_ = swan_ctx_table((ctx), (format));                                                  \
        const swan_kernel_row *row_ = table_ ? table_->slot.row : NULL;                                                \
        double start_ = 0;                                                                                             \
        SWAN_TRY(swan_op_begin((ctx), row_, #slot, (format), (cost), &start_));                                        \
        if ((ctx)->mode != SWAN_DRY)                                                                                   \
            SWAN_TRY(swan_op_end((ctx), table_->slot.run((ctx)->stream, &(args)), row_, (out), start_));               \
    } while (0)

/* The same for slots that may want scratch: it comes from the arena and goes back after the call. On a GPU the memory is
 * used by the launched kernel after the release; later kernels of the same stream are ordered behind it. */
#define SWAN_OP_CALL_WS(ctx, format, slot, args, cost, out)                                                            \
    do {                                                                                                               \
        size_t mark_ = swan_arena_mark((ctx)->arena);                                                                  \
        const swan_kernels *sized_ = swan_ctx_table((ctx), (format));                                                  \
        size_t bytes_ = sized_ && sized_->slot.workspace ? sized_->slot.workspace(&(args), (ctx)->stream) : 0;         \
        if (bytes_ && !((args).workspace = swan_arena_alloc((ctx)->arena, bytes_))) return SWAN_E_BUG;                 \
        SWAN_OP_CALL(ctx, format, slot, args, cost, out);                                                              \
        swan_arena_release((ctx)->arena, mark_);                                                                       \
    } while (0)

#define SWAN_OP_CHECK(condition, op, a, b)                                                                             \
    do {                                                                                                               \
        if (!(condition)) return swan_op_mismatch((op), (a), (b));                                                     \
    } while (0)

#endif
