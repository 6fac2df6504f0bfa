/* The job store: what was asked for, in what state it is, and the files of what is finished. SQLite (WAL) and a directory.
 * Safe to use from any thread. Its invariants stand in jobs.c. */
#ifndef SWAN_SERVER_JOBS_H
#define SWAN_SERVER_JOBS_H

#include "base/file.h"

typedef enum swan_job_state {
    SWAN_JOB_QUEUED, SWAN_JOB_IN_PROGRESS, SWAN_JOB_COMPLETED, SWAN_JOB_FAILED, SWAN_JOB_CANCELLED, SWAN_JOB_STATES
} swan_job_state;
/* "queued", "in_progress", "completed", "failed", "cancelled". */
const char *swan_job_state_name(swan_job_state state);

enum { SWAN_JOB_ID_MAX = 40 };

/* One job. Strings are owned (swan_job_free), NULL where there is none. Times: seconds since 1970, 0: not yet or never. */
typedef struct swan_job {
    char id[SWAN_JOB_ID_MAX]; /* "video_" and 32 hexadecimal digits */
    swan_job_state state;
    int attempt;              /* how often it was begun */
    int64_t created_at, started_at, completed_at, expires_at;
    uint64_t bytes;           /* of its files, once completed */
    double seconds;           /* that making it took, once completed */
    char *model, *prompt;
    char *settings;           /* JSON object: key -> value, without the prompt */
    char *error_code, *error_message;
    char *remixed_from;       /* id */
} swan_job;
void swan_job_free(swan_job *job);
bool swan_job_is_over(const swan_job *job);
/* Whether id looks like one of ours; nothing else ever becomes a path. */
bool swan_job_id_valid(const char *id);

typedef struct swan_jobs_config {
    const char *directory;  /* made when missing */
    int queue_max;          /* jobs that may wait */
    int attempts_max;       /* how often a job is begun before it fails; more than one only by restarts of the server */
    int64_t keep_s;         /* how long results are kept; 0: for ever */
    uint64_t stored_max;    /* bytes of finished files above which no job is accepted; 0: no limit */
    uint64_t free_min;      /* bytes that have to be free on the disk for a job to be accepted; it is never accepted on a full one */
} swan_jobs_config;

typedef struct swan_jobs swan_jobs;
/* Opens or makes the store, locks it against a second server, and puts it in order: files without a completed row go, jobs that
 * were running are queued again or fail. SWAN_E_IO, SWAN_E_FORMAT (made by a newer version), SWAN_E_INVALID (in use). */
swan_status swan_jobs_open(const swan_jobs_config *config, swan_jobs **out);
void swan_jobs_close(swan_jobs *jobs);

typedef enum swan_jobs_answer { SWAN_JOBS_ADDED, SWAN_JOBS_QUEUE_FULL, SWAN_JOBS_STORE_FULL, SWAN_JOBS_DISK_FULL } swan_jobs_answer;
/* Adds a queued job with the model, prompt, settings and remixed_from of `job`, which gets its id and times. On disk when it returns. */
swan_status swan_jobs_add(swan_jobs *jobs, swan_job *job, swan_jobs_answer *answer);
/* Begins the oldest queued job: it is in progress, its attempt counted. *found false: nothing waits. */
swan_status swan_jobs_claim(swan_jobs *jobs, swan_job *out, bool *found);
/* Where the files of an attempt are made: a fresh, empty directory in path (SWAN_PATH_MAX bytes). */
swan_status swan_jobs_workplace(swan_jobs *jobs, const swan_job *job, char *path);

typedef struct swan_job_result {
    const char *settings; /* as they really were; NULL: as asked */
    double seconds;
} swan_job_result;
/* The four ends of a job in progress (cancel: of a queued one as well). *changed false: it was not in that state any more, and
 * nothing happened, but that the files of the attempt are gone. complete: the workplace becomes the job's files. */
swan_status swan_jobs_complete(swan_jobs *jobs, const swan_job *job, const swan_job_result *result, bool *changed);
swan_status swan_jobs_fail(swan_jobs *jobs, const swan_job *job, const char *code, const char *message, bool *changed);
swan_status swan_jobs_cancel(swan_jobs *jobs, const char *id, bool *changed);
/* Back into the queue, as if it had not been begun: for a server that stops. */
swan_status swan_jobs_requeue(swan_jobs *jobs, const swan_job *job, bool *changed);

/* Removes the row, whatever its state, then the files. *found false: there was none. */
swan_status swan_jobs_remove(swan_jobs *jobs, const char *id, bool *found);
/* Removes what has expired at `now`; *count of them. */
swan_status swan_jobs_expire(swan_jobs *jobs, int64_t now, int *count);

swan_status swan_jobs_get(swan_jobs *jobs, const char *id, swan_job *out, bool *found);
typedef struct swan_jobs_query {
    const char *after; /* id; NULL: from the beginning */
    int limit;
    bool ascending;    /* by time of creation */
} swan_jobs_query;
typedef struct swan_jobs_page {
    swan_job *job;
    int count;
    bool has_more;
} swan_jobs_page;
/* SWAN_E_NOT_FOUND: there is no job `after`. */
swan_status swan_jobs_list(swan_jobs *jobs, const swan_jobs_query *query, swan_jobs_page *out);
void swan_jobs_page_free(swan_jobs_page *page);

typedef struct swan_jobs_totals {
    int count[SWAN_JOB_STATES];
    uint64_t stored_bytes;
} swan_jobs_totals;
swan_status swan_jobs_count(swan_jobs *jobs, swan_jobs_totals *out);
/* How many queued jobs come before this one. */
swan_status swan_jobs_ahead(swan_jobs *jobs, const char *id, int *count);

/* The path of a file of a completed job, in buf (SWAN_PATH_MAX bytes). */
swan_status swan_jobs_file(const swan_jobs *jobs, const char *id, const char *name, char *buf);

#endif
