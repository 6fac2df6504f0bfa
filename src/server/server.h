/* `swan serve`: the API of docs/serve.md over HTTP, the page, and the workers behind them. */
#ifndef SWAN_SERVER_SERVER_H
#define SWAN_SERVER_SERVER_H

#include "server/api.h"
#include "server/guard.h"
#include "server/worker.h"

typedef struct swan_server_config {
    const char *host;          /* an address of this machine in numbers, or "localhost" */
    int port;                  /* 0: any that is free */
    swan_guard guard;          /* who may ask; loopback is filled in by swan_server_run */
    bool allow_no_key;         /* an address that others can reach may do without a key */
    const char *tls_cert, *tls_key; /* PEM files; NULL: no TLS */
    swan_jobs_config jobs;
    swan_workers_config workers;
    swan_api_limits limits;
    int64_t body_max;          /* bytes of a request */
    int connections_max;
    int request_s;             /* for all of a request's headers and body to arrive */
    int drain_s;               /* for running jobs, after the first signal */
    bool metrics;              /* serve /metrics */
    bool quiet;
} swan_server_config;

/* Serves until SIGTERM or SIGINT. Errors: the address, files or store cannot be used; the model cannot be opened. */
swan_status swan_server_run(const swan_server_config *config);

#endif
