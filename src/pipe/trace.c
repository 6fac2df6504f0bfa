#include "pipe/trace.h"

#include <errno.h>
#include <math.h>
#include <string.h>

typedef struct range {
    double least, most, mean;
} range;

/* Statistics of f32 values on the host; anything else shows as not a number. */
static range measure(const swan_trace_file *trace, const swan_tensor *t)
{
    range r = {NAN, NAN, NAN};
    if (t->dtype != SWAN_F32 || !trace->on_host) return r;
    const float *x = t->data;
    int64_t n = swan_tensor_count(t);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || x[i] < r.least) r.least = x[i];
        if (i == 0 || x[i] > r.most) r.most = x[i];
        sum += x[i];
    }
    r.mean = sum / (double)n;
    return r;
}

static void record(void *user, const swan_kernel_row *row, const swan_tensor *out, double seconds)
{
    swan_trace_file *t = user;
    char shape[96];
    range r = measure(t, out);
    fprintf(t->file, "%llu\t%s.%s.%s\t%s\t%s\t%.9f\t%.6g\t%.6g\t%.6g\n", (unsigned long long)t->calls++, row->family, row->slot,
            row->variant, out->name ? out->name : "", swan_tensor_shape(out, shape, sizeof shape), seconds, r.least, r.most, r.mean);
}

swan_status swan_trace_begin(swan_trace_file *t, const char *path, swan_ctx *ctx)
{
    *t = (swan_trace_file){0};
    if (!path) return SWAN_OK;
    if (!(t->file = fopen(path, "w"))) return SWAN_FAIL(SWAN_E_IO, "%s: cannot be written: %s", path, strerror(errno));
    fprintf(t->file, "call\tkernel\toutput\tshape\tseconds\tmin\tmax\tmean\n");
    t->on_host = !ctx->device || ctx->device->info.index == SWAN_DEVICE_HOST;
    t->trace = (swan_trace){record, t};
    ctx->mode = SWAN_TRACE;
    ctx->trace = &t->trace;
    return SWAN_OK;
}

swan_status swan_trace_end(swan_trace_file *t, swan_ctx *ctx)
{
    if (!t->file) return SWAN_OK;
    ctx->mode = SWAN_RUN;
    ctx->trace = NULL;
    bool lost = ferror(t->file) != 0;
    lost |= fclose(t->file) != 0;
    t->file = NULL;
    return lost ? SWAN_FAIL(SWAN_E_IO, "trace: not everything could be written: %s", strerror(errno)) : SWAN_OK;
}
