/* From what a person names (a file, an index, a directory) to the files of one checkpoint. Internal to ckpt. */
#ifndef SWAN_CKPT_LOCATE_H
#define SWAN_CKPT_LOCATE_H

#include <jansson.h>

#include "base/file.h"
#include "base/status.h"

typedef struct swan_located {
    char path[SWAN_PATH_MAX]; /* the file or index that was chosen; the directory for a set without index */
    char **files; /* paths, sorted by name, each once */
    size_t count;
    json_t *weight_map; /* tensor name -> file name; NULL without an index */
} swan_located;

/* Contract and errors of swan_ckpt_open, as far as the files' names and the index go. *found is freed again on failure. */
swan_status swan_locate(const char *path, const char *stem, swan_located *found);
void swan_located_free(swan_located *found);

#endif
