#include "ckpt/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "ckpt/locate.h"
#include "ckpt/say.h"
#include "ckpt/shard.h"

/* Invariants: 1. tensors[] is grouped by shard, in the shards' order; its data and names live in the shards.
 * 2. sorted[] holds the same tensors by name, no name twice; nothing changes after open. */
struct swan_ckpt {
    char path[SWAN_PATH_MAX];
    swan_shard *shards;
    size_t shard_count;
    swan_tensor *tensors;
    size_t count;
    /* searched by halving rather than hashed: names come from strangers, who can choose colliding ones */
    struct named {
        const swan_tensor *tensor; /* NULL: odd */
        const swan_shard_odd *odd;
        const swan_shard *shard;
        const char *name;
    } * sorted;
    size_t sorted_count; /* tensors and odd ones */
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static const struct named *lookup(const swan_ckpt *c, const char *name)
{
    const struct named key = {.name = name};
    return c->sorted_count ? bsearch(&key, c->sorted, c->sorted_count, sizeof *c->sorted, by_name) : NULL;
}

static swan_status join_shards(swan_ckpt *c)
{
    size_t odd = 0;
    for (size_t s = 0; s < c->shard_count; s++) {
        c->count += c->shards[s].count;
        odd += c->shards[s].odd_count;
    }
    c->tensors = calloc(c->count + 1, sizeof *c->tensors);
    c->sorted = calloc(c->count + odd + 1, sizeof *c->sorted);
    if (!c->tensors || !c->sorted)
        return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory for %zu tensors", c->path, c->count);
    swan_tensor *t = c->tensors;
    struct named *named = c->sorted;
    for (size_t s = 0; s < c->shard_count; s++) {
        const swan_shard *shard = &c->shards[s];
        for (size_t i = 0; i < shard->count; i++) {
            *t = shard->tensors[i];
            *named++ = (struct named){.tensor = t++, .shard = shard, .name = shard->tensors[i].name};
        }
        for (size_t i = 0; i < shard->odd_count; i++)
            *named++ = (struct named){.odd = &shard->odd[i], .shard = shard, .name = shard->odd[i].name};
    }
    c->sorted_count = c->count + odd;
    qsort(c->sorted, c->sorted_count, sizeof *c->sorted, by_name);
    for (size_t i = 1; i < c->sorted_count; i++)
        if (strcmp(c->sorted[i - 1].name, c->sorted[i].name) == 0)
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s is in %s and in %s", c->path, swan_say(c->sorted[i].name).text,
                             swan_path_name(c->sorted[i - 1].shard->path), swan_path_name(c->sorted[i].shard->path));
    return SWAN_OK;
}

/* Every tensor that the index names has to be in the shard that it says. */
static swan_status check_index(const swan_ckpt *c, json_t *weight_map)
{
    const char *name;
    json_t *value;
    json_object_foreach(weight_map, name, value)
    {
        const char *file = json_string_value(value);
        const struct named *found = lookup(c, name);
        if (!found || strcmp(swan_path_name(found->shard->path), file) != 0)
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: says that %s is in %s, which does not hold it", c->path,
                             swan_say(name).text, swan_say(file).text);
    }
    return SWAN_OK;
}

static swan_status open_located(swan_ckpt *c, const swan_located *found)
{
    memcpy(c->path, found->path, sizeof c->path);
    c->shards = calloc(found->count, sizeof *c->shards);
    if (!c->shards) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", c->path);
    for (; c->shard_count < found->count; c->shard_count++)
        SWAN_TRY(swan_shard_open(found->files[c->shard_count], &c->shards[c->shard_count]));
    SWAN_TRY(join_shards(c));
    return found->weight_map ? check_index(c, found->weight_map) : SWAN_OK;
}

swan_status swan_ckpt_open(const char *path, const char *stem, swan_ckpt **out)
{
    *out = NULL;
    swan_ckpt *c = calloc(1, sizeof *c);
    if (!c) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", path);
    swan_located *found = calloc(1, sizeof *found);
    swan_status status = found ? swan_locate(path, stem, found) : SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", path);
    if (status == SWAN_OK) {
        status = open_located(c, found);
        swan_located_free(found);
    }
    free(found);
    if (status == SWAN_OK)
        *out = c;
    else
        swan_ckpt_close(c);
    return status;
}

swan_status swan_ckpt_take(swan_shard *shard, swan_ckpt **out)
{
    *out = NULL;
    swan_ckpt *c = calloc(1, sizeof *c);
    if (!c) {
        swan_shard_close(shard);
        free(shard);
        return SWAN_FAIL(SWAN_E_NOMEM, "checkpoint: out of memory");
    }
    c->shards = shard;
    c->shard_count = 1;
    snprintf(c->path, sizeof c->path, "%s", shard->path);
    swan_status status = join_shards(c);
    if (status == SWAN_OK) *out = c;
    else swan_ckpt_close(c);
    return status;
}

void swan_ckpt_close(swan_ckpt *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->shard_count; i++) swan_shard_close(&c->shards[i]);
    free(c->shards);
    free(c->tensors);
    free(c->sorted);
    free(c);
}

size_t swan_ckpt_count(const swan_ckpt *c) { return c->count; }

const swan_tensor *swan_ckpt_at(const swan_ckpt *c, size_t i) { return i < c->count ? &c->tensors[i] : NULL; }

const swan_tensor *swan_ckpt_find(const swan_ckpt *c, const char *name)
{
    const struct named *found = lookup(c, name);
    return found ? found->tensor : NULL;
}

swan_status swan_ckpt_need(const swan_ckpt *c, const char *name, const swan_tensor **out)
{
    const struct named *found = lookup(c, name);
    if (!found) return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: wanted the tensor %s, not found", c->path, swan_say(name).text);
    if (!found->tensor)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: %s: wanted a tensor of F32, BF16 or F16, found %s",
                         found->shard->path, swan_say(name).text, found->odd->why);
    *out = found->tensor;
    return SWAN_OK;
}

const char *swan_ckpt_unsupported_at(const swan_ckpt *c, size_t i, const char **why)
{
    for (size_t s = 0; s < c->shard_count; s++) {
        const swan_shard *shard = &c->shards[s];
        if (i < shard->odd_count) {
            if (why) *why = shard->odd[i].why;
            return shard->odd[i].name;
        }
        i -= shard->odd_count;
    }
    return NULL;
}

const char *swan_ckpt_path(const swan_ckpt *c) { return c->path; }

const char *swan_ckpt_file(const swan_ckpt *c, const swan_tensor *t)
{
    const struct named *found = t->name ? lookup(c, t->name) : NULL;
    return found ? found->shard->path : c->path;
}

uint64_t swan_ckpt_mapped_bytes(const swan_ckpt *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < c->shard_count; i++) sum += c->shards[i].bytes;
    return sum;
}

uint64_t swan_ckpt_copied_bytes(const swan_ckpt *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < c->shard_count; i++) sum += c->shards[i].copied_bytes;
    return sum;
}

const char *swan_ckpt_metadata(const swan_ckpt *c, const char *key)
{
    for (size_t i = 0; i < c->shard_count; i++) {
        const char *value = json_string_value(json_object_get(c->shards[i].metadata, key));
        if (value) return value;
    }
    return NULL;
}

swan_status swan_ckpt_read_f32(const swan_tensor *t, float *dst)
{
    int64_t n = swan_tensor_count(t);
    if (n == 0) return SWAN_OK;
    switch (t->dtype) {
    case SWAN_F32: memcpy(dst, t->data, (size_t)n * sizeof *dst); return SWAN_OK;
    case SWAN_F16:
        for (int64_t i = 0; i < n; i++) dst[i] = swan_f16_to_f32(((const uint16_t *)t->data)[i]);
        return SWAN_OK;
    case SWAN_BF16:
        for (int64_t i = 0; i < n; i++) dst[i] = swan_bf16_to_f32(((const uint16_t *)t->data)[i]);
        return SWAN_OK;
    case SWAN_F64:
        for (int64_t i = 0; i < n; i++) dst[i] = (float)((const double *)t->data)[i];
        return SWAN_OK;
    default:
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: wanted F32, BF16, F16 or F64, found %s",
                         t->name ? swan_say(t->name).text : "tensor", swan_dtype_name(t->dtype));
    }
}
