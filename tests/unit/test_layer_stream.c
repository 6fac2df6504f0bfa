/* Layers that pass through two places: whatever order two streams run in, as far as their events allow it, every layer's kernels find
 * that layer. The streams here run nothing until asked to, one piece of work at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "pipe/layer_stream.h"

enum { LAYERS = 7, BYTES = 256, REQUESTS = 3, MOST = 1024, WORK = 0, COPIES = 1 };

typedef struct mark {
    int recorded, passed; /* recordings enqueued, and the last one that the stream has passed */
} mark;

typedef struct piece {
    enum { COPY, RECORD, WAIT, CHECK } kind;
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

static void every_layer_finds_itself(void **state)
{
    (void)state;
    static uint8_t host[LAYERS * BYTES], places[2 * BYTES];
    for (int i = 0; i < LAYERS; i++)
        for (int k = 0; k < BYTES; k++) host[i * BYTES + k] = (uint8_t)(i * 31 + k);
    for (int layers = 1; layers <= LAYERS; layers++) {
        for (int first = -1; first <= 1; first++) {
            memset(queues, 0, sizeof queues);
            memset(places, 0xFF, sizeof places);
            streams = 0;
            open_things = 0;
            swan_device device = {.backend = &backend};
            swan_stream work;
            swan_layer_stream l;
            assert_int_equal(stream_open(&device, &work), SWAN_OK);
            assert_int_equal(swan_layer_stream_open(&l, &device, &work, host, BYTES, layers, places), SWAN_OK);
            for (int request = 0; request < REQUESTS; request++) { /* all enqueued before anything runs */
                for (int i = 0; i < layers; i++) {
                    ptrdiff_t shift;
                    assert_int_equal(swan_layer_stream_take(&l, i, &shift), SWAN_OK);
                    for (int kernel = 0; kernel < 3; kernel++) {
                        piece *p = enqueue(&work, CHECK);
                        p->from = host + i * BYTES + shift;
                        p->bytes = BYTES;
                        p->number = i;
                        assert_true((const uint8_t *)p->from >= places && (const uint8_t *)p->from + BYTES <= places + sizeof places);
                    }
                }
            }
            run_all(first);
            swan_layer_stream_close(&l);
            stream_close(&device, &work);
            assert_int_equal(open_things, 0);
        }
    }
    swan_layer_stream never = {0};
    swan_layer_stream_close(&never);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_layer_finds_itself)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
