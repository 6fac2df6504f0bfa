#define _GNU_SOURCE /* memfd_create */
#include "ckpt/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/half.h"
#include "ckpt/shard.h"

#define BLOCK_MOST ((size_t)64 << 20) /* past the caches of a processor; made in a tenth of a second */
#define BLOCK_LEAST ((size_t)64 << 10) /* a multiple of any page */
#define ALIGN ((size_t)64)

/* One kind's values: `block` bytes of the file at `at`, seen over and over from `base` on. */
typedef struct region {
    size_t most;   /* bytes of the largest tensor */
    size_t block, at;
    size_t first, bytes; /* in the range of addresses */
} region;

static const struct {
    swan_dtype dtype;
    float mean, deviation;
} kinds[SWAN_RANDOM_KINDS] = {
    [SWAN_RANDOM_MATRIX] = {SWAN_BF16, 0, 0.02f}, [SWAN_RANDOM_SMALL] = {SWAN_F32, 0, 0.02f}, [SWAN_RANDOM_ONES] = {SWAN_F32, 1, 0.02f},
    [SWAN_RANDOM_CONV] = {SWAN_F16, 0, 0.03f},    [SWAN_RANDOM_CONV_MID] = {SWAN_F16, 0, 0.06f}, [SWAN_RANDOM_CONV_FEW] = {SWAN_F16, 0, 0.1f},
    [SWAN_RANDOM_CONV_LAST] = {SWAN_F16, 0, 0.002f}, [SWAN_RANDOM_GREY] = {SWAN_F32, 0.5f, 0.02f},
};

/* splitmix64: value n of a seed, whatever was asked before. */
static uint64_t mix(uint64_t seed, uint64_t n)
{
    uint64_t z = seed + (n + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* The sum of four bytes, as a number of mean 0 and deviation 1: about normal, and never beyond 3.46. */
static float normal(uint32_t bits)
{
    int sum = (int)(bits & 255) + (int)(bits >> 8 & 255) + (int)(bits >> 16 & 255) + (int)(bits >> 24);
    return ((float)sum - 510.0f) * (1.0f / 147.80f);
}

static void fill(swan_random_kind kind, uint64_t seed, void *block, size_t bytes)
{
    size_t n = bytes / swan_dtype_bytes(kinds[kind].dtype);
    float mean = kinds[kind].mean, deviation = kinds[kind].deviation;
    for (size_t i = 0; i < n; i++) {
        uint64_t pair = mix(seed + (uint64_t)kind, i / 2);
        float x = mean + deviation * normal((uint32_t)(i % 2 ? pair >> 32 : pair));
        if (kinds[kind].dtype == SWAN_F32) ((float *)block)[i] = x;
        else ((uint16_t *)block)[i] = kinds[kind].dtype == SWAN_BF16 ? swan_f32_to_bf16(x) : swan_f32_to_f16(x);
    }
}

static size_t up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/* Sizes of the file and of the range of addresses. */
static void lay_out(region r[SWAN_RANDOM_KINDS], size_t *file, size_t *range)
{
    *file = *range = 0;
    for (int k = 0; k < SWAN_RANDOM_KINDS; k++) {
        if (!r[k].most) continue;
        r[k].block = up(r[k].most, BLOCK_LEAST) < BLOCK_MOST ? up(r[k].most, BLOCK_LEAST) : BLOCK_MOST;
        r[k].bytes = r[k].block * ((r[k].block + r[k].most + r[k].block - 1) / r[k].block);
        r[k].at = *file;
        r[k].first = *range;
        *file += r[k].block;
        *range += r[k].bytes;
    }
}

/* Fills every block once and lays it over its region as often as it takes. */
static swan_status map_regions(const char *label, const region r[SWAN_RANDOM_KINDS], int fd, size_t file, uint64_t seed, uint8_t *base)
{
    if (ftruncate(fd, (off_t)file)) return SWAN_FAIL(SWAN_E_NOMEM, "%s: no memory for %zu bytes: %s", label, file, strerror(errno));
    for (int k = 0; k < SWAN_RANDOM_KINDS; k++) {
        for (size_t at = 0; at < r[k].bytes; at += r[k].block)
            if (mmap(base + r[k].first + at, r[k].block, PROT_READ | (at ? 0 : PROT_WRITE), MAP_SHARED | MAP_FIXED, fd, (off_t)r[k].at) == MAP_FAILED)
                return SWAN_FAIL(SWAN_E_NOMEM, "%s: cannot be mapped: %s", label, strerror(errno));
        if (!r[k].bytes) continue;
        fill((swan_random_kind)k, seed, base + r[k].first, r[k].block);
        mprotect(base + r[k].first, r[k].block, PROT_READ);
    }
    return SWAN_OK;
}

static swan_status make_tensors(const swan_random_spec *specs, size_t count, swan_shard *shard)
{
    shard->tensors = calloc(count + 1, sizeof *shard->tensors);
    shard->names = calloc(count + 1, sizeof specs->name);
    if (!shard->tensors || !shard->names) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", shard->path);
    for (size_t i = 0; i < count; i++) {
        swan_tensor *t = &shard->tensors[shard->count++];
        char *name = shard->names + i * sizeof specs->name;
        memcpy(name, specs[i].name, sizeof specs->name);
        *t = (swan_tensor){.dtype = kinds[specs[i].kind].dtype, .ndim = specs[i].ndim, .name = name};
        memcpy(t->ne, specs[i].ne, sizeof t->ne);
    }
    return SWAN_OK;
}

static swan_status open_shard(const char *label, const swan_random_spec *specs, size_t count, uint64_t seed, swan_shard *shard)
{
    region regions[SWAN_RANDOM_KINDS] = {0};
    if (!(shard->path = strdup(label))) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", label);
    SWAN_TRY(make_tensors(specs, count, shard));
    for (size_t i = 0; i < count; i++) {
        region *r = &regions[specs[i].kind];
        size_t bytes = swan_tensor_bytes(&shard->tensors[i]);
        if (bytes > r->most) r->most = bytes;
    }
    size_t file, range;
    lay_out(regions, &file, &range);
    void *base = mmap(NULL, range, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return SWAN_FAIL(SWAN_E_NOMEM, "%s: no addresses for %zu bytes: %s", label, range, strerror(errno));
    shard->map = base;
    shard->bytes = range;
    int fd = memfd_create("random weights", MFD_CLOEXEC);
    if (fd < 0) return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: memfd_create: %s", label, strerror(errno));
    swan_status status = map_regions(label, regions, fd, file, seed, base);
    close(fd);
    for (size_t i = 0; i < count; i++) {
        const region *r = &regions[specs[i].kind];
        size_t places = r->block / ALIGN;
        shard->tensors[i].data = (uint8_t *)base + r->first + mix(seed ^ 0x5EED, i) % places * ALIGN;
    }
    return status;
}

swan_status swan_ckpt_random(const char *label, const swan_random_spec *specs, size_t count, uint64_t seed, swan_ckpt **out)
{
    swan_shard *shard = calloc(1, sizeof *shard);
    *out = NULL;
    if (!shard) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", label);
    swan_status status = open_shard(label, specs, count, seed, shard);
    if (status) {
        swan_shard_close(shard);
        free(shard);
        return status;
    }
    return swan_ckpt_take(shard, out);
}
