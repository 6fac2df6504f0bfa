/* What every CPU row includes: the prototypes of all rows (so that a row that does not fit its line of kernels.def does not
 * compile), and the one way to run tasks. A row may use stack and args->workspace, and allocates nothing. */
#ifndef SWAN_KERNEL_CPU_CPU_H
#define SWAN_KERNEL_CPU_CPU_H

#include "kernel/table.h"

#define ROW(family, slot, format, variant, run, picked, tested, cpu)                                                   \
    swan_status run(swan_stream *, const swan_##family##_##slot##_args *);
#define ROW_WS(family, slot, format, variant, run, workspace, picked, tested, cpu)                                     \
    swan_status run(swan_stream *, const swan_##family##_##slot##_args *);                                             \
    size_t workspace(const swan_##family##_##slot##_args *, const swan_stream *);
#include "kernel/kernels.def"
#undef ROW
#undef ROW_WS

/* task(arg, 0 .. count - 1, worker) on the stream's pool; SWAN_E_CANCELLED once the stream's cancel flag is set. */
static inline swan_status swan_cpu_run(const swan_stream *stream, int64_t count, swan_pool_task *task, void *arg)
{
    swan_pool_run(stream->pool, count, task, arg, stream->cancel);
    if (stream->cancel && atomic_load_explicit(stream->cancel, memory_order_relaxed))
        return SWAN_FAIL(SWAN_E_CANCELLED, "cancelled");
    return SWAN_OK;
}

#endif
