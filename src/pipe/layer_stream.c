#include "pipe/layer_stream.h"

#include "model/weights.h"

size_t swan_layer_stream_room(int away, size_t bytes)
{
    return away ? 2 * ((bytes + SWAN_STREAM_ALIGN - 1) / SWAN_STREAM_ALIGN * SWAN_STREAM_ALIGN) : 0;
}

swan_status swan_layer_stream_open(swan_layer_stream *l, const swan_device *device, const swan_stream *work, const swan_stream *copies)
{
    if (!l->away) return SWAN_OK;
    l->device = device;
    l->work = work;
    l->copies = copies;
    for (int i = 0; i < 2; i++) SWAN_TRY(device->backend->event_open(device, &l->ready[i]));
    return device->backend->event_open(device, &l->passed);
}

void swan_layer_stream_close(swan_layer_stream *l)
{
    if (!l->device) return;
    for (int i = 0; i < 2; i++) l->device->backend->event_close(l->device, &l->ready[i]);
    l->device->backend->event_close(l->device, &l->passed);
    *l = (swan_layer_stream){0};
}

void swan_layer_stream_place(swan_layer_stream *l, void *places)
{
    l->place[0] = places;
    l->place[1] = (uint8_t *)places + swan_layer_stream_room(l->away, l->bytes) / 2;
}

ptrdiff_t swan_layer_stream_shift(const swan_layer_stream *l, int i)
{
    if (!l->away || !swan_weights_is_away(i, l->away, l->layers)) return 0;
    int k = swan_weights_away_before(i, l->away, l->layers);
    return (ptrdiff_t)((uintptr_t)l->place[k % 2] - (uintptr_t)l->from[k]);
}

/* Copies the k-th layer that is away once the work stream has passed what it has now. */
static swan_status send(swan_layer_stream *l, int k)
{
    const swan_backend *b = l->device->backend;
    if (k >= l->away) return SWAN_OK;
    SWAN_TRY(b->event_record(l->work, &l->passed));
    SWAN_TRY(b->event_wait(l->copies, &l->passed));
    SWAN_TRY(b->copy(l->copies, l->place[k % 2], l->from[k], l->bytes));
    l->copied += l->bytes;
    return b->event_record(l->copies, &l->ready[k % 2]);
}

swan_status swan_layer_stream_take(swan_layer_stream *l, int i)
{
    if (!l->away) return SWAN_OK;
    for (int k = 0; i == 0 && k < 2; k++) SWAN_TRY(send(l, k));
    if (!swan_weights_is_away(i, l->away, l->layers)) return SWAN_OK;
    int k = swan_weights_away_before(i, l->away, l->layers);
    if (k > 0) SWAN_TRY(send(l, k + 1));
    return l->device->backend->event_wait(l->work, &l->ready[k % 2]);
}
