/* What a repository holds, from the hub's JSON: the commit of a revision, and the files of that commit. All of it comes from
 * strangers: names that could leave a directory, sizes and counts beyond reason are refused as a whole. */
#ifndef SWAN_HUB_LISTING_H
#define SWAN_HUB_LISTING_H

#include "base/status.h"
#include "hub/hash.h"

#define SWAN_LISTING_PATH 256                     /* longest path, with its terminator */
#define SWAN_LISTING_FILES 20000                  /* most files */
#define SWAN_LISTING_BYTES ((uint64_t)1 << 40)    /* largest file */
#define SWAN_LISTING_TOTAL ((uint64_t)4 << 40)    /* largest sum */
#define SWAN_COMMIT_TEXT 41                       /* a commit's name, with its terminator */

typedef struct swan_hub_file {
    char path[SWAN_LISTING_PATH]; /* "transformer/config.json" */
    uint64_t bytes;
    swan_hash_kind kind;          /* NONE: the hub lists no hash */
    char hash[SWAN_HASH_TEXT];
} swan_hub_file;

typedef struct swan_listing {
    swan_hub_file *files;
    size_t count, room;
    uint64_t total;
} swan_listing;

/* The commit in the answer of GET /api/models/OWNER/NAME/revision/REV. where names the answer in messages. */
swan_status swan_listing_commit(const char *where, const char *text, size_t bytes, char commit[SWAN_COMMIT_TEXT]);
/* Adds one page of GET /api/models/OWNER/NAME/tree/COMMIT?recursive=true. Errors: SWAN_E_FORMAT, SWAN_E_NOMEM. A path that comes
 * twice is found by choose. */
swan_status swan_listing_add(swan_listing *listing, const char *where, const char *text, size_t bytes);
/* Leaves only the files that Swan reads, sorted by path; SWAN_E_NOT_FOUND names a part that is missing. */
swan_status swan_listing_choose(swan_listing *listing, const char *where);
/* The file of this path, or NULL. */
const swan_hub_file *swan_listing_find(const swan_listing *listing, const char *path);
void swan_listing_free(swan_listing *listing);

/* Relative, at most 255 bytes, no empty, "." or ".." segment, no control character. */
bool swan_listing_is_path(const char *path);
/* n hexadecimal digits in lower case. */
bool swan_listing_is_hex(const char *text, size_t n);
/* Copies text without what a terminal could take for a command. */
void swan_listing_printable(const char *text, char *out, size_t n);

#endif
