/* The list of devices, and the host as one of them. */
#include "kernel/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ALIGN ((size_t)256)

#ifdef SWAN_WITH_CUDA
#include "kernel/cuda/cuda.h"
#endif

static swan_status host_use(const swan_device *d)
{
    (void)d;
    return SWAN_OK;
}

static swan_status host_memory(const swan_device *d, uint64_t *free_bytes, uint64_t *total_bytes)
{
    (void)d;
    long page = sysconf(_SC_PAGESIZE), all = sysconf(_SC_PHYS_PAGES), available = sysconf(_SC_AVPHYS_PAGES);
    if (page < 0 || all < 0 || available < 0) return SWAN_FAIL(SWAN_E_UNSUPPORTED, "host: the system does not tell its memory");
    *free_bytes = (uint64_t)page * (uint64_t)available;
    *total_bytes = (uint64_t)page * (uint64_t)all;
    return SWAN_OK;
}

static swan_status host_alloc(const swan_device *d, size_t bytes, void **out)
{
    (void)d;
    *out = NULL;
    size_t whole = bytes > SIZE_MAX - ALIGN ? 0 : (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (whole || !bytes) *out = aligned_alloc(ALIGN, whole ? whole : ALIGN);
    return *out ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "host: no memory for %zu bytes", bytes);
}

static void host_free(const swan_device *d, void *p)
{
    (void)d;
    free(p);
}

static swan_status host_stream_open(const swan_device *d, swan_stream *s)
{
    (void)d;
    s->cuda = NULL;
    return SWAN_OK;
}

static void host_stream_close(const swan_device *d, swan_stream *s)
{
    (void)d;
    (void)s;
}

static swan_status host_synchronise(const swan_stream *s)
{
    (void)s;
    return SWAN_OK;
}

static swan_status host_copy(const swan_stream *s, void *to, const void *from, size_t bytes)
{
    (void)s;
    if (bytes) memmove(to, from, bytes); /* of nothing, an address may be NULL */
    return SWAN_OK;
}

static swan_status host_fill(const swan_stream *s, void *to, int byte, size_t bytes)
{
    (void)s;
    if (bytes) memset(to, byte, bytes);
    return SWAN_OK;
}

static swan_status host_event_open(const swan_device *d, swan_event *e)
{
    (void)d;
    *e = (swan_event){0};
    return SWAN_OK;
}

static void host_event_close(const swan_device *d, swan_event *e)
{
    (void)d;
    *e = (swan_event){0};
}

static swan_status host_event_record(const swan_stream *s, swan_event *e)
{
    (void)s;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    e->seconds = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    return SWAN_OK;
}

/* What was enqueued before the event has run already. */
static swan_status host_event_wait(const swan_stream *s, const swan_event *e)
{
    (void)s;
    (void)e;
    return SWAN_OK;
}

static swan_status host_event_finish(const swan_event *e)
{
    (void)e;
    return SWAN_OK;
}

static swan_status host_event_elapsed(const swan_event *from, const swan_event *to, double *seconds)
{
    *seconds = to->seconds - from->seconds;
    return SWAN_OK;
}

static swan_status no_graphs(void) { return SWAN_FAIL(SWAN_E_UNSUPPORTED, "host: there are no graphs on the host"); }

static swan_status host_capture_begin(const swan_stream *s)
{
    (void)s;
    return no_graphs();
}

static swan_status host_capture_end(const swan_stream *s, swan_graph *out)
{
    (void)s;
    *out = (swan_graph){0};
    return no_graphs();
}

static swan_status host_graph_launch(const swan_stream *s, const swan_graph *g)
{
    (void)s;
    (void)g;
    return no_graphs();
}

static void host_graph_close(const swan_device *d, swan_graph *g)
{
    (void)d;
    *g = (swan_graph){0};
}

static const swan_backend host = {
    .use = host_use,
    .memory = host_memory,
    .alloc = host_alloc,
    .free = host_free,
    .alloc_staging = host_alloc,
    .free_staging = host_free,
    .stream_open = host_stream_open,
    .stream_close = host_stream_close,
    .synchronise = host_synchronise,
    .copy = host_copy,
    .fill = host_fill,
    .event_open = host_event_open,
    .event_close = host_event_close,
    .event_record = host_event_record,
    .event_wait = host_event_wait,
    .event_finish = host_event_finish,
    .event_elapsed = host_event_elapsed,
    .capture_begin = host_capture_begin,
    .capture_end = host_capture_end,
    .graph_launch = host_graph_launch,
    .graph_close = host_graph_close,
    .fault = host_use, /* the host has none */
};

/* ---- the list ---- */

static swan_device_info host_info(void)
{
    swan_device_info info = {.index = SWAN_DEVICE_HOST, .name = "CPU", .arch = SWAN_ARCH_CPU};
    uint64_t ignored;
    host_memory(NULL, &ignored, &info.memory_bytes);
    return info;
}

int swan_device_list(swan_device_info out[SWAN_DEVICE_MAX])
{
    out[0] = host_info();
#ifdef SWAN_WITH_CUDA
    return 1 + swan_cuda_list(out + 1, SWAN_DEVICE_MAX - 1);
#else
    return 1;
#endif
}

swan_status swan_device_open(int index, swan_device *out)
{
    *out = (swan_device){0};
    if (index == SWAN_DEVICE_HOST) {
        *out = (swan_device){.backend = &host, .info = host_info()};
        return SWAN_OK;
    }
#ifdef SWAN_WITH_CUDA
    return swan_cuda_open(index, out);
#else
    return SWAN_FAIL(SWAN_E_UNSUPPORTED, "cuda:%d: this build has no CUDA (configure with -DSWAN_CUDA=ON)", index);
#endif
}

void swan_device_close(swan_device *d)
{
#ifdef SWAN_WITH_CUDA
    if (d->backend && d->backend != &host) swan_cuda_close(d);
#endif
    *d = (swan_device){0};
}

swan_status swan_device_copy_now(const swan_device *d, const swan_stream *s, void *to, const void *from, size_t bytes)
{
    SWAN_TRY(d->backend->copy(s, to, from, bytes));
    return d->backend->synchronise(s);
}
