#include "pipe/memory.h"

#include <stdlib.h>
#include <string.h>

#include "ckpt/safetensors.h"

typedef swan_status alloc_function(const swan_device *d, size_t bytes, void **out);

static swan_status reserve(const swan_device *d, alloc_function *alloc, const char *name, size_t bytes, swan_arena *out)
{
    *out = (swan_arena){.name = name};
    size_t rounded = bytes < SWAN_ARENA_ALIGN ? SWAN_ARENA_ALIGN : bytes;
    void *base;
    swan_status status = alloc(d, rounded, &base);
    if (status)
        return SWAN_FAIL(status, "%s: could not reserve %.1f MiB on %s", name, (double)bytes / 1048576.0, d->info.name);
    bool remote = alloc == d->backend->alloc && d->info.index != SWAN_DEVICE_HOST;
    swan_arena_over(out, name, base, rounded, remote);
    return SWAN_OK;
}

swan_status swan_memory_reserve(const swan_device *d, const char *name, size_t bytes, swan_arena *out)
{
    return reserve(d, d->backend->alloc, name, bytes, out);
}

swan_status swan_memory_reserve_staging(const swan_device *d, const char *name, size_t bytes, swan_arena *out)
{
    return reserve(d, d->backend->alloc_staging, name, bytes, out);
}

void swan_memory_release(const swan_device *d, swan_arena *a)
{
    if (a->base) d->backend->free(d, a->base);
    *a = (swan_arena){0};
}

void swan_memory_release_staging(const swan_device *d, swan_arena *a)
{
    if (a->base) d->backend->free_staging(d, a->base);
    *a = (swan_arena){0};
}

swan_status swan_memory_upload(const swan_ctx *ctx, const swan_tensor *to, const void *from)
{
    return ctx->device->backend->copy(ctx->stream, to->data, from, swan_tensor_bytes(to));
}

swan_status swan_memory_download(const swan_ctx *ctx, void *to, const swan_tensor *from)
{
    return swan_device_copy_now(ctx->device, ctx->stream, to, from->data, swan_tensor_bytes(from));
}

swan_status swan_memory_download_f32(const swan_ctx *ctx, float *to, const swan_tensor *from)
{
    if (from->dtype == SWAN_F32) return swan_memory_download(ctx, to, from);
    void *raw = malloc(swan_tensor_bytes(from));
    if (!raw) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", from->name ? from->name : "download");
    swan_status status = swan_memory_download(ctx, raw, from);
    swan_tensor here = *from;
    here.data = raw;
    if (!status) status = swan_ckpt_read_f32(&here, to);
    free(raw);
    return status;
}

swan_status swan_memory_zero(const swan_ctx *ctx, const swan_tensor *t)
{
    return ctx->device->backend->fill(ctx->stream, t->data, 0, swan_tensor_bytes(t));
}
