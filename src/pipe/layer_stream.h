/* Layers of a model that stay in page-locked host memory and pass through two places on the device: while one is at work, the next is
 * copied. Kernels, arguments and values are those of resident layers, so where memory lives does not change a byte of the result.
 *
 * Invariants
 * 1. Layers lie one behind the other in host memory, each of the same bytes, each laid out alike.
 * 2. Layer i is at place i modulo 2. It is copied there once the work stream has passed layer i - 2. */
#ifndef SWAN_PIPE_LAYER_STREAM_H
#define SWAN_PIPE_LAYER_STREAM_H

#include <stddef.h>

#include "kernel/device.h"

typedef struct swan_layer_stream {
    const swan_device *device; /* NULL: not opened */
    const swan_stream *work;   /* where the layers' kernels are enqueued */
    const uint8_t *from;
    size_t bytes; /* of a layer */
    int count;
    uint8_t *place[2];
    swan_stream copies;
    swan_event ready[2], passed;
} swan_layer_stream;

/* from: count layers of `bytes` bytes in memory of alloc_staging; places: 2 x bytes on the device. Both are the caller's. */
swan_status swan_layer_stream_open(swan_layer_stream *l, const swan_device *device, const swan_stream *work, const void *from, size_t bytes,
                                   int count, void *places);
/* Fine when it was never opened. */
void swan_layer_stream_close(swan_layer_stream *l);
/* Before layer i's kernels are enqueued, in order from 0 on: they will find it at its host addresses plus *shift. user: a
 * swan_layer_stream. */
swan_status swan_layer_stream_take(void *user, int i, ptrdiff_t *shift);

#endif
