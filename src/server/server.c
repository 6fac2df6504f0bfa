/* The life of a server: store, workers, HTTP; then a second at a time until a signal; then the same backwards. */
#include "server/server.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "server/httpd.h"

enum { HEARTBEAT_S = 5, EXPIRY_S = 10 };

/* SIGTERM and SIGINT come to the main thread, by sigtimedwait; a client that goes away, or a file that may not grow, is no signal. */
static void take_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

static void announce(const swan_httpd *h, bool ready, const char *model)
{
    const swan_server_config *c = h->config;
    bool v6 = strchr(c->host, ':') != NULL;
    if (c->quiet) return;
    if (ready) printf("serving %s\n", model);
    else printf("listening on %s://%s%s%s:%d/ (data in %s)\n", c->tls_cert ? "https" : "http", v6 ? "[" : "", c->host, v6 ? "]" : "", h->port, c->jobs.directory);
    fflush(stdout);
}

/* What is due now and then. */
static void tick(swan_httpd *h, unsigned second)
{
    int expired;
    swan_httpd_tick(h);
    if (second % HEARTBEAT_S == 0) swan_events_wake_all(h->events);
    if (second % EXPIRY_S == 0 && swan_jobs_expire(h->jobs, (int64_t)time(NULL), &expired)) fprintf(stderr, "swan serve: %s\n", swan_last_error());
}

/* Until a signal; SWAN_E_*: the model cannot be opened. */
static swan_status serve(swan_httpd *h, const sigset_t *signals)
{
    bool said = false;
    for (unsigned second = 1;; second++) {
        swan_workers_state s;
        swan_api_model model;
        if (sigtimedwait(signals, NULL, &(struct timespec){.tv_sec = said, .tv_nsec = said ? 0 : 50000000}) > 0) return SWAN_OK;
        swan_workers_look(h->workers, &s, &model);
        if (s.refused) return SWAN_FAIL(SWAN_E_INVALID, "%s", s.message);
        if (s.known && !said) announce(h, said = true, model.name);
        tick(h, second);
    }
}

/* No new jobs; those at work may end, until a second signal or drain_s are over. */
static void drain(swan_httpd *h, const sigset_t *signals)
{
    swan_workers_state s;
    atomic_store(&h->draining, true);
    swan_workers_drain(h->workers);
    for (int tenths = 0; tenths < 10 * h->config->drain_s; tenths++) {
        swan_workers_look(h->workers, &s, NULL);
        if (!s.running) return;
        if (!tenths && !h->config->quiet) fprintf(stderr, "swan serve: finishing what is being made, for at most %d s\n", h->config->drain_s);
        if (sigtimedwait(signals, NULL, &(struct timespec){.tv_nsec = 100000000}) > 0) return;
        if (tenths % 10 == 0) tick(h, (unsigned)tenths / 10);
    }
}

swan_status swan_server_run(const swan_server_config *config)
{
    swan_httpd http = {.config = config};
    sigset_t signals;
    take_signals(&signals);
    umask(0077); /* prompts and videos are their owner's, whoever made the directory */
    SWAN_TRY(swan_jobs_open(&config->jobs, &http.jobs));
    swan_status status = swan_events_open(config->workers.count, &http.events);
    if (!status) status = swan_workers_open(&config->workers, http.jobs, http.events, &http.workers);
    if (!status) status = swan_httpd_open(&http);
    if (!status) {
        announce(&http, false, NULL);
        status = serve(&http, &signals);
        if (!status) drain(&http, &signals);
    }
    swan_failure first = {0};
    swan_status_keep(&first, status);
    swan_httpd_close(&http); /* asks the workers, so before them */
    swan_workers_close(http.workers);
    swan_events_close(http.events);
    swan_jobs_close(http.jobs);
    return swan_status_kept(&first);
}
