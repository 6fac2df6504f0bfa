/* Invariants
 * 1. A worker's thread alone reads and writes its child's socket, starts it and waits for it. Others leave a wish under the lock
 *    (cancel, drain, stop) and write a byte to its pipe.
 * 2. A job is claimed and becomes `job` under the pool's lock. Whoever ends a row first and looks for its worker after, under that
 *    lock, finds it.
 * 3. Every job that was claimed leaves the in-progress state in exactly one of: done, failed, the child's end, put back by a stop
 *    or because the child ended before it could be told. When the store cannot write that down, the worker tries again until it
 *    can, and takes no other job.
 * 4. Slot i of the events is worker i's, and filled from claim to that end: nobody sees progress of a job that is over.
 * 5. A child that ended unasked is replaced after a pause that doubles up to 30 s, and is short again after a completed job.
 * 6. A child owns no descriptor but its socket and the standard three, is in a process group of its own (a Ctrl-C in the terminal
 *    is the server's affair), and ends with its socket. */
#include "server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/child.h"
#include "server/lines.h"

#define PAUSE_MIN 0.2
#define PAUSE_MAX 30.0

typedef enum child_state { CHILD_NONE, CHILD_LOADING, CHILD_IDLE, CHILD_BUSY } child_state;

typedef struct worker {
    swan_workers *pool;
    int slot;
    pthread_t thread;
    int pipe[2];
    /* of the thread alone */
    pid_t pid;
    swan_lines lines;
    child_state state;
    double heard, kill_at, start_at, pause; /* monotonic seconds; kill_at 0: no */
    bool told, cancel_sent; /* the child: of the job, of its cancellation */
    /* under the pool's lock */
    swan_job job;  /* id "": none */
    bool has_job, cancel_wanted, ready;
} worker;

struct swan_workers {
    swan_workers_config config;
    swan_jobs *jobs;
    swan_events *events;
    pthread_mutex_t lock;
    bool draining, stopping;
    swan_workers_state state;
    swan_api_model model;
    json_t *description;
    worker worker[SWAN_WORKERS_MAX];
};

extern char **environ;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void wake(worker *w)
{
    ssize_t n = write(w->pipe[1], "", 1); /* full: it is awake already */
    (void)n;
}

static bool stopping(swan_workers *p)
{
    pthread_mutex_lock(&p->lock);
    bool stop = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return stop;
}

/* ---- the end of a job ---- */

typedef enum ending { ENDED_DONE, ENDED_FAILED, ENDED_BACK } ending;

typedef struct job_end {
    ending kind;
    swan_job_result result;
    const char *code, *message;
} job_end;

static swan_status write_end(worker *w, const job_end *end, bool *changed)
{
    swan_jobs *jobs = w->pool->jobs;
    if (end->kind == ENDED_DONE) return swan_jobs_complete(jobs, &w->job, &end->result, changed);
    if (end->kind == ENDED_BACK) return swan_jobs_requeue(jobs, &w->job, changed);
    return swan_jobs_fail(jobs, &w->job, end->code, end->message, changed);
}

static void count_end(swan_workers *p, const job_end *end, bool changed)
{
    swan_workers_state *s = &p->state;
    if (!changed) s->cancelled++; /* somebody ended it before us */
    else if (end->kind == ENDED_FAILED) s->failed++;
    if (!changed || end->kind != ENDED_DONE) return;
    s->completed++;
    s->busy_s += end->result.seconds;
    s->mean_s = s->mean_s > 0 ? 0.7 * s->mean_s + 0.3 * end->result.seconds : end->result.seconds;
}

/* Invariant 3. */
static void end_job(worker *w, job_end end)
{
    swan_workers *p = w->pool;
    bool changed = false, told = false;
    char id[SWAN_JOB_ID_MAX], reason[512];
    memcpy(id, w->job.id, sizeof id);
    while (write_end(w, &end, &changed)) {
        if (!told) fprintf(stderr, "swan serve: %s: %s\n", id, swan_last_error());
        told = true;
        if (end.kind == ENDED_DONE) { /* the files could not be put in their place */
            snprintf(reason, sizeof reason, "the finished video could not be stored: %s", swan_last_error());
            end = (job_end){.kind = ENDED_FAILED, .code = "storage_failed", .message = reason};
            continue;
        }
        if (stopping(p)) break; /* the next server puts it in order */
        poll(NULL, 0, 500);
    }
    swan_events_end(p->events, w->slot);
    pthread_mutex_lock(&p->lock);
    swan_job_free(&w->job);
    w->has_job = w->cancel_wanted = false;
    p->state.running--;
    count_end(p, &end, changed);
    pthread_mutex_unlock(&p->lock);
    w->cancel_sent = false;
    w->kill_at = 0;
}

/* ---- the child ---- */

static swan_status spawn_child(worker *w, int theirs)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGXFSZ); /* ignored, as here */
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int error = posix_spawn_file_actions_adddup2(&actions, theirs, SWAN_CHILD_FD);
    if (!error) error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    char *const *arguments = (char *const *)(uintptr_t)w->pool->config.argument[w->slot];
    if (!error) error = posix_spawn(&w->pid, "/proc/self/exe", &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error ? SWAN_FAIL(SWAN_E_IO, "worker: cannot be started: %s", strerror(error)) : SWAN_OK;
}

static swan_status start_child(worker *w)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return SWAN_FAIL(SWAN_E_IO, "worker: %s", strerror(errno));
    swan_status status = spawn_child(w, pair[1]);
    close(pair[1]);
    if (status) {
        close(pair[0]);
        w->pid = 0;
        w->start_at = now_s() + w->pause;
        return status;
    }
    swan_lines_open(&w->lines, pair[0], SWAN_CHILD_LINE_MAX);
    w->state = CHILD_LOADING;
    w->heard = now_s();
    return SWAN_OK;
}

/* fault: what it did that it had to be ended; NULL: it ended by itself. */
static void describe_exit(int status, const char *fault, char *buf, size_t n)
{
    if (fault) snprintf(buf, n, "the worker %s and was ended", fault);
    else if (WIFSIGNALED(status)) snprintf(buf, n, "the worker was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else snprintf(buf, n, "the worker ended by itself with status %d", WEXITSTATUS(status));
}

static const char hangs[] = "gave no sign of life for too long", babbles[] = "sent what is no message", is_deaf[] = "did not take a job";

/* Kills, waits, and settles what it was doing. stop: the server wants it so. A job goes back into the queue then, and when the
 * child never heard of it. */
static void lose_child(worker *w, const char *fault, bool stop)
{
    swan_workers *p = w->pool;
    int status = 0;
    char reason[256];
    bool ended = !fault && !stop && waitpid(w->pid, &status, WNOHANG) == w->pid;
    if (!ended && !fault && !stop) { /* its socket closes a moment before it can be waited for */
        poll(NULL, 0, 100);
        ended = waitpid(w->pid, &status, WNOHANG) == w->pid;
    }
    if (!ended) {
        kill(w->pid, SIGKILL);
        while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) {}
    }
    close(w->lines.fd);
    swan_lines_close(&w->lines);
    describe_exit(status, fault, reason, sizeof reason);
    w->pid = 0;
    w->state = CHILD_NONE;
    w->start_at = now_s() + w->pause;
    w->pause = w->pause * 2 > PAUSE_MAX ? PAUSE_MAX : w->pause * 2;
    pthread_mutex_lock(&p->lock);
    w->ready = false;
    p->state.restarts += !stop;
    pthread_mutex_unlock(&p->lock);
    if (!stop) fprintf(stderr, "swan serve: worker %d: %s\n", w->slot, reason);
    if (!w->has_job) return;
    const job_end back = {.kind = ENDED_BACK}, failed = {.kind = ENDED_FAILED, .code = fault == hangs ? "worker_hung" : "worker_crashed", .message = reason};
    end_job(w, stop || !w->told ? back : failed);
}

/* ---- messages ---- */

static void hear_ready(worker *w, const json_t *message)
{
    swan_workers *p = w->pool;
    swan_api_model model = {.aliases = p->config.aliases};
    json_t *description = json_object_get(message, "describe");
    swan_status status = swan_api_model_read(description, &model);
    pthread_mutex_lock(&p->lock);
    if (!status && !p->state.known) {
        p->model = model;
        p->description = json_incref(description);
        p->state.known = true;
    }
    w->ready = !status;
    pthread_mutex_unlock(&p->lock);
    if (!status) w->state = CHILD_IDLE;
}

/* The model cannot be opened: a reason for a server that just began to say so and end. */
static void hear_unready(worker *w, const json_t *message)
{
    swan_workers *p = w->pool;
    pthread_mutex_lock(&p->lock);
    p->state.refused = !p->state.known;
    snprintf(p->state.message, sizeof p->state.message, "%s", swan_lines_text(message, "message", ""));
    pthread_mutex_unlock(&p->lock);
}

/* The names are those of swan_phase_name; anything else is none of ours. */
static const char *phase_literal(const char *name)
{
    for (int i = SWAN_PHASE_LOAD; i <= SWAN_PHASE_DONE; i++)
        if (!strcmp(name, swan_phase_name((swan_phase)i))) return swan_phase_name((swan_phase)i);
    return "unknown";
}

static int bounded(double x, int max) { return x > 0 ? x < max ? (int)x : max : 0; }

static void hear_progress(worker *w, const json_t *m)
{
    swan_live live = {.phase = phase_literal(swan_lines_text(m, "phase", "")), .step = bounded(swan_lines_number(m, "step", 0), 1 << 20),
                      .steps = bounded(swan_lines_number(m, "steps", 0), 1 << 20), .progress = bounded(100 * swan_lines_number(m, "fraction", 0), 99),
                      .remaining_s = swan_lines_number(m, "remaining_s", -1)};
    swan_events_progress(w->pool->events, w->slot, &live);
}

static void hear_preview(worker *w, const json_t *m)
{
    const char *image = swan_lines_text(m, "jpeg", "");
    char *copy = strdup(image);
    if (copy)
        swan_events_preview(w->pool->events, w->slot, copy, bounded(swan_lines_number(m, "step", 0), 1 << 20), bounded(swan_lines_number(m, "steps", 0), 1 << 20));
}

static void hear_done(worker *w, const json_t *m)
{
    char *settings = swan_api_settled(w->job.settings, json_object_get(m, "recipe"));
    end_job(w, (job_end){.kind = ENDED_DONE, .result = {.settings = settings, .seconds = swan_lines_number(m, "seconds", 0)}});
    free(settings);
    w->state = CHILD_IDLE;
    w->pause = PAUSE_MIN;
}

static void hear_failed(worker *w, const json_t *m)
{
    end_job(w, (job_end){.kind = ENDED_FAILED, .code = swan_lines_text(m, "code", "generation_failed"), .message = swan_lines_text(m, "message", "")});
    if (!json_is_true(json_object_get(m, "fatal"))) w->state = CHILD_IDLE; /* else it is about to end */
}

static void hear(worker *w, const json_t *m)
{
    const char *event = swan_lines_text(m, "event", "");
    bool mine = w->has_job && !strcmp(swan_lines_text(m, "id", ""), w->job.id);
    w->heard = now_s();
    if (!strcmp(event, "ready") && w->state == CHILD_LOADING) hear_ready(w, m);
    else if (!strcmp(event, "unready")) hear_unready(w, m);
    else if (!strcmp(event, "log")) fprintf(stderr, "worker %d: %s\n", w->slot, swan_lines_text(m, "text", ""));
    else if (!strcmp(event, "progress") && mine) hear_progress(w, m);
    else if (!strcmp(event, "preview") && mine) hear_preview(w, m);
    else if (!strcmp(event, "done") && mine) hear_done(w, m);
    else if (!strcmp(event, "failed") && mine) hear_failed(w, m);
}

/* Reads what is there, and settles the child when it is gone or talks nonsense. */
static void listen_to(worker *w)
{
    bool ended = false;
    json_t *message = NULL;
    swan_status status = swan_lines_fill(&w->lines, &ended);
    while (!status && !ended && !(status = swan_lines_next(&w->lines, &message)) && message) {
        hear(w, message);
        json_decref(message);
    }
    if (status || ended) lose_child(w, status ? babbles : NULL, false);
}

/* ---- jobs ---- */

/* Settings as the option table takes them: text by key. The seed goes beside them. */
static json_t *option_texts(const json_t *settings)
{
    json_t *o = json_object(), *value;
    const char *key;
    char buf[64];
    snprintf(buf, sizeof buf, "%lldx%lld", (long long)json_integer_value(json_object_get(settings, "width")),
             (long long)json_integer_value(json_object_get(settings, "height")));
    json_object_set_new(o, "size", json_string(buf));
    static const char *const keys[] = {"num_frames", "fps", "num_inference_steps", "flow_shift", "guidance_scale", "negative_prompt"};
    json_object_foreach((json_t *)(uintptr_t)settings, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) known |= !strcmp(key, keys[i]);
        if (!known) continue; /* what a finished job's recipe added */
        if (json_is_integer(value)) snprintf(buf, sizeof buf, "%lld", (long long)json_integer_value(value));
        else snprintf(buf, sizeof buf, "%.9g", json_number_value(value));
        json_object_set_new(o, key, json_string(json_is_string(value) ? json_string_value(value) : buf));
    }
    return o;
}

/* The job for the child, with a place for its files. */
static swan_status prepare_job(worker *w, json_t **message)
{
    char directory[SWAN_PATH_MAX];
    SWAN_TRY(swan_jobs_workplace(w->pool->jobs, &w->job, directory));
    json_t *settings = json_loads(w->job.settings, 0, NULL);
    if (!settings) return SWAN_FAIL(SWAN_E_FORMAT, "the job's settings cannot be read");
    *message = json_pack("{s:s, s:s, s:s, s:O, s:s, s:o}", "do", "run", "id", w->job.id, "prompt", w->job.prompt, "seed",
                         json_object_get(settings, "seed"), "directory", directory, "settings", option_texts(settings));
    json_decref(settings);
    return *message ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "worker: out of memory");
}

/* Takes the oldest job, if there is one, and hands it to the child. */
static void next_job(worker *w)
{
    swan_workers *p = w->pool;
    bool found = false;
    pthread_mutex_lock(&p->lock);
    swan_status status = p->draining ? SWAN_OK : swan_jobs_claim(p->jobs, &w->job, &found);
    w->has_job = found;
    w->told = w->cancel_wanted = false;
    p->state.running += found;
    pthread_mutex_unlock(&p->lock);
    if (status) fprintf(stderr, "swan serve: %s\n", swan_last_error());
    if (!found) return;
    w->state = CHILD_BUSY;
    w->heard = now_s();
    swan_events_begin(p->events, w->slot, w->job.id);
    json_t *message;
    status = prepare_job(w, &message);
    if (status) {
        char reason[512];
        snprintf(reason, sizeof reason, "%s", swan_last_error());
        end_job(w, (job_end){.kind = ENDED_FAILED, .code = status == SWAN_E_IO ? "storage_failed" : "server_error", .message = reason});
        w->state = CHILD_IDLE;
        return;
    }
    w->told = !swan_lines_send(w->lines.fd, message);
    if (!w->told) lose_child(w, is_deaf, false);
}

static void pass_cancel(worker *w)
{
    pthread_mutex_lock(&w->pool->lock);
    bool wanted = w->cancel_wanted && w->has_job;
    pthread_mutex_unlock(&w->pool->lock);
    if (!wanted || w->cancel_sent) return;
    w->cancel_sent = true;
    w->kill_at = now_s() + w->pool->config.grace_s;
    if (swan_lines_send(w->lines.fd, json_pack("{s:s, s:s}", "do", "cancel", "id", w->job.id))) w->kill_at = now_s();
}

/* ---- the thread ---- */

/* How long nothing needs to be done, in milliseconds. */
static int patience(const worker *w)
{
    double now = now_s(), at = now + 1; /* once a second is often enough for what nobody wakes us for */
    if (w->state == CHILD_NONE && w->start_at < at) at = w->start_at;
    if (w->kill_at > 0 && w->kill_at < at) at = w->kill_at;
    return at > now ? (int)((at - now) * 1000) + 1 : 0;
}

static void wait_for_news(worker *w)
{
    struct pollfd fds[2] = {{.fd = w->pipe[0], .events = POLLIN}, {.fd = w->state == CHILD_NONE ? -1 : w->lines.fd, .events = POLLIN}};
    char bytes[64];
    poll(fds, 2, patience(w));
    if (fds[0].revents & POLLIN) {
        ssize_t n = read(w->pipe[0], bytes, sizeof bytes);
        (void)n;
    }
    if (w->state != CHILD_NONE && fds[1].revents) listen_to(w);
}

static void *work(void *user)
{
    worker *w = user;
    int stall = w->pool->config.stall_s;
    while (!stopping(w->pool)) {
        if (w->state == CHILD_NONE && now_s() >= w->start_at && start_child(w)) fprintf(stderr, "swan serve: %s\n", swan_last_error());
        if (w->state == CHILD_IDLE) next_job(w);
        if (w->state == CHILD_BUSY) pass_cancel(w);
        wait_for_news(w);
        double now = now_s();
        bool silent = (w->state == CHILD_BUSY || w->state == CHILD_LOADING) && now - w->heard > stall;
        if (silent || (w->state == CHILD_BUSY && w->kill_at > 0 && now >= w->kill_at)) lose_child(w, hangs, false);
    }
    if (w->state != CHILD_NONE) lose_child(w, NULL, true);
    return NULL;
}

/* ---- the pool ---- */

static swan_status start_worker(swan_workers *p, int slot)
{
    worker *w = &p->worker[slot];
    *w = (worker){.pool = p, .slot = slot, .pipe = {-1, -1}, .pause = PAUSE_MIN};
    if (pipe(w->pipe) != 0) return SWAN_FAIL(SWAN_E_IO, "worker: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        fcntl(w->pipe[i], F_SETFD, FD_CLOEXEC);
        fcntl(w->pipe[i], F_SETFL, O_NONBLOCK);
    }
    int error = pthread_create(&w->thread, NULL, work, w);
    if (!error) return SWAN_OK;
    close(w->pipe[0]);
    close(w->pipe[1]);
    return SWAN_FAIL(SWAN_E_NOMEM, "worker: %s", strerror(error));
}

swan_status swan_workers_open(const swan_workers_config *config, swan_jobs *jobs, swan_events *events, swan_workers **out)
{
    *out = NULL;
    swan_workers *p = calloc(1, sizeof *p);
    if (!p) return SWAN_FAIL(SWAN_E_NOMEM, "workers: out of memory");
    p->config = *config;
    p->jobs = jobs;
    p->events = events;
    pthread_mutex_init(&p->lock, NULL);
    while (p->state.count < config->count) {
        swan_status status = start_worker(p, p->state.count);
        if (status) {
            swan_workers_close(p);
            return status;
        }
        p->state.count++;
    }
    *out = p;
    return SWAN_OK;
}

void swan_workers_close(swan_workers *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stopping = p->draining = true;
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->state.count; i++) wake(&p->worker[i]);
    for (int i = 0; i < p->state.count; i++) {
        pthread_join(p->worker[i].thread, NULL);
        close(p->worker[i].pipe[0]);
        close(p->worker[i].pipe[1]);
    }
    json_decref(p->description);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void swan_workers_wake(swan_workers *p)
{
    for (int i = 0; i < p->state.count; i++) wake(&p->worker[i]);
}

void swan_workers_cancel(swan_workers *p, const char *id)
{
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->state.count; i++) {
        worker *w = &p->worker[i];
        if (!w->has_job || strcmp(w->job.id, id) != 0) continue;
        w->cancel_wanted = true;
        wake(w);
    }
    pthread_mutex_unlock(&p->lock);
}

void swan_workers_drain(swan_workers *p)
{
    pthread_mutex_lock(&p->lock);
    p->draining = true;
    pthread_mutex_unlock(&p->lock);
}

void swan_workers_look(swan_workers *p, swan_workers_state *state, swan_api_model *model)
{
    pthread_mutex_lock(&p->lock);
    p->state.ready = false;
    for (int i = 0; i < p->state.count; i++) p->state.ready |= p->worker[i].ready;
    if (state) *state = p->state;
    if (model) *model = p->model;
    pthread_mutex_unlock(&p->lock);
}

json_t *swan_workers_describe(swan_workers *p)
{
    pthread_mutex_lock(&p->lock);
    json_t *description = p->description ? json_deep_copy(p->description) : NULL;
    pthread_mutex_unlock(&p->lock);
    return description;
}
