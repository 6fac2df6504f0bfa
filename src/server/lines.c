#include "server/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 65536 };

void swan_lines_open(swan_lines *l, int fd, size_t limit) { *l = (swan_lines){.fd = fd, .limit = limit}; }

void swan_lines_close(swan_lines *l)
{
    free(l->buffer);
    *l = (swan_lines){.fd = -1};
}

swan_status swan_lines_fill(swan_lines *l, bool *ended)
{
    *ended = false;
    if (l->taken) {
        memmove(l->buffer, l->buffer + l->taken, l->used - l->taken);
        l->used -= l->taken;
        l->taken = 0;
    }
    if (l->used > l->limit) return SWAN_FAIL(SWAN_E_FORMAT, "a message of more than %zu bytes", l->limit);
    if (l->capacity - l->used < READ_BYTES) {
        size_t capacity = l->used + 2 * READ_BYTES;
        char *buffer = realloc(l->buffer, capacity);
        if (!buffer) return SWAN_FAIL(SWAN_E_NOMEM, "messages: out of memory");
        l->buffer = buffer;
        l->capacity = capacity;
    }
    ssize_t n = read(l->fd, l->buffer + l->used, READ_BYTES);
    if (n > 0) l->used += (size_t)n;
    else if (n == 0 || (errno != EINTR && errno != EAGAIN)) *ended = true;
    return SWAN_OK;
}

swan_status swan_lines_next(swan_lines *l, json_t **out)
{
    *out = NULL;
    char *begin = l->buffer ? l->buffer + l->taken : NULL;
    char *end = begin ? memchr(begin, '\n', l->used - l->taken) : NULL;
    if (!end) return SWAN_OK;
    json_error_t error;
    json_t *o = json_loadb(begin, (size_t)(end - begin), 0, &error);
    l->taken = (size_t)(end + 1 - l->buffer);
    if (json_is_object(o)) {
        *out = o;
        return SWAN_OK;
    }
    json_decref(o);
    return SWAN_FAIL(SWAN_E_FORMAT, "a message that is no JSON object: %s", o ? "another value" : error.text);
}

swan_status swan_lines_send(int fd, json_t *message)
{
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (!text) return SWAN_FAIL(SWAN_E_NOMEM, "messages: out of memory");
    size_t length = strlen(text), sent = 0;
    text[length++] = '\n'; /* in place of the final zero */
    while (sent < length) {
        ssize_t n = send(fd, text + sent, length - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        sent += (size_t)n;
    }
    int error = errno;
    free(text);
    return sent == length ? SWAN_OK : SWAN_FAIL(SWAN_E_IO, "messages: %s", strerror(error));
}

const char *swan_lines_text(const json_t *message, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(message, key));
    return text ? text : otherwise;
}

double swan_lines_number(const json_t *message, const char *key, double otherwise)
{
    const json_t *value = json_object_get(message, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}
