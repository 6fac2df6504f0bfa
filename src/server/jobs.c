/* Invariants
 * 1. A job moves queued -> in_progress -> completed | failed | cancelled, queued -> cancelled, and in_progress -> queued (only by
 *    opening the store, or by swan_jobs_requeue). Every move is one UPDATE that names the state it leaves, in one transaction that
 *    is on disk (synchronous=FULL) before the caller hears of it: of two who want to end a job, one wins and the other is told.
 * 2. videos/ID exists whole when the row says completed: the directory is renamed there in one step, and synced, before the commit.
 * 3. What lies in videos/ without a completed row, and everything in work/, is nobody's: never served, removed at open.
 * 4. Removing goes the other way round: the row first, then the files.
 * 5. The queue's length is counted in the transaction that adds to it: it is never longer than queue_max, and what was accepted
 *    is on disk. A job that a restart or requeue puts back keeps its place, whatever the length.
 * 6. The attempt is counted in the transaction that begins it. work/ID.ATTEMPT belongs to that attempt alone, so a worker that
 *    outlives its server by a moment cannot write into the next attempt.
 * 7. One process has the store open: a lock on the file `lock`, which ends with the process.
 * 8. Two connections: writes share one behind a lock, reads another, so that a reader never waits for a disk.
 * 9. On a full disk no job is accepted, but jobs can be ended and removed: the log is given room when the store is opened, and
 *    begun again from its front when it cannot grow. */
#include "server/jobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

enum { SCHEMA = 1, PREPARED_MAX = 24 };

static const char *const schema =
    "CREATE TABLE job(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, started_at INTEGER NOT NULL DEFAULT 0,"
    " completed_at INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,"
    " seconds REAL NOT NULL DEFAULT 0, model TEXT NOT NULL, prompt TEXT NOT NULL, settings TEXT NOT NULL, error_code TEXT,"
    " error_message TEXT, remixed_from TEXT);"
    "CREATE INDEX job_state ON job(state, seq);"
    "CREATE INDEX job_expires ON job(expires_at) WHERE expires_at > 0;"
    "PRAGMA user_version = 1;";

#define COLUMNS                                                                                                                \
    "id, state, attempt, created_at, started_at, completed_at, expires_at, bytes, seconds, model, prompt, settings, error_code, " \
    "error_message, remixed_from"

/* A connection and its statements, each prepared when first used; texts are literals and found by address. */
typedef struct connection {
    sqlite3 *db;
    pthread_mutex_t lock;
    struct {
        const char *text;
        sqlite3_stmt *statement;
    } prepared[PREPARED_MAX];
    int prepared_count;
} connection;

struct swan_jobs {
    swan_jobs_config config;
    char directory[SWAN_PATH_MAX / 2];
    int lock_fd;
    connection writer, reader;
};

const char *swan_job_state_name(swan_job_state state)
{
    static const char *const names[] = {"queued", "in_progress", "completed", "failed", "cancelled"};
    return state >= 0 && state < SWAN_JOB_STATES ? names[state] : "unknown";
}

void swan_job_free(swan_job *job)
{
    free(job->model);
    free(job->prompt);
    free(job->settings);
    free(job->error_code);
    free(job->error_message);
    free(job->remixed_from);
    *job = (swan_job){0};
}

bool swan_job_is_over(const swan_job *job) { return job->state >= SWAN_JOB_COMPLETED; }

bool swan_job_id_valid(const char *id)
{
    return !strncmp(id, "video_", 6) && strlen(id) == 38 && strspn(id + 6, "0123456789abcdef") == 32;
}

/* ---- SQL ---- */

static swan_status sql_fail(const connection *c, const char *doing)
{
    int code = sqlite3_errcode(c->db);
    return SWAN_FAIL(code == SQLITE_NOMEM ? SWAN_E_NOMEM : SWAN_E_IO, "job store: %s: %s", doing, sqlite3_errmsg(c->db));
}

static swan_status execute(connection *c, const char *text)
{
    return sqlite3_exec(c->db, text, NULL, NULL, NULL) == SQLITE_OK ? SWAN_OK : sql_fail(c, text);
}

/* A statement ready to be bound; NULL: out of memory or a broken store (sql_fail tells). */
static sqlite3_stmt *prepare(connection *c, const char *text)
{
    for (int i = 0; i < c->prepared_count; i++)
        if (c->prepared[i].text == text) return c->prepared[i].statement;
    sqlite3_stmt *s = NULL;
    if (c->prepared_count == PREPARED_MAX) return NULL;
    if (sqlite3_prepare_v3(c->db, text, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) return NULL;
    c->prepared[c->prepared_count].text = text;
    c->prepared[c->prepared_count++].statement = s;
    return s;
}

/* Binds by format: 't' text (NULL is NULL), 'i' int64_t, 'd' double. */
static void bind(sqlite3_stmt *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    for (int i = 0; format[i]; i++) {
        if (format[i] == 't') sqlite3_bind_text(s, i + 1, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
        else if (format[i] == 'i') sqlite3_bind_int64(s, i + 1, va_arg(args, int64_t));
        else sqlite3_bind_double(s, i + 1, va_arg(args, double));
    }
    va_end(args);
}

static void done_with(sqlite3_stmt *s)
{
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
}

/* Writes the log's pages to where they belong, so that it begins again from its front. */
static void reuse_log(connection *c) { sqlite3_exec(c->db, "PRAGMA wal_checkpoint(RESTART)", NULL, NULL, NULL); }

/* Runs a bound statement that gives no rows; how many rows it changed in *changes (may be NULL). */
static swan_status finish(connection *c, sqlite3_stmt *s, int *changes)
{
    int code = sqlite3_step(s);
    if (code == SQLITE_FULL && sqlite3_get_autocommit(c->db)) {
        sqlite3_reset(s);
        reuse_log(c);
        code = sqlite3_step(s);
    }
    swan_status status = code == SQLITE_DONE ? SWAN_OK : sql_fail(c, "writing");
    if (changes) *changes = sqlite3_changes(c->db);
    done_with(s);
    return status;
}

/* Runs a bound statement that gives at most one number; nothing: 0. */
static swan_status number(connection *c, sqlite3_stmt *s, int64_t *out)
{
    int code = sqlite3_step(s);
    *out = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    swan_status status = code == SQLITE_ROW || code == SQLITE_DONE ? SWAN_OK : sql_fail(c, "reading");
    done_with(s);
    return status;
}

#define PREPARE(statement, c, text)                       \
    sqlite3_stmt *statement = prepare((c), (text));       \
    if (!statement) return sql_fail((c), "preparing")

static swan_status begin(connection *c) { return execute(c, "BEGIN IMMEDIATE"); }

/* Ends a transaction: commits after success, else rolls back and keeps the message. *full (may be NULL): the disk was. */
static swan_status end(connection *c, swan_status status, bool *full)
{
    if (!status) status = execute(c, "COMMIT");
    if (full) *full = status && sqlite3_errcode(c->db) == SQLITE_FULL;
    if (status && !sqlite3_get_autocommit(c->db)) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static char *column_text(sqlite3_stmt *s, int i, bool *lost)
{
    const char *text = (const char *)sqlite3_column_text(s, i);
    if (!text) return NULL;
    char *copy = strdup(text);
    if (!copy) *lost = true;
    return copy;
}

static swan_status read_job(sqlite3_stmt *s, swan_job *job)
{
    bool lost = false;
    *job = (swan_job){0};
    const char *id = (const char *)sqlite3_column_text(s, 0);
    snprintf(job->id, sizeof job->id, "%s", id ? id : "");
    job->state = (swan_job_state)sqlite3_column_int(s, 1);
    job->attempt = sqlite3_column_int(s, 2);
    job->created_at = sqlite3_column_int64(s, 3);
    job->started_at = sqlite3_column_int64(s, 4);
    job->completed_at = sqlite3_column_int64(s, 5);
    job->expires_at = sqlite3_column_int64(s, 6);
    job->bytes = (uint64_t)sqlite3_column_int64(s, 7);
    job->seconds = sqlite3_column_double(s, 8);
    char **const text[] = {&job->model, &job->prompt, &job->settings, &job->error_code, &job->error_message, &job->remixed_from};
    for (int i = 0; i < 6; i++) *text[i] = column_text(s, 9 + i, &lost);
    if (!lost) return SWAN_OK;
    swan_job_free(job);
    return SWAN_FAIL(SWAN_E_NOMEM, "job store: out of memory");
}

/* ---- files ---- */

static swan_status jobs_path(const swan_jobs *j, const char *folder, const char *name, char *buf)
{
    int n = snprintf(buf, SWAN_PATH_MAX, "%s/%s%s%s", j->directory, folder, name[0] ? "/" : "", name);
    return n < SWAN_PATH_MAX ? SWAN_OK : SWAN_FAIL(SWAN_E_INVALID, "%s: path too long", j->directory);
}

swan_status swan_jobs_file(const swan_jobs *j, const char *id, const char *name, char *buf)
{
    char tail[128];
    snprintf(tail, sizeof tail, "%s/%s", id, name);
    return jobs_path(j, "videos", tail, buf);
}

static void attempt_path(const swan_jobs *j, const swan_job *job, char *buf)
{
    char name[SWAN_JOB_ID_MAX + 16];
    snprintf(name, sizeof name, "%s.%d", job->id, job->attempt);
    if (jobs_path(j, "work", name, buf)) buf[0] = 0;
}

static swan_status make_directory(const char *path)
{
    if (mkdir(path, 0700) == 0 || (errno == EEXIST && swan_file_is_directory(path))) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_IO, "%s: cannot be made: %s", path, strerror(errno));
}

/* mkdir -p */
static swan_status make_directories(const char *path)
{
    char part[SWAN_PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        SWAN_TRY(make_directory(part));
        *p = '/';
    }
    return make_directory(part);
}

static swan_status sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0) close(fd);
    return ok ? SWAN_OK : SWAN_FAIL(SWAN_E_IO, "%s: cannot be written to disk: %s", path, strerror(error));
}

/* Removes a file, or a directory of files. depth: how far down; bounded, as no directory of ours is deep. */
static void remove_tree(const char *path, int depth)
{
    DIR *d = depth < 3 ? opendir(path) : NULL;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char child[SWAN_PATH_MAX];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (!swan_path_join(path, e->d_name, child, sizeof child)) remove_tree(child, depth + 1);
    }
    if (d) closedir(d);
    remove(path);
}

static uint64_t directory_bytes(const char *path)
{
    uint64_t total = 0, bytes;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char child[SWAN_PATH_MAX];
        if (e->d_name[0] != '.' && !swan_path_join(path, e->d_name, child, sizeof child) && !swan_file_size(child, &bytes))
            total += bytes;
    }
    if (d) closedir(d);
    return total;
}

static void remove_files(const swan_jobs *j, const char *id)
{
    char path[SWAN_PATH_MAX];
    if (!jobs_path(j, "videos", id, path)) remove_tree(path, 0);
}

/* ---- open ---- */

static swan_status open_connection(const char *path, connection *c, bool writer)
{
    int flags = writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE;
    if (sqlite3_open_v2(path, &c->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return SWAN_FAIL(SWAN_E_IO, "%s: %s", path, c->db ? sqlite3_errmsg(c->db) : "out of memory");
    sqlite3_busy_timeout(c->db, 5000);
    return execute(c, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
}

static swan_status check_schema(connection *c)
{
    int64_t version;
    PREPARE(s, c, "PRAGMA user_version");
    SWAN_TRY(number(c, s, &version));
    if (version == SCHEMA) return SWAN_OK;
    if (version > SCHEMA)
        return SWAN_FAIL(SWAN_E_FORMAT, "job store: made by a newer Swan (format %lld, this one knows %d)", (long long)version, SCHEMA);
    SWAN_TRY(begin(c));
    return end(c, execute(c, schema), NULL);
}

/* Room for some hundred moves, in the log and in the pages that the store keeps free. None to be had: so be it. */
static void give_room(connection *c)
{
    if (sqlite3_exec(c->db, "BEGIN IMMEDIATE; CREATE TABLE room(x); INSERT INTO room VALUES(zeroblob(262144)); DROP TABLE room; COMMIT",
                     NULL, NULL, NULL) != SQLITE_OK && !sqlite3_get_autocommit(c->db))
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    reuse_log(c);
}

static swan_status take_lock(swan_jobs *j)
{
    char path[SWAN_PATH_MAX];
    SWAN_TRY(jobs_path(j, "lock", "", path));
    j->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->lock_fd < 0) return SWAN_FAIL(SWAN_E_IO, "%s: cannot be opened: %s", path, strerror(errno));
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(j->lock_fd, F_SETLK, &whole) == 0) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_INVALID, "%s: another swan serve uses this directory", j->directory);
}

/* Rows of jobs that were running when the last server ended. */
static swan_status settle_running(swan_jobs *j)
{
    connection *c = &j->writer;
    int64_t now = (int64_t)time(NULL), expires = j->config.keep_s ? now + j->config.keep_s : 0;
    SWAN_TRY(begin(c));
    sqlite3_stmt *s = prepare(c, "UPDATE job SET state=3, completed_at=?1, expires_at=?2, error_code='server_restarted', error_message="
                                 "'the server ended while this job ran, ' || attempt || ' times' WHERE state=1 AND attempt>=?3");
    if (!s) return end(c, sql_fail(c, "preparing"), NULL);
    bind(s, "iii", now, expires, (int64_t)j->config.attempts_max);
    swan_status status = finish(c, s, NULL);
    if (!status) status = execute(c, "UPDATE job SET state=0, started_at=0 WHERE state=1");
    return end(c, status, NULL);
}

/* Removes what the last server's workers were making. */
static swan_status remove_work(swan_jobs *j)
{
    char path[SWAN_PATH_MAX];
    SWAN_TRY(jobs_path(j, "work", "", path));
    remove_tree(path, 0);
    return make_directory(path);
}

/* Removes what no completed row stands for. */
static swan_status remove_orphans(swan_jobs *j)
{
    char path[SWAN_PATH_MAX], child[SWAN_PATH_MAX];
    SWAN_TRY(jobs_path(j, "videos", "", path));
    SWAN_TRY(make_directory(path));
    DIR *d = opendir(path);
    if (!d) return SWAN_FAIL(SWAN_E_IO, "%s: cannot be read: %s", path, strerror(errno));
    swan_status status = SWAN_OK;
    for (struct dirent *e; !status && (e = readdir(d)) != NULL;) {
        int64_t completed = 0;
        sqlite3_stmt *s = prepare(&j->writer, "SELECT count(*) FROM job WHERE id=?1 AND state=2");
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (!s) status = sql_fail(&j->writer, "preparing");
        if (!status) bind(s, "t", e->d_name);
        if (!status) status = number(&j->writer, s, &completed);
        if (!status && !completed && !swan_path_join(path, e->d_name, child, sizeof child)) remove_tree(child, 0);
    }
    closedir(d);
    return status;
}

static swan_status open_all(swan_jobs *j)
{
    char path[SWAN_PATH_MAX];
    SWAN_TRY(make_directories(j->directory));
    SWAN_TRY(take_lock(j));
    SWAN_TRY(jobs_path(j, "jobs.sqlite", "", path));
    SWAN_TRY(open_connection(path, &j->writer, true));
    SWAN_TRY(check_schema(&j->writer));
    SWAN_TRY(open_connection(path, &j->reader, false));
    SWAN_TRY(remove_work(j));
    give_room(&j->writer);
    SWAN_TRY(settle_running(j));
    return remove_orphans(j);
}

swan_status swan_jobs_open(const swan_jobs_config *config, swan_jobs **out)
{
    *out = NULL;
    swan_jobs *j = calloc(1, sizeof *j);
    if (!j) return SWAN_FAIL(SWAN_E_NOMEM, "job store: out of memory");
    j->config = *config;
    j->lock_fd = -1;
    pthread_mutex_init(&j->writer.lock, NULL);
    pthread_mutex_init(&j->reader.lock, NULL);
    int n = snprintf(j->directory, sizeof j->directory, "%s", config->directory);
    swan_status status = n > 0 && n < (int)sizeof j->directory ? open_all(j)
                                                                : SWAN_FAIL(SWAN_E_INVALID, "data directory: bad length of path");
    if (status) {
        swan_jobs_close(j);
        return status;
    }
    *out = j;
    return SWAN_OK;
}

static void close_connection(connection *c)
{
    for (int i = 0; i < c->prepared_count; i++) sqlite3_finalize(c->prepared[i].statement);
    sqlite3_close(c->db);
    pthread_mutex_destroy(&c->lock);
}

void swan_jobs_close(swan_jobs *j)
{
    if (!j) return;
    close_connection(&j->reader);
    close_connection(&j->writer);
    if (j->lock_fd >= 0) close(j->lock_fd);
    free(j);
}

/* ---- moves: each public function is one body under the writer's lock ---- */

static swan_status random_id(char *id)
{
    uint8_t bytes[16];
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes;
    if (fd >= 0) close(fd);
    if (!ok) return SWAN_FAIL(SWAN_E_IO, "/dev/urandom: cannot be read");
    char *at = id + sprintf(id, "video_");
    for (int i = 0; i < 16; i++) at += sprintf(at, "%02x", bytes[i]);
    return SWAN_OK;
}

static swan_status add(swan_jobs *j, const swan_job *job, swan_jobs_answer *answer)
{
    connection *c = &j->writer;
    int64_t queued, stored;
    PREPARE(count, c, "SELECT count(*) FROM job WHERE state=0");
    SWAN_TRY(number(c, count, &queued));
    PREPARE(sum, c, "SELECT sum(bytes) FROM job WHERE state=2");
    SWAN_TRY(number(c, sum, &stored));
    *answer = queued >= j->config.queue_max                                            ? SWAN_JOBS_QUEUE_FULL
              : j->config.stored_max && (uint64_t)stored >= j->config.stored_max ? SWAN_JOBS_STORE_FULL
                                                                                       : SWAN_JOBS_ADDED;
    if (*answer != SWAN_JOBS_ADDED) return SWAN_OK;
    PREPARE(s, c, "INSERT INTO job(id, state, created_at, model, prompt, settings, remixed_from) VALUES(?1, 0, ?2, ?3, ?4, ?5, ?6)");
    bind(s, "titttt", job->id, job->created_at, job->model, job->prompt, job->settings, job->remixed_from);
    return finish(c, s, NULL);
}

static swan_status count_queued(swan_jobs *j, int64_t *queued)
{
    PREPARE(s, &j->reader, "SELECT count(*) FROM job WHERE state=0");
    return number(&j->reader, s, queued);
}

static bool disk_is_full(const swan_jobs *j)
{
    struct statvfs s;
    return statvfs(j->directory, &s) == 0 && (!s.f_bavail || (uint64_t)s.f_bavail * s.f_frsize < j->config.free_min);
}

swan_status swan_jobs_add(swan_jobs *j, swan_job *job, swan_jobs_answer *answer)
{
    int64_t queued;
    pthread_mutex_lock(&j->reader.lock);
    swan_status looked = count_queued(j, &queued);
    pthread_mutex_unlock(&j->reader.lock);
    if (looked) return looked;
    *answer = SWAN_JOBS_QUEUE_FULL;
    if (queued < j->config.queue_max && disk_is_full(j)) *answer = SWAN_JOBS_DISK_FULL;
    if (queued >= j->config.queue_max || *answer == SWAN_JOBS_DISK_FULL) return SWAN_OK; /* those who are refused do not wait for the disk; the others are counted again */
    SWAN_TRY(random_id(job->id));
    job->created_at = (int64_t)time(NULL);
    job->state = SWAN_JOB_QUEUED;
    pthread_mutex_lock(&j->writer.lock);
    bool full = false;
    swan_status status = begin(&j->writer);
    if (!status) status = end(&j->writer, add(j, job, answer), &full);
    pthread_mutex_unlock(&j->writer.lock);
    if (full) *answer = SWAN_JOBS_DISK_FULL;
    return full ? SWAN_OK : status;
}

/* Under the writer's lock, so that what was read still holds when it is written. */
static swan_status claim(swan_jobs *j, swan_job *out, bool *found)
{
    connection *c = &j->writer;
    PREPARE(oldest, c, "SELECT " COLUMNS " FROM job WHERE state=0 ORDER BY seq LIMIT 1");
    int code = sqlite3_step(oldest);
    swan_status status = code == SQLITE_ROW ? read_job(oldest, out) : code == SQLITE_DONE ? SWAN_OK : sql_fail(c, "reading");
    done_with(oldest);
    if (status || code != SQLITE_ROW) return status;
    *found = true;
    out->state = SWAN_JOB_IN_PROGRESS;
    out->attempt++;
    out->started_at = (int64_t)time(NULL);
    PREPARE(move, c, "UPDATE job SET state=1, attempt=?2, started_at=?3 WHERE id=?1 AND state=0");
    bind(move, "tii", out->id, (int64_t)out->attempt, out->started_at);
    return finish(c, move, NULL);
}

swan_status swan_jobs_claim(swan_jobs *j, swan_job *out, bool *found)
{
    *found = false;
    *out = (swan_job){0};
    pthread_mutex_lock(&j->writer.lock);
    swan_status status = claim(j, out, found);
    pthread_mutex_unlock(&j->writer.lock);
    if (status && *found) {
        swan_job_free(out);
        *found = false;
    }
    return status;
}

swan_status swan_jobs_workplace(swan_jobs *j, const swan_job *job, char *path)
{
    attempt_path(j, job, path);
    remove_tree(path, 0);
    return make_directory(path);
}

/* One guarded UPDATE, already bound. */
static swan_status move(swan_jobs *j, sqlite3_stmt *s, bool *changed)
{
    int changes = 0;
    SWAN_TRY(finish(&j->writer, s, &changes));
    *changed = changes == 1;
    return SWAN_OK;
}

static int64_t expiry(const swan_jobs *j, int64_t now) { return j->config.keep_s ? now + j->config.keep_s : 0; }

static swan_status complete(swan_jobs *j, const swan_job *job, const swan_job_result *r, bool *changed)
{
    connection *c = &j->writer;
    int64_t running, now = (int64_t)time(NULL);
    char from[SWAN_PATH_MAX], to[SWAN_PATH_MAX], videos[SWAN_PATH_MAX];
    PREPARE(is, c, "SELECT count(*) FROM job WHERE id=?1 AND state=1 AND attempt=?2");
    bind(is, "ti", job->id, (int64_t)job->attempt);
    SWAN_TRY(number(c, is, &running));
    if (!running) return SWAN_OK;
    attempt_path(j, job, from);
    SWAN_TRY(jobs_path(j, "videos", job->id, to));
    SWAN_TRY(jobs_path(j, "videos", "", videos));
    SWAN_TRY(sync_directory(from));
    int64_t bytes = (int64_t)directory_bytes(from);
    if (rename(from, to) != 0) return SWAN_FAIL(SWAN_E_IO, "%s: cannot be moved to %s: %s", from, to, strerror(errno));
    swan_status status = sync_directory(videos);
    sqlite3_stmt *s = prepare(c, "UPDATE job SET state=2, completed_at=?3, expires_at=?4, bytes=?5, seconds=?6, settings=coalesce(?7, "
                                 "settings) WHERE id=?1 AND state=1 AND attempt=?2");
    if (!status && !s) status = sql_fail(c, "preparing");
    if (!status) {
        bind(s, "tiiiidt", job->id, (int64_t)job->attempt, now, expiry(j, now), bytes, r->seconds, r->settings);
        status = move(j, s, changed);
    }
    return status;
}

swan_status swan_jobs_complete(swan_jobs *j, const swan_job *job, const swan_job_result *result, bool *changed)
{
    char path[SWAN_PATH_MAX];
    *changed = false;
    pthread_mutex_lock(&j->writer.lock);
    swan_status status = complete(j, job, result, changed);
    if (status) *changed = false;
    if (status) remove_files(j, job->id); /* the rename may have been the last thing that worked */
    pthread_mutex_unlock(&j->writer.lock);
    attempt_path(j, job, path);
    if (!*changed) remove_tree(path, 0);
    return status;
}

static swan_status fail(swan_jobs *j, const swan_job *job, const char *code, const char *message, bool *changed)
{
    int64_t now = (int64_t)time(NULL);
    PREPARE(s, &j->writer, "UPDATE job SET state=3, completed_at=?3, expires_at=?4, error_code=?5, error_message=?6 WHERE id=?1 AND "
                           "state=1 AND attempt=?2");
    bind(s, "tiiitt", job->id, (int64_t)job->attempt, now, expiry(j, now), code, message);
    return move(j, s, changed);
}

swan_status swan_jobs_fail(swan_jobs *j, const swan_job *job, const char *code, const char *message, bool *changed)
{
    char path[SWAN_PATH_MAX];
    *changed = false;
    attempt_path(j, job, path);
    remove_tree(path, 0); /* first: the room that they take may be what is missing */
    pthread_mutex_lock(&j->writer.lock);
    swan_status status = fail(j, job, code, message, changed);
    pthread_mutex_unlock(&j->writer.lock);
    return status;
}

static swan_status cancel(swan_jobs *j, const char *id, bool *changed)
{
    int64_t now = (int64_t)time(NULL);
    PREPARE(s, &j->writer, "UPDATE job SET state=4, completed_at=?2, expires_at=?3, error_code='cancelled', error_message='cancelled on "
                           "request' WHERE id=?1 AND state IN (0, 1)");
    bind(s, "tii", id, now, expiry(j, now));
    return move(j, s, changed);
}

swan_status swan_jobs_cancel(swan_jobs *j, const char *id, bool *changed)
{
    *changed = false;
    pthread_mutex_lock(&j->writer.lock);
    swan_status status = cancel(j, id, changed);
    pthread_mutex_unlock(&j->writer.lock);
    return status;
}

static swan_status requeue(swan_jobs *j, const swan_job *job, bool *changed)
{
    PREPARE(s, &j->writer, "UPDATE job SET state=0, attempt=attempt-1, started_at=0 WHERE id=?1 AND state=1 AND attempt=?2");
    bind(s, "ti", job->id, (int64_t)job->attempt);
    return move(j, s, changed);
}

swan_status swan_jobs_requeue(swan_jobs *j, const swan_job *job, bool *changed)
{
    char path[SWAN_PATH_MAX];
    *changed = false;
    attempt_path(j, job, path);
    remove_tree(path, 0);
    pthread_mutex_lock(&j->writer.lock);
    swan_status status = requeue(j, job, changed);
    pthread_mutex_unlock(&j->writer.lock);
    return status;
}

static swan_status delete_row(swan_jobs *j, const char *id, bool *found)
{
    PREPARE(s, &j->writer, "DELETE FROM job WHERE id=?1");
    bind(s, "t", id);
    return move(j, s, found);
}

swan_status swan_jobs_remove(swan_jobs *j, const char *id, bool *found)
{
    *found = false;
    pthread_mutex_lock(&j->writer.lock);
    swan_status status = delete_row(j, id, found);
    if (!status && *found) remove_files(j, id);
    pthread_mutex_unlock(&j->writer.lock);
    return status;
}

static swan_status next_expired(swan_jobs *j, int64_t now, char *id)
{
    connection *c = &j->reader;
    PREPARE(s, c, "SELECT id FROM job WHERE expires_at > 0 AND expires_at <= ?1 LIMIT 1");
    bind(s, "i", now);
    int code = sqlite3_step(s);
    id[0] = 0;
    if (code == SQLITE_ROW) snprintf(id, SWAN_JOB_ID_MAX, "%s", (const char *)sqlite3_column_text(s, 0));
    swan_status status = code == SQLITE_ROW || code == SQLITE_DONE ? SWAN_OK : sql_fail(c, "reading");
    done_with(s);
    return status;
}

swan_status swan_jobs_expire(swan_jobs *j, int64_t now, int *count)
{
    *count = 0;
    for (;;) {
        char id[SWAN_JOB_ID_MAX];
        bool found;
        pthread_mutex_lock(&j->reader.lock);
        swan_status status = next_expired(j, now, id);
        pthread_mutex_unlock(&j->reader.lock);
        if (status || !id[0]) return status;
        SWAN_TRY(swan_jobs_remove(j, id, &found));
        *count += found;
    }
}

/* ---- reads ---- */

static swan_status get(swan_jobs *j, const char *id, swan_job *out, bool *found)
{
    connection *c = &j->reader;
    PREPARE(s, c, "SELECT " COLUMNS " FROM job WHERE id=?1");
    bind(s, "t", id);
    int code = sqlite3_step(s);
    swan_status status = SWAN_OK;
    if (code == SQLITE_ROW) status = read_job(s, out);
    else if (code != SQLITE_DONE) status = sql_fail(c, "reading");
    *found = code == SQLITE_ROW && !status;
    done_with(s);
    return status;
}

swan_status swan_jobs_get(swan_jobs *j, const char *id, swan_job *out, bool *found)
{
    *out = (swan_job){0};
    pthread_mutex_lock(&j->reader.lock);
    swan_status status = get(j, id, out, found);
    pthread_mutex_unlock(&j->reader.lock);
    return status;
}

static swan_status list(swan_jobs *j, const swan_jobs_query *q, swan_jobs_page *out)
{
    connection *c = &j->reader;
    int64_t from = q->ascending ? 0 : INT64_MAX;
    if (q->after) {
        PREPARE(find, c, "SELECT seq FROM job WHERE id=?1");
        bind(find, "t", q->after);
        SWAN_TRY(number(c, find, &from));
        if (!from) return SWAN_FAIL(SWAN_E_NOT_FOUND, "after: there is no video \"%s\"", q->after);
    }
    sqlite3_stmt *s = q->ascending ? prepare(c, "SELECT " COLUMNS " FROM job WHERE seq > ?1 ORDER BY seq LIMIT ?2")
                                   : prepare(c, "SELECT " COLUMNS " FROM job WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2");
    if (!s) return sql_fail(c, "preparing");
    bind(s, "ii", from, (int64_t)q->limit + 1);
    swan_status status = SWAN_OK;
    int code;
    while (!status && (code = sqlite3_step(s)) != SQLITE_DONE) {
        if (code != SQLITE_ROW) status = sql_fail(c, "reading");
        else if (out->count == q->limit) out->has_more = true;
        else if (!(status = read_job(s, &out->job[out->count]))) out->count++;
    }
    done_with(s);
    return status;
}

swan_status swan_jobs_list(swan_jobs *j, const swan_jobs_query *q, swan_jobs_page *out)
{
    *out = (swan_jobs_page){.job = calloc((size_t)q->limit, sizeof(swan_job))};
    if (!out->job) return SWAN_FAIL(SWAN_E_NOMEM, "job store: out of memory");
    pthread_mutex_lock(&j->reader.lock);
    swan_status status = list(j, q, out);
    pthread_mutex_unlock(&j->reader.lock);
    if (status) swan_jobs_page_free(out);
    return status;
}

void swan_jobs_page_free(swan_jobs_page *page)
{
    for (int i = 0; i < page->count; i++) swan_job_free(&page->job[i]);
    free(page->job);
    *page = (swan_jobs_page){0};
}

static swan_status count_states(swan_jobs *j, swan_jobs_totals *out)
{
    connection *c = &j->reader;
    PREPARE(s, c, "SELECT state, count(*), sum(bytes) FROM job GROUP BY state");
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        int state = sqlite3_column_int(s, 0);
        if (state < 0 || state >= SWAN_JOB_STATES) continue;
        out->count[state] = sqlite3_column_int(s, 1);
        out->stored_bytes += (uint64_t)sqlite3_column_int64(s, 2);
    }
    swan_status status = code == SQLITE_DONE ? SWAN_OK : sql_fail(c, "reading");
    done_with(s);
    return status;
}

swan_status swan_jobs_count(swan_jobs *j, swan_jobs_totals *out)
{
    *out = (swan_jobs_totals){0};
    pthread_mutex_lock(&j->reader.lock);
    swan_status status = count_states(j, out);
    pthread_mutex_unlock(&j->reader.lock);
    return status;
}

static swan_status ahead(swan_jobs *j, const char *id, int64_t *count)
{
    PREPARE(s, &j->reader, "SELECT count(*) FROM job WHERE state=0 AND seq < (SELECT seq FROM job WHERE id=?1)");
    bind(s, "t", id);
    return number(&j->reader, s, count);
}

swan_status swan_jobs_ahead(swan_jobs *j, const char *id, int *count)
{
    int64_t n = 0;
    pthread_mutex_lock(&j->reader.lock);
    swan_status status = ahead(j, id, &n);
    pthread_mutex_unlock(&j->reader.lock);
    *count = (int)n;
    return status;
}
