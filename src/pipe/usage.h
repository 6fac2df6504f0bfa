/* Memory of the process, as the operating system counts it, and as the plan expects it. */
#ifndef SWAN_PIPE_USAGE_H
#define SWAN_PIPE_USAGE_H

#include "pipe/session.h"

/* Resident bytes now, and at their highest since the process began; 0 where the system does not say. */
uint64_t swan_usage_resident(void);
uint64_t swan_usage_peak(void);
/* Bytes in use on the engine's GPU, by whoever uses it; 0 on the host, and where the driver does not say. */
uint64_t swan_usage_device(const swan_engine *e);
/* The memory fields of a report. */
void swan_usage_fill(const struct swan_session *s, swan_report *report);
/* plan->peak_bytes: what was resident before weights are read, what of them is mapped, converted and read to be converted, what a
 * session reserves less what its prompt leaves untouched, what the encoder keeps, and code. On a GPU also the
 * device's bytes: ours are exact, in the pieces that the driver gives out; what was in use before and the kernels' own needs are measured. */
void swan_usage_predict(const struct swan_session *s, uint64_t untouched, swan_plan *plan);

#endif
