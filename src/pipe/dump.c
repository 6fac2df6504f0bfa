#include "pipe/dump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pipe/memory.h"

swan_status swan_dump_open(swan_dump *d, const struct swan_session *s)
{
    *d = (swan_dump){.directory = s->params->dump, .ctx = &s->ctx};
    if (!d->directory) return SWAN_OK;
    if (mkdir(d->directory, 0777) != 0 && errno != EEXIST)
        return SWAN_FAIL(SWAN_E_IO, "%s: cannot make the directory: %s", d->directory, strerror(errno));
    if (!swan_file_is_directory(d->directory)) return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted a directory for --dump", d->directory);
    int64_t F = s->size.frames, H = s->size.height, W = s->size.width;
    d->frames = swan_tensor_4d(calloc((size_t)(F * 3 * H * W), sizeof(float)), SWAN_F32, F, 3, H, W);
    return d->frames.data ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "dump: out of memory for %lld frames", (long long)F);
}

void swan_dump_close(swan_dump *d)
{
    free(d->frames.data);
    *d = (swan_dump){0};
}

static swan_status write_named(const swan_dump *d, const char *name, const swan_tensor *t)
{
    char path[SWAN_PATH_MAX], file[64];
    snprintf(file, sizeof file, "%s.npy", name);
    SWAN_TRY(swan_path_join(d->directory, file, path, sizeof path));
    return swan_npy_write(path, t);
}

/* A float tensor of the device, as f32. */
static swan_status write_f32(const swan_dump *d, const char *name, const swan_tensor *t)
{
    swan_tensor here = *t;
    here.dtype = SWAN_F32;
    here.data = malloc(swan_tensor_bytes(&here));
    if (!here.data) return SWAN_FAIL(SWAN_E_NOMEM, "dump: out of memory for %s", name);
    swan_status status = swan_memory_download_f32(d->ctx, here.data, t);
    if (!status) status = write_named(d, name, &here);
    free(here.data);
    return status;
}

swan_status swan_dump_text(const swan_dump *d, const struct swan_session *s, int tokens)
{
    if (!d->directory) return SWAN_OK;
    swan_tensor ids = swan_tensor_1d(s->staging.text[SWAN_POSITIVE].ids, SWAN_I32, tokens);
    swan_tensor context = swan_tensor_2d(s->state.context.data, s->state.context.dtype, tokens, s->state.context.ne[1]);
    SWAN_TRY(write_named(d, "ids", &ids));
    return write_f32(d, "context", &context);
}

swan_status swan_dump_latent(const swan_dump *d, const char *name, const swan_tensor *latent)
{
    return d->directory ? write_f32(d, name, latent) : SWAN_OK;
}

swan_status swan_dump_step(const swan_dump *d, const struct swan_session *s, int step, bool renoised)
{
    if (!d->directory) return SWAN_OK;
    char name[32];
    snprintf(name, sizeof name, "velocity_%d", step);
    SWAN_TRY(write_f32(d, name, &s->state.buffer[SWAN_SCHED_VELOCITY]));
    snprintf(name, sizeof name, "x0_%d", step);
    SWAN_TRY(write_f32(d, name, &s->state.buffer[swan_sched_x0(&s->sched, step)]));
    if (!renoised) return SWAN_OK;
    snprintf(name, sizeof name, "renoise_%d", step);
    return write_f32(d, name, &s->state.buffer[SWAN_SCHED_NOISE]);
}

swan_status swan_dump_frame(swan_dump *d, int64_t index, const swan_tensor *frame)
{
    if (!d->directory) return SWAN_OK;
    int64_t plane = frame->ne[0] * frame->ne[1];
    float *x = malloc((size_t)plane * 3 * sizeof *x);
    if (!x) return SWAN_FAIL(SWAN_E_NOMEM, "dump: out of memory for a frame");
    swan_status status = swan_memory_download_f32(d->ctx, x, frame);
    float *y = (float *)d->frames.data + index * 3 * plane;
    for (int64_t i = 0; i < plane && !status; i++)
        for (int c = 0; c < 3; c++) {
            float v = x[i * 3 + c];
            y[c * plane + i] = v < 0 ? 0 : v > 1 ? 1 : v;
        }
    free(x);
    return status;
}

swan_status swan_dump_frames(const swan_dump *d) { return d->directory ? write_named(d, "frames", &d->frames) : SWAN_OK; }
