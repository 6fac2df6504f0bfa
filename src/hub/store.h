/* The cache on disk. Invariants:
 * 1. models/OWNER/NAME appears by one rename, of a tree in which every file is verified and flushed.
 * 2. All that is unfinished lies in models/OWNER/.NAME.partial, whose parts/ are named by path and content, so that another
 *    commit of the same file never continues it.
 * 3. Only the holder of models/OWNER/.NAME.lock touches either.
 * 4. Files of a model may be hard links to those of another one: nothing here writes into a file of a model. */
#ifndef SWAN_HUB_STORE_H
#define SWAN_HUB_STORE_H

#include "hub/hub.h"

typedef struct swan_store {
    char repository[SWAN_REPOSITORY_MAX];
    char owner[SWAN_PATH_MAX], directory[SWAN_PATH_MAX], partial[SWAN_PATH_MAX], parts[SWAN_PATH_MAX], tree[SWAN_PATH_MAX];
    char replaced[SWAN_PATH_MAX], removed[SWAN_PATH_MAX], lock[SWAN_PATH_MAX];
    int lock_fd; /* -1: not held */
} swan_store;

/* Paths and lock; a replacement or removal that was cut short is put right. SWAN_E_INVALID when another process holds the lock. */
swan_status swan_store_open(const char *repository, swan_store *store);
void swan_store_close(swan_store *store);

/* Bytes free for this user where the cache is. */
swan_status swan_store_space(const swan_store *store, uint64_t *bytes);
/* Puts the tree in the model's place, with the model that may be there removed, and removes what is unfinished. */
swan_status swan_store_commit(swan_store *store);
/* Removes everything below path, and path; links are not followed. Nothing happens when it is not there. */
swan_status swan_store_remove(const char *path);
/* Makes a directory and those above it. */
swan_status swan_store_make_directories(const char *path);

/* pull.json: where a model came from. */
typedef struct swan_manifest {
    char source[SWAN_REPOSITORY_MAX], revision[SWAN_COMMIT_TEXT];
    swan_listing files;
} swan_manifest;
swan_status swan_manifest_write(const char *directory, const swan_manifest *manifest);
/* SWAN_E_NOT_FOUND, SWAN_E_FORMAT. Freed by swan_listing_free(&manifest->files). */
swan_status swan_manifest_read(const char *directory, swan_manifest *manifest);
/* swan.json, which the recipe rules and the decoder's place are read from. taehv may be NULL. */
swan_status swan_store_write_recipe(const char *directory, const swan_manifest *manifest, const char *taehv);

#endif
