/* One step of UniPC, for sched.c. */
#ifndef SWAN_SCHED_UNIPC_H
#define SWAN_SCHED_UNIPC_H

#include "sched/sched.h"

int swan_sched_unipc_step(const swan_sched *s, int i, swan_sched_update out[SWAN_SCHED_MAX_UPDATES]);

#endif
