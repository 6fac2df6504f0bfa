/* Names of models, and where pulled ones live: CACHE/models/OWNER/NAME, a directory that is there whole or not at all (src/hub
 * puts it there). CACHE is $SWAN_CACHE, else $XDG_CACHE_HOME/swan, else $HOME/.cache/swan. */
#ifndef SWAN_BASE_CACHE_H
#define SWAN_BASE_CACHE_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Longest "OWNER/NAME", with its terminator. */
#define SWAN_REPOSITORY_MAX 200

/* A checkpoint that Swan is made for. */
typedef struct swan_published {
    const char *alias;      /* "fastwan-qad" */
    const char *repository; /* "FastVideo/FastWan-QAD-1.3B" */
    const char *summary;
    const char *recipe;     /* how it runs: a JSON object of swan.json's keys (docs/checkpoints.md) */
} swan_published;

/* The i-th one; NULL past the end. */
const swan_published *swan_cache_published(size_t i);
/* The one that is called so, by alias, name or repository; NULL: none. */
const swan_published *swan_cache_find_published(const char *name);

/* "OWNER/NAME", both of letters, digits, '-', '_' and '.', beginning with a letter or digit, at most 96 each; no "..". */
bool swan_cache_is_repository(const char *text);
/* CACHE/models in buf (n bytes). SWAN_E_INVALID: no variable says where, or the path is too long. */
swan_status swan_cache_models(char *buf, size_t n);
/* The directory where a repository's model is, or would be. SWAN_E_INVALID also for what is no repository. */
swan_status swan_cache_place(const char *repository, char *directory, size_t n);
/* The repository of a pulled model from an alias, NAME or OWNER/NAME; its directory exists. SWAN_E_NOT_FOUND; SWAN_E_INVALID
 * for a NAME that several owners have. repository holds SWAN_REPOSITORY_MAX bytes. */
swan_status swan_cache_find(const char *name, char *repository);

#ifdef __cplusplus
}
#endif
#endif
