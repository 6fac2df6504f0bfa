#include "ops/ctx.h"

#include <time.h>

#include "ops/call.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool swan_ctx_on_host(const swan_ctx *ctx) { return !ctx->device || ctx->device->info.index == SWAN_DEVICE_HOST; }

const swan_kernels *swan_ctx_table(const swan_ctx *ctx, swan_dtype format)
{
    if (ctx->kernels->format == format) return ctx->kernels;
    return format == SWAN_F32 ? ctx->kernels_f32 : format == SWAN_F16 ? ctx->kernels_f16 : NULL;
}

swan_status swan_ctx_tensor(swan_ctx *ctx, swan_dtype dtype, int ndim, const int64_t *ne, const char *name, swan_tensor *out)
{
    *out = (swan_tensor){.dtype = dtype, .ndim = ndim, .name = name};
    for (int i = 0; i < ndim; i++) out->ne[i] = ne[i];
    out->data = swan_arena_alloc(ctx->arena, swan_tensor_bytes(out));
    return out->data ? SWAN_OK : swan_status_prefix(SWAN_E_BUG, "%s", name ? name : "tensor");
}

swan_status swan_ctx_tensor_2d(swan_ctx *ctx, int64_t n0, int64_t n1, const char *name, swan_tensor *out)
{
    return swan_ctx_tensor(ctx, ctx->kernels->format, 2, (int64_t[]){n0, n1}, name, out);
}

swan_status swan_op_begin(swan_ctx *ctx, const swan_kernel_row *row, const char *slot, swan_dtype format, swan_op_cost cost,
                          double *start)
{
    if (!row)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: no kernel for %s activations on this device", slot,
                         swan_dtype_name(format));
    ctx->counters.launches++;
    ctx->counters.flops += cost.flops;
    ctx->counters.bytes += cost.bytes;
    if (ctx->mode == SWAN_DRY || ctx->mode == SWAN_CAPTURE) return SWAN_OK; /* what is captured can be cancelled when it is launched */
    const atomic_bool *cancel = ctx->stream->cancel;
    if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) return SWAN_FAIL(SWAN_E_CANCELLED, "cancelled");
    if (ctx->mode == SWAN_TRACE) *start = now_s();
    return SWAN_OK;
}

swan_status swan_op_end(swan_ctx *ctx, swan_status status, const swan_kernel_row *row, const swan_tensor *out, double start)
{
    if (status != SWAN_OK) return status == SWAN_E_CANCELLED ? SWAN_FAIL(status, "cancelled") : status;
    if (ctx->mode != SWAN_TRACE || !ctx->trace) return SWAN_OK;
    if (ctx->device) SWAN_TRY(ctx->device->backend->synchronise(ctx->stream));
    ctx->trace->record(ctx->trace->user, row, out, now_s() - start);
    return SWAN_OK;
}

double swan_op_bytes(const swan_tensor *t) { return t && t->data ? (double)swan_tensor_bytes(t) : 0; }

swan_status swan_op_mismatch(const char *op, const swan_tensor *a, const swan_tensor *b)
{
    char sa[96], sb[96];
    return SWAN_BUG("%s: %s %s %s does not go with %s %s %s", op, a->name ? a->name : "input", swan_dtype_name(a->dtype),
                    swan_tensor_shape(a, sa, sizeof sa), b->name ? b->name : "operand", swan_dtype_name(b->dtype),
                    swan_tensor_shape(b, sb, sizeof sb));
}
