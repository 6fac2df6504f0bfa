/* A GPU that is not there: a backend whose stream runs nothing until somebody waits for it, so that what is missing a wait, or
 * writes staging memory too early, computes something else. Its kernels are the host's rows; its graphs are lists of calls. It counts
 * what is asked of it, and tells a time of its own: so much for every kernel. One at a time. */
#ifndef SWAN_TESTS_UNIT_FAKE_DEVICE_H
#define SWAN_TESTS_UNIT_FAKE_DEVICE_H

#include "session.h"

typedef enum fake_kind { FAKE_KERNEL, FAKE_COPY, FAKE_FILL, FAKE_EVENT, FAKE_GRAPH } fake_kind;

typedef struct fake_work {
    fake_kind kind;
    swan_slot slot;
    union {
#define FAKE_ARGS(family, slot) swan_##family##_##slot##_args family##_##slot;
        SWAN_SLOTS(FAKE_ARGS)
#undef FAKE_ARGS
    } args;
    void *to;
    const void *from;
    int byte;
    size_t bytes;
    struct fake_event *event;
    struct fake_list *graph;
    swan_pool *pool; /* of the stream */
} fake_work;

typedef struct fake_list {
    fake_work *work;
    size_t count, room;
} fake_list;

typedef struct fake_event {
    uint64_t recorded; /* number of the work that stands behind it; 0: never */
    double at;         /* when it was passed */
} fake_event;

typedef struct fake_counts {
    int allocs, events, captures, graph_launches, synchronises, finishes;
    uint64_t kernels;    /* run, not counting those of graphs */
    int most_in_flight;  /* graphs launched and not run, at a launch */
    uint64_t most_queued; /* kernels enqueued by themselves and not run, at an enqueue */
} fake_counts;

static struct {
    const swan_kernels *real;
    fake_list queue;    /* all that was ever enqueued; run up to `done` */
    size_t done;
    fake_list *capture; /* what is being recorded */
    fake_counts count;
    double now, kernel_s;
    /* what is to go wrong */
    bool refuse_capture;
    uint64_t fault_after; /* kernels from now; 0: never */
    bool broken;
} fake;

static inline fake_work *fake_append(fake_list *list)
{
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 64;
        list->work = realloc(list->work, list->room * sizeof *list->work);
        assert_non_null(list->work);
    }
    fake_work *w = &list->work[list->count++];
    memset(w, 0, sizeof *w);
    return w;
}

static inline swan_status fake_fault(const swan_device *d)
{
    (void)d;
    return fake.broken ? SWAN_FAIL(SWAN_E_DEVICE, "fake: the device failed: on purpose") : SWAN_OK;
}

/* ---- running what was enqueued ---- */

static inline swan_status fake_kernel(const fake_work *w)
{
    swan_stream stream = {.pool = w->pool}; /* what was launched is not cancelled */
    fake.now += fake.kernel_s;
    if (fake.fault_after && --fake.fault_after == 0) fake.broken = true;
    if (fake.broken) return fake_fault(NULL);
    switch (w->slot) {
#define FAKE_RUN(family, name)                                                                                         \
    case SWAN_SLOT_##family##_##name: return fake.real->family##_##name.run(&stream, &w->args.family##_##name);
        SWAN_SLOTS(FAKE_RUN)
#undef FAKE_RUN
    case SWAN_SLOT_COUNT: break;
    }
    return SWAN_E_BUG;
}

static inline swan_status fake_one(const fake_work *w)
{
    switch (w->kind) {
    case FAKE_KERNEL: return fake_kernel(w);
    case FAKE_COPY: memmove(w->to, w->from, w->bytes); break;
    case FAKE_FILL: memset(w->to, w->byte, w->bytes); break;
    case FAKE_EVENT: w->event->at = fake.now; break;
    case FAKE_GRAPH:
        for (size_t i = 0; i < w->graph->count; i++) SWAN_TRY(fake_one(&w->graph->work[i]));
        break;
    }
    return SWAN_OK;
}

static inline swan_status fake_run_until(size_t end)
{
    while (fake.done < end) {
        fake_work w = fake.queue.work[fake.done++];
        fake.count.kernels += w.kind == FAKE_KERNEL;
        SWAN_TRY(fake_one(&w));
    }
    return fake_fault(NULL);
}

static inline int fake_pending(fake_kind kind)
{
    int n = 0;
    for (size_t i = fake.done; i < fake.queue.count; i++) n += fake.queue.work[i].kind == kind;
    return n;
}

/* ---- kernels ---- */

#define FAKE_SLOT(family, name)                                                                                        \
    static swan_status fake_##family##_##name(swan_stream *s, const swan_##family##_##name##_args *a)                  \
    {                                                                                                                  \
        fake_work *w = fake_append(fake.capture ? fake.capture : &fake.queue);                                         \
        w->kind = FAKE_KERNEL;                                                                                         \
        w->pool = s->pool;                                                                                             \
        w->slot = SWAN_SLOT_##family##_##name;                                                                         \
        w->args.family##_##name = *a;                                                                                  \
        uint64_t queued = (uint64_t)fake_pending(FAKE_KERNEL);                                                         \
        if (queued > fake.count.most_queued) fake.count.most_queued = queued;                                          \
        return fake_fault(NULL);                                                                                       \
    }
SWAN_SLOTS(FAKE_SLOT)
#undef FAKE_SLOT

/* ---- the backend ---- */

static inline swan_status fake_use(const swan_device *d) { return (void)d, SWAN_OK; }

static inline swan_status fake_memory(const swan_device *d, uint64_t *free_bytes, uint64_t *total_bytes)
{
    (void)d;
    *free_bytes = 1u << 30;
    *total_bytes = 1u << 31;
    return SWAN_OK;
}

/* Full of NaN. */
static inline swan_status fake_alloc(const swan_device *d, size_t bytes, void **out)
{
    (void)d;
    fake.count.allocs++;
    *out = aligned_alloc(256, (bytes + 256) / 256 * 256);
    assert_non_null(*out);
    memset(*out, 0xFF, bytes);
    return SWAN_OK;
}

static inline void fake_free(const swan_device *d, void *p)
{
    (void)d;
    free(p);
}

static inline swan_status fake_stream_open(const swan_device *d, swan_stream *s)
{
    (void)d;
    s->cuda = &fake;
    return SWAN_OK;
}

static inline void fake_stream_close(const swan_device *d, swan_stream *s)
{
    (void)d;
    s->cuda = NULL;
}

static inline swan_status fake_synchronise(const swan_stream *s)
{
    (void)s;
    assert_null(fake.capture);
    fake.count.synchronises++;
    return fake_run_until(fake.queue.count);
}

static inline swan_status fake_copy(const swan_stream *s, void *to, const void *from, size_t bytes)
{
    (void)s;
    fake_work *w = fake_append(fake.capture ? fake.capture : &fake.queue);
    *w = (fake_work){.kind = FAKE_COPY, .to = to, .from = from, .bytes = bytes};
    return fake_fault(NULL);
}

static inline swan_status fake_fill(const swan_stream *s, void *to, int byte, size_t bytes)
{
    (void)s;
    fake_work *w = fake_append(fake.capture ? fake.capture : &fake.queue);
    *w = (fake_work){.kind = FAKE_FILL, .to = to, .byte = byte, .bytes = bytes};
    return fake_fault(NULL);
}

static inline swan_status fake_event_open(const swan_device *d, swan_event *e)
{
    (void)d;
    fake.count.events++;
    e->cuda = calloc(1, sizeof(fake_event));
    return SWAN_OK;
}

static inline void fake_event_close(const swan_device *d, swan_event *e)
{
    (void)d;
    free(e->cuda);
    e->cuda = NULL;
}

static inline swan_status fake_event_record(const swan_stream *s, swan_event *e)
{
    (void)s;
    assert_null(fake.capture);
    fake_event *event = e->cuda;
    *fake_append(&fake.queue) = (fake_work){.kind = FAKE_EVENT, .event = event};
    event->recorded = fake.queue.count;
    return fake_fault(NULL);
}

static inline swan_status fake_event_wait(const swan_stream *s, const swan_event *e) { return (void)s, (void)e, SWAN_OK; }

static inline swan_status fake_event_finish(const swan_event *e)
{
    assert_null(fake.capture);
    fake.count.finishes++;
    return fake_run_until(((const fake_event *)e->cuda)->recorded);
}

static inline swan_status fake_event_elapsed(const swan_event *from, const swan_event *to, double *seconds)
{
    const fake_event *a = from->cuda, *b = to->cuda;
    assert_true(a->recorded && b->recorded && a->recorded <= fake.done && b->recorded <= fake.done);
    *seconds = b->at - a->at;
    return SWAN_OK;
}

static inline swan_status fake_capture_begin(const swan_stream *s)
{
    (void)s;
    fake.capture = calloc(1, sizeof *fake.capture);
    assert_non_null(fake.capture);
    return SWAN_OK;
}

static inline swan_status fake_capture_end(const swan_stream *s, swan_graph *out)
{
    (void)s;
    *out = (swan_graph){fake.capture};
    fake.capture = NULL;
    fake.count.captures++;
    if (!fake.refuse_capture) return SWAN_OK;
    fake_list *list = out->cuda;
    free(list->work);
    free(list);
    *out = (swan_graph){0};
    return SWAN_FAIL(SWAN_E_NOMEM, "fake: no room for a graph");
}

static inline swan_status fake_graph_launch(const swan_stream *s, const swan_graph *g)
{
    (void)s;
    assert_non_null(g->cuda);
    *fake_append(&fake.queue) = (fake_work){.kind = FAKE_GRAPH, .graph = g->cuda};
    fake.count.graph_launches++;
    int flying = fake_pending(FAKE_GRAPH);
    if (flying > fake.count.most_in_flight) fake.count.most_in_flight = flying;
    return fake_fault(NULL);
}

static inline void fake_graph_close(const swan_device *d, swan_graph *g)
{
    (void)d;
    fake_list *list = g->cuda;
    if (list) free(list->work);
    free(list);
    *g = (swan_graph){0};
}

static const swan_backend fake_backend = {
    .use = fake_use,
    .memory = fake_memory,
    .alloc = fake_alloc,
    .free = fake_free,
    .alloc_staging = fake_alloc,
    .free_staging = fake_free,
    .stream_open = fake_stream_open,
    .stream_close = fake_stream_close,
    .synchronise = fake_synchronise,
    .copy = fake_copy,
    .fill = fake_fill,
    .event_open = fake_event_open,
    .event_close = fake_event_close,
    .event_record = fake_event_record,
    .event_wait = fake_event_wait,
    .event_finish = fake_event_finish,
    .event_elapsed = fake_event_elapsed,
    .capture_begin = fake_capture_begin,
    .capture_end = fake_capture_end,
    .graph_launch = fake_graph_launch,
    .graph_close = fake_graph_close,
    .fault = fake_fault,
};

/* ---- engines on it ---- */

typedef struct fake_engine {
    swan_device device;
    swan_kernels kernels, real;
} fake_engine;

/* Puts an open engine of the host onto the fake; kept: what fake_leave puts back. */
static inline void fake_enter(swan_engine *e, fake_engine *kept)
{
    free(fake.queue.work);
    memset(&fake, 0, sizeof fake);
    fake.kernel_s = 1e-6;
    *kept = (fake_engine){e->device, e->kernels, e->kernels};
    fake.real = &kept->real;
    e->device.backend = &fake_backend;
    e->device.info.index = 0;
#define FAKE_FILL_SLOT(family, name) e->kernels.family##_##name.run = fake_##family##_##name;
    SWAN_SLOTS(FAKE_FILL_SLOT)
#undef FAKE_FILL_SLOT
    e->kernels_f32 = e->kernels;
}

static inline void fake_leave(swan_engine *e, const fake_engine *kept)
{
    e->device = kept->device;
    e->kernels = e->kernels_f32 = kept->kernels;
}

#endif
