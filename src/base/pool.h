/* Thread pool: parallel-for over numbered tasks. Which task runs on which thread is not fixed; what a task computes must
 * depend on its number alone, so that results do not depend on the thread count. */
#ifndef SWAN_BASE_POOL_H
#define SWAN_BASE_POOL_H

#include <stdatomic.h>

#include "base/status.h"

typedef struct swan_pool swan_pool;

/* threads workers in all, the caller among them (1: no thread is made; 0: one per available core). */
swan_status swan_pool_open(int threads, swan_pool **out);
void swan_pool_close(swan_pool *pool);
int swan_pool_threads(const swan_pool *pool);
/* The number of processors this process may run on. */
int swan_pool_cores(void);

/* task(arg, index, worker): index 0..count-1, worker 0..threads-1 (for per-worker scratch). Returns when all have ended.
 * Once *cancel (may be NULL) is set, tasks not yet begun are skipped. Not re-entrant. Allocates nothing. */
typedef void swan_pool_task(void *arg, int64_t index, int worker);
void swan_pool_run(swan_pool *pool, int64_t count, swan_pool_task *task, void *arg, const atomic_bool *cancel);

#endif
