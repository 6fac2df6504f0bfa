/* One safetensors file, mapped and checked. Internal to ckpt: the rest of Swan sees sets of them (ckpt/safetensors.h). */
#ifndef SWAN_CKPT_SHARD_H
#define SWAN_CKPT_SHARD_H

#include <jansson.h>

#include "base/status.h"
#include "tensor/tensor.h"

/* A tensor that is well-formed but that no view of ours can describe. */
typedef struct swan_shard_odd {
    const char *name;
    char why[48];
} swan_shard_odd;

typedef struct swan_shard {
    char *path;
    void *map; /* the whole file; NULL when not mapped */
    size_t bytes;
    json_t *metadata; /* object of strings; NULL when there is none */
    swan_tensor *tensors; /* in the order of their data */
    size_t count;
    swan_shard_odd *odd;
    size_t odd_count;
    char *names; /* all names, each with its zero */
    void *copies;
    size_t copied_bytes; /* tensors whose data is not aligned in the file */
} swan_shard;

/* *shard is closed again on failure. */
swan_status swan_shard_open(const char *path, swan_shard *shard);
void swan_shard_close(swan_shard *shard);

struct swan_ckpt;
/* A checkpoint of this one shard (from malloc), which it owns from now on, also when this fails. */
swan_status swan_ckpt_take(swan_shard *shard, struct swan_ckpt **out);

#endif
