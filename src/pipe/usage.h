/* Memory of the process, as the operating system counts it, and as the plan expects it. */
#ifndef SWAN_PIPE_USAGE_H
#define SWAN_PIPE_USAGE_H

#include "pipe/session.h"

/* Resident bytes now, and at their highest since the process began; 0 where the system does not say. */
uint64_t swan_usage_resident(void);
uint64_t swan_usage_peak(void);
/* The memory fields of a report. */
void swan_usage_fill(const struct swan_session *s, swan_report *report);
/* plan->peak_bytes: what was resident before the engine, what it maps and converts, what a session reserves less what its
 * prompt leaves untouched, and what the encoder keeps. */
void swan_usage_predict(const struct swan_session *s, uint64_t untouched, swan_plan *plan);

#endif
