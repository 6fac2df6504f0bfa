/* Memory of a device as arenas, and the ways between host and device. On the host a way is a plain copy. */
#ifndef SWAN_PIPE_MEMORY_H
#define SWAN_PIPE_MEMORY_H

#include "base/arena.h"
#include "kernel/device.h"
#include "ops/ctx.h"

/* One block of the device as an arena. SWAN_E_NOMEM names the arena and the size. */
swan_status swan_memory_reserve(const swan_device *d, const char *name, size_t bytes, swan_arena *out);
/* One block of host memory that the device copies from and to fastest. */
swan_status swan_memory_reserve_staging(const swan_device *d, const char *name, size_t bytes, swan_arena *out);
/* Fine for an arena that was never reserved. */
void swan_memory_release(const swan_device *d, swan_arena *a);
void swan_memory_release_staging(const swan_device *d, swan_arena *a);

/* All of `to` from host memory, enqueued: `from` has to stay until the stream has passed. */
swan_status swan_memory_upload(const swan_ctx *ctx, const swan_tensor *to, const void *from);
/* All of `from` to host memory; returns when it is there. */
swan_status swan_memory_download(const swan_ctx *ctx, void *to, const swan_tensor *from);
/* The same for float tensors of any type, as f32 [count]. */
swan_status swan_memory_download_f32(const swan_ctx *ctx, float *to, const swan_tensor *from);
/* Zeros over all of t, enqueued. */
swan_status swan_memory_zero(const swan_ctx *ctx, const swan_tensor *t);

#endif
