/* The context of a forward pass. Models call ops; an op checks shapes, counts, and then does what the mode says:
 *   DRY     nothing runs; arenas advance without memory and the counters fill: this is the plan.
 *   RUN     one kernel call.
 *   TRACE   RUN, then time and statistics of the output go to the trace.
 *   CAPTURE RUN while a stream is being captured into a graph (GPU only): no host work that depends on data.
 * Ops never synchronise (TRACE excepted), never allocate outside the arena, never read device values on the host. */
#ifndef SWAN_OPS_CTX_H
#define SWAN_OPS_CTX_H

#include "base/arena.h"
#include "kernel/device.h"
#include "kernel/table.h"

typedef enum swan_mode { SWAN_DRY, SWAN_RUN, SWAN_TRACE, SWAN_CAPTURE } swan_mode;

/* What a pass costs; filled in every mode. bytes: each operand once per call. */
typedef struct swan_counters {
    uint64_t launches;
    double flops, bytes;
} swan_counters;

/* Receives each op in TRACE: the row that ran, its output and its time. */
typedef struct swan_trace {
    void (*record)(void *user, const swan_kernel_row *row, const swan_tensor *out, double seconds);
    void *user;
} swan_trace;

typedef struct swan_ctx {
    swan_mode mode;
    const swan_kernels *kernels;     /* for activations in the model's format */
    const swan_kernels *kernels_f32; /* for f32 beside it: latents, time embedding; NULL when the model's format is F32 */
    const swan_kernels *kernels_f16; /* for the decoder of images; NULL when it runs in another format */
    const swan_device *device; /* NULL: the host */
    swan_stream *stream;
    swan_arena *arena; /* activations */
    swan_counters counters;
    const swan_trace *trace; /* TRACE only */
    bool parity_bf16;        /* round where the reference stacks do (swan_op_round) */
} swan_ctx;

/* Does the pass run on the host? */
bool swan_ctx_on_host(const swan_ctx *ctx);
/* The table for activations of a type; NULL when there is none. */
const swan_kernels *swan_ctx_table(const swan_ctx *ctx, swan_dtype format);
/* A tensor of shape ne[0..ndim-1] in the activation format (or dtype) from the arena; lives until the caller's release. */
swan_status swan_ctx_tensor(swan_ctx *ctx, swan_dtype dtype, int ndim, const int64_t *ne, const char *name, swan_tensor *out);
/* Shorthand for two axes in the activation format. */
swan_status swan_ctx_tensor_2d(swan_ctx *ctx, int64_t n0, int64_t n1, const char *name, swan_tensor *out);

#endif
