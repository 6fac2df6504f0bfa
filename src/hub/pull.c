/* The story of a pull: name, revision, list, plan, transfers, tree, rename. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hub/hub.h"
#include "hub/store.h"
#include "hub/transfer.h"

#define ENDPOINT "https://huggingface.co"
#define PAGES 64
#define PAGE_BYTES ((size_t)16 << 20)
#define SPARE_BYTES ((uint64_t)64 << 20) /* left free on the disk */
#define JOBS_MAX 32

/* TAEHV has its own place: a commit of its repository, and git's name of the file there. */
#define TAEHV_FILE "taew2_1.safetensors"
#define TAEHV_URL "https://raw.githubusercontent.com/madebyollin/taehv/1f14a568f24bf8811e0a0ac601613e04fc1581e8/safetensors/" TAEHV_FILE
#define TAEHV_BLOB "ec1a2be453a250aa406e912bb630c34463ba0b2f"

typedef struct pull {
    const swan_hub_options *options;
    const swan_hub_callbacks *callbacks;
    char endpoint[512];
    swan_store store;
    swan_manifest manifest; /* what the model will be */
    swan_transfers shared;
    atomic_bool stop;
    swan_transfer *transfers;
    int count;
    uint64_t listed;        /* bytes of the files whose size is known before */
    double started;

    pthread_mutex_t mutex;  /* all below, and the callback */
    pthread_cond_t changed;
    int next, running, files_done;
    swan_failure failure;   /* of the first transfer that failed */
    double speed, shown_at;
    uint64_t shown_received;
} pull;

/* ---- small things ---- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* With the mutex held. */
static void tell(pull *p, swan_hub_event_kind kind, const char *text, double wait_s)
{
    if (!p->callbacks || !p->callbacks->event) return;
    uint64_t bytes = p->listed + atomic_load(&p->shared.unlisted), done = atomic_load(&p->shared.done);
    swan_hub_event e = {.kind = kind, .repository = p->store.repository, .revision = p->manifest.revision, .text = text,
                        .files = p->count, .files_done = p->files_done, .bytes = bytes, .done = done,
                        .received = atomic_load(&p->shared.received), .elapsed_s = now_s() - p->started,
                        .bytes_per_s = p->speed, .remaining_s = -1, .wait_s = wait_s};
    if (p->speed > 0 && done <= bytes) e.remaining_s = (double)(bytes - done) / p->speed;
    p->callbacks->event(p->callbacks->user, &e);
}

static void on_note(void *user, const char *text, double wait_s)
{
    pull *p = user;
    pthread_mutex_lock(&p->mutex);
    tell(p, SWAN_HUB_RETRY, text, wait_s);
    pthread_mutex_unlock(&p->mutex);
}

static swan_status read_environment(pull *p)
{
    const char *endpoint = getenv("HF_ENDPOINT"), *token = getenv("HF_TOKEN");
    if (!endpoint || !endpoint[0]) endpoint = ENDPOINT;
    size_t n = strlen(endpoint);
    while (n && endpoint[n - 1] == '/') n--;
    bool web = !strncmp(endpoint, "https://", 8) || !strncmp(endpoint, "http://", 7);
    if (!web || n >= sizeof p->endpoint || strcspn(endpoint, "@?# ") != strlen(endpoint))
        return SWAN_FAIL(SWAN_E_INVALID, "HF_ENDPOINT: wanted https://HOST or http://HOST");
    memcpy(p->endpoint, endpoint, n);
    p->endpoint[n] = 0;
    if (!token || !token[0]) return SWAN_OK;
    for (const char *c = token; *c; c++)
        if (*c <= 0x20 || *c == 0x7f || strlen(token) > 1000)
            return SWAN_FAIL(SWAN_E_INVALID, "HF_TOKEN: wanted a token without spaces or line ends");
    if (!swan_http_is_private(p->endpoint))
        return SWAN_FAIL(SWAN_E_INVALID, "%s: HF_TOKEN would travel in clear; wanted https, or no HF_TOKEN", p->endpoint);
    p->shared.http.token = token;
    return SWAN_OK;
}

static swan_status resolve_name(const char *name, char *repository)
{
    const swan_published *known = swan_cache_find_published(name);
    if (!known && !swan_cache_is_repository(name))
        return SWAN_FAIL(SWAN_E_INVALID, "%.200s: wanted OWNER/NAME of a model repository, or a name that `swan models` lists", name);
    snprintf(repository, SWAN_REPOSITORY_MAX, "%s", known ? known->repository : name);
    return SWAN_OK;
}

static swan_status check_options(const swan_hub_options *o)
{
    const char *r = o->revision;
    bool fine = !r || (r[0] && strlen(r) <= 128 && !strstr(r, "..") && strspn(r, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                                            "0123456789._/-") == strlen(r));
    if (!fine) return SWAN_FAIL(SWAN_E_INVALID, "revision: wanted a branch, tag or commit");
    if (o->jobs < 1 || o->jobs > JOBS_MAX) return SWAN_FAIL(SWAN_E_INVALID, "jobs: wanted 1 to %d", JOBS_MAX);
    if (o->retries < 0 || o->retries > 1000) return SWAN_FAIL(SWAN_E_INVALID, "retries: wanted 0 to 1000");
    if (o->silence_s < 1 || o->silence_s > 3600) return SWAN_FAIL(SWAN_E_INVALID, "timeout: wanted 1 to 3600 seconds");
    uint64_t bytes;
    return o->taehv && strcmp(o->taehv, "none") != 0 ? swan_file_size(o->taehv, &bytes) : SWAN_OK;
}

/* ---- revision and list ---- */

static swan_status get_text(pull *p, swan_http *http, const char *url, char **text, size_t *bytes, swan_http_reply *reply)
{
    swan_retry retry = {0};
    for (;;) {
        swan_status s = swan_http_get_text(http, url, PAGE_BYTES, text, bytes, reply);
        if (!s) return SWAN_OK;
        SWAN_TRY(swan_retry_wait(&p->shared, &retry, reply, false, s));
    }
}

static swan_status find_commit(pull *p, swan_http *http)
{
    char revision[400], url[SWAN_HTTP_URL], *text;
    size_t bytes;
    swan_http_reply reply;
    SWAN_TRY(swan_http_escape(p->options->revision ? p->options->revision : "main", false, revision, sizeof revision));
    snprintf(url, sizeof url, "%s/api/models/%s/revision/%s", p->endpoint, p->store.repository, revision);
    SWAN_TRY(get_text(p, http, url, &text, &bytes, &reply));
    swan_status s = swan_listing_commit(url, text, bytes, p->manifest.revision);
    free(text);
    return s;
}

static swan_status list_files(pull *p, swan_http *http)
{
    char url[SWAN_HTTP_URL], *text;
    size_t bytes, base = strlen(p->endpoint);
    swan_http_reply reply;
    snprintf(url, sizeof url, "%s/api/models/%s/tree/%s?recursive=true", p->endpoint, p->store.repository, p->manifest.revision);
    for (int page = 0; page < PAGES; page++) {
        SWAN_TRY(get_text(p, http, url, &text, &bytes, &reply));
        swan_status s = swan_listing_add(&p->manifest.files, p->store.repository, text, bytes);
        free(text);
        SWAN_TRY(s);
        if (!reply.next[0]) return swan_listing_choose(&p->manifest.files, p->store.repository);
        /* the token goes with it, so it has to be the same host */
        if (strncmp(reply.next, p->endpoint, base) != 0 || reply.next[base] != '/')
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: the list goes on at another host", p->store.repository);
        memcpy(url, reply.next, sizeof url);
    }
    return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a list of at most %d pages", p->store.repository, PAGES);
}

/* ---- plan ---- */

static const char *decoder_of(const swan_listing *files)
{
    static const char *const usual[] = {TAEHV_FILE, "taehv/" TAEHV_FILE, "taehv/diffusion_pytorch_model.safetensors"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (swan_listing_find(files, usual[i])) return usual[i];
    return NULL;
}

static int larger_first(const void *a, const void *b)
{
    uint64_t x = ((const swan_transfer *)a)->file.bytes, y = ((const swan_transfer *)b)->file.bytes;
    return (x < y) - (x > y);
}

static swan_status plan_decoder(pull *p, swan_transfer *t)
{
    const char *mirror = getenv("SWAN_TAEHV_URL");
    const char *url = mirror && mirror[0] ? mirror : TAEHV_URL;
    t->file = (swan_hub_file){.path = TAEHV_FILE, .kind = SWAN_HASH_GIT_BLOB, .hash = TAEHV_BLOB};
    if (strlen(url) >= sizeof t->url) return SWAN_FAIL(SWAN_E_INVALID, "SWAN_TAEHV_URL: too long");
    strcpy(t->url, url);
    return swan_transfer_name(t, p->store.parts, "");
}

static swan_status plan_transfers(pull *p)
{
    const swan_listing *files = &p->manifest.files;
    p->transfers = calloc(files->count + 1, sizeof *p->transfers);
    if (!p->transfers) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", p->store.repository);
    for (size_t i = 0; i < files->count; i++) {
        swan_transfer *t = &p->transfers[p->count++];
        char path[3 * SWAN_LISTING_PATH];
        t->file = files->files[i];
        t->with_token = t->size_known = true;
        SWAN_TRY(swan_http_escape(t->file.path, true, path, sizeof path));
        snprintf(t->url, sizeof t->url, "%s/%s/resolve/%s/%s", p->endpoint, p->store.repository, p->manifest.revision, path);
        SWAN_TRY(swan_transfer_name(t, p->store.parts, p->manifest.revision));
    }
    p->listed = files->total;
    if (!p->options->taehv && !decoder_of(files)) SWAN_TRY(plan_decoder(p, &p->transfers[p->count++]));
    for (int i = 0; i < p->count; i++) p->transfers[i].shared = &p->shared;
    qsort(p->transfers, (size_t)p->count, sizeof *p->transfers, larger_first);
    return SWAN_OK;
}

/* Removes parts that this plan does not know: of another commit. */
static swan_status sweep_parts(const pull *p)
{
    DIR *d = opendir(p->store.parts);
    swan_status s = SWAN_OK;
    for (struct dirent *e; !s && d && (e = readdir(d));) {
        bool known = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
        for (int i = 0; i < p->count && !known; i++) {
            const char *name = swan_path_name(p->transfers[i].whole);
            size_t n = strlen(name);
            const char *rest = e->d_name + n;
            known = !strncmp(e->d_name, name, n) && (!*rest || !strcmp(rest, ".part") || !strcmp(rest, ".etag"));
        }
        char path[SWAN_PATH_MAX];
        if (!known) s = swan_path_join(p->store.parts, e->d_name, path, sizeof path);
        if (!known && !s) s = swan_store_remove(path);
    }
    if (d) closedir(d);
    return s;
}

/* The same bytes in another pulled model (a text encoder, often): a link instead of a download. They are hashed like the rest. */
static void borrow_files(pull *p)
{
    swan_hub_model *models;
    size_t count;
    if (swan_hub_list(&models, &count)) return; /* then everything is downloaded */
    for (size_t m = 0; m < count && models[m].complete; m++) {
        swan_manifest other;
        if (swan_manifest_read(models[m].directory, &other)) continue;
        for (int i = 0; i < p->count; i++) {
            swan_transfer *t = &p->transfers[i];
            if (t->file.kind == SWAN_HASH_NONE || swan_transfer_present(t)) continue;
            for (size_t k = 0; k < other.files.count; k++) {
                const swan_hub_file *f = &other.files.files[k];
                char path[SWAN_PATH_MAX];
                struct stat info;
                if (f->kind != t->file.kind || strcmp(f->hash, t->file.hash) != 0 || (t->size_known && f->bytes != t->file.bytes)) continue;
                if (swan_path_join(models[m].directory, f->path, path, sizeof path)) continue;
                if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode) || (uint64_t)info.st_size != f->bytes) continue;
                if (!t->size_known) {
                    t->file.bytes = f->bytes;
                    t->size_known = true;
                    p->listed += f->bytes;
                }
                unlink(t->part);
                if (link(path, t->part) == 0) break; /* where links do not work, it is downloaded */
            }
        }
        swan_listing_free(&other.files);
    }
    free(models);
}

static swan_status check_space(pull *p)
{
    uint64_t free_bytes, extra = 0, done = 0;
    for (int i = 0; i < p->count; i++) done += swan_transfer_present(&p->transfers[i]);
    atomic_store(&p->shared.done, done);
    if (p->options->taehv && strcmp(p->options->taehv, "none") != 0) SWAN_TRY(swan_file_size(p->options->taehv, &extra));
    SWAN_TRY(swan_store_space(&p->store, &free_bytes));
    uint64_t needed = (p->listed > done ? p->listed - done : 0) + extra + SPARE_BYTES;
    if (needed <= free_bytes) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_IO, "%s: needs %.2f GiB more, %.2f GiB are free in %s (SWAN_CACHE=DIR goes elsewhere)", p->store.repository,
                     (double)needed / (1 << 30), (double)free_bytes / (1 << 30), p->store.owner);
}

/* ---- transfers ---- */

static swan_transfer *take_next(pull *p)
{
    pthread_mutex_lock(&p->mutex);
    swan_transfer *t = p->next < p->count && !p->failure.status ? &p->transfers[p->next++] : NULL;
    pthread_mutex_unlock(&p->mutex);
    return t;
}

static void *work(void *user)
{
    pull *p = user;
    swan_http *http;
    swan_status s = swan_http_open(&p->shared.http, &http);
    for (swan_transfer *t; !s && (t = take_next(p)) != NULL;) {
        s = swan_transfer_run(t, http);
        pthread_mutex_lock(&p->mutex);
        if (!s) {
            p->files_done++;
            tell(p, SWAN_HUB_FILE, t->file.path, 0);
        }
        pthread_mutex_unlock(&p->mutex);
    }
    swan_http_close(http);
    pthread_mutex_lock(&p->mutex);
    swan_status_keep(&p->failure, s);
    if (s) atomic_store(&p->stop, true);
    p->running--;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* With the mutex held: progress, with a speed over the last few seconds. */
static void tick(pull *p)
{
    double now = now_s(), passed = now - p->shown_at;
    uint64_t received = atomic_load(&p->shared.received);
    if (passed < 0.19) return;
    double current = (double)(received - p->shown_received) / passed, share = passed / (3 + passed);
    p->speed = p->speed > 0 ? p->speed + share * (current - p->speed) : current;
    p->shown_at = now;
    p->shown_received = received;
    tell(p, SWAN_HUB_PROGRESS, NULL, 0);
}

static swan_status run_transfers(pull *p)
{
    pthread_t threads[JOBS_MAX];
    int jobs = p->options->jobs < p->count ? p->options->jobs : p->count, made = 0;
    pthread_mutex_lock(&p->mutex);
    tell(p, SWAN_HUB_START, NULL, 0);
    p->shown_at = now_s();
    while (made < jobs && pthread_create(&threads[made], NULL, work, p) == 0) made++;
    p->running += made;
    while (p->running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 200 * 1000 * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&p->changed, &p->mutex, &until);
        tick(p);
    }
    pthread_mutex_unlock(&p->mutex);
    for (int i = 0; i < made; i++) pthread_join(threads[i], NULL);
    if (!made) return SWAN_FAIL(SWAN_E_NOMEM, "no thread could be started");
    return swan_status_kept(&p->failure);
}

/* ---- the tree ---- */

static swan_status copy_file(const char *from, const char *to)
{
    int fd;
    uint64_t bytes;
    swan_file out;
    char buffer[65536];
    SWAN_TRY(swan_file_open_read(from, &fd, &bytes));
    swan_status s = swan_file_begin(&out, to);
    if (s) {
        close(fd);
        return s;
    }
    for (ssize_t n; !s && (n = read(fd, buffer, sizeof buffer)) != 0;)
        s = n < 0 ? SWAN_FAIL(SWAN_E_IO, "%s: %s", from, strerror(errno)) : swan_file_write(&out, buffer, (size_t)n);
    close(fd);
    if (s) swan_file_abort(&out);
    return s ? s : swan_file_end(&out);
}

/* A link, so that a stop in the middle loses nothing; where links do not work the file is moved. */
static swan_status place(const char *from, const char *tree, const char *path)
{
    char to[SWAN_PATH_MAX], directory[SWAN_PATH_MAX];
    SWAN_TRY(swan_path_join(tree, path, to, sizeof to));
    SWAN_TRY(swan_path_directory(to, directory, sizeof directory));
    SWAN_TRY(swan_store_make_directories(directory));
    if (link(from, to) != 0 && rename(from, to) != 0) return SWAN_FAIL(SWAN_E_IO, "%s: %s", to, strerror(errno));
    return SWAN_OK;
}

static swan_status build_tree(pull *p)
{
    const char *tree = p->store.tree, *own = p->options->taehv;
    swan_manifest *m = &p->manifest;
    SWAN_TRY(swan_store_remove(tree));
    SWAN_TRY(swan_store_make_directories(tree));
    for (int i = 0; i < p->count; i++) SWAN_TRY(place(p->transfers[i].whole, tree, p->transfers[i].file.path));
    const char *decoder = decoder_of(&m->files);
    if (own && strcmp(own, "none") != 0) {
        char to[SWAN_PATH_MAX];
        decoder = TAEHV_FILE;
        SWAN_TRY(swan_path_join(tree, decoder, to, sizeof to));
        SWAN_TRY(copy_file(own, to));
    } else if (!own && !decoder) {
        decoder = TAEHV_FILE;
    }
    if (!swan_listing_find(&m->files, "swan.json")) SWAN_TRY(swan_store_write_recipe(tree, m, decoder));
    /* the files as they came, the decoder's size with them */
    m->files.count = 0;
    swan_hub_file *grown = realloc(m->files.files, (size_t)p->count * sizeof *grown);
    if (!grown) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", p->store.repository);
    m->files.files = grown;
    for (int i = 0; i < p->count; i++) grown[m->files.count++] = p->transfers[i].file;
    return swan_manifest_write(tree, m);
}

/* ---- the whole ---- */

static swan_status find_there(pull *p, swan_hub_model *model, bool *already)
{
    *already = false;
    if (!swan_file_exists(p->store.directory)) return SWAN_OK;
    SWAN_TRY(swan_hub_find(p->store.repository, model));
    const char *wanted = p->options->revision;
    *already = !p->options->update && (!wanted || !strncmp(model->revision, wanted, strlen(wanted)));
    return SWAN_OK;
}

static swan_status pull_locked(pull *p, swan_http *http, swan_hub_model *model, bool *already)
{
    SWAN_TRY(find_commit(p, http));
    if (swan_file_exists(p->store.directory)) {
        *already = !strcmp(model->revision, p->manifest.revision);
        if (*already) return swan_store_remove(p->store.partial);
        if (!p->options->update)
            return SWAN_FAIL(SWAN_E_INVALID, "%s: commit %.12s is there, not %.12s; --update replaces it", p->store.repository,
                             model->revision, p->manifest.revision);
    }
    SWAN_TRY(list_files(p, http));
    SWAN_TRY(swan_store_make_directories(p->store.parts));
    SWAN_TRY(plan_transfers(p));
    SWAN_TRY(sweep_parts(p));
    borrow_files(p);
    SWAN_TRY(check_space(p));
    SWAN_TRY(run_transfers(p));
    SWAN_TRY(build_tree(p));
    return swan_store_commit(&p->store);
}

swan_status swan_hub_pull(const swan_hub_options *options, const swan_hub_callbacks *callbacks, swan_hub_model *model, bool *already)
{
    pull *p = calloc(1, sizeof *p);
    if (!p) return SWAN_FAIL(SWAN_E_NOMEM, "pull: out of memory");
    char repository[SWAN_REPOSITORY_MAX];
    swan_http *http = NULL;
    p->options = options;
    p->callbacks = callbacks;
    p->started = now_s();
    p->shared = (swan_transfers){.http = {.silence_s = options->silence_s, .cancel = options->cancel, .stop = &p->stop},
                                 .retries = options->retries, .note = on_note, .user = p};
    p->store.lock_fd = -1;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    *model = (swan_hub_model){0};
    *already = false;
    swan_status s = check_options(options);
    if (!s) s = resolve_name(options->name, repository);
    if (!s) s = read_environment(p);
    if (!s) s = swan_store_open(repository, &p->store);
    if (!s) s = find_there(p, model, already);
    if (!s && !*already) {
        strcpy(p->manifest.source, repository);
        s = swan_http_open(&p->shared.http, &http);
        if (!s) s = pull_locked(p, http, model, already);
        if (!s) s = swan_hub_find(repository, model);
    }
    if (s == SWAN_E_CANCELLED) s = SWAN_FAIL(s, "stopped; what has arrived is kept");
    swan_http_close(http);
    swan_store_close(&p->store);
    swan_listing_free(&p->manifest.files);
    free(p->transfers);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    free(p);
    return s;
}
