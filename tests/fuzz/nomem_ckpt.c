/* Out of memory: each allocation (and mapping) that we make while opening a checkpoint, a config and an array fails
 * once. Every time the call says so, hands out nothing, and has given everything back (LeakSanitizer looks at the end).
 * The linker sends the calls here. Those inside Jansson cannot be made to fail: its lexer does not survive that
 * (ckpt/json.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "ckpt/config.h"
#include "ckpt/npy.h"
#include "ckpt/safetensors.h"
#include "fuzz.h"

static long until_failure; /* counts down; the call that reaches 0 fails; < 0: none does */

static int fails(void)
{
    if (until_failure < 0 || until_failure-- > 0) return 0;
    errno = ENOMEM;
    return 1;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t a, size_t n);
char *__real_strdup(const char *s);
void *__real_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t a, size_t n);
char *__wrap_strdup(const char *s);
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);

void *__wrap_malloc(size_t n) { return fails() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t m) { return fails() ? NULL : __real_calloc(n, m); }
void *__wrap_realloc(void *p, size_t n) { return fails() ? NULL : __real_realloc(p, n); }
void *__wrap_aligned_alloc(size_t a, size_t n) { return fails() ? NULL : __real_aligned_alloc(a, n); }
char *__wrap_strdup(const char *s) { return fails() ? NULL : __real_strdup(s); }
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    return fails() ? MAP_FAILED : __real_mmap(at, n, protection, flags, fd, offset);
}

static char directory[] = "/tmp/swan-nomem-XXXXXX";
static char index_path[96], config_path[96], npy_path[96], shard_path[2][96];

static int put(char *path, const char *name, const void *data, size_t bytes)
{
    snprintf(path, 96, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    return f && fwrite(data, 1, bytes, f) == bytes && fclose(f) == 0;
}

static swan_status open_checkpoint(const char *path, void **out)
{
    swan_ckpt *c;
    swan_status status = swan_ckpt_open(path, NULL, &c);
    *out = c;
    swan_ckpt_close(c);
    return status;
}

static swan_status open_config(const char *path, void **out)
{
    swan_config *cfg;
    swan_status status = swan_config_open(path, &cfg);
    *out = cfg;
    swan_config_close(cfg);
    return status;
}

static swan_status open_array(const char *path, void **out)
{
    swan_tensor t;
    swan_status status = swan_npy_load(path, &t);
    *out = t.data;
    free(t.data);
    return status;
}

/* The number of allocations that were made to fail before the call passed; -1 when one did not end as it has to. */
static long fail_each(const char *what, swan_status (*call)(const char *, void **), const char *path)
{
    for (long n = 0; n < 10000; n++) {
        void *out = NULL;
        until_failure = n;
        swan_status status = call(path, &out);
        int reached = until_failure < 0;
        until_failure = -1;
        if (!reached) return status == SWAN_OK && out ? n : -1;
        if (status == SWAN_E_NOMEM && !out && strstr(swan_last_error(), "memory")) continue;
        fprintf(stderr, "%s: allocation %ld failed and the call said %s: %s\n", what, n, swan_status_name(status),
                swan_last_error());
        return -1;
    }
    return -1;
}

int main(void)
{
    /* data at odd places, so that a copy for alignment is made as well; an unsupported tensor; metadata */
    static const char index_text[] =
        "{\"weight_map\":{\"a\":\"m-00001-of-00002.safetensors\",\"b\":\"m-00002-of-00002.safetensors\"}}";
    static const char one[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                              "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    static const char two[] = "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                              "\"c\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[1,3]},"
                              "\"d\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[3,3]},"
                              "\"e\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[3,4]},"
                              "\"f\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[4,6]},"
                              "\"x\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[6,7]}}";
    static const char config[] = "{\"num_layers\":30,\"patch_size\":[1,2,2],\"nested\":{\"a\":\"b\"}}";
    const float array[2] = {1, 2};
    const swan_tensor t = {.data = (void *)array, .dtype = SWAN_F32, .ndim = 1, .ne = {2}};
    uint8_t file[1024];
    if (!mkdtemp(directory) || !put(index_path, "m.safetensors.index.json", index_text, sizeof index_text - 1) ||
        !put(shard_path[0], "m-00001-of-00002.safetensors", file, fuzz_safetensors(file, one, 4)) ||
        !put(shard_path[1], "m-00002-of-00002.safetensors", file, fuzz_safetensors(file, two, 7)) ||
        !put(config_path, "config.json", config, sizeof config - 1) || !put(npy_path, "a.npy", "", 0))
        return 2;
    until_failure = -1;
    if (swan_npy_write(npy_path, &t) != SWAN_OK) return 2;
    long of_index = fail_each("index", open_checkpoint, index_path);
    long of_directory = fail_each("directory", open_checkpoint, directory);
    long of_config = fail_each("config", open_config, config_path);
    long of_npy = fail_each("npy", open_array, npy_path);
    const char *paths[] = {index_path, shard_path[0], shard_path[1], config_path, npy_path};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) unlink(paths[i]);
    rmdir(directory);
    printf("failed allocations: index %ld, directory %ld, config %ld, npy %ld\n", of_index, of_directory, of_config,
           of_npy);
    return of_index > 10 && of_directory > of_index && of_config >= 3 && of_npy >= 1 ? 0 : 1;
}
