/* The clock of one request: laps for the report, and progress with time left, weighted by the work that DRY counted. */
#ifndef SWAN_PIPE_PROGRESS_H
#define SWAN_PIPE_PROGRESS_H

#include "pipe/session.h"

typedef struct swan_clock {
    struct swan_session *session;
    double start, fraction;
    swan_phase phase; /* as last reported */
    int step, steps;
} swan_clock;

/* Starts the clock, on the device as well. */
swan_status swan_clock_start(swan_clock *c, struct swan_session *s);
/* Seconds since the start. */
double swan_clock_total(const swan_clock *c);
/* Marks this point of the stream; which: SWAN_MARK_*. Nothing waits for it. */
swan_status swan_clock_mark(const swan_clock *c, int which);
/* Times of the phases by the marks, which lie behind: text, denoising, and all the rest. */
swan_status swan_clock_laps(const swan_clock *c, swan_report *report);
/* Calls the progress callback; SWAN_E_CANCELLED when it returns false or the session was cancelled. */
swan_status swan_clock_report(swan_clock *c, swan_phase phase, int step, int steps);
/* The same again when a part (0 .. 1) of the step is done. */
swan_status swan_clock_report_part(swan_clock *c, double part);

#endif
