/* SHA-1 and SHA-256 (FIPS 180-4) of a stream. SHA-1 is for git's names of blobs, which is what hubs list for small files. */
#ifndef SWAN_HUB_HASH_H
#define SWAN_HUB_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef enum swan_hash_kind { SWAN_HASH_NONE, SWAN_HASH_SHA256, SWAN_HASH_GIT_BLOB, SWAN_HASH_SHA1 } swan_hash_kind;

/* Longest hexadecimal form, with its terminator. */
#define SWAN_HASH_TEXT 65

typedef struct swan_hash {
    swan_hash_kind kind;
    uint32_t state[8];
    uint64_t bytes;    /* taken so far */
    uint8_t block[64]; /* the bytes % 64 last ones */
} swan_hash;

/* total: the number of bytes that will come; only a git blob's hash depends on it. NONE takes bytes and gives "". */
void swan_hash_start(swan_hash *h, swan_hash_kind kind, uint64_t total);
void swan_hash_add(swan_hash *h, const void *data, size_t bytes);
/* Lower-case hexadecimal digits; h has to be started again after it. */
void swan_hash_end(swan_hash *h, char text[SWAN_HASH_TEXT]);

#endif
