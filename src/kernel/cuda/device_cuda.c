/* The CUDA backend of kernel/device.h, over the static CUDA runtime, which finds the driver itself: without one there are no
 * devices, and nothing else changes.
 *
 * Invariants: 1. After a fault, every call fails with SWAN_E_DEVICE and the first fault's text. 2. Nothing here is called
 * before the host asks for a GPU: listing devices alone makes no context. */
#include <cuda_runtime_api.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "kernel/cuda/cuda.h"

/* ---- errors ---- */

static atomic_int first_fault; /* a cudaError_t; 0: none */

/* Errors after which the context is of no use any more. */
static bool is_fault(int error)
{
    switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorUnknown: return true;
    default: return false;
    }
}

swan_status swan_cuda_status(int error, const char *what)
{
    cudaGetLastError();
    const char *text = cudaGetErrorString((cudaError_t)error);
    int none = 0;
    if (is_fault(error)) atomic_compare_exchange_strong(&first_fault, &none, error);
    switch (error) {
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorNotSupported: return SWAN_BUG("%s: %s", what, text);
    case cudaErrorMemoryAllocation: return SWAN_FAIL(SWAN_E_NOMEM, "%s: %s", what, text);
    default: return SWAN_FAIL(SWAN_E_DEVICE, "%s: %s", what, text);
    }
}

/* CALL(function, arguments): returns from the caller when it fails. */
#define CALL(function, ...)                                                                                            \
    do {                                                                                                               \
        cudaError_t call_error_ = function(__VA_ARGS__);                                                               \
        if (call_error_ != cudaSuccess) return swan_cuda_status(call_error_, #function);                               \
    } while (0)

static swan_status fault(const swan_device *d)
{
    int error = atomic_load(&first_fault);
    if (!error) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_DEVICE, "cuda:%d: the device failed earlier: %s", d->info.index,
                     cudaGetErrorString((cudaError_t)error));
}

/* ---- memory ---- */

static swan_status use(const swan_device *d)
{
    CALL(cudaSetDevice, d->info.index);
    return SWAN_OK;
}

static swan_status memory(const swan_device *d, uint64_t *free_bytes, uint64_t *total_bytes)
{
    size_t left, all;
    (void)d;
    CALL(cudaMemGetInfo, &left, &all);
    *free_bytes = left;
    *total_bytes = all;
    return SWAN_OK;
}

static swan_status alloc(const swan_device *d, size_t bytes, void **out)
{
    *out = NULL;
    cudaError_t error = cudaMalloc(out, bytes ? bytes : 1);
    if (error != cudaErrorMemoryAllocation) return error ? swan_cuda_status(error, "cudaMalloc") : SWAN_OK;
    size_t left = 0, all = 0;
    cudaGetLastError();
    cudaMemGetInfo(&left, &all);
    return SWAN_FAIL(SWAN_E_NOMEM, "cuda:%d: no memory for %.1f MiB; %.1f of %.1f MiB are free", d->info.index,
                     (double)bytes / 0x1p20, (double)left / 0x1p20, (double)all / 0x1p20);
}

static void release(const swan_device *d, void *p)
{
    (void)d;
    cudaFree(p);
}

static swan_status alloc_staging(const swan_device *d, size_t bytes, void **out)
{
    (void)d;
    return swan_cuda_alloc_locked(bytes, out);
}

static void free_staging(const swan_device *d, void *p)
{
    (void)d;
    swan_cuda_free_locked(p);
}

/* ---- streams ---- */

static swan_status stream_open(const swan_device *d, swan_stream *s)
{
    cudaStream_t stream;
    (void)d;
    CALL(cudaStreamCreateWithFlags, &stream, cudaStreamNonBlocking);
    s->cuda = stream;
    return SWAN_OK;
}

static void stream_close(const swan_device *d, swan_stream *s)
{
    (void)d;
    if (s->cuda) cudaStreamDestroy(s->cuda);
    s->cuda = NULL;
}

static swan_status synchronise(const swan_stream *s)
{
    CALL(cudaStreamSynchronize, s->cuda);
    return SWAN_OK;
}

static swan_status copy(const swan_stream *s, void *to, const void *from, size_t bytes)
{
    if (bytes) CALL(cudaMemcpyAsync, to, from, bytes, cudaMemcpyDefault, s->cuda);
    return SWAN_OK;
}

static swan_status fill(const swan_stream *s, void *to, int byte, size_t bytes)
{
    if (bytes) CALL(cudaMemsetAsync, to, byte, bytes, s->cuda);
    return SWAN_OK;
}

/* ---- events ---- */

static swan_status event_open(const swan_device *d, swan_event *e)
{
    cudaEvent_t event;
    (void)d;
    *e = (swan_event){0};
    CALL(cudaEventCreateWithFlags, &event, cudaEventBlockingSync);
    e->cuda = event;
    return SWAN_OK;
}

static void event_close(const swan_device *d, swan_event *e)
{
    (void)d;
    if (e->cuda) cudaEventDestroy(e->cuda);
    *e = (swan_event){0};
}

static swan_status event_record(const swan_stream *s, swan_event *e)
{
    CALL(cudaEventRecord, e->cuda, s->cuda);
    return SWAN_OK;
}

static swan_status event_wait(const swan_stream *s, const swan_event *e)
{
    CALL(cudaStreamWaitEvent, s->cuda, e->cuda, 0);
    return SWAN_OK;
}

static swan_status event_finish(const swan_event *e)
{
    CALL(cudaEventSynchronize, e->cuda);
    return SWAN_OK;
}

static swan_status event_elapsed(const swan_event *from, const swan_event *to, double *seconds)
{
    float ms;
    CALL(cudaEventElapsedTime, &ms, from->cuda, to->cuda);
    *seconds = 1e-3 * (double)ms;
    return SWAN_OK;
}

/* ---- graphs ---- */

static swan_status capture_begin(const swan_stream *s)
{
    CALL(cudaStreamBeginCapture, s->cuda, cudaStreamCaptureModeThreadLocal);
    return SWAN_OK;
}

static swan_status capture_end(const swan_stream *s, swan_graph *out)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    *out = (swan_graph){0};
    cudaError_t error = cudaStreamEndCapture(s->cuda, &graph);
    if (!error) error = cudaGraphInstantiate(&exec, graph, 0);
    if (!error) error = cudaGraphUpload(exec, s->cuda); /* so that the first launch is as fast as the others */
    if (graph) cudaGraphDestroy(graph);
    if (!error) {
        out->cuda = exec;
        return SWAN_OK;
    }
    if (exec) cudaGraphExecDestroy(exec);
    return swan_cuda_status(error, "capture");
}

static swan_status graph_launch(const swan_stream *s, const swan_graph *g)
{
    CALL(cudaGraphLaunch, g->cuda, s->cuda);
    return SWAN_OK;
}

static void graph_close(const swan_device *d, swan_graph *g)
{
    (void)d;
    if (g->cuda) cudaGraphExecDestroy(g->cuda);
    *g = (swan_graph){0};
}

static const swan_backend cuda = {
    .use = use,
    .memory = memory,
    .alloc = alloc,
    .free = release,
    .alloc_staging = alloc_staging,
    .free_staging = free_staging,
    .stream_open = stream_open,
    .stream_close = stream_close,
    .synchronise = synchronise,
    .copy = copy,
    .fill = fill,
    .event_open = event_open,
    .event_close = event_close,
    .event_record = event_record,
    .event_wait = event_wait,
    .event_finish = event_finish,
    .event_elapsed = event_elapsed,
    .capture_begin = capture_begin,
    .capture_end = capture_end,
    .graph_launch = graph_launch,
    .graph_close = graph_close,
    .fault = fault,
};

/* ---- the list ---- */

/* The architecture whose rows run on a GPU of this compute capability. */
static unsigned arch_of(int major, int minor)
{
    switch (major) {
    case 8: return minor >= 9 ? SWAN_ARCH_SM89 : minor >= 6 ? SWAN_ARCH_SM86 : SWAN_ARCH_SM80;
    case 9: return SWAN_ARCH_SM90;
    case 10:
    case 11: return SWAN_ARCH_SM100;
    case 12: return SWAN_ARCH_SM120;
    default: return 0;
    }
}

static cudaError_t describe(int index, swan_device_info *out)
{
    struct cudaDeviceProp p;
    cudaError_t error = cudaGetDeviceProperties(&p, index);
    if (error) return error;
    *out = (swan_device_info){.index = index, .arch = arch_of(p.major, p.minor), .major = p.major, .minor = p.minor,
                              .memory_bytes = p.totalGlobalMem};
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, p.name);
    return cudaSuccess;
}

int swan_cuda_list(swan_device_info *out, int capacity)
{
    int found = 0, n = 0;
    if (cudaGetDeviceCount(&found) != cudaSuccess) found = 0;
    for (int i = 0; i < found && n < capacity; i++)
        if (describe(i, &out[n]) == cudaSuccess) n++;
    cudaGetLastError();
    return n;
}

/* Why the runtime counts no GPUs. */
static swan_status no_gpu(int index, cudaError_t error)
{
    int have = 0;
    if (error != cudaErrorInsufficientDriver || cudaDriverGetVersion(&have) != cudaSuccess)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "cuda:%d: %s", index, cudaGetErrorString(error));
    if (!have) return SWAN_FAIL(SWAN_E_UNSUPPORTED, "cuda:%d: this machine has no NVIDIA driver", index);
    return SWAN_FAIL(SWAN_E_UNSUPPORTED, "cuda:%d: wanted an NVIDIA driver for CUDA %d.%d or later, found one for %d.%d", index,
                     CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, have / 1000, have % 1000 / 10);
}

swan_status swan_cuda_open(int index, swan_device *out)
{
    swan_device d = {.backend = &cuda};
    int found = 0;
    cudaError_t error = cudaGetDeviceCount(&found);
    cudaGetLastError();
    if (error) return no_gpu(index, error);
    if (index < 0 || index >= found)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "cuda:%d: there is no such GPU; there are %d", index, found);
    if ((error = describe(index, &d.info))) return swan_cuda_status(error, "cudaGetDeviceProperties");
    if (!d.info.arch)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "cuda:%d: %s has compute capability %d.%d; wanted 8.0 or later", index,
                         d.info.name, d.info.major, d.info.minor);
    SWAN_TRY(use(&d));
    swan_cublaslt_open(index);
    *out = d;
    return SWAN_OK;
}

void swan_cuda_close(swan_device *d) { swan_cublaslt_close(d->info.index); }
