#include "hub/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UNLISTED_MAX ((uint64_t)1 << 30) /* largest file whose size only the server says */
#define RESTARTS 2                       /* complete downloads with a wrong hash before a file is given up */

/* ---- names ---- */

swan_status swan_transfer_name(swan_transfer *t, const char *parts, const char *unhashed)
{
    char name[SWAN_LISTING_PATH + SWAN_HASH_TEXT + 8];
    size_t n = 0;
    for (const char *p = t->file.path; *p; p++) name[n++] = *p == '/' ? '+' : *p;
    snprintf(name + n, sizeof name - n, "@%s", t->file.kind == SWAN_HASH_NONE ? unhashed : t->file.hash);
    SWAN_TRY(swan_path_join(parts, name, t->whole, sizeof t->whole));
    if (snprintf(t->part, sizeof t->part, "%s.part", t->whole) >= (int)sizeof t->part ||
        snprintf(t->etag_path, sizeof t->etag_path, "%s.etag", t->whole) >= (int)sizeof t->etag_path)
        return SWAN_FAIL(SWAN_E_INVALID, "%.100s…: path too long", t->whole);
    return SWAN_OK;
}

uint64_t swan_transfer_present(const swan_transfer *t)
{
    struct stat info;
    if (lstat(t->whole, &info) != 0 && lstat(t->part, &info) != 0) return 0;
    return S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
}

/* ---- waiting ---- */

static bool stopped(const swan_transfers *shared)
{
    return (shared->http.cancel && atomic_load(shared->http.cancel)) || (shared->http.stop && atomic_load(shared->http.stop));
}

static swan_status fail_stopped(void) { return SWAN_FAIL(SWAN_E_CANCELLED, "stopped"); }

static swan_status wait_for(const swan_transfers *shared, double seconds)
{
    const struct timespec tick = {.tv_nsec = 50 * 1000 * 1000};
    for (double waited = 0; waited < seconds; waited += 0.05) {
        if (stopped(shared)) return fail_stopped();
        nanosleep(&tick, NULL);
    }
    return SWAN_OK;
}

swan_status swan_retry_wait(swan_transfers *shared, swan_retry *retry, const swan_http_reply *reply, bool progress, swan_status failure)
{
    if (!reply->again) return failure;
    if (progress) retry->failures = 0;
    if (retry->failures++ >= shared->retries)
        return SWAN_FAIL(failure, "%s (attempt %d, the last)", swan_last_error(), retry->failures);
    double wait = 0.25; /* a connection was cut while it brought something: go on */
    for (int i = 1; i < retry->failures && wait < 30; i++) wait *= 2;
    if (reply->wait_s > wait) wait = reply->wait_s < 300 ? reply->wait_s : 300;
    if (shared->note) shared->note(shared->user, swan_last_error(), wait);
    return wait_for(shared, wait);
}

/* ---- the part on disk ---- */

static swan_status open_part(swan_transfer *t, bool fresh)
{
    if (t->fd >= 0) close(t->fd);
    /* never truncated: a part may be a link to a file of another model */
    if (fresh && unlink(t->part) != 0 && errno != ENOENT) return SWAN_FAIL(SWAN_E_IO, "%s: %s", t->part, strerror(errno));
    t->fd = open(t->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    return t->fd >= 0 ? SWAN_OK : SWAN_FAIL(SWAN_E_IO, "%s: %s", t->part, strerror(errno));
}

/* Drops what has arrived. */
static swan_status start_over(swan_transfer *t)
{
    atomic_fetch_sub(&t->shared->done, t->at);
    t->at = 0;
    t->etag[0] = 0;
    unlink(t->etag_path);
    swan_hash_start(&t->hash, t->file.kind, t->file.bytes);
    return open_part(t, true);
}

static void read_etag(swan_transfer *t)
{
    FILE *f = fopen(t->etag_path, "r");
    unsigned long long size = 0;
    if (f && fscanf(f, "%llu %127s", &size, t->etag) >= 1 && !t->size_known && size <= UNLISTED_MAX) {
        t->file.bytes = size;
        t->size_known = true;
        atomic_fetch_add(&t->shared->unlisted, size);
    }
    if (f) fclose(f);
}

static void write_etag(const swan_transfer *t)
{
    FILE *f = fopen(t->etag_path, "w"); /* lost or torn, it only costs a download from the start */
    if (!f) return;
    fprintf(f, "%llu %s\n", (unsigned long long)t->file.bytes, t->etag);
    fclose(f);
}

/* Hashes what an earlier run left. */
static swan_status hash_present(swan_transfer *t, uint64_t size)
{
    enum { CHUNK = 1 << 20 };
    uint8_t *buffer = malloc(CHUNK);
    if (!buffer) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", t->part);
    swan_status s = SWAN_OK;
    swan_hash_start(&t->hash, t->file.kind, t->file.bytes);
    while (!s && t->at < size) {
        ssize_t n = pread(t->fd, buffer, CHUNK, (off_t)t->at);
        if (stopped(t->shared)) s = fail_stopped();
        else if (n < 0 && errno == EINTR) continue;
        else if (n <= 0) s = SWAN_FAIL(SWAN_E_IO, "%s: %s", t->part, n ? strerror(errno) : "it became shorter while it was read");
        else {
            swan_hash_add(&t->hash, buffer, (size_t)n);
            t->at += (uint64_t)n;
        }
    }
    free(buffer);
    return s;
}

static swan_status resume(swan_transfer *t)
{
    struct stat info;
    t->at = t->best = 0;
    t->etag[0] = 0;
    SWAN_TRY(open_part(t, false));
    if (fstat(t->fd, &info) != 0) return SWAN_FAIL(SWAN_E_IO, "%s: %s", t->part, strerror(errno));
    uint64_t size = (uint64_t)info.st_size;
    if (size) read_etag(t);
    if (!S_ISREG(info.st_mode) || !t->size_known || size > t->file.bytes) {
        atomic_fetch_sub(&t->shared->done, size);
        return start_over(t);
    }
    t->best = size;
    return hash_present(t, size);
}

/* ---- what comes ---- */

static swan_status on_begin(void *user, const swan_http_reply *r)
{
    swan_transfer *t = user;
    if (r->html)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: a web page came instead of the file: a login page or a proxy in between?", t->file.path);
    if (!t->size_known) {
        if (!r->has_total || r->total > UNLISTED_MAX)
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a file of a stated size of at most %llu bytes", t->file.path,
                             (unsigned long long)UNLISTED_MAX);
        t->file.bytes = r->total;
        t->size_known = true;
        atomic_fetch_add(&t->shared->unlisted, r->total);
        swan_hash_start(&t->hash, t->file.kind, t->file.bytes);
    }
    if (r->has_total && r->total != t->file.bytes)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted %llu bytes as listed, the server has %llu", t->file.path,
                         (unsigned long long)t->file.bytes, (unsigned long long)r->total);
    if (r->partial && r->first != t->at)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: asked for the bytes from %llu on, got those from %llu", t->file.path,
                         (unsigned long long)t->at, (unsigned long long)r->first);
    t->changed = r->partial && t->etag[0] && r->etag[0] && strcmp(t->etag, r->etag) != 0;
    if (t->changed) return SWAN_FAIL(SWAN_E_IO, "%s: the server's file changed", t->file.path);
    if (!r->partial && t->at) SWAN_TRY(start_over(t)); /* the server does not do ranges, or the file changed */
    if (r->etag[0] && strcmp(t->etag, r->etag) != 0) strcpy(t->etag, r->etag);
    if (t->at == 0) write_etag(t);
    return SWAN_OK;
}

static swan_status on_data(void *user, const void *data, size_t bytes)
{
    swan_transfer *t = user;
    if (bytes > t->file.bytes - t->at)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted %llu bytes, more came", t->file.path, (unsigned long long)t->file.bytes);
    for (size_t written = 0; written < bytes;) {
        ssize_t n = pwrite(t->fd, (const char *)data + written, bytes - written, (off_t)(t->at + written));
        if (n < 0 && errno != EINTR) return SWAN_FAIL(SWAN_E_IO, "%s: %s", t->part, strerror(errno));
        if (n > 0) written += (size_t)n;
    }
    swan_hash_add(&t->hash, data, bytes);
    t->at += bytes;
    atomic_fetch_add(&t->shared->done, bytes);
    atomic_fetch_add(&t->shared->received, bytes);
    return SWAN_OK;
}

/* Until all bytes are there. */
static swan_status fetch(swan_transfer *t, swan_http *http)
{
    swan_retry retry = {0};
    while (!t->size_known || t->at < t->file.bytes) {
        if (stopped(t->shared)) return fail_stopped();
        swan_http_reply reply;
        swan_http_request request = {.url = t->url, .with_token = t->with_token, .from = t->at, .etag = t->etag, .user = t,
                                     .begin = on_begin, .data = on_data};
        t->changed = false;
        swan_status s = swan_http_get(http, &request, &reply);
        if (!s && t->at == t->file.bytes) break;
        if (!s) { /* no length was stated and the connection was closed */
            s = SWAN_FAIL(SWAN_E_IO, "%s: ended after %llu of %llu bytes", t->file.path, (unsigned long long)t->at,
                          (unsigned long long)t->file.bytes);
            reply.again = true;
        }
        bool progress = t->at > t->best;
        if (progress) t->best = t->at;
        if (t->changed) reply.again = true;
        SWAN_TRY(swan_retry_wait(t->shared, &retry, &reply, progress, s));
        if (t->changed || reply.status == 416) SWAN_TRY(start_over(t));
    }
    return SWAN_OK;
}

static swan_status keep(swan_transfer *t)
{
    if (fsync(t->fd) != 0 && errno != EINVAL) return SWAN_FAIL(SWAN_E_IO, "%s: %s", t->part, strerror(errno));
    if (rename(t->part, t->whole) != 0) return SWAN_FAIL(SWAN_E_IO, "%s: %s", t->whole, strerror(errno));
    unlink(t->etag_path);
    return SWAN_OK;
}

static swan_status fetch_verified(swan_transfer *t, swan_http *http)
{
    SWAN_TRY(resume(t));
    char found[SWAN_HASH_TEXT];
    for (int restarts = 0;; restarts++) {
        SWAN_TRY(fetch(t, http));
        swan_hash_end(&t->hash, found);
        if (!strcmp(found, t->file.hash)) return keep(t);
        swan_status s = SWAN_FAIL(SWAN_E_FORMAT, "%s: damaged: wanted %s %s, found %s", t->file.path,
                                  t->file.kind == SWAN_HASH_SHA256 ? "SHA-256" : "git blob", t->file.hash, found);
        swan_status begun = start_over(t);
        if (restarts == RESTARTS || begun) return begun ? begun : s;
        s = SWAN_FAIL(s, "%s: damaged on the way (its hash is wrong): all of it again", t->file.path);
        t->best = 0;
        if (t->shared->note) t->shared->note(t->shared->user, swan_last_error(), 0);
    }
}

swan_status swan_transfer_run(swan_transfer *t, swan_http *http)
{
    struct stat info;
    if (lstat(t->whole, &info) == 0) {
        bool fits = S_ISREG(info.st_mode) && (!t->size_known || (uint64_t)info.st_size == t->file.bytes);
        if (fits) {
            if (!t->size_known) atomic_fetch_add(&t->shared->unlisted, (uint64_t)info.st_size);
            t->file.bytes = (uint64_t)info.st_size;
            return SWAN_OK;
        }
        if (unlink(t->whole) != 0) return SWAN_FAIL(SWAN_E_IO, "%s: %s", t->whole, strerror(errno));
        atomic_fetch_sub(&t->shared->done, (uint64_t)info.st_size);
    }
    t->fd = -1;
    swan_status s = fetch_verified(t, http);
    if (t->fd >= 0) close(t->fd);
    t->fd = -1;
    return s;
}
