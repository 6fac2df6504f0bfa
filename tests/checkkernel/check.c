/* Buffers with canaries, fills, expectations, and the run that compares them. */
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/half.h"

#define CANARY ((size_t)256)
#define CANARY_BYTE 0xC7
#define ALIGN ((size_t)64)
#define MESSAGES 6 /* failures of one row that are printed */
#define HANG_SECONDS 20 /* no call takes that long */

struct check_expected {
    check_buf *b;
    int64_t row, col;
    double want, twin, magnitude;
    double bound; /* >= 0: fixed */
};

const int64_t check_sizes[CHECK_SIZES] = {1,  2,  3,  7,  8,  9,  15, 16, 17, 31, 32,  33,
                                          47, 48, 49, 63, 64, 65, 95, 96, 97, 127, 128, 129};

static const char *const fill_names[CHECK_FILLS] = {"random", "outlier", "offset", "equal", "zero", "large", "denormal"};
const char *check_fill_name(check_fill fill) { return fill_names[fill]; }

/* Memory for tests: there is nothing to check without it. */
static void *must(void *p)
{
    if (p) return p;
    fprintf(stderr, "checkkernel: out of memory\n");
    exit(3);
}

/* The same for what the device is asked outside of the row's call. */
static void expect_ok(swan_status status)
{
    if (!status) return;
    fprintf(stderr, "checkkernel: %s\n", swan_last_error());
    exit(3);
}

/* ---- random ---- */

uint64_t check_random(check *c)
{
    uint64_t z = c->rng += 0x9E3779B97F4A7C15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

int64_t check_between(check *c, int64_t low, int64_t high)
{
    return low + (int64_t)(check_random(c) % (uint64_t)(high - low + 1));
}

double check_uniform(check *c) { return (double)(check_random(c) >> 11) * 0x1p-53; }

double check_normal(check *c)
{
    uint64_t r = check_random(c); /* the sum of four uniforms has variance 1/3 */
    double sum = 0;
    for (int i = 0; i < 4; i++, r >>= 16) sum += (double)(r & 0xFFFF) * 0x1p-16 - 0.5;
    return sum * 1.7320508075688772;
}

/* ---- numbers in buffers ---- */

static double load(swan_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case SWAN_F16: return swan_f16_to_f32(((const uint16_t *)data)[i]);
    case SWAN_BF16: return swan_bf16_to_f32(((const uint16_t *)data)[i]);
    case SWAN_I32: return ((const int32_t *)data)[i];
    case SWAN_U8: return ((const uint8_t *)data)[i];
    default: return ((const float *)data)[i];
    }
}

static void store(swan_dtype dtype, void *data, int64_t i, double value)
{
    switch (dtype) {
    case SWAN_F16: ((uint16_t *)data)[i] = swan_f32_to_f16((float)value); break;
    case SWAN_BF16: ((uint16_t *)data)[i] = swan_f32_to_bf16((float)value); break;
    case SWAN_I32: ((int32_t *)data)[i] = (int32_t)value; break;
    case SWAN_U8: ((uint8_t *)data)[i] = (uint8_t)value; break;
    default: ((float *)data)[i] = (float)value; break;
    }
}

static bool is_float(swan_dtype d) { return d == SWAN_F32 || d == SWAN_F16 || d == SWAN_BF16; }

double check_ulp(swan_dtype dtype, double value)
{
    int fraction = dtype == SWAN_F16 ? 10 : dtype == SWAN_BF16 ? 7 : 23, exponent;
    double smallest = dtype == SWAN_F16 ? 0x1p-24 : FLT_MIN; /* below it fp32 and bf16 may flush */
    if (value == 0 || !isfinite(value)) return smallest;
    frexp(value, &exponent); /* value = m 2^exponent, m in [1/2, 1) */
    return fmax(ldexp(1, exponent - 1 - fraction), smallest);
}

double check_now(const check_buf *b, int64_t row, int64_t col) { return load(b->dtype, b->data, row * b->ld + col); }

/* ---- buffers ---- */

check_buf *check_new(check *c, check_kind kind, swan_dtype dtype, int64_t rows, int64_t width, int64_t pad)
{
    if (c->buf_count == CHECK_BUFS) {
        fprintf(stderr, "checkkernel: more than %d buffers in a case\n", CHECK_BUFS);
        exit(3);
    }
    check_buf *b = &c->bufs[c->buf_count++];
    size_t size = swan_dtype_bytes(dtype);
    *b = (check_buf){.dtype = dtype, .kind = kind, .rows = rows, .width = width, .ld = width + pad};
    b->bytes = (size_t)(rows * b->ld) * size;
    /* off alignment in every other case; on a GPU less often, because fast rows leave such cases to others */
    size_t shift = c->cases % (c->row->picked & SWAN_ARCH_CUDA ? 8 : 2) == 1 ? size : 0;
    size_t total = b->total = (b->bytes + 2 * CANARY + shift + ALIGN - 1) / ALIGN * ALIGN;
    b->block = must(aligned_alloc(ALIGN, total));
    expect_ok(c->device.backend->alloc(&c->device, total, &b->there));
    memset(b->block, CANARY_BYTE, total);
    b->data = b->block + CANARY + shift;
    memset(b->data, 0xFF, b->bytes); /* NaN */
    b->before = must(malloc(total));
    b->first = must(malloc(b->bytes + 1));
    b->f = is_float(dtype) ? must(malloc(((size_t)(rows * width) + 1) * sizeof(float))) : NULL;
    return b;
}

static size_t block_bytes(const check_buf *b) { return (size_t)((uint8_t *)b->data - b->block) + b->bytes + CANARY; }

void check_set(check_buf *b, int64_t row, int64_t col, double value)
{
    store(b->dtype, b->data, row * b->ld + col, value);
    if (b->f) b->f[row * b->width + col] = (float)check_now(b, row, col);
}

int32_t *check_ints(check_buf *b) { return b->data; }

static double draw(check *c, check_fill fill, double magnitude, int64_t col)
{
    switch (fill) {
    case CHECK_OUTLIER: return check_normal(c) * magnitude * (col * 7 % 13 == 5 ? 100 : 1);
    case CHECK_OFFSET: return (100 + check_normal(c)) * magnitude;
    case CHECK_EQUAL: return magnitude;
    case CHECK_ZERO: return 0;
    case CHECK_LARGE: return (check_random(c) & 1 ? 1e6 : -1e6) * magnitude;
    case CHECK_DENORMAL: return (double)check_between(c, -999, 999) * 0x1p-140;
    default: return check_normal(c) * magnitude;
    }
}

void check_put(check *c, check_buf *b, check_fill fill, double magnitude)
{
    for (int64_t r = 0; r < b->rows; r++)
        for (int64_t col = 0; col < b->width; col++) check_set(b, r, col, draw(c, fill, magnitude, col));
}

check_buf *check_input(check *c, swan_dtype dtype, int64_t rows, int64_t width, int64_t pad, check_fill fill, double magnitude)
{
    check_buf *b = check_new(c, CHECK_IN, dtype, rows, width, pad);
    check_put(c, b, fill, magnitude);
    return b;
}

check_buf *check_vector(check *c, int64_t n, double magnitude)
{
    return check_input(c, SWAN_F32, 1, n, 0, CHECK_RANDOM, magnitude);
}

/* ---- cases ---- */

static uint64_t hash(const char *s, uint64_t h)
{
    for (; *s; s++) h = (h ^ (uint8_t)*s) * 0x100000001B3u;
    return h;
}

bool check_begin(check *c, const char *format, ...)
{
    check_end_case(c);
    if ((c->first_only && c->failures) || (c->most && c->cases >= c->most)) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(c->name, sizeof c->name, format, args);
    va_end(args);
    if (c->progress) memcpy(c->progress, c->name, sizeof c->name);
    c->cases++;
    c->rng = hash(c->row->slot, hash(c->row->family, c->seed ^ 0xCBF29CE484222325u)) + (uint64_t)c->cases * 0x2545F4914F6CDD1Du;
    c->flops = c->bytes = 0;
    return true;
}

void check_end_case(check *c)
{
    for (int i = 0; i < c->buf_count; i++) {
        c->device.backend->free(&c->device, c->bufs[i].there);
        free(c->bufs[i].block);
        free(c->bufs[i].before);
        free(c->bufs[i].first);
        free(c->bufs[i].f);
    }
    c->buf_count = 0;
    c->expected_count = 0;
}

void check_open(check *c)
{
    expect_ok(swan_pool_open(c->threads, &c->many));
    expect_ok(swan_pool_open(1, &c->one));
    expect_ok(swan_device_open(c->row->picked & SWAN_ARCH_CUDA ? c->gpu : SWAN_DEVICE_HOST, &c->device));
    expect_ok(c->device.backend->stream_open(&c->device, &c->stream));
}

void check_close(check *c)
{
    check_end_case(c);
    free(c->expected);
    c->device.backend->stream_close(&c->device, &c->stream);
    swan_device_close(&c->device);
    swan_pool_close(c->many);
    swan_pool_close(c->one);
    c->expected = NULL;
    c->expected_size = 0;
    c->many = c->one = NULL;
}

bool check_wants(check *c, int64_t i, int64_t count, int64_t budget)
{
    if (c->bench) return false;
    if (budget < 8) budget = 8;
    if (count <= budget || i < 2 || i >= count - 2) return true;
    return check_between(c, 0, count - 1) < budget;
}

static void expect(check *c, check_expected e)
{
    if (c->expected_count == c->expected_size) {
        c->expected_size = c->expected_size ? 2 * c->expected_size : 1024;
        c->expected = must(realloc(c->expected, c->expected_size * sizeof e));
    }
    c->expected[c->expected_count++] = e;
}

void check_value(check *c, check_buf *b, int64_t row, int64_t col, double want, double twin, double magnitude)
{
    if (!isfinite(want) || !isfinite(twin)) check_fail(c, "the test's own values overflow at [%ld, %ld]", (long)row, (long)col);
    expect(c, (check_expected){b, row, col, want, twin, magnitude, -1});
}

void check_within(check *c, check_buf *b, int64_t row, int64_t col, double want, double bound)
{
    expect(c, (check_expected){b, row, col, want, want, 0, bound});
}

double check_size(const check *c) { return (double)swan_dtype_bytes(c->row->format); }

void check_work(check *c, double flops, double bytes)
{
    c->flops = flops;
    c->bytes = bytes;
}

void check_fail(check *c, const char *format, ...)
{
    c->failures++;
    if (c->quiet || c->failures > MESSAGES) return;
    const swan_kernel_row *r = c->row;
    printf("FAIL %s.%s=%s (%s) [%s] ", r->family, r->slot, r->variant, swan_dtype_name(r->format), c->name);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf(" (seed %llu)%s\n", (unsigned long long)c->seed, c->failures == MESSAGES ? ", and more" : "");
    fflush(stdout);
}

/* ---- the call ---- */

/* Calls a row through its slot's own function type. */
static swan_status call(const swan_kernel_row *row, swan_stream *stream, const void *args)
{
    switch (row->id) {
#define CALL(family, slot)                                                                                             \
    case SWAN_SLOT_##family##_##slot:                                                                                  \
        return ((swan_status(*)(swan_stream *, const swan_##family##_##slot##_args *))row->run)(stream, args);
        SWAN_SLOTS(CALL)
#undef CALL
    case SWAN_SLOT_COUNT: break;
    }
    return SWAN_E_BUG;
}

static size_t workspace_bytes(const swan_kernel_row *row, const swan_stream *stream, const void *args)
{
    if (!row->workspace) return 0;
    switch (row->id) {
#define ASK(family, slot)                                                                                              \
    case SWAN_SLOT_##family##_##slot:                                                                                  \
        return ((size_t(*)(const swan_##family##_##slot##_args *, const swan_stream *))row->workspace)(args, stream);
        SWAN_SLOTS(ASK)
#undef ASK
    case SWAN_SLOT_COUNT: break;
    }
    return 0;
}

size_t check_workspace(check *c, const void *args)
{
    swan_stream stream = {.pool = c->many};
    return workspace_bytes(c->row, &stream, args);
}

/* A workspace on the device between canaries, prefilled with NaN. *field: where the row will find it. */
static void *scratch_open(check *c, size_t bytes, void **field)
{
    void *there;
    expect_ok(c->device.backend->alloc(&c->device, bytes + 2 * CANARY, &there));
    uint8_t *at = (uint8_t *)there + CANARY;
    expect_ok(c->device.backend->fill(&c->stream, there, CANARY_BYTE, bytes + 2 * CANARY));
    expect_ok(c->device.backend->fill(&c->stream, at, 0xFF, bytes));
    if (field) *field = bytes ? at : NULL;
    return there;
}

static bool canaries_stand(check *c, const void *there, size_t bytes)
{
    uint8_t canary[2 * CANARY];
    expect_ok(swan_device_copy_now(&c->device, &c->stream, canary, there, CANARY));
    expect_ok(swan_device_copy_now(&c->device, &c->stream, canary + CANARY, (const uint8_t *)there + CANARY + bytes, CANARY));
    for (size_t i = 0; i < 2 * CANARY; i++)
        if (canary[i] != CANARY_BYTE) return false;
    return true;
}

static size_t args_bytes(swan_slot slot)
{
    switch (slot) {
#define BYTES(family, slot)                                                                                            \
    case SWAN_SLOT_##family##_##slot: return sizeof(swan_##family##_##slot##_args);
        SWAN_SLOTS(BYTES)
#undef BYTES
    case SWAN_SLOT_COUNT: break;
    }
    return 0;
}

/* Arguments as the device sees them: every word that points into a buffer's block points to the same place of its copy. */
typedef union device_args {
    uintptr_t words[64];
    void *align;
} device_args;

static void translate(const check *c, const void *args, device_args *out)
{
    size_t bytes = args_bytes(c->row->id);
    memcpy(out->words, args, bytes);
    for (size_t i = 0; i < bytes / sizeof(uintptr_t); i++) {
        for (int n = 0; n < c->buf_count; n++) {
            uintptr_t offset = out->words[i] - (uintptr_t)c->bufs[n].block;
            if (offset >= c->bufs[n].total) continue;
            out->words[i] = (uintptr_t)c->bufs[n].there + offset;
            break;
        }
    }
}

static void upload(check *c)
{
    for (int n = 0; n < c->buf_count; n++)
        expect_ok(c->device.backend->copy(&c->stream, c->bufs[n].there, c->bufs[n].block, c->bufs[n].total));
}

static void download(check *c)
{
    for (int n = 0; n < c->buf_count; n++)
        expect_ok(c->device.backend->copy(&c->stream, c->bufs[n].block, c->bufs[n].there, c->bufs[n].total));
    expect_ok(c->device.backend->synchronise(&c->stream));
}

/* Calls the row on the device and waits for it. After a fault of the device the process is of no use: the parent goes on with
 * the next row. */
static swan_status call_and_wait(check *c, swan_stream *stream, const void *args)
{
    swan_status status = call(c->row, stream, args);
    if (!(c->row->picked & SWAN_ARCH_CUDA)) return status;
    unsigned left = alarm(HANG_SECONDS);
    if (!status) status = c->device.backend->synchronise(stream);
    alarm(left);
    if (!c->device.backend->fault(&c->device)) return status;
    check_fail(c, "%s", swan_last_error());
    fflush(stdout);
    _exit(4);
}

/* What the row may not have touched: canaries, inputs, padding between rows. */
static void check_untouched(check *c)
{
    for (int n = 0; n < c->buf_count; n++) {
        check_buf *b = &c->bufs[n];
        size_t head = (size_t)((uint8_t *)b->data - b->block), size = swan_dtype_bytes(b->dtype);
        const uint8_t *was = b->before + head, *is = b->data;
        if (memcmp(b->block, b->before, head)) check_fail(c, "wrote before the start of buffer %d", n);
        if (memcmp(is + b->bytes, was + b->bytes, CANARY)) check_fail(c, "wrote past the end of buffer %d", n);
        if (b->kind == CHECK_IN && memcmp(is, was, b->bytes)) check_fail(c, "changed its input, buffer %d", n);
        for (int64_t r = 0; r < b->rows && b->kind != CHECK_IN && b->ld > b->width; r++) {
            size_t at = (size_t)(r * b->ld + b->width) * size;
            if (memcmp(is + at, was + at, (size_t)(b->ld - b->width) * size)) {
                check_fail(c, "wrote between rows of buffer %d, row %ld", n, (long)r);
                break;
            }
        }
    }
}

static void compare_with_first(check *c, const char *what)
{
    for (int n = 0; n < c->buf_count; n++) {
        check_buf *b = &c->bufs[n];
        size_t size = swan_dtype_bytes(b->dtype);
        const uint8_t *is = b->data;
        for (int64_t r = 0; r < b->rows && b->kind != CHECK_IN; r++) {
            size_t at = (size_t)(r * b->ld) * size;
            if (!memcmp(is + at, b->first + at, (size_t)b->width * size)) continue;
            check_fail(c, "%s: row %ld of buffer %d differs", what, (long)r, n);
            break;
        }
    }
}

/* One run on fresh outputs. prefill: what OUT buffers hold before. */
static bool run_once(check *c, void *args, void **workspace, swan_stream *stream, int prefill)
{
    for (int n = 0; n < c->buf_count; n++) {
        check_buf *b = &c->bufs[n];
        memcpy(b->block, b->before, block_bytes(b));
        size_t size = swan_dtype_bytes(b->dtype);
        for (int64_t r = 0; r < b->rows && b->kind == CHECK_OUT; r++)
            memset((uint8_t *)b->data + (size_t)(r * b->ld) * size, prefill, (size_t)b->width * size);
    }
    size_t bytes = workspace_bytes(c->row, stream, args);
    if (bytes && !workspace) {
        check_fail(c, "asks for a workspace that its slot does not have");
        return false;
    }
    void *scratch = scratch_open(c, bytes, workspace);
    device_args there;
    upload(c);
    translate(c, args, &there);
    swan_status status = call_and_wait(c, stream, there.words);
    download(c);
    bool cancelled = stream->cancel && atomic_load(stream->cancel);
    if (status != (cancelled ? SWAN_E_CANCELLED : SWAN_OK))
        check_fail(c, "%s returned \"%s\": %s", cancelled ? "cancelled before the call, it" : "it", swan_status_name(status),
                   status ? swan_last_error() : "");
    if (!canaries_stand(c, scratch, bytes)) check_fail(c, "wrote outside its workspace of %zu bytes", bytes);
    c->device.backend->free(&c->device, scratch);
    check_untouched(c);
    return status == SWAN_OK;
}

/* ---- tolerance ---- */

typedef struct errors {
    double max, squares; /* relative to the magnitudes */
    int64_t n;
} errors;

static void count_error(errors *e, double error)
{
    e->max = fmax(e->max, error);
    e->squares += error * error;
    e->n++;
}

static double rms(const errors *e) { return e->n ? sqrt(e->squares / (double)e->n) : 0; }

static void compare_fixed(check *c)
{
    for (size_t i = 0; i < c->expected_count; i++) {
        const check_expected *e = &c->expected[i];
        if (e->bound < 0) continue;
        double got = check_now(e->b, e->row, e->col);
        if (got == e->want || (isnan(got) && isnan(e->want)) || fabs(got - e->want) <= e->bound) continue;
        check_fail(c, "[%ld, %ld]: got %.9g, want %.9g within %.3g", (long)e->row, (long)e->col, got, e->want, e->bound);
        return;
    }
}

static void compare_values(check *c)
{
    const double floor = 0x1p-24;
    errors row = {0}, twin = {0}, ulp = {0};
    for (size_t i = 0; i < c->expected_count; i++) {
        const check_expected *e = &c->expected[i];
        if (e->bound >= 0 || !(e->magnitude > 0)) continue;
        count_error(&twin, fabs(e->twin - e->want) / e->magnitude);
        count_error(&row, fabs(check_now(e->b, e->row, e->col) - e->want) / e->magnitude);
        count_error(&ulp, check_ulp(e->b->dtype, e->want) / e->magnitude);
    }
    for (size_t i = 0; i < c->expected_count; i++) {
        const check_expected *e = &c->expected[i];
        if (e->bound >= 0) continue;
        double got = check_now(e->b, e->row, e->col);
        double allowed = 2 * fmax(twin.max, floor) * e->magnitude + check_ulp(e->b->dtype, e->want);
        if (fabs(got - e->want) <= allowed) continue; /* a NaN is not */
        check_fail(c, "[%ld, %ld]: got %.9g, want %.9g, error %.3g of %.3g allowed", (long)e->row, (long)e->col, got, e->want,
                   fabs(got - e->want), allowed);
        return;
    }
    double allowed = 2 * fmax(rms(&twin), floor) + rms(&ulp);
    if (!(rms(&row) <= allowed)) check_fail(c, "root mean square of relative errors %.3g of %.3g allowed", rms(&row), allowed);
}

/* No element of a float output may be left as it was, whether it was asked for or not: the prefill is NaN. */
static void check_written(check *c)
{
    for (int n = 0; n < c->buf_count; n++) {
        const check_buf *b = &c->bufs[n];
        if (b->kind != CHECK_OUT || !b->f) continue;
        for (int64_t i = 0; i < b->rows * b->width; i++) {
            size_t element = (size_t)(i / b->width * b->ld + i % b->width);
            const uint8_t *at = (const uint8_t *)b->data + element * swan_dtype_bytes(b->dtype);
            if (at[0] != 0xFF || at[1] != 0xFF || !isnan(load(b->dtype, at, 0))) continue;
            check_fail(c, "[%ld, %ld] of buffer %d was not written", (long)(i / b->width), (long)(i % b->width), n);
            return;
        }
    }
}

/* ---- timing ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define REPEATS 64
/* Median seconds of up to `repeats` calls, and no more once `limit` seconds are spent. The first of several warms up. Each call
 * works on the same buffers: small ones are in a cache. */
static double time_row(check *c, const swan_kernel_row *row, void *args, void **workspace, int repeats, double limit)
{
    const swan_backend *backend = c->device.backend;
    swan_stream stream = {.pool = c->many, .cuda = c->stream.cuda};
    void *scratch = scratch_open(c, workspace_bytes(row, &stream, args), workspace);
    swan_event begin, end;
    device_args there;
    double times[REPEATS], spent = 0;
    int n = 0;
    expect_ok(backend->event_open(&c->device, &begin));
    expect_ok(backend->event_open(&c->device, &end));
    upload(c);
    translate(c, args, &there);
    if (repeats > 1) expect_ok(call(row, &stream, there.words));
    do {
        expect_ok(backend->event_record(&stream, &begin));
        expect_ok(call(row, &stream, there.words));
        expect_ok(backend->event_record(&stream, &end));
        expect_ok(backend->event_finish(&end));
        expect_ok(backend->event_elapsed(&begin, &end, &times[n]));
        spent += times[n++];
    } while (n < repeats && n < REPEATS && (n < 3 || spent < limit));
    backend->event_close(&c->device, &begin);
    backend->event_close(&c->device, &end);
    backend->free(&c->device, scratch);
    qsort(times, (size_t)n, sizeof times[0], by_value);
    return times[n / 2];
}

static bool bench_run(check *c, void *args, void **workspace)
{
    const swan_kernel_row *r = c->row, *ref = NULL;
    const char *simple = r->picked & SWAN_ARCH_CUDA ? "naive" : "ref";
    for (size_t i = 0; !ref && swan_kernel_row_at(i); i++) {
        const swan_kernel_row *at = swan_kernel_row_at(i);
        if (at->id == r->id && at->format == r->format && !strcmp(at->variant, simple)) ref = at;
    }
    double seconds = time_row(c, r, args, workspace, REPEATS, 0.4);
    double slow = ref == r ? seconds : ref ? time_row(c, ref, args, workspace, 1, 0) : 0;
    bool compute = c->flops > 4 * c->bytes;
    char slot[64];
    snprintf(slot, sizeof slot, "%s.%s=%s (%s)", r->family, r->slot, r->variant, swan_dtype_name(r->format));
    printf("%-35s %-44s %10.4f ms %8.1f %s", slot, c->name, seconds * 1e3, (compute ? c->flops : c->bytes) / seconds * 1e-9,
           compute ? "GFLOP/s" : "GB/s   ");
    if (slow > 0) printf(" %8.1fx %s", slow / seconds, simple);
    printf("\n");
    fflush(stdout);
    return true;
}

bool check_run(check *c, void *args, void **workspace)
{
    if (c->bench) return bench_run(c, args, workspace);
    int failures = c->failures;
    for (int n = 0; n < c->buf_count; n++) memcpy(c->bufs[n].before, c->bufs[n].block, block_bytes(&c->bufs[n]));
    atomic_bool cancel = false;
    swan_stream stream = {.pool = c->many, .cancel = &cancel, .cuda = c->stream.cuda};
    if (!c->cancel_tested && !(c->row->picked & SWAN_ARCH_CUDA)) {
        c->cancel_tested = true;
        atomic_store(&cancel, true);
        run_once(c, args, workspace, &stream, 0xFF);
        atomic_store(&cancel, false);
    }
    if (!run_once(c, args, workspace, &stream, 0x3C)) return false;
    for (int n = 0; n < c->buf_count; n++) memcpy(c->bufs[n].first, c->bufs[n].data, c->bufs[n].bytes);
    if (!run_once(c, args, workspace, &stream, 0x3C)) return false;
    compare_with_first(c, "a second run");
    stream = (swan_stream){.pool = c->one, .cuda = c->stream.cuda};
    if (!run_once(c, args, workspace, &stream, 0xFF)) return false;
    compare_with_first(c, "another prefill and one thread");
    check_written(c);
    compare_fixed(c);
    compare_values(c);
    return c->failures == failures;
}

/* ---- shapes ---- */

const check_line *check_next_line(check *c, const char *slot, int *at)
{
    while (*at < c->line_count) {
        const check_line *line = &c->lines[(*at)++];
        if (!strcmp(line->slot, slot)) return line;
    }
    return NULL;
}

int64_t check_get(const check_line *line, const char *key, int64_t fallback)
{
    for (int i = 0; i < line->keys; i++)
        if (!strcmp(line->key[i], key)) return line->value[i];
    return fallback;
}

int64_t check_rows(const check *c, int64_t rows, double work)
{
    const double most = 4e7;
    if (c->bench || work <= most || strcmp(c->row->variant, "ref")) return rows;
    int64_t fewer = (int64_t)((double)rows * most / work);
    return fewer > 1 ? fewer : 1;
}
