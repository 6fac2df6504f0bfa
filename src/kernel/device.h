/* A device is a place where kernels run: memory of its own, streams of work in order, events, graphs. The host is one, each
 * CUDA GPU is another. What a backend must have is struct swan_backend; the functions below call it. No CUDA headers.
 *
 * Work is enqueued on a stream and runs in order; on the host it has run when the call returns. Functions that enqueue need
 * memory to stay as it is until the stream has passed them. A device may be used by several threads, a stream by one.
 *
 * Failures: SWAN_E_NOMEM leaves the device usable. SWAN_E_DEVICE is a fault of the device: the process's context is lost,
 * every later call fails the same way, and only a new process helps. */
#ifndef SWAN_KERNEL_DEVICE_H
#define SWAN_KERNEL_DEVICE_H

#include "kernel/table.h"

#define SWAN_DEVICE_HOST (-1)
#define SWAN_DEVICE_MAX 17 /* the host and 16 GPUs */

typedef struct swan_device_info {
    int index; /* SWAN_DEVICE_HOST, or the GPU's number */
    char name[120];
    unsigned arch; /* one SWAN_ARCH_* bit; 0: a GPU that no kernel here runs on */
    int major, minor; /* a GPU's compute capability */
    uint64_t memory_bytes;
} swan_device_info;

/* A point in a stream. */
typedef struct swan_event {
    void *cuda;
    double seconds; /* the host's clock */
} swan_event;

/* Work that was recorded once and can be launched again. */
typedef struct swan_graph {
    void *cuda;
} swan_graph;

typedef struct swan_device swan_device;

typedef struct swan_backend {
    /* Makes the device that of the calling thread; every thread but the one that opened it calls this first. */
    swan_status (*use)(const swan_device *d);
    swan_status (*memory)(const swan_device *d, uint64_t *free_bytes, uint64_t *total_bytes);

    /* Device memory, aligned to 256 bytes: one block an arena. Staging: host memory that copies reach at full speed. */
    swan_status (*alloc)(const swan_device *d, size_t bytes, void **out);
    void (*free)(const swan_device *d, void *p); /* NULL is fine */
    swan_status (*alloc_staging)(const swan_device *d, size_t bytes, void **out);
    void (*free_staging)(const swan_device *d, void *p);

    /* open sets s->cuda; pool and cancel are the caller's. synchronise waits until everything enqueued has run. */
    swan_status (*stream_open)(const swan_device *d, swan_stream *s);
    void (*stream_close)(const swan_device *d, swan_stream *s);
    swan_status (*synchronise)(const swan_stream *s);

    /* Enqueued. copy: upload, download or within the device, as the addresses say; without staging memory on the host's
     * side it may wait. */
    swan_status (*copy)(const swan_stream *s, void *to, const void *from, size_t bytes);
    swan_status (*fill)(const swan_stream *s, void *to, int byte, size_t bytes);

    swan_status (*event_open)(const swan_device *d, swan_event *e);
    void (*event_close)(const swan_device *d, swan_event *e);
    swan_status (*event_record)(const swan_stream *s, swan_event *e);     /* at this point of the stream */
    swan_status (*event_wait)(const swan_stream *s, const swan_event *e); /* what follows in s runs after e */
    swan_status (*event_finish)(const swan_event *e);                     /* the host waits, without spinning */
    swan_status (*event_elapsed)(const swan_event *from, const swan_event *to, double *seconds); /* both finished */

    /* Between begin and end, what is enqueued on s is recorded instead of run; end makes it a graph, ready to launch. When
     * anything in between fails, end fails too, and s runs again. The host has no graphs: SWAN_E_UNSUPPORTED. */
    swan_status (*capture_begin)(const swan_stream *s);
    swan_status (*capture_end)(const swan_stream *s, swan_graph *out);
    swan_status (*graph_launch)(const swan_stream *s, const swan_graph *g);
    void (*graph_close)(const swan_device *d, swan_graph *g);

    /* SWAN_E_DEVICE, with the first fault's message, once any call or row has met one. */
    swan_status (*fault)(const swan_device *d);
} swan_backend;

/* Used as in d.backend->copy(&stream, to, from, bytes). Owned by whoever opened it; nothing in it changes until close. */
struct swan_device {
    const swan_backend *backend;
    swan_device_info info;
};

/* Every device there is, the host first; returns how many, at most SWAN_DEVICE_MAX. Without a driver or a GPU: the host alone. */
int swan_device_list(swan_device_info out[SWAN_DEVICE_MAX]);
/* Opens the host or a GPU, for the calling thread to use at once. SWAN_E_UNSUPPORTED when there is no such GPU, or the build,
 * the driver or the GPU cannot run kernels of ours; the message says which. */
swan_status swan_device_open(int index, swan_device *out);
void swan_device_close(swan_device *d);

/* copy, and then synchronise: for uploads and downloads outside the hot path. */
swan_status swan_device_copy_now(const swan_device *d, const swan_stream *s, void *to, const void *from, size_t bytes);

#endif
