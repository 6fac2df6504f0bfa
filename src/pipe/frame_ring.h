/* Frames on their way from a GPU to the host: several at a time, on a stream of their own, so that copying waits for no kernel
 * and no kernel for a copy. Frame i stands at i modulo SWAN_FRAMES_UNDER_WAY, on the device and in the events; whoever sends
 * frame i has received frame i - SWAN_FRAMES_UNDER_WAY, which also bounds how far the host is ahead. */
#ifndef SWAN_PIPE_FRAME_RING_H
#define SWAN_PIPE_FRAME_RING_H

#include "ops/ctx.h"

enum {
    SWAN_FRAMES_UNDER_WAY = 8,
    SWAN_FRAMES_QUEUED = 16 /* host memory for these and those that wait for the encoder */
};

typedef struct swan_frame_ring {
    const swan_device *device; /* NULL: not opened */
    swan_stream copies;
    swan_event made[SWAN_FRAMES_UNDER_WAY], arrived[SWAN_FRAMES_UNDER_WAY];
} swan_frame_ring;

swan_status swan_frame_ring_open(swan_frame_ring *r, const swan_device *device);
/* Fine when it was never opened. Nothing may be under way. */
void swan_frame_ring_close(swan_frame_ring *r);
/* Frame `index`, which the context's stream has been told to make at `from`, to host memory; to NULL: it stays where
 * it is. Enqueued. */
swan_status swan_frame_ring_send(swan_frame_ring *r, const swan_ctx *ctx, int64_t index, void *to, const swan_tensor *from);
/* Waits until that frame is there, or made where it was not to go anywhere. */
swan_status swan_frame_ring_receive(swan_frame_ring *r, int64_t index);
/* Waits for whatever is under way. */
swan_status swan_frame_ring_drain(swan_frame_ring *r);

#endif
