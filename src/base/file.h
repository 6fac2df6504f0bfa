/* Files: small queries, and output that appears whole or not at all. A writer makes the name of a temporary file beside its
 * target, writes it, and then commits (flush to disk, rename over the target) or discards it. */
#ifndef SWAN_BASE_FILE_H
#define SWAN_BASE_FILE_H

#include <stdio.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Longest path, with its terminator, that Swan handles. */
#define SWAN_PATH_MAX 4096

bool swan_file_exists(const char *path); /* anything at all, of any kind */
bool swan_file_is_directory(const char *path);
/* Bytes of a regular file. SWAN_E_NOT_FOUND, SWAN_E_IO (cannot be asked), SWAN_E_INVALID (a directory, a device, …). */
swan_status swan_file_size(const char *path, uint64_t *bytes);
/* Opens a regular file for reading, size in *bytes (may be NULL). Fails as swan_file_size does; directories are named so. */
swan_status swan_file_open_read(const char *path, int *fd, uint64_t *bytes);
/* The whole of a regular file of at most limit bytes, with a zero byte after it; the caller frees *data. */
swan_status swan_file_read(const char *path, size_t limit, char **data, size_t *bytes);

/* "directory/name" in buf (n bytes); a directory of "" gives name alone. SWAN_E_INVALID when it does not fit. */
swan_status swan_path_join(const char *directory, const char *name, char *buf, size_t n);
/* The part of path after its last '/'; borrowed from path. */
const char *swan_path_name(const char *path);
/* The directory of path ("." when it has none) in buf. SWAN_E_INVALID when it does not fit. */
swan_status swan_path_directory(const char *path, char *buf, size_t n);

/* Makes an empty file with a fresh name beside `final`, with the same ending (so that a muxer that goes by the ending works),
 * and gives its path in buf (n bytes). Fails now, before any work, when the directory is missing or cannot be written, or
 * final is a directory. The file gets the permissions that a file newly made by the process would have. */
swan_status swan_file_temp_path(const char *final, char *buf, size_t n);
/* Flushes temp to disk and renames it to final, replacing what was there. On failure temp is removed. */
swan_status swan_file_commit(const char *temp, const char *final);
/* Removes temp; nothing happens when it is not there. */
void swan_file_discard(const char *temp);

/* The same with a C stream: begin opens, write appends (a full disk is SWAN_E_IO naming the final path), then commit or abort,
 * exactly one of them, which ends the writer in either case. */
typedef struct swan_file {
    FILE *stream;
    char final[SWAN_PATH_MAX], temp[SWAN_PATH_MAX];
} swan_file;
swan_status swan_file_begin(swan_file *f, const char *final);
swan_status swan_file_write(swan_file *f, const void *data, size_t bytes);
swan_status swan_file_end(swan_file *f); /* commit */
void swan_file_abort(swan_file *f); /* fine after a failed begin as well */

#ifdef __cplusplus
}
#endif
#endif
