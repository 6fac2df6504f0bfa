/* The routes, and what most of them answer. Content, events and the page have files of their own. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/httpd.h"

enum { LIST_DEFAULT = 20, LIST_MAX = 100 };

/* ---- shared by handlers ---- */

static swan_reply refuse(unsigned status, const char *code, const char *param, const char *message)
{
    swan_api_error e;
    swan_api_fail(&e, status, code, param, "%s", message);
    return swan_reply_error(&e);
}

swan_api_live swan_httpd_live(swan_httpd *h, const swan_job *job)
{
    swan_api_live live = {.ahead = -1, .remaining_s = -1};
    swan_live now;
    if (job->state == SWAN_JOB_IN_PROGRESS && swan_events_look(h->events, job->id, &now)) {
        live = (swan_api_live){.phase = now.phase, .step = now.step, .steps = now.steps, .progress = now.progress, .remaining_s = now.remaining_s,
                               .ahead = -1};
    } else if (job->state == SWAN_JOB_QUEUED && swan_jobs_ahead(h->jobs, job->id, &live.ahead)) {
        live.ahead = -1;
    }
    return live;
}

/* The video object, with how soon to ask again. */
static swan_reply video_reply(swan_request *r, const swan_job *job)
{
    swan_api_live live = swan_httpd_live(r->http, job);
    swan_reply reply = swan_reply_json(200, swan_api_video(job, &live));
    int ms = swan_api_poll_ms(job, &live);
    if (ms) swan_reply_header(&reply, "openai-poll-after-ms", "%d", ms);
    return reply;
}

swan_reply swan_request_job(swan_request *r, swan_job *job)
{
    bool found;
    if (swan_jobs_get(r->http->jobs, r->id, job, &found)) return swan_reply_failure();
    return found ? (swan_reply){0} : refuse(404, "not_found", "video_id", "there is no video with this id");
}

/* In how many seconds a place in the queue is free, roughly. */
static int retry_after(swan_httpd *h)
{
    swan_workers_state s;
    swan_workers_look(h->workers, &s, NULL);
    double wait = s.mean_s > 0 && s.count ? s.mean_s / s.count : 5;
    return wait < 1 ? 1 : wait > 60 ? 60 : (int)ceil(wait);
}

swan_reply swan_request_add(swan_request *r, swan_job *job)
{
    swan_httpd *h = r->http;
    swan_jobs_answer answer;
    swan_reply reply;
    if (swan_jobs_add(h->jobs, job, &answer)) return swan_reply_failure();
    switch (answer) {
    case SWAN_JOBS_ADDED: swan_workers_wake(h->workers); return (swan_reply){0};
    case SWAN_JOBS_QUEUE_FULL:
        reply = refuse(429, "queue_full", NULL, "the queue is full; try again later");
        swan_reply_header(&reply, "Retry-After", "%d", retry_after(h));
        return reply;
    case SWAN_JOBS_DISK_FULL: return refuse(507, "disk_full", NULL, "the disk of the server is full");
    case SWAN_JOBS_STORE_FULL: break;
    }
    return refuse(507, "storage_full", NULL, "the videos that are kept fill the space they may take; delete some, or wait until they expire");
}

/* Whether jobs are taken at all now, and for which model. */
static swan_reply model_ready(swan_request *r, swan_api_model *model)
{
    swan_workers_state s;
    swan_reply reply = {0};
    swan_workers_look(r->http->workers, &s, model);
    if (atomic_load(&r->http->draining)) reply = refuse(503, "shutting_down", NULL, "the server is shutting down");
    else if (!s.known) reply = refuse(503, "loading", NULL, "the model is still loading");
    swan_reply_header(&reply, "Retry-After", "2");
    return reply;
}

/* ---- /v1/videos ---- */

/* A job from the request, checked and stored. A reply with a response: it was not. */
static swan_reply create(swan_request *r, swan_job *job)
{
    swan_api_model model;
    swan_api_error e;
    swan_reply reply = model_ready(r, &model);
    if (reply.response) return reply;
    const json_t *fields = swan_request_fields(r, &e);
    if (!fields || !swan_api_create(fields, &model, &r->http->config->limits, job, &e)) return swan_reply_error(&e);
    reply = swan_request_add(r, job);
    if (reply.response) swan_job_free(job);
    return reply;
}

static swan_reply answer_create(swan_request *r)
{
    swan_job job = {0};
    swan_reply reply = create(r, &job);
    if (reply.response) return reply;
    reply = video_reply(r, &job);
    swan_job_free(&job);
    return reply;
}

static swan_reply answer_sync(swan_request *r)
{
    swan_job job = {0};
    swan_reply reply = create(r, &job);
    if (reply.response) return reply;
    memcpy(r->id, job.id, sizeof r->id);
    swan_job_free(&job);
    return swan_sync_begin(r);
}

static bool parse_query(swan_request *r, swan_jobs_query *q, swan_api_error *e)
{
    const char *limit = swan_request_argument(r, "limit"), *order = swan_request_argument(r, "order");
    *q = (swan_jobs_query){.after = swan_request_argument(r, "after"), .limit = LIST_DEFAULT};
    if (limit) {
        char *end;
        long n = strtol(limit, &end, 10);
        if (!*limit || *end || n < 1 || n > LIST_MAX) return swan_api_fail(e, 400, "invalid_value", "limit", "limit: wanted 1 to %d", LIST_MAX);
        q->limit = (int)n;
    }
    if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0) return swan_api_fail(e, 400, "invalid_value", "order", "order: wanted asc or desc");
    q->ascending = order && !strcmp(order, "asc");
    if (q->after && !swan_job_id_valid(q->after)) return swan_api_fail(e, 400, "invalid_value", "after", "after: not the id of a video");
    return true;
}

static swan_reply answer_list(swan_request *r)
{
    swan_jobs_query query;
    swan_jobs_page page;
    swan_api_error e;
    if (!parse_query(r, &query, &e)) return swan_reply_error(&e);
    swan_status status = swan_jobs_list(r->http->jobs, &query, &page);
    if (status == SWAN_E_NOT_FOUND) return refuse(404, "not_found", "after", "after: there is no such video");
    if (status) return swan_reply_failure();
    json_t *data = json_array();
    for (int i = 0; i < page.count; i++) {
        swan_api_live live = swan_httpd_live(r->http, &page.job[i]);
        json_array_append_new(data, swan_api_video(&page.job[i], &live));
    }
    json_t *list = json_pack("{s:s, s:o, s:s?, s:s?, s:b}", "object", "list", "data", data, "first_id", page.count ? page.job[0].id : NULL, "last_id",
                             page.count ? page.job[page.count - 1].id : NULL, "has_more", (int)page.has_more);
    swan_jobs_page_free(&page);
    return swan_reply_json(200, list);
}

static swan_reply answer_get(swan_request *r)
{
    swan_job job;
    swan_reply reply = swan_request_job(r, &job);
    if (reply.response) return reply;
    reply = video_reply(r, &job);
    swan_job_free(&job);
    return reply;
}

static swan_reply answer_delete(swan_request *r)
{
    bool found;
    if (swan_jobs_remove(r->http->jobs, r->id, &found)) return swan_reply_failure();
    if (!found) return refuse(404, "not_found", "video_id", "there is no video with this id");
    swan_workers_cancel(r->http->workers, r->id);
    swan_events_notify(r->http->events, r->id);
    return swan_reply_json(200, json_pack("{s:s, s:s, s:b}", "id", r->id, "object", "video.deleted", "deleted", 1));
}

static swan_reply answer_cancel(swan_request *r)
{
    bool changed;
    swan_job job;
    if (swan_jobs_cancel(r->http->jobs, r->id, &changed)) return swan_reply_failure();
    swan_reply reply = swan_request_job(r, &job);
    if (reply.response) return reply;
    if (changed) {
        swan_workers_cancel(r->http->workers, r->id);
        swan_events_notify(r->http->events, r->id);
        reply = video_reply(r, &job);
    } else {
        reply = refuse(409, "already_over", "video_id", "this video is not waiting or being made any more");
    }
    swan_job_free(&job);
    return reply;
}

static swan_reply remix(swan_request *r, const swan_job *source)
{
    swan_api_error e;
    swan_api_model model;
    swan_job job;
    swan_reply reply = model_ready(r, &model);
    if (reply.response) return reply;
    const json_t *fields = swan_request_fields(r, &e);
    if (!fields) return swan_reply_error(&e);
    if (!swan_api_model_is(&model, source->model)) return refuse(404, "model_not_found", "video_id", "the video was made with a model that this server does not have now");
    if (!swan_api_remix(fields, source, &r->http->config->limits, &job, &e)) return swan_reply_error(&e);
    reply = swan_request_add(r, &job);
    if (!reply.response) reply = video_reply(r, &job);
    swan_job_free(&job);
    return reply;
}

static swan_reply answer_remix(swan_request *r)
{
    swan_job source;
    swan_reply reply = swan_request_job(r, &source);
    if (reply.response) return reply;
    reply = remix(r, &source);
    swan_job_free(&source);
    return reply;
}

/* ---- about the server ---- */

static json_t *describe_model(swan_httpd *h, const swan_api_model *m, const char *name)
{
    const swan_api_limits *l = &h->config->limits;
    char size[32], seconds[32];
    snprintf(size, sizeof size, "%dx%d", m->width, m->height);
    snprintf(seconds, sizeof seconds, "%.6g", (double)(m->frames - 1) / m->fps);
    int64_t frames = l->pixels_max / ((int64_t)m->width * m->height);
    return json_pack("{s:s, s:s, s:I, s:s, s:{s:s, s:s, s:i, s:i, s:i, s:f, s:f, s:s}, s:{s:[i, i], s:[f, f], s:[f, f], s:[i, i], s:[i, I], s:i, s:I}}", "id",
                     name, "object", "model", "created", (json_int_t)h->started_at, "owned_by", "swan", "defaults", "size", size, "seconds", seconds,
                     "num_frames", m->frames, "fps", m->fps, "num_inference_steps", m->steps, "flow_shift", m->shift, "guidance_scale", m->guidance,
                     "negative_prompt", "", "limits", "num_inference_steps", 1, l->steps_max, "guidance_scale", 0.0, 100.0, "flow_shift", 0.01, 100.0,
                     "fps", 1, 240, "num_frames", 1, (json_int_t)(frames > 4097 ? 4097 : frames), "prompt_chars", l->prompt_max, "pixels",
                     (json_int_t)l->pixels_max);
}

static swan_reply answer_models(swan_request *r)
{
    swan_workers_state s;
    swan_api_model model;
    swan_workers_look(r->http->workers, &s, &model);
    json_t *data = json_array();
    if (s.known) json_array_append_new(data, describe_model(r->http, &model, model.name));
    for (const char *at = s.known ? model.aliases : NULL; at && *at;) {
        char name[128];
        at += strspn(at, " ,");
        size_t length = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        if (length) json_array_append_new(data, describe_model(r->http, &model, name));
        at += length;
    }
    return swan_reply_json(200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

/* As llama.cpp's server does. */
static swan_reply answer_health(swan_request *r)
{
    swan_workers_state s;
    swan_workers_look(r->http->workers, &s, NULL);
    bool draining = atomic_load(&r->http->draining);
    if (s.ready && !draining) return swan_reply_json(200, json_pack("{s:s}", "status", "ok"));
    return swan_reply_json(503, json_pack("{s:{s:i, s:s, s:s}}", "error", "code", 503, "message",
                                          draining ? "Shutting down" : s.known ? "Worker is restarting" : "Loading model", "type", "unavailable_error"));
}

/* Memory of this process, in bytes; the peak, which is what getrusage knows, where the system tells no more. */
static double resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
        fclose(f);
    }
    struct rusage usage;
    if (pages > 0 || getrusage(RUSAGE_SELF, &usage) != 0) return (double)pages * (double)sysconf(_SC_PAGESIZE);
    return 1024.0 * (double)usage.ru_maxrss;
}

static void metric(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP swan_%s %s\n# TYPE swan_%s %s\n", name, help, name, type);
}

static void print_metrics(FILE *out, swan_httpd *h, const swan_jobs_totals *t, const swan_workers_state *s)
{
    metric(out, "videos", "gauge", "Videos in the store, by status.");
    for (int i = 0; i < SWAN_JOB_STATES; i++)
        fprintf(out, "swan_videos{status=\"%s\"} %d\n", swan_job_state_name((swan_job_state)i), t->count[i]);
    metric(out, "stored_bytes", "gauge", "Bytes of finished files.");
    fprintf(out, "swan_stored_bytes %llu\n", (unsigned long long)t->stored_bytes);
    metric(out, "queue_limit", "gauge", "Videos that may wait.");
    fprintf(out, "swan_queue_limit %d\n", h->config->jobs.queue_max);
    metric(out, "jobs_ended_total", "counter", "Jobs that workers ended, by outcome.");
    fprintf(out, "swan_jobs_ended_total{outcome=\"completed\"} %llu\nswan_jobs_ended_total{outcome=\"failed\"} %llu\nswan_jobs_ended_total{outcome="
                 "\"cancelled\"} %llu\n", (unsigned long long)s->completed, (unsigned long long)s->failed, (unsigned long long)s->cancelled);
    metric(out, "generation_seconds_total", "counter", "Time spent on completed videos.");
    fprintf(out, "swan_generation_seconds_total %.3f\n", s->busy_s);
    metric(out, "workers_ready", "gauge", "1 when a worker is loaded.");
    fprintf(out, "swan_workers_ready %d\n", s->ready);
    metric(out, "worker_restarts_total", "counter", "Workers that ended unasked and were replaced.");
    fprintf(out, "swan_worker_restarts_total %llu\n", (unsigned long long)s->restarts);
    metric(out, "http_responses_total", "counter", "Responses, by the class of their status.");
    for (int i = 2; i < 6; i++) fprintf(out, "swan_http_responses_total{class=\"%dxx\"} %llu\n", i, (unsigned long long)atomic_load(&h->replies[i]));
    metric(out, "http_deadlines_total", "counter", "Connections ended because a request did not arrive in time.");
    fprintf(out, "swan_http_deadlines_total %llu\n", (unsigned long long)atomic_load(&h->deadlines));
    metric(out, "resident_bytes", "gauge", "Memory of the server process, without its workers.");
    fprintf(out, "swan_resident_bytes %.0f\n", resident_bytes());
}

static swan_reply answer_metrics(swan_request *r)
{
    swan_jobs_totals totals;
    swan_workers_state state;
    if (!r->http->config->metrics) return refuse(404, "not_found", NULL, "metrics are off (see --metrics)");
    if (swan_jobs_count(r->http->jobs, &totals)) return swan_reply_failure();
    swan_workers_look(r->http->workers, &state, NULL);
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return (swan_reply){0};
    print_metrics(out, r->http, &totals, &state);
    fclose(out);
    swan_reply reply = text ? swan_reply_text(200, "text/plain; version=0.0.4; charset=utf-8", text) : (swan_reply){0};
    free(text);
    return reply;
}

/* ---- the table ---- */

static const swan_route routes[] = {
    {"GET", "/", true, false, swan_page_answer},
    {"GET", "/health", true, false, answer_health},
    {"GET", "/v1/health", true, false, answer_health},
    {"GET", "/openapi.json", true, false, swan_openapi_answer},
    {"GET", "/metrics", false, false, answer_metrics},
    {"GET", "/v1/models", false, false, answer_models},
    {"POST", "/v1/videos", false, true, answer_create},
    {"GET", "/v1/videos", false, false, answer_list},
    {"POST", "/v1/videos/sync", false, true, answer_sync},
    {"GET", "/v1/videos/{id}", false, false, answer_get},
    {"DELETE", "/v1/videos/{id}", false, true, answer_delete},
    {"GET", "/v1/videos/{id}/content", false, false, swan_content_answer},
    {"GET", "/v1/videos/{id}/events", false, false, swan_stream_answer},
    {"POST", "/v1/videos/{id}/remix", false, true, answer_remix},
    {"POST", "/v1/videos/{id}/cancel", false, true, answer_cancel},
};

/* Whether path is the pattern; a segment in place of "{id}" goes to id, "" when it cannot be one. */
static bool path_matches(const char *pattern, const char *path, char *id)
{
    const char *hole = strstr(pattern, "{id}");
    if (!hole) return !strcmp(pattern, path);
    size_t lead = (size_t)(hole - pattern);
    if (strncmp(pattern, path, lead) != 0) return false;
    size_t n = strcspn(path + lead, "/");
    if (!n || strcmp(path + lead + n, hole + 4) != 0) return false;
    id[0] = 0;
    if (n < SWAN_JOB_ID_MAX) snprintf(id, SWAN_JOB_ID_MAX, "%.*s", (int)n, path + lead);
    if (!swan_job_id_valid(id)) id[0] = 0;
    return true;
}

const swan_route *swan_routes_find(const char *method, const char *path, char *id, char allow[SWAN_ALLOW_MAX])
{
    const char *wanted = !strcmp(method, "HEAD") ? "GET" : method;
    size_t n = 0;
    allow[0] = 0;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!path_matches(routes[i].path, path, id)) continue;
        if (!strcmp(routes[i].method, wanted)) return &routes[i];
        n += (size_t)snprintf(allow + n, SWAN_ALLOW_MAX - n, "%s%s%s", n ? ", " : "", routes[i].method, !strcmp(routes[i].method, "GET") ? ", HEAD" : "");
    }
    return NULL;
}
