#include "ckpt/npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/half.h"
#include "ckpt/say.h"

#define MAGIC "\x93NUMPY"
#define HEADER_MAX 65536u
#define ELEMENTS_MAX (((int64_t)1) << 48)

static const char *const descrs[SWAN_DTYPE_COUNT] = {
    [SWAN_F32] = "<f4", [SWAN_F16] = "<f2", [SWAN_F64] = "<f8",
    [SWAN_I32] = "<i4", [SWAN_I64] = "<i8", [SWAN_U8] = "|u1",
};

/* ---- write ---------------------------------------------------------------------------------------------------------- */

/* The whole header: magic, version 1, length, dictionary padded with spaces so that data begins at a multiple of 64. */
static size_t make_header(const swan_tensor *t, char *buf, size_t n)
{
    const size_t at = 10;
    size_t used =
        at + (size_t)snprintf(buf + at, n - at, "{'descr': '%s', 'fortran_order': False, 'shape': (", descrs[t->dtype]);
    for (int i = 0; i < t->ndim; i++)
        used += (size_t)snprintf(buf + used, n - used, i + 1 < t->ndim ? "%lld, " : "%lld", (long long)t->ne[i]);
    used += (size_t)snprintf(buf + used, n - used, t->ndim == 1 ? ",), }" : "), }");
    size_t total = (used + 1 + 63) & ~(size_t)63;
    memset(buf + used, ' ', total - used - 1);
    buf[total - 1] = '\n';
    memcpy(buf, MAGIC "\x01\x00", 8);
    buf[8] = (char)((total - at) & 0xFF);
    buf[9] = (char)((total - at) >> 8);
    return total;
}

swan_status swan_npy_write(const char *path, const swan_tensor *t)
{
    char header[512];
    swan_file out;
    if (!descrs[t->dtype])
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: NumPy has no type for %s", path, swan_dtype_name(t->dtype));
    size_t bytes = make_header(t, header, sizeof header);
    SWAN_TRY(swan_file_begin(&out, path));
    swan_status status = swan_file_write(&out, header, bytes);
    if (status == SWAN_OK) status = swan_file_write(&out, t->data, swan_tensor_bytes(t));
    if (status == SWAN_OK) return swan_file_end(&out);
    swan_file_abort(&out);
    return status;
}

/* ---- header --------------------------------------------------------------------------------------------------------- */

/* The dictionary is a Python literal; a cursor over it that accepts the subset NumPy writes. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_space(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static bool take(cursor *c, char want)
{
    skip_space(c);
    if (c->at == c->end || *c->at != want) return false;
    c->at++;
    return true;
}

static bool take_word(cursor *c, const char *word)
{
    size_t n = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

/* A quoted string without escapes into buf. */
static bool take_string(cursor *c, char *buf, size_t n)
{
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    const char *from = c->at + 1;
    const char *to = memchr(from, *c->at, (size_t)(c->end - from));
    if (!to || (size_t)(to - from) >= n || memchr(from, '\\', (size_t)(to - from))) return false;
    memcpy(buf, from, (size_t)(to - from));
    buf[to - from] = 0;
    c->at = to + 1;
    return true;
}

static bool take_extent(cursor *c, int64_t *value)
{
    int64_t v = 0;
    skip_space(c);
    const char *from = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        v = v * 10 + (*c->at - '0');
        if (v > ELEMENTS_MAX) return false;
    }
    *value = v;
    return c->at > from;
}

/* "(2, 3)", "(2,)" or "()". */
static bool take_shape(cursor *c, swan_tensor *t)
{
    int64_t count = 1;
    if (!take(c, '(')) return false;
    for (t->ndim = 0; !take(c, ')');) {
        int64_t ne;
        if (t->ndim == SWAN_MAX_DIMS || !take_extent(c, &ne) || (ne && count > ELEMENTS_MAX / ne)) return false;
        count *= ne;
        t->ne[t->ndim++] = ne;
        if (take(c, ',')) continue;
        return t->ndim > 1 && take(c, ')'); /* "(2)" is a number, not a shape */
    }
    return true;
}

static swan_status parse_dict(const char *path, const char *text, size_t bytes, swan_tensor *t)
{
    cursor c = {text, text + bytes};
    char key[32], descr[32] = "";
    bool have_descr = false, have_order = false, have_shape = false, fortran = false;
    bool ok = take(&c, '{');
    while (ok && !take(&c, '}')) {
        ok = take_string(&c, key, sizeof key) && take(&c, ':');
        if (ok && strcmp(key, "descr") == 0 && !have_descr) {
            if (!take_string(&c, descr, sizeof descr))
                return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: .npy header: wanted a plain type, found a structured one",
                                 path);
            have_descr = true;
        } else if (ok && strcmp(key, "fortran_order") == 0 && !have_order) {
            fortran = take_word(&c, "True");
            ok = have_order = fortran || take_word(&c, "False");
        } else if (ok && strcmp(key, "shape") == 0 && !have_shape) {
            ok = have_shape = take_shape(&c, t);
        } else {
            ok = false;
        }
        ok = ok && (take(&c, ',') || (c.at < c.end && *c.at == '}'));
    }
    skip_space(&c);
    if (!ok || c.at != c.end || !have_descr || !have_order || !have_shape)
        return SWAN_FAIL(SWAN_E_FORMAT,
                         "%s: .npy header: wanted descr, fortran_order and a shape of at most %d axes, found %s", path,
                         SWAN_MAX_DIMS, swan_say(text).text);
    if (fortran && t->ndim > 1)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED,
                         "%s: wanted C order, found Fortran order (save np.ascontiguousarray of it)", path);
    for (int i = 0; i < SWAN_DTYPE_COUNT; i++)
        if (descrs[i] && strcmp(descrs[i], descr) == 0) {
            t->dtype = (swan_dtype)i;
            return SWAN_OK;
        }
    return SWAN_FAIL(SWAN_E_UNSUPPORTED,
                     "%s: wanted a little-endian float16, float32, float64, int32, int64 or uint8, found '%s'", path,
                     swan_say(descr).text);
}

/* ---- read ----------------------------------------------------------------------------------------------------------- */

static swan_status read_exact(int fd, const char *path, void *dst, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = read(fd, (char *)dst + done, bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return SWAN_FAIL(SWAN_E_IO, "%s: %s", path, strerror(errno));
        if (n == 0) return SWAN_FAIL(SWAN_E_FORMAT, "%s: truncated", path);
        done += (size_t)n;
    }
    return SWAN_OK;
}

/* Reads up to the data; t gets type and shape. Afterwards exactly the data is left in the file. */
static swan_status read_header(int fd, const char *path, uint64_t file_bytes, swan_tensor *t)
{
    uint8_t start[12];
    char text[HEADER_MAX + 1];
    if (file_bytes < 12)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a .npy file, found %llu bytes in all", path,
                         (unsigned long long)file_bytes);
    SWAN_TRY(read_exact(fd, path, start, 8));
    if (memcmp(start, MAGIC, 6) != 0)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a .npy file, found something else", path);
    if (start[6] < 1 || start[6] > 3)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: wanted .npy version 1 to 3, found %d", path, start[6]);
    size_t width = start[6] == 1 ? 2 : 4;
    SWAN_TRY(read_exact(fd, path, start + 8, width));
    uint64_t length = start[8] | (uint64_t)start[9] << 8;
    if (width == 4) length |= (uint64_t)start[10] << 16 | (uint64_t)start[11] << 24;
    if (length > HEADER_MAX || length > file_bytes - 8 - width)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: .npy header of %llu bytes in a file of %llu", path,
                         (unsigned long long)length, (unsigned long long)file_bytes);
    SWAN_TRY(read_exact(fd, path, text, (size_t)length));
    text[length] = 0;
    *t = (swan_tensor){0};
    SWAN_TRY(parse_dict(path, text, (size_t)length, t));
    uint64_t left = file_bytes - 8 - width - length;
    if (left != swan_tensor_bytes(t)) {
        char shape[128];
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted %zu bytes of data for %s %s, found %llu", path,
                         swan_tensor_bytes(t), swan_dtype_name(t->dtype), swan_tensor_shape(t, shape, sizeof shape),
                         (unsigned long long)left);
    }
    return SWAN_OK;
}

static swan_status load_from(int fd, const char *path, uint64_t file_bytes, swan_tensor *t)
{
    SWAN_TRY(read_header(fd, path, file_bytes, t));
    size_t bytes = swan_tensor_bytes(t);
    t->data = malloc(bytes ? bytes : 1);
    if (!t->data) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for %zu bytes", path, bytes);
    swan_status status = read_exact(fd, path, t->data, bytes);
    if (status != SWAN_OK) {
        free(t->data);
        t->data = NULL;
    }
    return status;
}

swan_status swan_npy_load(const char *path, swan_tensor *out)
{
    int fd;
    uint64_t bytes;
    swan_tensor t = {0};
    *out = t;
    SWAN_TRY(swan_file_open_read(path, &fd, &bytes));
    swan_status status = load_from(fd, path, bytes, &t);
    close(fd);
    if (status == SWAN_OK) *out = t;
    return status;
}

/* Bounded memory: elements pass through a buffer on the stack. */
static swan_status read_converted(int fd, const char *path, const swan_tensor *t, float *dst)
{
    union {
        uint16_t f16[4096];
        double f64[1024];
    } block;
    size_t step = t->dtype == SWAN_F16 ? sizeof block.f16 / 2 : sizeof block.f64 / 8;
    size_t count = (size_t)swan_tensor_count(t);
    for (size_t at = 0; at < count; at += step) {
        size_t n = count - at < step ? count - at : step;
        SWAN_TRY(read_exact(fd, path, &block, n * swan_dtype_bytes(t->dtype)));
        for (size_t i = 0; i < n; i++)
            dst[at + i] = t->dtype == SWAN_F16 ? swan_f16_to_f32(block.f16[i]) : (float)block.f64[i];
    }
    return SWAN_OK;
}

static swan_status read_f32_from(int fd, const char *path, uint64_t file_bytes, const swan_tensor *want, float *dst)
{
    swan_tensor t;
    char wanted[128], found[128];
    SWAN_TRY(read_header(fd, path, file_bytes, &t));
    if (!swan_tensor_same_shape(&t, want))
        return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted the shape %s, found %s", path,
                         swan_tensor_shape(want, wanted, sizeof wanted), swan_tensor_shape(&t, found, sizeof found));
    if (t.dtype == SWAN_F32) return read_exact(fd, path, dst, swan_tensor_bytes(&t));
    if (t.dtype == SWAN_F16 || t.dtype == SWAN_F64) return read_converted(fd, path, &t, dst);
    return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted float32, float16 or float64, found %s", path,
                     swan_dtype_name(t.dtype));
}

swan_status swan_npy_read_f32(const char *path, const int64_t *shape, int ndim, float *dst)
{
    int fd;
    uint64_t bytes;
    swan_tensor want = {.ndim = ndim};
    if (ndim < 0 || ndim > SWAN_MAX_DIMS) return SWAN_BUG("%s: %d axes wanted", path, ndim);
    for (int i = 0; i < ndim; i++) want.ne[i] = shape[i];
    SWAN_TRY(swan_file_open_read(path, &fd, &bytes));
    swan_status status = read_f32_from(fd, path, bytes, &want, dst);
    close(fd);
    return status;
}
