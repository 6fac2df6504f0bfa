/* The server's side of its workers: one thread and one child process a device. It takes jobs from the store, hands them to the
 * child, turns its messages into events and its end into a reason, and starts another child. Invariants: worker.c. */
#ifndef SWAN_SERVER_WORKER_H
#define SWAN_SERVER_WORKER_H

#include <jansson.h>

#include "server/api.h"
#include "server/events.h"

enum { SWAN_WORKERS_MAX = 16 };

typedef struct swan_workers_config {
    const char *const *argument[SWAN_WORKERS_MAX]; /* of each child, ended by NULL: "swan", "worker", ...; borrowed */
    int count;
    int stall_s;         /* without a word from a child that is at work: it hangs */
    int grace_s;         /* for a child to stop a cancelled job, before it is killed */
    const char *aliases; /* of the model; NULL: none */
} swan_workers_config;

typedef struct swan_workers swan_workers;
/* Starts the threads; the children load on their own time. */
swan_status swan_workers_open(const swan_workers_config *config, swan_jobs *jobs, swan_events *events, swan_workers **out);
/* Takes no further job, ends the children, and puts the jobs they had back into the queue. */
void swan_workers_close(swan_workers *w);

/* There is a new job. */
void swan_workers_wake(swan_workers *w);
/* The job is not wanted any more; its row says so already. */
void swan_workers_cancel(swan_workers *w, const char *id);
/* Takes no further job. */
void swan_workers_drain(swan_workers *w);

typedef struct swan_workers_state {
    bool known;      /* the model has been described: requests can be checked */
    bool ready;      /* a child is loaded */
    bool refused;    /* the model cannot be opened: message tells why */
    int running;     /* jobs at work */
    int count;
    uint64_t restarts, completed, failed, cancelled;
    double busy_s;   /* of completed jobs */
    double mean_s;   /* of a job, lately; 0: not known */
    char message[512];
} swan_workers_state;
void swan_workers_look(swan_workers *w, swan_workers_state *state, swan_api_model *model);
/* The whole description of the model, as swan_engine_describe gives it; NULL: not known yet. A new reference. */
json_t *swan_workers_describe(swan_workers *w);

#endif
