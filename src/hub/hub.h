/* Published checkpoints in the cache: pull, list, remove. docs/pull.md is the guide, base/cache.h says where models live. */
#ifndef SWAN_HUB_HUB_H
#define SWAN_HUB_HUB_H

#include <stdatomic.h>

#include "base/cache.h"
#include "base/file.h"
#include "hub/listing.h"

typedef enum swan_hub_event_kind {
    SWAN_HUB_START,    /* the plan is made, the first file begins */
    SWAN_HUB_PROGRESS, /* about five times a second */
    SWAN_HUB_FILE,     /* a file is complete and verified */
    SWAN_HUB_RETRY     /* a connection failed; another attempt follows after wait_s */
} swan_hub_event_kind;

typedef struct swan_hub_event {
    swan_hub_event_kind kind;
    const char *repository, *revision;
    const char *text;         /* FILE: its path; RETRY: what happened */
    int files, files_done;
    uint64_t bytes, done;     /* of all files; at hand, with those of earlier runs */
    uint64_t received;        /* in this run */
    double elapsed_s, bytes_per_s, remaining_s; /* remaining_s < 0: unknown */
    double wait_s;
} swan_hub_event;

typedef struct swan_hub_callbacks {
    void *user;
    /* May be NULL. Never called twice at once, but from several threads; strings are borrowed for the call. */
    void (*event)(void *user, const swan_hub_event *event);
} swan_hub_callbacks;

typedef struct swan_hub_options {
    const char *name;          /* alias or name of a published checkpoint, or OWNER/NAME */
    const char *revision;      /* branch, tag or commit; NULL: main */
    const char *taehv;         /* the decoder: NULL: from its own place; "none"; else a file to copy */
    int jobs;                  /* files at a time */
    int retries;               /* failures in a row without a new byte before a file is given up */
    double silence_s;          /* a connection that brings nothing for so long has failed */
    bool update;               /* look for a newer commit although the model is there, and replace it */
    const atomic_bool *cancel; /* may be NULL; what has arrived stays */
} swan_hub_options;

typedef struct swan_hub_model {
    char repository[SWAN_REPOSITORY_MAX], revision[SWAN_COMMIT_TEXT]; /* revision "": not known */
    char directory[SWAN_PATH_MAX];
    uint64_t bytes;  /* of its files; of an incomplete one, what has arrived */
    bool complete;
} swan_hub_model;

/* Pulls a model. The network is asked nothing when it is there and update is false; *already says so.
 * Environment: HF_ENDPOINT, HF_TOKEN, SWAN_TAEHV_URL, http_proxy and its kin. Errors: SWAN_E_INVALID (options, names),
 * SWAN_E_NOT_FOUND, SWAN_E_IO (network, disk), SWAN_E_FORMAT (what came is not what it should be), SWAN_E_CANCELLED. */
swan_status swan_hub_pull(const swan_hub_options *options, const swan_hub_callbacks *callbacks, swan_hub_model *model, bool *already);
/* What is in the cache, sorted by repository, incomplete ones last. The caller frees *models. */
swan_status swan_hub_list(swan_hub_model **models, size_t *count);
/* A pulled or incomplete model by alias, name or OWNER/NAME. SWAN_E_NOT_FOUND. */
swan_status swan_hub_find(const char *name, swan_hub_model *model);
/* Removes a model and what an unfinished pull of it left. Never leaves the cache: links are removed, not followed. SWAN_E_INVALID
 * while a pull of it runs. */
swan_status swan_hub_remove(const char *repository);

#endif
