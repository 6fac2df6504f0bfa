/* The clock of one request: laps for the report, and progress with time left, weighted by the work that DRY counted. */
#ifndef SWAN_PIPE_PROGRESS_H
#define SWAN_PIPE_PROGRESS_H

#include "pipe/session.h"

typedef struct swan_clock {
    struct swan_session *session;
    double start, lap, fraction;
} swan_clock;

void swan_clock_start(swan_clock *c, struct swan_session *s);
/* Seconds since the last lap, and since the start. */
double swan_clock_lap(swan_clock *c);
double swan_clock_total(const swan_clock *c);
/* Calls the progress callback; SWAN_E_CANCELLED when it returns false or the session was cancelled. */
swan_status swan_clock_report(swan_clock *c, swan_phase phase, int step, int steps);

#endif
