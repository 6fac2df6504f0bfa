#include "server/range.h"

#include <string.h>

/* Decimal digits at *at; false when there are none or they are more than 18. */
static bool take_number(const char **at, uint64_t *out)
{
    size_t n = strspn(*at, "0123456789");
    if (!n || n > 18) return false;
    *out = 0;
    for (size_t i = 0; i < n; i++) *out = *out * 10 + (uint64_t)((*at)[i] - '0');
    *at += n;
    return true;
}

swan_range swan_range_parse(const char *header, uint64_t size)
{
    const swan_range whole = {SWAN_RANGE_WHOLE, 0, size}, none = {SWAN_RANGE_UNSATISFIABLE, 0, 0};
    if (!header || strncmp(header, "bytes=", 6) != 0) return whole;
    const char *at = header + 6;
    uint64_t first, last;
    if (*at == '-') { /* the last n bytes */
        at++;
        if (!take_number(&at, &last) || *at) return whole;
        if (!last || !size) return none;
        if (last > size) last = size;
        return (swan_range){SWAN_RANGE_PART, size - last, last};
    }
    if (!take_number(&at, &first) || *at++ != '-') return whole;
    if (!*at) last = UINT64_MAX;
    else if (!take_number(&at, &last) || *at || last < first) return whole;
    if (first >= size) return none;
    if (last >= size) last = size - 1;
    return (swan_range){SWAN_RANGE_PART, first, last - first + 1};
}

bool swan_range_etag_listed(const char *header, const char *etag)
{
    size_t n = strlen(etag);
    for (const char *at = header; at && *at;) {
        at += strspn(at, " \t,");
        if (*at == '*') return true;
        if (!strncmp(at, "W/", 2)) at += 2;
        if (!strncmp(at, etag, n) && (!at[n] || strchr(" \t,", at[n]))) return true;
        at += strcspn(at, ",");
    }
    return false;
}
