/* GET over libcurl, one transfer at a time: redirects, ranges, proxies by the usual environment variables, and what is worth
 * another attempt. A token goes to the host it is for and to no other, however the redirects lead. */
#ifndef SWAN_HUB_HTTP_H
#define SWAN_HUB_HTTP_H

#include <stdatomic.h>

#include "base/status.h"

#define SWAN_HTTP_URL 4096

typedef struct swan_http swan_http; /* belongs to one thread; keeps connections open between requests */

typedef struct swan_http_config {
    const char *token;          /* NULL: none; borrowed */
    double silence_s;           /* a connection that brings nothing for so long has failed */
    const atomic_bool *cancel;  /* may be NULL; transfers end with SWAN_E_CANCELLED within a second */
    const atomic_bool *stop;    /* the same, for another reason; may be NULL */
} swan_http_config;

/* What the server said; of the last answer when there were redirects. */
typedef struct swan_http_reply {
    long status;              /* HTTP status, 0: none came */
    bool again;               /* it failed in a way that another attempt may cure */
    double wait_s;            /* the wait the server asked for, 0: none */
    bool partial;             /* 206; first and total are from Content-Range */
    uint64_t first;
    bool has_total;           /* total: the size of the whole file */
    uint64_t total;
    bool html;                /* Content-Type says that it is a web page */
    char etag[128];           /* a strong one; "" otherwise */
    char next[SWAN_HTTP_URL]; /* Link: rel="next" */
    char said[160];           /* X-Error-Message, made printable */
} swan_http_reply;

typedef struct swan_http_request {
    const char *url;
    bool with_token;
    uint64_t from;    /* > 0: only the bytes from this one on are wanted */
    const char *etag; /* with from: of the file that the bytes before it came from; NULL or "": not known */
    void *user;
    /* Once, before the first data of a 200 or 206, or at its end when there are none. */
    swan_status (*begin)(void *user, const swan_http_reply *reply);
    swan_status (*data)(void *user, const void *data, size_t bytes);
} swan_http_request;

swan_status swan_http_open(const swan_http_config *config, swan_http **out);
void swan_http_close(swan_http *http); /* NULL is fine */
/* Errors: what begin and data returned; SWAN_E_CANCELLED; SWAN_E_NOT_FOUND (404), SWAN_E_IO (network, other HTTP statuses). */
swan_status swan_http_get(swan_http *http, const swan_http_request *request, swan_http_reply *reply);
/* The whole body of at most limit bytes, with a zero byte after it; the caller frees *text. */
swan_status swan_http_get_text(swan_http *http, const char *url, size_t limit, char **text, size_t *bytes, swan_http_reply *reply);

/* text with everything but letters, digits, "-._~" (and '/' if slash) as %XX. SWAN_E_INVALID when it does not fit. */
swan_status swan_http_escape(const char *text, bool slash, char *out, size_t n);
/* A token may go there: https, or this machine. */
bool swan_http_is_private(const char *url);

#endif
