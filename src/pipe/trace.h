/* --trace FILE: every kernel call of a run as one line of tab-separated text: number, row, what it wrote, shape, seconds,
 * smallest, largest and mean value (where the host can see them). Timing makes each call wait for its end, so a traced run is slower than a plain one. */
#ifndef SWAN_PIPE_TRACE_H
#define SWAN_PIPE_TRACE_H

#include <stdio.h>

#include "ops/ctx.h"

typedef struct swan_trace_file {
    FILE *file; /* NULL: off */
    uint64_t calls;
    bool on_host; /* values can be looked at */
    swan_trace trace;
} swan_trace_file;

/* Opens path and puts ctx into TRACE; with a NULL path nothing happens. */
swan_status swan_trace_begin(swan_trace_file *t, const char *path, swan_ctx *ctx);
/* Puts ctx back into RUN and closes the file; fails when something could not be written. */
swan_status swan_trace_end(swan_trace_file *t, swan_ctx *ctx);

#endif
