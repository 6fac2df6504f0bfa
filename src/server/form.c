#include "server/form.h"

#include <string.h>
#include <strings.h>

enum { BOUNDARY_MAX = 70, PARTS_MAX = 64 }; /* RFC 2046's bound; far more parts than there are fields */

bool swan_form_is(const char *type)
{
    static const char form[] = "multipart/form-data";
    size_t n = sizeof form - 1;
    return type && !strncasecmp(type, form, n) && (!type[n] || strchr("; \t", type[n]));
}

/* Bytes of a body: not zero-terminated. */
typedef struct span {
    const char *at;
    size_t n;
} span;

/* Where needle begins in s; s.n when it does not. */
static size_t find(span s, const char *needle, size_t n)
{
    for (size_t i = 0; n && i + n <= s.n; i++) {
        const char *first = memchr(s.at + i, needle[0], s.n - n - i + 1);
        if (!first) break;
        i = (size_t)(first - s.at);
        if (!memcmp(first, needle, n)) return i;
    }
    return s.n;
}

/* The value of name=value or name="value" among the parameters of a header's value; n 0: not there, or empty. */
static span parameter(span header, const char *name)
{
    size_t length = strlen(name);
    bool quoted = false;
    for (size_t i = 0; i < header.n; i++) {
        if (header.at[i] == '"') quoted = !quoted;
        if (quoted || header.at[i] != ';') continue;
        size_t at = i + 1;
        while (at < header.n && (header.at[at] == ' ' || header.at[at] == '\t')) at++;
        if (header.n - at <= length || strncasecmp(header.at + at, name, length) != 0 || header.at[at + length] != '=') continue;
        at += length + 1;
        bool marks = at < header.n && header.at[at] == '"';
        size_t end = at += marks;
        while (end < header.n && (marks ? header.at[end] != '"' : !strchr("; \t\r\n", header.at[end]))) end++;
        return (span){header.at + at, end - at};
    }
    return (span){0};
}

/* The value of Content-Disposition among the header lines of a part. */
static span disposition(span headers)
{
    static const char name[] = "content-disposition:";
    while (headers.n) {
        size_t line = find(headers, "\r\n", 2), skip = line + 2 < headers.n ? line + 2 : headers.n;
        if (line > sizeof name - 1 && !strncasecmp(headers.at, name, sizeof name - 1))
            return (span){headers.at + sizeof name - 1, line - (sizeof name - 1)};
        headers = (span){headers.at + skip, headers.n - skip};
    }
    return (span){0};
}

/* Headers, an empty line, content. */
static bool take_part(json_t *fields, span part)
{
    size_t blank = find(part, "\r\n\r\n", 4);
    if (blank == part.n) return false;
    span header = disposition((span){part.at, blank}), name = parameter(header, "name"), content = {part.at + blank + 4, part.n - blank - 4};
    bool file = parameter(header, "filename").at != NULL;
    char key[128];
    if (!name.n || name.n >= sizeof key || memchr(name.at, 0, name.n)) return false;
    memcpy(key, name.at, name.n);
    key[name.n] = 0;
    if (json_object_get(fields, key)) return false;
    if (!file && memchr(content.at, 0, content.n)) return false;
    return json_object_set_new(fields, key, json_stringn(file ? "" : content.at, file ? 0 : content.n)) == 0;
}

/* The delimiter "\r\n--boundary" in buf; its length, 0: no usable boundary. */
static size_t read_delimiter(const char *type, char buf[BOUNDARY_MAX + 5])
{
    span boundary = parameter((span){type, strlen(type)}, "boundary");
    if (!boundary.n || boundary.n > BOUNDARY_MAX) return 0;
    memcpy(buf, "\r\n--", 4);
    memcpy(buf + 4, boundary.at, boundary.n);
    return 4 + boundary.n;
}

static bool take_parts(json_t *fields, const char *delimiter, size_t n, span rest)
{
    if (rest.n < n - 2 || memcmp(rest.at, delimiter + 2, n - 2) != 0) return false; /* the first one begins the body */
    rest = (span){rest.at + n - 2, rest.n - (n - 2)};
    for (int parts = 0; parts <= PARTS_MAX; parts++) {
        if (rest.n >= 2 && !memcmp(rest.at, "--", 2)) return true;
        if (rest.n < 2 || memcmp(rest.at, "\r\n", 2) != 0) return false;
        rest = (span){rest.at + 2, rest.n - 2};
        size_t end = find(rest, delimiter, n);
        if (end == rest.n || !take_part(fields, (span){rest.at, end})) return false;
        rest = (span){rest.at + end + n, rest.n - end - n};
    }
    return false;
}

json_t *swan_form_parse(const char *type, const char *body, size_t bytes)
{
    char delimiter[BOUNDARY_MAX + 5];
    size_t n = swan_form_is(type) ? read_delimiter(type, delimiter) : 0;
    json_t *fields = n ? json_object() : NULL;
    if (fields && take_parts(fields, delimiter, n, (span){body, bytes})) return fields;
    json_decref(fields);
    return NULL;
}
