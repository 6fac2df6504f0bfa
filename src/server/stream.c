/* Answers that take as long as a video: server-sent events, and /v1/videos/sync. Both suspend their connection between news.
 *
 * Events: "status" (the video object, at the beginning and whenever its status changes), "progress" (the video object, while it is
 * made), "preview" ({"step", "steps", "status", "jpeg": base64}), and at the end one of "completed", "failed", "cancelled" (the
 * video object) or "deleted". Between them comments, so that nobody in between thinks that the line is dead. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/httpd.h"

enum { BLOCK = 16384, HEARTBEAT_S = 10 };

typedef struct stream {
    swan_httpd *http;
    swan_waiter waiter;
    char *chunk;            /* what is being sent; NULL: nothing */
    size_t length, sent;
    bool over;              /* nothing comes after the chunk */
    time_t spoke_at;
    swan_job_state state;   /* said last; SWAN_JOB_STATES: none yet */
    char said[160];         /* of the progress: what would make another event of it */
    int preview_step;
} stream;

/* Appends "event: name" and the object, which it takes. */
static void say(stream *s, const char *name, json_t *data)
{
    char *text = data ? json_dumps(data, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(data);
    size_t room = text ? strlen(text) + strlen(name) + 32 : 0;
    char *chunk = text ? realloc(s->chunk, s->length + room) : NULL;
    if (chunk) {
        s->chunk = chunk;
        s->length += (size_t)snprintf(chunk + s->length, room, "event: %s\ndata: %s\n\n", name, text);
        s->spoke_at = time(NULL);
    } else {
        s->over = true; /* out of memory: better an end than a gap */
    }
    free(text);
}

static void say_progress(stream *s, const swan_job *job, const swan_api_live *live)
{
    char now[sizeof s->said];
    snprintf(now, sizeof now, "%s %d %d %d", live->phase, live->step, live->steps, live->progress);
    if (!strcmp(now, s->said)) return;
    memcpy(s->said, now, sizeof now);
    say(s, "progress", swan_api_video(job, live));
}

static void say_preview(stream *s)
{
    int step, steps;
    char *jpeg = swan_events_take_preview(s->http->events, s->waiter.id, s->preview_step, &step, &steps);
    if (!jpeg) return;
    s->preview_step = step;
    say(s, "preview", json_pack("{s:i, s:i, s:s, s:s}", "step", step, "steps", steps, "status", "in_progress", "jpeg", jpeg));
    free(jpeg);
}

/* Everything that is new about the job. */
static void say_news(stream *s)
{
    swan_job job;
    bool found;
    if (swan_jobs_get(s->http->jobs, s->waiter.id, &job, &found)) {
        s->over = true;
        return;
    }
    if (!found) {
        s->over = true;
        say(s, "deleted", json_pack("{s:s, s:s, s:b}", "id", s->waiter.id, "object", "video.deleted", "deleted", 1));
        return;
    }
    swan_api_live live = swan_httpd_live(s->http, &job);
    if (swan_job_is_over(&job)) {
        s->over = true;
        say(s, swan_job_state_name(job.state), swan_api_video(&job, &live));
    } else if (job.state != s->state) {
        s->state = job.state;
        say(s, "status", swan_api_video(&job, &live));
    }
    if (job.state == SWAN_JOB_IN_PROGRESS && live.phase) {
        say_progress(s, &job, &live);
        say_preview(s);
    }
    swan_job_free(&job);
}

static void say_heartbeat(stream *s)
{
    static const char ping[] = ": still here\n\n";
    if (s->chunk || s->over || time(NULL) - s->spoke_at < HEARTBEAT_S) return;
    s->chunk = strdup(ping);
    s->length = s->chunk ? sizeof ping - 1 : 0;
    s->spoke_at = time(NULL);
}

static ssize_t read_stream(void *user, uint64_t at, char *buf, size_t max)
{
    stream *s = user;
    (void)at;
    while (!s->chunk) {
        if (s->over || atomic_load(&s->http->stopping)) return MHD_CONTENT_READER_END_OF_STREAM;
        if (swan_events_wait(s->http->events, &s->waiter)) return 0;
        say_news(s);
        say_heartbeat(s);
    }
    size_t n = s->length - s->sent < max ? s->length - s->sent : max;
    memcpy(buf, s->chunk + s->sent, n);
    s->sent += n;
    if (s->sent == s->length) {
        free(s->chunk);
        s->chunk = NULL;
        s->length = s->sent = 0;
    }
    return (ssize_t)n;
}

static void free_stream(void *user)
{
    stream *s = user;
    swan_events_leave(s->http->events, &s->waiter);
    free(s->chunk);
    free(s);
}

swan_reply swan_stream_answer(swan_request *r)
{
    swan_job job;
    swan_reply reply = swan_request_job(r, &job);
    if (reply.response) return reply;
    swan_job_free(&job);
    stream *s = calloc(1, sizeof *s);
    if (!s) return reply;
    s->http = r->http;
    s->state = SWAN_JOB_STATES;
    s->spoke_at = time(NULL);
    swan_events_join(r->http->events, &s->waiter, r->id, r->connection);
    reply = (swan_reply){200, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream, s, free_stream)};
    if (!reply.response) free_stream(s);
    swan_reply_header(&reply, "Content-Type", "text/event-stream");
    swan_reply_header(&reply, "Cache-Control", "no-store");
    swan_reply_header(&reply, "X-Accel-Buffering", "no"); /* a proxy is not to collect it */
    return reply;
}

/* ---- sync ---- */

swan_reply swan_sync_begin(swan_request *r)
{
    swan_events_join(r->http->events, &r->waiter, r->id, r->connection);
    r->waits = true;
    return swan_sync_go_on(r);
}

static swan_reply refuse(unsigned status, const char *code, const char *message)
{
    swan_api_error e;
    swan_api_fail(&e, status, code, NULL, "%s", message);
    return swan_reply_error(&e);
}

static swan_reply sync_answer(swan_request *r, const swan_job *job)
{
    swan_reply reply;
    if (job->state == SWAN_JOB_COMPLETED) reply = swan_content_file(r, job, "video");
    else reply = refuse(job->state == SWAN_JOB_CANCELLED ? 409 : 500, job->error_code ? job->error_code : "generation_failed", job->error_message ? job->error_message : "");
    swan_reply_header(&reply, "x-video-id", "%s", job->id);
    return reply;
}

swan_reply swan_sync_go_on(swan_request *r)
{
    while (!atomic_load(&r->http->stopping)) {
        swan_job job;
        bool found;
        if (swan_events_wait(r->http->events, &r->waiter)) return (swan_reply){0};
        if (swan_jobs_get(r->http->jobs, r->id, &job, &found)) return swan_reply_failure();
        if (!found) return refuse(409, "deleted", "the video was deleted while it was waited for");
        bool over = swan_job_is_over(&job);
        swan_reply reply = over ? sync_answer(r, &job) : (swan_reply){0};
        swan_job_free(&job);
        if (over) return reply;
    }
    return refuse(503, "shutting_down", "the server is shutting down; the video stays in its queue");
}
