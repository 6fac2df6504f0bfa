/* HTTP: connections, requests and replies. Routes are in routes.c. */
#ifndef SWAN_SERVER_HTTPD_H
#define SWAN_SERVER_HTTPD_H

#include <pthread.h>
#include <stdatomic.h>

#include <microhttpd.h>

#include "server/server.h"

typedef struct swan_tracked swan_tracked;

typedef struct swan_httpd {
    const swan_server_config *config;
    swan_guard guard;
    swan_jobs *jobs;
    swan_events *events;
    swan_workers *workers;
    struct MHD_Daemon *daemon;
    char *cert, *key;           /* PEM; NULL: no TLS */
    int port;                   /* that it listens on */
    int64_t started_at;
    atomic_bool draining;       /* no new jobs */
    atomic_bool stopping;       /* everybody who waits is to go */
    atomic_ullong replies[6];   /* by the first digit of the status */
    atomic_ullong deadlines;    /* connections ended for being slow */
    pthread_mutex_t track_lock;
    swan_tracked *tracked;
} swan_httpd;

enum { SWAN_ALLOW_MAX = 32 };

/* A request while it is read and answered. */
typedef struct swan_request {
    swan_httpd *http;
    struct MHD_Connection *connection;
    const struct swan_route *route;
    char method[8];
    char allow[SWAN_ALLOW_MAX]; /* of a path that has no such method: those that it has */
    char id[SWAN_JOB_ID_MAX];   /* from the path */
    char *body;
    int64_t body_bytes;         /* seen; what is over the limit is not kept */
    json_t *fields;             /* of the body, once it is parsed */
    bool has_refusal;           /* decided by the headers; said when the body has been read */
    swan_api_error refusal;
    bool waits;                 /* for its video: /v1/videos/sync */
    swan_waiter waiter;
} swan_request;

/* A finished answer; response NULL: the request waits, or memory ran out. */
typedef struct swan_reply {
    unsigned status;
    struct MHD_Response *response;
} swan_reply;

typedef struct swan_route {
    const char *method, *path;  /* "{id}" stands for an id; a GET route answers HEAD as well */
    bool open;                  /* needs no key */
    bool changes;               /* changes something: the origin is checked, and there may be a body */
    swan_reply (*answer)(swan_request *r);
} swan_route;

/* The route of a request; NULL and allow not "": the path is there, with these methods. */
const swan_route *swan_routes_find(const char *method, const char *path, char *id, char allow[SWAN_ALLOW_MAX]);

/* Replies. Takes the reference to json; NULL: out of memory. */
swan_reply swan_reply_json(unsigned status, json_t *json);
swan_reply swan_reply_error(const swan_api_error *e);
swan_reply swan_reply_text(unsigned status, const char *type, const char *text); /* copied */
/* Adds a header; fine with a reply that has no response. */
void swan_reply_header(const swan_reply *reply, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A failed library call as a reply: of the store. */
swan_reply swan_reply_failure(void);

/* The body's fields: of a form, or of a JSON body. NULL: *e says why. Borrowed. */
const json_t *swan_request_fields(swan_request *r, swan_api_error *e);
const char *swan_request_header(const swan_request *r, const char *name);
const char *swan_request_argument(const swan_request *r, const char *name);

/* Parts of routes.c in files of their own. */
swan_reply swan_content_answer(swan_request *r);  /* content.c */
swan_reply swan_stream_answer(swan_request *r);   /* stream.c: events */
swan_reply swan_sync_begin(swan_request *r);      /* stream.c: waits for the video */
swan_reply swan_sync_go_on(swan_request *r);
swan_reply swan_page_answer(swan_request *r);     /* page.c */
swan_reply swan_openapi_answer(swan_request *r);
/* A completed job's file as a reply, with range and validators. */
swan_reply swan_content_file(swan_request *r, const swan_job *job, const char *variant);
/* The job of a request; a reply with a response: there is none, or the store failed. */
swan_reply swan_request_job(swan_request *r, swan_job *job);
/* Adds a job that was checked, or says why not. */
swan_reply swan_request_add(swan_request *r, swan_job *job);
/* What is known of a job now, for its object. */
swan_api_live swan_httpd_live(swan_httpd *h, const swan_job *job);

swan_status swan_httpd_open(swan_httpd *h);
/* Once a second: ends connections that take too long to ask. */
void swan_httpd_tick(swan_httpd *h);
/* Ends everything; those who wait are told. Fine when it was never opened, or failed to. */
void swan_httpd_close(swan_httpd *h);

#endif
