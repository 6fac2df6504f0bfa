#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Invariants: 1. `generation` changes only under the lock, when no worker is inside a run. 2. `busy` counts workers that have
 * not yet left the present run. 3. task, arg, count and cancel are constant while busy > 0. */
struct swan_pool {
    int threads;
    pthread_t *handles; /* threads - 1 of them: the caller is worker 0 */
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    uint64_t generation;
    int busy;
    bool stop;
    swan_pool_task *task;
    void *arg;
    int64_t count;
    const atomic_bool *cancel;
    atomic_llong next;
};

typedef struct worker_arg {
    swan_pool *pool;
    int worker;
} worker_arg;

int swan_pool_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    return 1;
}

int swan_pool_threads(const swan_pool *pool) { return pool->threads; }

static void drain(swan_pool *pool, int worker)
{
    for (;;) {
        if (pool->cancel && atomic_load_explicit(pool->cancel, memory_order_relaxed)) return;
        int64_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= pool->count) return;
        pool->task(pool->arg, i, worker);
    }
}

static void *work(void *opaque)
{
    worker_arg *w = opaque;
    swan_pool *pool = w->pool;
    int worker = w->worker;
    free(w);
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->generation == seen && !pool->stop) pthread_cond_wait(&pool->start, &pool->lock);
        if (pool->stop) break;
        seen = pool->generation;
        pthread_mutex_unlock(&pool->lock);
        drain(pool, worker);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

swan_status swan_pool_open(int threads, swan_pool **out)
{
    *out = NULL;
    if (threads < 0 || threads > 1024) return SWAN_FAIL(SWAN_E_INVALID, "threads: %d is not in 0..1024", threads);
    swan_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return SWAN_FAIL(SWAN_E_NOMEM, "thread pool: out of memory");
    pool->threads = 1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    int wanted = threads ? threads : swan_pool_cores();
    pool->handles = calloc((size_t)wanted, sizeof *pool->handles);
    for (int i = 1; pool->handles && i < wanted; i++) {
        worker_arg *w = malloc(sizeof *w);
        if (w) *w = (worker_arg){pool, i};
        int failed = w ? pthread_create(&pool->handles[i - 1], NULL, work, w) : 1;
        if (failed) {
            free(w);
            break;
        }
        pool->threads++;
    }
    if (pool->threads != wanted) {
        int made = pool->threads;
        swan_pool_close(pool);
        return SWAN_FAIL(SWAN_E_NOMEM, "thread pool: only %d of %d threads could be started", made, wanted);
    }
    *out = pool;
    return SWAN_OK;
}

void swan_pool_close(swan_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i + 1 < pool->threads; i++) pthread_join(pool->handles[i], NULL);
    pthread_cond_destroy(&pool->start);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    free(pool->handles);
    free(pool);
}

void swan_pool_run(swan_pool *pool, int64_t count, swan_pool_task *task, void *arg, const atomic_bool *cancel)
{
    if (count <= 0) return;
    if (pool->threads == 1 || count == 1) {
        for (int64_t i = 0; i < count; i++) {
            if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) return;
            task(arg, i, 0);
        }
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->arg = arg;
    pool->count = count;
    pool->cancel = cancel;
    atomic_store(&pool->next, 0);
    pool->busy = pool->threads - 1;
    pool->generation++;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    drain(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->busy > 0) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
