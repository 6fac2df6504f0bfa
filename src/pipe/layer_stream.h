/* Layers of a model that stay in page-locked host memory and pass through two places on the device: while one is at work, the next is
 * copied. Kernels, arguments and values are those of resident layers, so where memory lives does not change a byte of the result.
 *
 * Some layers of the model may be resident: those that are away are spread among them (swan_weights_is_away) and are counted by
 * themselves below.
 *
 * Invariants
 * 1. The k-th layer that is away is at place k modulo 2, in every pass: its address is known before any pass, and kernels that were
 *    captured with it stay right.
 * 2. It is copied there once the work stream has passed layer k - 2. The first two are copied when the pass begins, once the work stream
 *    has passed what came before: between passes the places may hold anything else.
 * 3. A pass that goes to its end leaves nothing on the stream of copies that the work stream has not waited for; one that is
 *    abandoned does, and its owner waits for that stream. */
#ifndef SWAN_PIPE_LAYER_STREAM_H
#define SWAN_PIPE_LAYER_STREAM_H

#include <stddef.h>

#include "kernel/device.h"

#define SWAN_STREAM_MOST 64 /* layers */
#define SWAN_STREAM_ALIGN ((size_t)256)

typedef struct swan_layer_stream {
    const swan_device *device; /* NULL: not opened */
    const swan_stream *work;   /* where the layers' kernels are enqueued */
    const swan_stream *copies;
    int layers, away;
    size_t bytes;              /* of a layer */
    const uint8_t *from[SWAN_STREAM_MOST]; /* of those that are away: in memory of alloc_staging */
    uint8_t *place[2];
    swan_event ready[2], passed;
    uint64_t copied;           /* bytes, ever */
} swan_layer_stream;

/* Bytes of the places for layers of `bytes`, when `away` of them are; 0 for none. */
size_t swan_layer_stream_room(int away, size_t bytes);
/* l->layers, away, bytes and from are set by the caller; this adds events. Nothing at all when none is away. */
swan_status swan_layer_stream_open(swan_layer_stream *l, const swan_device *device, const swan_stream *work, const swan_stream *copies);
/* Fine when it was never opened. */
void swan_layer_stream_close(swan_layer_stream *l);
/* Where the places are from now on: swan_layer_stream_room bytes, aligned to SWAN_STREAM_ALIGN. Nothing is copied yet. */
void swan_layer_stream_place(swan_layer_stream *l, void *places);
/* How far from its host address layer i will be found: 0 for one that is resident. */
ptrdiff_t swan_layer_stream_shift(const swan_layer_stream *l, int i);
/* Before the kernels of layer i are enqueued, from 0 on, whether it is away or not; 0 begins a pass. */
swan_status swan_layer_stream_take(swan_layer_stream *l, int i);

#endif
