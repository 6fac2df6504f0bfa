#include "ckpt/shard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "ckpt/json.h"
#include "ckpt/say.h"

#define HEADER_MAX ((uint64_t)100000000) /* the format's own limit */
/* Beyond any file, and so far from 2^64 that bits and bytes cannot overflow. */
#define ELEMENTS_MAX (((uint64_t)1) << 48)
#define COPY_ALIGN ((size_t)64)

_Static_assert(sizeof(size_t) == 8, "checkpoints are mapped whole");
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors data is little endian and is used in place"
#endif

/* The format's types: what we hold, and the width of what we do not, so that shapes are checked all the same. */
static const struct {
    const char *name;
    int bits;
    swan_dtype dtype; /* SWAN_DTYPE_COUNT: not held */
} types[] = {
    {"F32", 32, SWAN_F32},
    {"F16", 16, SWAN_F16},
    {"BF16", 16, SWAN_BF16},
    {"F64", 64, SWAN_F64},
    {"I32", 32, SWAN_I32},
    {"I64", 64, SWAN_I64},
    {"U8", 8, SWAN_U8},
    {"BOOL", 8, SWAN_DTYPE_COUNT},
    {"I8", 8, SWAN_DTYPE_COUNT},
    {"I16", 16, SWAN_DTYPE_COUNT},
    {"U16", 16, SWAN_DTYPE_COUNT},
    {"U32", 32, SWAN_DTYPE_COUNT},
    {"U64", 64, SWAN_DTYPE_COUNT},
    {"C64", 64, SWAN_DTYPE_COUNT},
    {"F8_E4M3", 8, SWAN_DTYPE_COUNT},
    {"F8_E5M2", 8, SWAN_DTYPE_COUNT},
    {"F8_E8M0", 8, SWAN_DTYPE_COUNT},
    {"F4", 4, SWAN_DTYPE_COUNT},
};

/* One entry of the header while it is being checked. */
typedef struct entry {
    const char *name;
    uint64_t begin, end; /* in the data section */
    swan_tensor view;
    char why[48]; /* not empty: no view can describe it */
} entry;

static swan_status map_file(swan_shard *shard, const char *path)
{
    int fd;
    uint64_t bytes;
    SWAN_TRY(swan_file_open_read(path, &fd, &bytes));
    if (bytes == 0) {
        close(fd);
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a safetensors file, found an empty file", path);
    }
    void *map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    if (map == MAP_FAILED)
        return SWAN_FAIL(error == ENOMEM ? SWAN_E_NOMEM : SWAN_E_IO, "%s: cannot be mapped: %s", path, strerror(error));
    shard->map = map;
    shard->bytes = (size_t)bytes;
    return SWAN_OK;
}

/* What people hand us instead of a safetensors file, by its first bytes; NULL when nothing known. */
static const char *other_kind(const uint8_t *bytes, size_t n)
{
    static const struct {
        const char *magic, *kind;
    } kinds[] = {
        {"PK\003\004", "a zip archive (a PyTorch .pth is one)"},
        {"\200\002", "a Python pickle (an old PyTorch file)"},
        {"GGUF", "a GGUF file"},
        {"version https://git-lfs", "a Git LFS pointer, not the file it stands for"},
        {"<!DOCTYPE", "a web page"},
        {"<html", "a web page"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t length = strlen(kinds[i].magic);
        if (n >= length && memcmp(bytes, kinds[i].magic, length) == 0) return kinds[i].kind;
    }
    return NULL;
}

static swan_status parse_header(const swan_shard *shard, json_t **header, uint64_t *data_at)
{
    const uint8_t *bytes = shard->map;
    const char *kind = other_kind(bytes, shard->bytes);
    if (kind) return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a safetensors file, found %s", shard->path, kind);
    if (shard->bytes < 8)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a safetensors header, found %zu bytes in all", shard->path,
                         shard->bytes);
    uint64_t length;
    memcpy(&length, bytes, 8);
    if (length > HEADER_MAX)
        return SWAN_FAIL(SWAN_E_FORMAT,
                         "%s: wanted a header of at most %llu bytes, found a length of %llu (not a safetensors file?)",
                         shard->path, (unsigned long long)HEADER_MAX, (unsigned long long)length);
    if (length > shard->bytes - 8)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: truncated: wanted a header of %llu bytes, found %zu", shard->path,
                         (unsigned long long)length, shard->bytes - 8);
    char where[SWAN_PATH_MAX];
    snprintf(where, sizeof where, "%.4000s: header", shard->path);
    SWAN_TRY(swan_json_parse(where, (const char *)bytes + 8, (size_t)length, header));
    *data_at = 8 + length;
    return SWAN_OK;
}

static swan_status check_metadata(const swan_shard *shard, json_t *metadata)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata)) return SWAN_FAIL(SWAN_E_FORMAT, "%s: __metadata__: wanted an object", shard->path);
    json_object_foreach(metadata, key, value) if (!json_is_string(value)) return SWAN_FAIL(
        SWAN_E_FORMAT, "%s: __metadata__ \"%s\": wanted a string", shard->path, swan_say(key).text);
    return SWAN_OK;
}

/* Shape into e->view; the number of elements into *count. More than SWAN_MAX_DIMS axes make the entry unsupported. */
static swan_status parse_shape(const swan_shard *shard, entry *e, const json_t *shape, uint64_t *count)
{
    const char *path = shard->path;
    if (!json_is_array(shape))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: shape: wanted an array", path, swan_say(e->name).text);
    size_t axes = json_array_size(shape);
    if (axes > SWAN_MAX_DIMS) snprintf(e->why, sizeof e->why, "%zu axes", axes);
    e->view.ndim = axes > SWAN_MAX_DIMS ? 0 : (int)axes;
    uint64_t n = 1;
    for (size_t i = 0; i < axes; i++) {
        const json_t *extent = json_array_get(shape, i);
        if (!json_is_integer(extent) || json_integer_value(extent) < 0)
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: shape: axis %zu is not a whole number >= 0", path,
                             swan_say(e->name).text, i);
        uint64_t ne = (uint64_t)json_integer_value(extent);
        if (ne > ELEMENTS_MAX || (ne && n > ELEMENTS_MAX / ne))
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: shape: too many elements (axis %zu is %llu)", path,
                             swan_say(e->name).text, i, (unsigned long long)ne);
        n *= ne;
        if (e->view.ndim) e->view.ne[i] = (int64_t)ne;
    }
    *count = n;
    return SWAN_OK;
}

static swan_status parse_offsets(const swan_shard *shard, entry *e, const json_t *offsets, uint64_t data_bytes)
{
    const char *path = shard->path;
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1); /* NULL when not an array */
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: data_offsets: wanted two whole numbers", path, swan_say(e->name).text);
    long long from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > data_bytes)
        return SWAN_FAIL(SWAN_E_FORMAT,
                         "%s: %s: data_offsets [%lld, %lld] are not inside the file's %llu bytes of data", path,
                         swan_say(e->name).text, from, to, (unsigned long long)data_bytes);
    e->begin = (uint64_t)from;
    e->end = (uint64_t)to;
    return SWAN_OK;
}

static swan_status parse_entry(const swan_shard *shard, const json_t *value, uint64_t data_bytes, entry *e)
{
    const char *path = shard->path;
    uint64_t count = 0;
    if (!json_is_object(value))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: wanted an object", path, swan_say(e->name).text);
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    if (!dtype) return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: dtype: wanted a string", path, swan_say(e->name).text);
    SWAN_TRY(parse_shape(shard, e, json_object_get(value, "shape"), &count));
    SWAN_TRY(parse_offsets(shard, e, json_object_get(value, "data_offsets"), data_bytes));
    size_t type = 0;
    while (type < sizeof types / sizeof types[0] && strcmp(types[type].name, dtype) != 0) type++;
    if (type == sizeof types / sizeof types[0] || types[type].dtype == SWAN_DTYPE_COUNT)
        snprintf(e->why, sizeof e->why, "dtype %.32s", swan_say(dtype).text);
    else
        e->view.dtype = types[type].dtype;
    if (type == sizeof types / sizeof types[0]) return SWAN_OK; /* a type newer than us: its width is not known */
    uint64_t bits = count * (uint64_t)types[type].bits;
    if (bits % 8 != 0 || bits / 8 != e->end - e->begin)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: wanted %llu bytes for its shape and %s, found %llu", path,
                         swan_say(e->name).text, (unsigned long long)((bits + 7) / 8), dtype,
                         (unsigned long long)(e->end - e->begin));
    return SWAN_OK;
}

static int by_data(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The entries, sorted, have to cover the data exactly. */
static swan_status check_cover(const swan_shard *shard, const entry *entries, size_t n, uint64_t data_bytes)
{
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const entry *e = &entries[i];
        if (e->begin < at)
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s and %s overlap: bytes %llu to %llu belong to both", shard->path,
                             swan_say(entries[i - 1].name).text, swan_say(e->name).text, (unsigned long long)e->begin,
                             (unsigned long long)(e->end < at ? e->end : at));
        if (e->begin > at)
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: bytes %llu to %llu before it belong to no tensor", shard->path,
                             swan_say(e->name).text, (unsigned long long)at, (unsigned long long)e->begin);
        at = e->end;
    }
    if (at != data_bytes)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted %llu bytes of data for its tensors, found %llu", shard->path,
                         (unsigned long long)at, (unsigned long long)data_bytes);
    return SWAN_OK;
}

static size_t up(size_t n) { return (n + COPY_ALIGN - 1) & ~(COPY_ALIGN - 1); }

/* From checked entries to views: names into one block, data in place or, where it is not aligned, copied. */
static swan_status make_views(swan_shard *shard, const entry *entries, size_t n, uint64_t data_at)
{
    uint8_t *data = (uint8_t *)shard->map + data_at;
    size_t name_bytes = 1;
    for (size_t i = 0; i < n; i++) {
        name_bytes += strlen(entries[i].name) + 1;
        if (entries[i].why[0]) continue;
        if ((uintptr_t)(data + entries[i].begin) % swan_dtype_bytes(entries[i].view.dtype))
            shard->copied_bytes += up((size_t)(entries[i].end - entries[i].begin));
    }
    shard->names = malloc(name_bytes);
    shard->tensors = calloc(n + 1, sizeof *shard->tensors);
    shard->odd = calloc(n + 1, sizeof *shard->odd);
    if (shard->copied_bytes) shard->copies = aligned_alloc(COPY_ALIGN, shard->copied_bytes);
    if (!shard->names || !shard->tensors || !shard->odd || (shard->copied_bytes && !shard->copies))
        return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for its %zu tensors (%zu bytes to align)", shard->path, n,
                         shard->copied_bytes);
    char *name = shard->names;
    uint8_t *copy = shard->copies;
    for (size_t i = 0; i < n; i++) {
        const entry *e = &entries[i];
        size_t length = strlen(e->name) + 1, bytes = (size_t)(e->end - e->begin);
        memcpy(name, e->name, length);
        if (e->why[0]) {
            swan_shard_odd *odd = &shard->odd[shard->odd_count++];
            odd->name = name;
            memcpy(odd->why, e->why, sizeof odd->why);
        } else {
            swan_tensor *t = &shard->tensors[shard->count++];
            *t = e->view;
            t->name = name;
            t->data = data + e->begin;
            if ((uintptr_t)t->data % swan_dtype_bytes(t->dtype)) {
                t->data = bytes ? memcpy(copy, t->data, bytes) : shard->map;
                copy += up(bytes);
            }
        }
        name += length;
    }
    return SWAN_OK;
}

static swan_status read_entries(swan_shard *shard, json_t *header, uint64_t data_at)
{
    const char *key;
    json_t *value;
    json_t *metadata = json_object_get(header, "__metadata__");
    if (metadata) {
        SWAN_TRY(check_metadata(shard, metadata));
        shard->metadata = json_incref(metadata);
    }
    size_t n = 0;
    entry *entries = calloc(json_object_size(header) + 1, sizeof *entries);
    if (!entries) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for its tensors", shard->path);
    swan_status status = SWAN_OK;
    json_object_foreach(header, key, value)
    {
        if (value == metadata) continue;
        entries[n].name = key;
        status = parse_entry(shard, value, shard->bytes - data_at, &entries[n++]);
        if (status != SWAN_OK) break;
    }
    if (status == SWAN_OK) {
        qsort(entries, n, sizeof *entries, by_data);
        status = check_cover(shard, entries, n, shard->bytes - data_at);
    }
    if (status == SWAN_OK) status = make_views(shard, entries, n, data_at);
    free(entries);
    return status;
}

swan_status swan_shard_open(const char *path, swan_shard *shard)
{
    *shard = (swan_shard){0};
    size_t length = strlen(path) + 1;
    shard->path = malloc(length);
    if (!shard->path) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", path);
    memcpy(shard->path, path, length);
    json_t *header = NULL;
    uint64_t data_at = 0;
    swan_status status = map_file(shard, path);
    if (status == SWAN_OK) status = parse_header(shard, &header, &data_at);
    if (status == SWAN_OK) status = read_entries(shard, header, data_at);
    json_decref(header);
    if (status != SWAN_OK) swan_shard_close(shard);
    return status;
}

void swan_shard_close(swan_shard *shard)
{
    if (shard->map) munmap(shard->map, shard->bytes);
    json_decref(shard->metadata);
    free(shard->tensors);
    free(shard->odd);
    free(shard->names);
    free(shard->copies);
    free(shard->path);
    *shard = (swan_shard){0};
}
