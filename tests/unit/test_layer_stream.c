/* Layers that pass through two places: whatever order two streams run in, as far as their events allow it, every layer's kernels find
 * that layer, however many are away, and whatever else the places hold between passes. The streams here run nothing until asked to, one piece of work at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "model/weights.h"
#include "pipe/layer_stream.h"

enum { LAYERS = 7, BYTES = 250, ROOM = 512, REQUESTS = 3, MOST = 1024, WORK = 0, COPIES = 1 };

typedef struct mark {
    int recorded, passed; /* recordings enqueued, and the last one that the stream has passed */
} mark;

typedef struct piece {
    enum { COPY, RECORD, WAIT, CHECK, SCRIBBLE } kind;
    void *to;
    const void *from;
    size_t bytes;
    mark *mark;
    int number; /* of the recording; of the layer */
} piece;

static struct {
    piece piece[MOST];
    int count, done;
} queues[2];
static int streams, open_things;

static piece *enqueue(const swan_stream *s, int kind)
{
    int q = (int)(intptr_t)s->cuda;
    assert_true(queues[q].count < MOST);
    piece *p = &queues[q].piece[queues[q].count++];
    *p = (piece){.kind = kind};
    return p;
}

static swan_status stream_open(const swan_device *d, swan_stream *s)
{
    (void)d;
    s->cuda = (void *)(intptr_t)streams++;
    open_things++;
    return SWAN_OK;
}
static void stream_close(const swan_device *d, swan_stream *s)
{
    (void)d;
    (void)s;
    open_things--;
}
static swan_status event_open(const swan_device *d, swan_event *e)
{
    (void)d;
    e->cuda = calloc(1, sizeof(mark));
    open_things++;
    return SWAN_OK;
}
static void event_close(const swan_device *d, swan_event *e)
{
    (void)d;
    free(e->cuda);
    open_things--;
}
static swan_status event_record(const swan_stream *s, swan_event *e)
{
    piece *p = enqueue(s, RECORD);
    p->mark = e->cuda;
    p->number = ++p->mark->recorded;
    return SWAN_OK;
}
static swan_status event_wait(const swan_stream *s, const swan_event *e)
{
    piece *p = enqueue(s, WAIT);
    p->mark = e->cuda;
    p->number = p->mark->recorded;
    return SWAN_OK;
}
static swan_status copy(const swan_stream *s, void *to, const void *from, size_t bytes)
{
    piece *p = enqueue(s, COPY);
    p->to = to;
    p->from = from;
    p->bytes = bytes;
    return SWAN_OK;
}

static const swan_backend backend = {.stream_open = stream_open, .stream_close = stream_close, .event_open = event_open,
                                     .event_close = event_close, .event_record = event_record, .event_wait = event_wait, .copy = copy};

/* Runs the next piece of a stream; false when there is none, or an event keeps it. */
static bool advance(int q)
{
    if (queues[q].done == queues[q].count) return false;
    const piece *p = &queues[q].piece[queues[q].done];
    if (p->kind == WAIT && p->mark->passed < p->number) return false;
    if (p->kind == RECORD) p->mark->passed = p->number;
    if (p->kind == COPY) memcpy(p->to, p->from, p->bytes);
    if (p->kind == CHECK)
        for (size_t i = 0; i < p->bytes; i++)
            if (((const uint8_t *)p->from)[i] != (uint8_t)(p->number * 31 + (int)i)) fail_msg("layer %d: byte %zu is another's", p->number, i);
    if (p->kind == SCRIBBLE) memset(p->to, 0xEE, p->bytes);
    queues[q].done++;
    return true;
}

/* first: the stream that always goes as far as it can; -1: whichever comes. */
static void run_all(int first)
{
    unsigned dice = 12345;
    for (;;) {
        dice = dice * 1664525u + 1013904223u;
        int q = first >= 0 ? first : (int)(dice >> 31);
        if (!advance(q) && !advance(1 - q)) break;
    }
    for (int q = 0; q < 2; q++) assert_int_equal(queues[q].done, queues[q].count); /* nobody waits for ever */
}

static uint8_t host[LAYERS * BYTES];
static _Alignas(SWAN_STREAM_ALIGN) uint8_t places[ROOM];

/* The kernels of layer i: where it is now, and that it is the right one. */
static void work_on(const swan_stream *work, const swan_layer_stream *l, int i)
{
    const uint8_t *at = (const uint8_t *)((uintptr_t)(host + i * BYTES) + (uintptr_t)swan_layer_stream_shift(l, i));
    bool away = swan_weights_is_away(i, l->away, l->layers);
    assert_int_equal(at >= places && at + BYTES <= places + sizeof places, away);
    for (int kernel = 0; kernel < 3; kernel++) {
        piece *p = enqueue(work, CHECK);
        p->from = at;
        p->bytes = BYTES;
        p->number = i;
    }
}

/* All passes are enqueued before anything runs; between them the places belong to others. */
static void run_passes(int layers, int away, int first)
{
    memset(queues, 0, sizeof queues);
    streams = 0;
    open_things = 0;
    swan_device device = {.backend = &backend};
    swan_stream work, copies;
    swan_layer_stream l = {.layers = layers, .away = away, .bytes = BYTES};
    assert_int_equal(stream_open(&device, &work), SWAN_OK);
    assert_int_equal(stream_open(&device, &copies), SWAN_OK);
    int found = 0;
    for (int i = 0; i < layers; i++) {
        assert_int_equal(swan_weights_away_before(i, away, layers), found);
        if (swan_weights_is_away(i, away, layers)) l.from[found++] = host + i * BYTES;
    }
    assert_int_equal(found, away);
    assert_int_equal(swan_layer_stream_open(&l, &device, &work, &copies), SWAN_OK);
    assert_int_equal(swan_layer_stream_room(away, BYTES), away ? ROOM : 0);
    swan_layer_stream_place(&l, places);
    for (int request = 0; request < REQUESTS; request++) {
        piece *p = enqueue(&work, SCRIBBLE);
        p->to = places;
        p->bytes = sizeof places;
        for (int i = 0; i < layers; i++) {
            assert_int_equal(swan_layer_stream_take(&l, i), SWAN_OK);
            work_on(&work, &l, i);
        }
    }
    assert_int_equal(l.copied, (uint64_t)(REQUESTS * away) * BYTES); /* each once a pass */
    run_all(first);
    swan_layer_stream_close(&l);
    stream_close(&device, &work);
    stream_close(&device, &copies);
    assert_int_equal(open_things, 0);
}

static void every_layer_finds_itself(void **state)
{
    (void)state;
    for (int i = 0; i < LAYERS; i++)
        for (int k = 0; k < BYTES; k++) host[i * BYTES + k] = (uint8_t)(i * 31 + k);
    for (int layers = 1; layers <= LAYERS; layers++)
        for (int away = 0; away <= layers; away++)
            for (int first = -1; first <= 1; first++) run_passes(layers, away, first);
    swan_layer_stream never = {0};
    swan_layer_stream_close(&never);
}

/* Between two layers that are away lie as many others as anywhere, but for one. */
static void spread_evenly(void **state)
{
    (void)state;
    for (int layers = 1; layers <= 40; layers++)
        for (int away = 1; away <= layers; away++) {
            int last = -1, least = layers, most = 0, count = 0;
            for (int i = 0; i < layers; i++) {
                if (!swan_weights_is_away(i, away, layers)) continue;
                int gap = i - last;
                if (gap < least) least = gap;
                if (gap > most) most = gap;
                last = i;
                count++;
            }
            assert_int_equal(count, away);
            assert_int_equal(last, layers - 1); /* so that a pass begins with work while the first one is copied */
            assert_true(most - least <= 1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_layer_finds_itself), cmocka_unit_test(spread_evenly)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
