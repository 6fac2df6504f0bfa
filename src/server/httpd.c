/* Invariants
 * 1. A connection is in `tracked` from its start to its end, and its socket is open all that time; whoever holds track_lock may
 *    shut it down.
 * 2. `reading_since` is when the connection began, or ended its last answer, while a request is awaited or read; 0 while one is
 *    answered. A connection that is still reading request_s later is ended, however busily it sends.
 * 3. A request is freed in on_completed alone, after it has left the waiters. */
#include "server/httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/form.h"

enum { THREADS = 16, HEADER_BYTES = 32768, BACKLOG = 128, LAST_WORDS_MS = 3000,
       DISCARD = 4 /* bodies are read and dropped up to so many times the limit */ };

struct swan_tracked {
    int fd;
    double reading_since;
    swan_tracked *next, *previous;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- replies ---- */

static const char json_mime[] = "application/json";

static swan_reply reply_owned(unsigned status, const char *type, char *text)
{
    swan_reply reply = {status, text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE) : NULL};
    if (text && !reply.response) free(text);
    swan_reply_header(&reply, "Content-Type", "%s", type);
    swan_reply_header(&reply, "Cache-Control", "no-store");
    return reply;
}

swan_reply swan_reply_json(unsigned status, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    return reply_owned(status, json_mime, text);
}

swan_reply swan_reply_error(const swan_api_error *e) { return swan_reply_json(e->status, swan_api_error_json(e)); }

swan_reply swan_reply_text(unsigned status, const char *type, const char *text) { return reply_owned(status, type, strdup(text)); }

void swan_reply_header(const swan_reply *reply, const char *name, const char *format, ...)
{
    char value[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    if (reply->response) MHD_add_response_header(reply->response, name, value);
}

swan_reply swan_reply_failure(void)
{
    swan_api_error e;
    fprintf(stderr, "swan serve: %s\n", swan_last_error());
    swan_api_fail(&e, 500, "storage_failed", NULL, "the server could not read or write its job store");
    return swan_reply_error(&e);
}

/* ---- requests ---- */

const char *swan_request_header(const swan_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *swan_request_argument(const swan_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

static bool is_type(const char *header, const char *type)
{
    size_t n = strlen(type);
    return header && !strncasecmp(header, type, n) && (!header[n] || strchr("; \t", header[n]));
}

const json_t *swan_request_fields(swan_request *r, swan_api_error *e)
{
    const char *type = swan_request_header(r, "Content-Type");
    if (r->body_bytes > r->http->config->body_max) {
        swan_api_fail(e, 413, "body_too_large", NULL, "the body: at most %lld bytes", (long long)r->http->config->body_max);
        return NULL;
    }
    json_decref(r->fields);
    r->fields = NULL;
    if (swan_form_is(type)) {
        r->fields = swan_form_parse(type, r->body ? r->body : "", r->body ? (size_t)r->body_bytes : 0);
        if (!r->fields) swan_api_fail(e, 400, "invalid_form", NULL, "the body: not a whole form, a field twice, or not UTF-8");
        return r->fields;
    }
    if (!is_type(type, json_mime)) {
        swan_api_fail(e, 415, "unsupported_media_type", NULL, "Content-Type: wanted application/json or multipart/form-data");
        return NULL;
    }
    json_error_t error;
    r->fields = json_loadb(r->body ? r->body : "", r->body ? (size_t)r->body_bytes : 0, JSON_REJECT_DUPLICATES, &error);
    if (!r->fields) swan_api_fail(e, 400, "invalid_json", NULL, "the body: line %d, column %d: %s", error.line, error.column, error.text);
    return r->fields;
}

/* Keeps the body; beyond the limit only counts. False: end the connection. */
static bool take_body(swan_request *r, const char *data, size_t size)
{
    int64_t max = r->http->config->body_max, before = r->body_bytes;
    r->body_bytes += (int64_t)size;
    if (r->has_refusal || r->body_bytes > max) return r->body_bytes <= DISCARD * max;
    char *body = realloc(r->body, (size_t)r->body_bytes);
    if (!body) return false;
    memcpy(body + before, data, size);
    r->body = body;
    return true;
}

static void refuse(swan_request *r, unsigned status, const char *code, const char *message)
{
    if (r->has_refusal) return;
    r->has_refusal = true;
    swan_api_fail(&r->refusal, status, code, NULL, "%s", message);
}

/* Everything that the headers decide. */
static void check_headers(swan_request *r, const char *path)
{
    const swan_guard *g = &r->http->guard;
    const char *host = swan_request_header(r, "Host"), *origin = swan_request_header(r, "Origin");
    r->route = swan_routes_find(r->method, path, r->id, r->allow);
    bool known = r->route || r->allow[0];
    if (!swan_guard_host_ok(g, host)) refuse(r, 403, "host_not_allowed", "Host: this server does not go by that name (see --allow-host)");
    if (!strcmp(r->method, "OPTIONS") && known) {
        if (!swan_guard_origin_named(g, origin)) refuse(r, 403, "origin_not_allowed", "Origin: not one that may call this server (see --cors-origin)");
        return;
    }
    if (!r->route && known) refuse(r, 405, "method_not_allowed", "this path has other methods");
    if (!r->route) refuse(r, 404, "not_found", "there is nothing at this path");
    if (r->route && r->route->changes && !swan_guard_origin_ok(g, host, origin, swan_request_header(r, "Sec-Fetch-Site")))
        refuse(r, 403, "origin_not_allowed", "Origin: not one that may call this server (see --cors-origin)");
    if (r->route && !r->route->open && !swan_guard_key_ok(g, swan_request_header(r, "Authorization")))
        refuse(r, 401, "invalid_api_key", "Authorization: wanted \"Bearer KEY\" with a key of this server");
}

static swan_request *new_request(swan_httpd *h, struct MHD_Connection *connection, const char *path, const char *method)
{
    swan_request *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->http = h;
    r->connection = connection;
    snprintf(r->method, sizeof r->method, "%s", method);
    check_headers(r, path);
    return r;
}

static bool body_hopeless(const swan_request *r)
{
    const char *length = swan_request_header(r, "Content-Length");
    return length && (strlen(length) > 18 || strtoll(length, NULL, 10) > DISCARD * r->http->config->body_max);
}

/* ---- connections ---- */

static void set_reading(swan_httpd *h, struct MHD_Connection *connection, bool reading)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    swan_tracked *t = info ? info->socket_context : NULL;
    if (!t) return;
    pthread_mutex_lock(&h->track_lock);
    t->reading_since = reading ? now_s() : 0;
    pthread_mutex_unlock(&h->track_lock);
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode code)
{
    swan_httpd *h = user;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        swan_tracked *t = calloc(1, sizeof *t);
        *context = t;
        if (!t) return;
        t->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        t->reading_since = now_s();
        pthread_mutex_lock(&h->track_lock);
        t->next = h->tracked;
        if (t->next) t->next->previous = t;
        h->tracked = t;
        pthread_mutex_unlock(&h->track_lock);
        return;
    }
    swan_tracked *t = *context;
    if (!t) return;
    pthread_mutex_lock(&h->track_lock);
    if (t->previous) t->previous->next = t->next;
    else h->tracked = t->next;
    if (t->next) t->next->previous = t->previous;
    pthread_mutex_unlock(&h->track_lock);
    *context = NULL;
    free(t);
}

void swan_httpd_tick(swan_httpd *h)
{
    double now = now_s();
    pthread_mutex_lock(&h->track_lock);
    for (swan_tracked *t = h->tracked; t; t = t->next) {
        if (!(t->reading_since > 0) || now - t->reading_since < h->config->request_s) continue;
        shutdown(t->fd, SHUT_RDWR);
        t->reading_since = now; /* once is enough; the server's threads do the rest */
        atomic_fetch_add(&h->deadlines, 1);
    }
    pthread_mutex_unlock(&h->track_lock);
}

/* ---- answering ---- */

static enum MHD_Result send_reply(swan_request *r, swan_reply reply)
{
    const char *origin = swan_request_header(r, "Origin");
    if (!reply.response) {
        reply.status = 500;
        reply.response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
        if (!reply.response) return MHD_NO;
    }
    swan_reply_header(&reply, "X-Content-Type-Options", "nosniff");
    swan_reply_header(&reply, "Referrer-Policy", "no-referrer");
    if (r->http->guard.origins) swan_reply_header(&reply, "Vary", "Origin");
    if (swan_guard_origin_named(&r->http->guard, origin)) {
        swan_reply_header(&reply, "Access-Control-Allow-Origin", "%s", origin);
        swan_reply_header(&reply, "Access-Control-Expose-Headers", "openai-poll-after-ms, Retry-After, x-video-id");
    } else {
        swan_reply_header(&reply, "Cross-Origin-Resource-Policy", "same-origin");
    }
    atomic_fetch_add(&r->http->replies[reply.status / 100 % 6], 1);
    enum MHD_Result result = MHD_queue_response(r->connection, reply.status, reply.response);
    MHD_destroy_response(reply.response);
    return result;
}

static swan_reply preflight(void)
{
    swan_reply reply = swan_reply_text(204, "text/plain", "");
    swan_reply_header(&reply, "Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE");
    swan_reply_header(&reply, "Access-Control-Allow-Headers", "Authorization, Content-Type, Range");
    swan_reply_header(&reply, "Access-Control-Max-Age", "600");
    return reply;
}

static enum MHD_Result answer(swan_request *r)
{
    swan_reply reply;
    if (r->waits) reply = swan_sync_go_on(r);
    else if (r->has_refusal) reply = swan_reply_error(&r->refusal);
    else if (!strcmp(r->method, "OPTIONS")) reply = preflight();
    else reply = r->route->answer(r);
    if (r->waits && !reply.response) return MHD_YES; /* suspended */
    if (r->has_refusal && r->refusal.status == 401) swan_reply_header(&reply, "WWW-Authenticate", "Bearer");
    if (r->has_refusal && r->refusal.status == 405) swan_reply_header(&reply, "Allow", "%s", r->allow);
    return send_reply(r, reply);
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                  const char *data, size_t *size, void **context)
{
    swan_httpd *h = user;
    swan_request *r = *context;
    (void)version;
    if (!r) {
        *context = r = new_request(h, connection, url, method);
        if (!r) return MHD_NO;
        if (!body_hopeless(r)) return MHD_YES;
        set_reading(h, connection, false);
        refuse(r, 413, "body_too_large", "the body: far larger than this server takes");
        return send_reply(r, swan_reply_error(&r->refusal));
    }
    if (*size) {
        bool go_on = take_body(r, data, *size);
        *size = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    set_reading(h, connection, false);
    return answer(r);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode code)
{
    swan_httpd *h = user;
    swan_request *r = *context;
    (void)code;
    set_reading(h, connection, true);
    if (!r) return;
    swan_events_leave(h->events, &r->waiter);
    json_decref(r->fields);
    free(r->body);
    free(r);
    *context = NULL;
}

/* ---- open, close ---- */

typedef struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    bool is_v6, loopback;
} address;

static swan_status read_address(const char *host, int port, address *out)
{
    *out = (address){0};
    const char *name = !strcmp(host, "localhost") ? "127.0.0.1" : host;
    if (inet_pton(AF_INET, name, &out->at.v4.sin_addr) == 1) {
        out->at.v4.sin_family = AF_INET;
        out->at.v4.sin_port = htons((uint16_t)port);
        out->loopback = ntohl(out->at.v4.sin_addr.s_addr) >> 24 == 127;
        return SWAN_OK;
    }
    *out = (address){.is_v6 = true};
    if (inet_pton(AF_INET6, name, &out->at.v6.sin6_addr) != 1)
        return SWAN_FAIL(SWAN_E_INVALID, "--host: wanted an address in numbers, such as 127.0.0.1 or ::1, or localhost; found \"%s\"", host);
    out->at.v6.sin6_family = AF_INET6;
    out->at.v6.sin6_port = htons((uint16_t)port);
    out->loopback = IN6_IS_ADDR_LOOPBACK(&out->at.v6.sin6_addr);
    return SWAN_OK;
}

static swan_status start_daemon(swan_httpd *h, const address *a)
{
    const char *cert = h->cert;
    const swan_server_config *c = h->config;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | (a->is_v6 ? MHD_USE_IPv6 : 0u) | (cert ? MHD_USE_TLS : 0u);
    unsigned threads = c->connections_max < THREADS ? (unsigned)c->connections_max : THREADS;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, h->cert}, {MHD_OPTION_HTTPS_MEM_KEY, 0, h->key},
                                   {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    errno = 0;
    h->daemon = MHD_start_daemon(flags, (uint16_t)c->port, NULL, NULL, on_request, h, MHD_OPTION_SOCK_ADDR, &a->at.any, MHD_OPTION_THREAD_POOL_SIZE,
                                 threads, MHD_OPTION_CONNECTION_LIMIT, (unsigned)c->connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
                                 (unsigned)c->request_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES, MHD_OPTION_LISTEN_BACKLOG_SIZE,
                                 (unsigned)BACKLOG, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
                                 MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_ARRAY, cert ? tls : plain, MHD_OPTION_END);
    if (!h->daemon) return SWAN_FAIL(SWAN_E_IO, "%s port %d: cannot listen%s%s", c->host, c->port, errno ? ": " : cert ? " (or a bad certificate)" : "",
                                     errno ? strerror(errno) : "");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
    h->port = info ? info->port : c->port;
    return SWAN_OK;
}

swan_status swan_httpd_open(swan_httpd *h)
{
    const swan_server_config *c = h->config;
    address a;
    SWAN_TRY(read_address(c->host, c->port, &a));
    h->guard = c->guard;
    h->guard.loopback = a.loopback;
    if (!a.loopback && !h->guard.key_count && !c->allow_no_key)
        return SWAN_FAIL(SWAN_E_INVALID, "--host %s: others can reach this address; wanted --api-key or --api-key-file (or --allow-no-key)", c->host);
    if (!c->tls_cert != !c->tls_key) return SWAN_FAIL(SWAN_E_INVALID, "--tls-cert and --tls-key: wanted both");
    if (c->tls_cert && MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) return SWAN_FAIL(SWAN_E_UNSUPPORTED, "--tls-cert: this libmicrohttpd has no TLS");
    size_t bytes;
    swan_status status = c->tls_cert ? swan_file_read(c->tls_cert, 1 << 20, &h->cert, &bytes) : SWAN_OK;
    if (!status && c->tls_key) status = swan_file_read(c->tls_key, 1 << 20, &h->key, &bytes);
    pthread_mutex_init(&h->track_lock, NULL);
    h->started_at = (int64_t)time(NULL);
    return status ? status : start_daemon(h, &a);
}

void swan_httpd_close(swan_httpd *h)
{
    free(h->cert);
    free(h->key);
    h->cert = h->key = NULL;
    if (!h->daemon) return;
    atomic_store(&h->stopping, true);
    MHD_socket listener = MHD_quiesce_daemon(h->daemon);
    /* a request may begin to wait while others are woken: until nobody does, and for a while until all have their last words */
    for (int left = LAST_WORDS_MS / 50, waiting = 1; waiting > 0;) {
        swan_events_wake_all(h->events);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        int suspended;
        waiting = swan_events_waiting(h->events, &suspended);
        if (left-- <= 0) waiting = suspended;
    }
    MHD_stop_daemon(h->daemon);
    if (listener != MHD_INVALID_SOCKET) close(listener);
    h->daemon = NULL;
    pthread_mutex_destroy(&h->track_lock);
}
