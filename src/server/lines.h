/* JSON objects, one a line, over a stream socket: how a server and its worker talk. A line has an upper length, so that neither
 * side can make the other grow. */
#ifndef SWAN_SERVER_LINES_H
#define SWAN_SERVER_LINES_H

#include <jansson.h>

#include "base/status.h"

typedef struct swan_lines {
    int fd;
    size_t limit;      /* of a line, in bytes */
    char *buffer;
    size_t used, taken, capacity; /* bytes read; of these, given out */
} swan_lines;

void swan_lines_open(swan_lines *l, int fd, size_t limit);
/* Frees the buffer; the descriptor stays open. */
void swan_lines_close(swan_lines *l);
/* One read(2). *ended: the other side is gone. SWAN_E_FORMAT: a line longer than the limit. */
swan_status swan_lines_fill(swan_lines *l, bool *ended);
/* The next whole line as an object, NULL when there is none yet. SWAN_E_FORMAT: no JSON object. The caller owns *out. */
swan_status swan_lines_next(swan_lines *l, json_t **out);
/* Sends message and drops the caller's reference (NULL: out of memory). Blocks until it is with the system. SWAN_E_IO: nobody is there. */
swan_status swan_lines_send(int fd, json_t *message);

/* Values of a message, with what to take when they are not there. Text is borrowed. */
const char *swan_lines_text(const json_t *message, const char *key, const char *otherwise);
double swan_lines_number(const json_t *message, const char *key, double otherwise);

#endif
