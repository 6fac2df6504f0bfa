/* What happens to jobs while they run, and who waits for it. A waiter is an HTTP connection that is suspended until there is news
 * of its job; it then looks at the present state, so that a slow client costs no memory. Safe to use from any thread. */
#ifndef SWAN_SERVER_EVENTS_H
#define SWAN_SERVER_EVENTS_H

#include <swan/swan.h>

#include "server/jobs.h"

struct MHD_Connection;

/* How far a running job is. */
typedef struct swan_live {
    char id[SWAN_JOB_ID_MAX];
    const char *phase;   /* literal */
    int step, steps;
    int progress;        /* 0 .. 99; never goes back while the job runs */
    double remaining_s;  /* < 0: unknown */
    int preview_step, preview_steps; /* of the newest preview; 0: none yet */
} swan_live;

typedef struct swan_waiter {
    char id[SWAN_JOB_ID_MAX];
    struct MHD_Connection *connection;
    bool suspended, news, joined;
    struct swan_waiter *next, *previous;
} swan_waiter;

typedef struct swan_events swan_events;
/* slots: how many jobs may run at a time. */
swan_status swan_events_open(int slots, swan_events **out);
/* Nobody may wait any more. */
void swan_events_close(swan_events *events);

/* A job begins in a slot; how far it is; its newest preview (taken over, freed later); it is over. Each one is news. */
void swan_events_begin(swan_events *e, int slot, const char *id);
void swan_events_progress(swan_events *e, int slot, const swan_live *live);
void swan_events_preview(swan_events *e, int slot, char *image, int step, int steps);
void swan_events_end(swan_events *e, int slot);
/* Something else happened to a job (its row has changed). */
void swan_events_notify(swan_events *e, const char *id);
/* Wakes everybody: heartbeats, and the end of the server. */
void swan_events_wake_all(swan_events *e);
/* How many wait; *suspended: of how many the connection is suspended at the moment. */
int swan_events_waiting(swan_events *e, int *suspended);

/* *out of a job that runs; false when it does not. */
bool swan_events_look(swan_events *e, const char *id, swan_live *out);
/* A copy of the newest preview of a job when it is not that of step `seen`; NULL: nothing new. The caller frees it. */
char *swan_events_take_preview(swan_events *e, const char *id, int seen, int *step, int *steps);

void swan_events_join(swan_events *e, swan_waiter *w, const char *id, struct MHD_Connection *connection);
/* Fine when it had not joined. */
void swan_events_leave(swan_events *e, swan_waiter *w);
/* Suspends the waiter's connection until there is news; when there is already some, takes it and returns false. */
bool swan_events_wait(swan_events *e, swan_waiter *w);

#endif
