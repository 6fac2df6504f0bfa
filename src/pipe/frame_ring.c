#include "pipe/frame_ring.h"

swan_status swan_frame_ring_open(swan_frame_ring *r, const swan_device *device)
{
    *r = (swan_frame_ring){.device = device};
    SWAN_TRY(device->backend->stream_open(device, &r->copies));
    for (int i = 0; i < SWAN_FRAMES_UNDER_WAY; i++) {
        SWAN_TRY(device->backend->event_open(device, &r->made[i]));
        SWAN_TRY(device->backend->event_open(device, &r->arrived[i]));
    }
    return SWAN_OK;
}

void swan_frame_ring_close(swan_frame_ring *r)
{
    if (!r->device) return;
    const swan_backend *backend = r->device->backend;
    for (int i = 0; i < SWAN_FRAMES_UNDER_WAY; i++) {
        backend->event_close(r->device, &r->made[i]);
        backend->event_close(r->device, &r->arrived[i]);
    }
    backend->stream_close(r->device, &r->copies);
    *r = (swan_frame_ring){0};
}

swan_status swan_frame_ring_send(swan_frame_ring *r, const swan_ctx *ctx, int64_t index, void *to, const swan_tensor *from)
{
    const swan_backend *backend = r->device->backend;
    swan_event *made = &r->made[index % SWAN_FRAMES_UNDER_WAY], *arrived = &r->arrived[index % SWAN_FRAMES_UNDER_WAY];
    SWAN_TRY(backend->event_record(ctx->stream, made));
    SWAN_TRY(backend->event_wait(&r->copies, made));
    if (to) SWAN_TRY(backend->copy(&r->copies, to, from->data, swan_tensor_bytes(from)));
    return backend->event_record(&r->copies, arrived);
}

swan_status swan_frame_ring_receive(swan_frame_ring *r, int64_t index)
{
    return r->device->backend->event_finish(&r->arrived[index % SWAN_FRAMES_UNDER_WAY]);
}

swan_status swan_frame_ring_drain(swan_frame_ring *r)
{
    return r->device ? r->device->backend->synchronise(&r->copies) : SWAN_OK;
}
