/* Range requests (RFC 9110, section 14): one range of bytes of a body whose size is known. */
#ifndef SWAN_SERVER_RANGE_H
#define SWAN_SERVER_RANGE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum swan_range_kind {
    SWAN_RANGE_WHOLE,        /* no range, another unit, several ranges or a malformed one: the whole body, as the RFC allows */
    SWAN_RANGE_PART,
    SWAN_RANGE_UNSATISFIABLE /* begins behind the end */
} swan_range_kind;

typedef struct swan_range {
    swan_range_kind kind;
    uint64_t first, length;  /* of a part, or the whole */
} swan_range;

/* header: the value of Range, NULL when there is none. */
swan_range swan_range_parse(const char *header, uint64_t size);
/* Whether a list of entity tags (If-None-Match, "*" included) holds etag, compared weakly. header may be NULL. */
bool swan_range_etag_listed(const char *header, const char *etag);

#endif
