/* Invariants
 * 1. Two threads: the engine's (opens, generates) and the reader's (messages in). They share struct child under its lock.
 * 2. One job at a time: the server sends the next one only after done or failed; another one is refused as a failure.
 * 3. `session` is not NULL exactly while it may be cancelled. A session that was told to cancel is not used again, because the
 *    wish may have come after the end of the run and would stop the next one.
 * 4. The end of the stream ends the process at once, in the middle of anything: what it was writing has a name nobody looks at. */
#include "server/child.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "server/lines.h"
#include "server/pictures.h"

enum { PREVIEW_SIDE = 512 };

typedef struct child {
    int fd;
    swan_params *params;  /* of the model; settings of jobs go on top */
    swan_engine *engine;
    swan_session *cached; /* of the last job, for the next one with the same settings */
    char *cached_key;
    pthread_mutex_t lock, sending;
    pthread_cond_t arrived;
    json_t *job;          /* from the reader to the engine's thread; NULL: none */
    char id[64];          /* the job being made; "": none */
    bool cancelled;       /* this job */
    swan_session *session;
    swan_sheet sheet;
    int steps;            /* of denoising, for previews */
} child;

/* ---- messages out: both the engine's and the encoding thread may send ---- */

static void say(child *c, json_t *message)
{
    pthread_mutex_lock(&c->sending);
    swan_status status = swan_lines_send(c->fd, message);
    pthread_mutex_unlock(&c->sending);
    if (status) _exit(0); /* nobody listens any more */
}

static void on_log(void *user, swan_log_level level, const char *text)
{
    if (level != SWAN_LOG_DEBUG) say(user, json_pack("{s:s, s:s}", "event", "log", "text", text));
}

static bool on_progress(void *user, const swan_progress *p)
{
    child *c = user;
    if (p->phase == SWAN_PHASE_DENOISE) c->steps = p->steps;
    say(c, json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f}", "event", "progress", "id", c->id, "phase", swan_phase_name(p->phase), "step", p->step,
                     "steps", p->steps, "fraction", p->fraction, "remaining_s", p->remaining_s));
    pthread_mutex_lock(&c->lock);
    bool go_on = !c->cancelled;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

static void on_frame(void *user, int index, int width, int height, const uint8_t *rgb)
{
    child *c = user;
    swan_sheet_add(&c->sheet, index, width, height, rgb);
}

static void on_preview(void *user, int step, int width, int height, const uint8_t *rgb)
{
    child *c = user;
    char *image;
    if (swan_picture_base64(rgb, width, height, PREVIEW_SIDE, &image)) return; /* a run does not fail for want of its preview */
    say(c, json_pack("{s:s, s:s, s:i, s:i, s:s}", "event", "preview", "id", c->id, "step", step + 1, "steps", c->steps, "jpeg", image));
    free(image);
}

/* ---- messages in ---- */

/* Takes the message over: a reference count is no business of two threads. */
static void take_job(child *c, json_t *message)
{
    pthread_mutex_lock(&c->lock);
    bool busy = c->job || c->id[0];
    if (!busy) {
        c->job = message;
        c->cancelled = false;
        snprintf(c->id, sizeof c->id, "%s", swan_lines_text(message, "id", "?"));
        pthread_cond_signal(&c->arrived);
    }
    pthread_mutex_unlock(&c->lock);
    if (!busy) return;
    say(c, json_pack("{s:s, s:s, s:s, s:s, s:b}", "event", "failed", "id", swan_lines_text(message, "id", "?"), "code", "server_error", "message",
                     "the worker has a job already", "fatal", 0));
    json_decref(message);
}

static void take_cancel(child *c, const json_t *message)
{
    pthread_mutex_lock(&c->lock);
    if (c->id[0] && !strcmp(c->id, swan_lines_text(message, "id", ""))) {
        c->cancelled = true;
        if (c->session) swan_session_cancel(c->session);
    }
    pthread_mutex_unlock(&c->lock);
}

static void *read_messages(void *user)
{
    child *c = user;
    swan_lines lines;
    swan_lines_open(&lines, c->fd, SWAN_CHILD_LINE_MAX);
    for (;;) {
        bool ended;
        json_t *message;
        if (swan_lines_fill(&lines, &ended) || ended) _exit(0);
        while (!swan_lines_next(&lines, &message) && message) {
            const char *what = swan_lines_text(message, "do", "");
            if (!strcmp(what, "run")) {
                take_job(c, message);
                continue;
            }
            if (!strcmp(what, "cancel")) take_cancel(c, message);
            json_decref(message);
        }
    }
    return NULL;
}

/* ---- a job ---- */

static void drop_session(child *c)
{
    swan_session_close(c->cached);
    free(c->cached_key);
    c->cached = NULL;
    c->cached_key = NULL;
}

static void unset_session(child *c)
{
    pthread_mutex_lock(&c->lock);
    c->session = NULL;
    pthread_mutex_unlock(&c->lock);
}

/* The session for these settings: the last one, when they are its own. The video goes to the same name each time and is moved
 * afterwards, because a session has one name for life. */
static swan_status find_session(child *c, const json_t *settings, const char *output)
{
    char *key = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    if (!key) return SWAN_FAIL(SWAN_E_NOMEM, "worker: out of memory");
    if (c->cached && !strcmp(key, c->cached_key)) {
        free(key);
        return SWAN_OK;
    }
    drop_session(c);
    const char *name;
    json_t *value;
    swan_status status = swan_params_set(c->params, "output", output);
    json_object_foreach((json_t *)(uintptr_t)settings, name, value)
    {
        if (!status) status = swan_params_set(c->params, name, json_string_value(value) ? json_string_value(value) : "");
    }
    const swan_callbacks callbacks = {.user = c, .progress = on_progress, .log = on_log, .frame = on_frame, .preview = on_preview};
    if (!status) status = swan_session_open(c->engine, c->params, &callbacks, &c->cached);
    c->cached_key = status ? NULL : key;
    if (status) free(key);
    return status;
}

static swan_status generate(child *c, const json_t *job, const char *output, swan_report *report)
{
    const json_t *settings = json_object_get(job, "settings");
    int width = 0, height = 0, frames = (int)strtol(swan_lines_text(settings, "num_frames", "0"), NULL, 10);
    if (sscanf(swan_lines_text(settings, "size", ""), "%dx%d", &width, &height) != 2 || frames < 1)
        return SWAN_FAIL(SWAN_E_INVALID, "worker: a job without size or num_frames");
    SWAN_TRY(swan_sheet_open(&c->sheet, frames, width, height));
    SWAN_TRY(find_session(c, settings, output));
    pthread_mutex_lock(&c->lock);
    bool cancelled = c->cancelled;
    c->session = cancelled ? NULL : c->cached;
    pthread_mutex_unlock(&c->lock);
    if (cancelled) return SWAN_FAIL(SWAN_E_CANCELLED, "cancelled");
    swan_status status = swan_session_generate(c->cached, swan_lines_text(job, "prompt", ""), (int64_t)swan_lines_number(job, "seed", -1), report);
    unset_session(c);
    return status;
}

static swan_status run_job(child *c, const json_t *job, swan_report *report, json_t **recipe)
{
    const char *directory = swan_lines_text(job, "directory", "");
    char parent[SWAN_PATH_MAX], name[64], output[SWAN_PATH_MAX], final[SWAN_PATH_MAX], *text;
    snprintf(name, sizeof name, "worker-%ld.mp4", (long)getpid());
    SWAN_TRY(swan_path_directory(directory, parent, sizeof parent));
    SWAN_TRY(swan_path_join(parent, name, output, sizeof output));
    SWAN_TRY(swan_path_join(directory, "video.mp4", final, sizeof final));
    SWAN_TRY(generate(c, job, output, report));
    SWAN_TRY(swan_file_commit(output, final));
    SWAN_TRY(swan_sheet_write(&c->sheet, directory));
    if (!swan_inspect(final, &text)) { /* not there with --no-metadata */
        *recipe = json_loads(text, 0, NULL);
        swan_string_free(text);
    }
    return SWAN_OK;
}

static const char *failure_code(swan_status status)
{
    switch (status) {
    case SWAN_E_INVALID: return "invalid_settings";
    case SWAN_E_NOMEM: return "out_of_memory";
    case SWAN_E_CANCELLED: return "cancelled";
    case SWAN_E_DEVICE: return "device_failed";
    case SWAN_E_IO: return "storage_failed";
    default: return "generation_failed";
    }
}

/* Makes one video and says how it went. False: the engine cannot be used any more. */
static bool serve_job(child *c, const json_t *job)
{
    swan_report report = {0};
    json_t *recipe = NULL;
    swan_status status = run_job(c, job, &report, &recipe);
    bool fatal = status == SWAN_E_DEVICE || status == SWAN_E_BUG;
    char id[64];
    pthread_mutex_lock(&c->lock);
    bool cancelled = c->cancelled;
    snprintf(id, sizeof id, "%s", c->id);
    c->id[0] = 0; /* before the answer: the next job may follow it at once */
    pthread_mutex_unlock(&c->lock);
    swan_sheet_close(&c->sheet);
    if (status || cancelled) drop_session(c);
    if (!status)
        say(c, json_pack("{s:s, s:s, s:f, s:o*}", "event", "done", "id", id, "seconds", report.total_s, "recipe", recipe));
    else
        say(c, json_pack("{s:s, s:s, s:s, s:s, s:b}", "event", "failed", "id", id, "code", failure_code(status), "message", swan_last_error(), "fatal",
                         (int)fatal));
    return !fatal;
}

static swan_status open_engine(child *c)
{
    const swan_callbacks callbacks = {.user = c, .progress = on_progress, .log = on_log};
    char *text = NULL;
    SWAN_TRY(swan_engine_open(c->params, &callbacks, &c->engine));
    SWAN_TRY(swan_engine_describe(c->engine, &text));
    json_t *description = json_loads(text, 0, NULL);
    swan_string_free(text);
    if (!description) return SWAN_BUG("worker: the engine's description is no JSON");
    say(c, json_pack("{s:s, s:o}", "event", "ready", "describe", description));
    return SWAN_OK;
}

int swan_child_run(swan_params *params, int fd)
{
    child c = {.fd = fd, .params = params};
    pthread_t reader;
    pthread_mutex_init(&c.lock, NULL);
    pthread_mutex_init(&c.sending, NULL);
    pthread_cond_init(&c.arrived, NULL);
    if (pthread_create(&reader, NULL, read_messages, &c) != 0) return 1;
    if (open_engine(&c)) {
        say(&c, json_pack("{s:s, s:s}", "event", "unready", "message", swan_last_error()));
        _exit(1); /* the reader's thread still stands on this stack */
    }
    for (bool usable = true; usable;) {
        pthread_mutex_lock(&c.lock);
        while (!c.job) pthread_cond_wait(&c.arrived, &c.lock);
        json_t *job = c.job;
        c.job = NULL;
        pthread_mutex_unlock(&c.lock);
        usable = serve_job(&c, job);
        json_decref(job);
    }
    _exit(3);
}
