/* One file from a URL into parts/, resumed where an earlier run stopped, verified by size and hash.
 *
 * parts/NAME@HASH       complete and verified
 * parts/NAME@HASH.part  what has arrived
 * parts/NAME@HASH.etag  the server's entity tag and the size of the file that the .part is of */
#ifndef SWAN_HUB_TRANSFER_H
#define SWAN_HUB_TRANSFER_H

#include "base/file.h"
#include "hub/http.h"
#include "hub/listing.h"

/* What the transfers of one pull share. */
typedef struct swan_transfers {
    swan_http_config http;
    int retries;
    atomic_ullong done;     /* bytes at hand, of all files */
    atomic_ullong received; /* bytes that came over the network in this run */
    atomic_ullong unlisted; /* bytes of files whose size was not known before */
    /* another attempt follows after wait_s; called on the transfer's thread */
    void (*note)(void *user, const char *text, double wait_s);
    void *user;
} swan_transfers;

typedef struct swan_transfer {
    swan_hub_file file;
    char url[SWAN_HTTP_URL];
    bool with_token, size_known;
    char whole[SWAN_PATH_MAX], part[SWAN_PATH_MAX], etag_path[SWAN_PATH_MAX];
    /* while it runs */
    swan_transfers *shared;
    int fd;
    uint64_t at;   /* bytes in the part, all of them hashed */
    uint64_t best; /* the most there ever were: progress is beyond this */
    swan_hash hash;
    char etag[128];
    bool changed;  /* the server's file is not the one that the part is of */
} swan_transfer;

/* Names the files in parts/. unhashed: what stands for the hash when the hub lists none (the commit). */
swan_status swan_transfer_name(swan_transfer *t, const char *parts, const char *unhashed);
/* Bytes at hand, without looking into them. */
uint64_t swan_transfer_present(const swan_transfer *t);
/* Ends with the file at t->whole. t->shared is set; its done counts swan_transfer_present already. */
swan_status swan_transfer_run(swan_transfer *t, swan_http *http);

/* Attempts of one thing: waits and gives SWAN_OK when another one is worth it; else the failure. progress: there was some. */
typedef struct swan_retry {
    int failures;
} swan_retry;
swan_status swan_retry_wait(swan_transfers *shared, swan_retry *retry, const swan_http_reply *reply, bool progress, swan_status failure);

#endif
