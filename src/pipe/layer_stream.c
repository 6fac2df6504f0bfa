#include "pipe/layer_stream.h"

swan_status swan_layer_stream_open(swan_layer_stream *l, const swan_device *device, const swan_stream *work, const void *from, size_t bytes,
                                   int count, void *places)
{
    *l = (swan_layer_stream){.device = device, .work = work, .from = from, .bytes = bytes, .count = count,
                             .place = {places, (uint8_t *)places + bytes}};
    SWAN_TRY(device->backend->stream_open(device, &l->copies));
    for (int i = 0; i < 2; i++) SWAN_TRY(device->backend->event_open(device, &l->ready[i]));
    return device->backend->event_open(device, &l->passed);
}

void swan_layer_stream_close(swan_layer_stream *l)
{
    if (!l->device) return;
    for (int i = 0; i < 2; i++) l->device->backend->event_close(l->device, &l->ready[i]);
    l->device->backend->event_close(l->device, &l->passed);
    l->device->backend->stream_close(l->device, &l->copies);
    *l = (swan_layer_stream){0};
}

/* Copies layer i once the work stream has passed what it has now. */
static swan_status send(swan_layer_stream *l, int i)
{
    const swan_backend *b = l->device->backend;
    SWAN_TRY(b->event_record(l->work, &l->passed));
    SWAN_TRY(b->event_wait(&l->copies, &l->passed));
    SWAN_TRY(b->copy(&l->copies, l->place[i % 2], l->from + (size_t)i * l->bytes, l->bytes));
    return b->event_record(&l->copies, &l->ready[i % 2]);
}

swan_status swan_layer_stream_take(void *user, int i, ptrdiff_t *shift)
{
    swan_layer_stream *l = user;
    if (i == 0) SWAN_TRY(send(l, 0));
    if (i + 1 < l->count) SWAN_TRY(send(l, i + 1));
    *shift = l->place[i % 2] - (l->from + (size_t)i * l->bytes);
    return l->device->backend->event_wait(l->work, &l->ready[i % 2]);
}
