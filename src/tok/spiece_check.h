/* A look at a SentencePiece model file before the library reads it: the library trusts the file, and some damaged ones
 * make it read outside its arrays or end the process. */
#ifndef SWAN_TOK_SPIECE_CHECK_H
#define SWAN_TOK_SPIECE_CHECK_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* UMT5's file has 4.5 MB. */
#define SWAN_SPIECE_MAX_BYTES (64u << 20)

typedef struct swan_spiece_info {
    int pieces;         /* ids are 0 .. pieces - 1 */
    int unk;            /* the one piece of type UNKNOWN */
    int eos;            /* the end-of-sequence piece, of type CONTROL */
    bool byte_fallback; /* unknown characters become byte pieces */
} swan_spiece_info;

/* Checks a serialised sentencepiece.ModelProto of size bytes, called name in messages; fills *info.
 * SWAN_E_FORMAT: the message has the byte offset, what was wanted and what was found. SWAN_E_UNSUPPORTED: a valid model
 * of another kind than unigram. SWAN_E_NOMEM.
 *
 * After SWAN_OK: the protobuf structure is whole; pieces are unique, not empty, UTF-8 without NUL, of known type and
 * finite score, exactly one is unknown, byte pieces are complete or absent; in the normalisers, no walk in the double
 * array can leave it, no walk yields more results than the library has room for, every replacement is NUL-terminated
 * UTF-8. */
swan_status swan_spiece_check(const void *data, size_t size, const char *name, swan_spiece_info *info);

/* The part of it for a normaliser's precompiled_charsmap: size bytes at data, which lie at offset `at` of the file. */
swan_status swan_charsmap_check(const unsigned char *data, size_t size, size_t at, const char *name);

#ifdef __cplusplus
}
#endif
#endif
