/* The job store: every move of the state machine, restarts at each point, bounds, lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "scratch.h"
#include "server/jobs.h"
#include <sqlite3.h>

static swan_jobs *open_store(const char *directory, int queue_max)
{
    swan_jobs *jobs;
    const swan_jobs_config config = {.directory = directory, .queue_max = queue_max, .attempts_max = 2, .keep_s = 100, .stored_max = 0};
    if (swan_jobs_open(&config, &jobs)) fail_msg("%s", swan_last_error());
    return jobs;
}

static swan_jobs_answer add(swan_jobs *jobs, const char *prompt, char *id)
{
    char model[] = "m", settings[] = "{\"seed\":1}";
    swan_jobs_answer answer;
    swan_job job = {.model = model, .prompt = (char *)(uintptr_t)prompt, .settings = settings};
    assert_int_equal(swan_jobs_add(jobs, &job, &answer), SWAN_OK);
    if (id) memcpy(id, job.id, sizeof job.id);
    return answer;
}

static swan_job claim(swan_jobs *jobs)
{
    swan_job job;
    bool found;
    assert_int_equal(swan_jobs_claim(jobs, &job, &found), SWAN_OK);
    assert_true(found);
    return job;
}

static swan_job get(swan_jobs *jobs, const char *id)
{
    swan_job job;
    bool found;
    assert_int_equal(swan_jobs_get(jobs, id, &job, &found), SWAN_OK);
    assert_true(found);
    return job;
}

static swan_job_state state_of(swan_jobs *jobs, const char *id)
{
    swan_job job = get(jobs, id);
    swan_job_state state = job.state;
    swan_job_free(&job);
    return state;
}

static void put_video(const char *directory, const char *text)
{
    char path[SWAN_PATH_MAX];
    assert_int_equal(swan_path_join(directory, "video.mp4", path, sizeof path), SWAN_OK);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

/* What a worker leaves behind. */
static void write_files(swan_jobs *jobs, const swan_job *job)
{
    char path[SWAN_PATH_MAX];
    assert_int_equal(swan_jobs_workplace(jobs, job, path), SWAN_OK);
    put_video(path, "12345");
}

static bool has_file(swan_jobs *jobs, const char *id)
{
    char path[SWAN_PATH_MAX];
    assert_int_equal(swan_jobs_file(jobs, id, "video.mp4", path), SWAN_OK);
    return swan_file_exists(path);
}

static void a_life(void **state)
{
    swan_jobs *jobs = open_store(*state, 4);
    char first[SWAN_JOB_ID_MAX], second[SWAN_JOB_ID_MAX];
    bool changed, found;
    assert_int_equal(add(jobs, "one", first), SWAN_JOBS_ADDED);
    assert_int_equal(add(jobs, "two", second), SWAN_JOBS_ADDED);
    assert_true(swan_job_id_valid(first));
    assert_int_equal(state_of(jobs, first), SWAN_JOB_QUEUED);
    swan_job job = claim(jobs);
    assert_string_equal(job.id, first); /* the oldest */
    assert_string_equal(job.prompt, "one");
    assert_int_equal(job.attempt, 1);
    assert_int_equal(state_of(jobs, first), SWAN_JOB_IN_PROGRESS);
    write_files(jobs, &job);
    assert_false(has_file(jobs, first)); /* not under its name yet */
    assert_int_equal(swan_jobs_complete(jobs, &job, &(swan_job_result){.settings = "{\"seed\":2}", .seconds = 1.5}, &changed), SWAN_OK);
    assert_true(changed);
    assert_true(has_file(jobs, first));
    swan_job done = get(jobs, first);
    assert_int_equal(done.state, SWAN_JOB_COMPLETED);
    assert_int_equal(done.bytes, 5);
    assert_string_equal(done.settings, "{\"seed\":2}");
    assert_int_equal(done.expires_at, done.completed_at + 100);
    swan_job_free(&done);
    assert_int_equal(swan_jobs_fail(jobs, &job, "x", "y", &changed), SWAN_OK);
    assert_false(changed); /* it is over */
    assert_int_equal(swan_jobs_cancel(jobs, first, &changed), SWAN_OK);
    assert_false(changed);
    assert_int_equal(swan_jobs_remove(jobs, first, &found), SWAN_OK);
    assert_true(found);
    assert_false(has_file(jobs, first));
    assert_int_equal(swan_jobs_remove(jobs, first, &found), SWAN_OK);
    assert_false(found);
    swan_job_free(&job);
    swan_jobs_close(jobs);
}

static void cancelled_while_running(void **state)
{
    swan_jobs *jobs = open_store(*state, 4);
    char id[SWAN_JOB_ID_MAX];
    bool changed;
    add(jobs, "one", id);
    swan_job job = claim(jobs);
    write_files(jobs, &job);
    assert_int_equal(swan_jobs_cancel(jobs, id, &changed), SWAN_OK);
    assert_true(changed);
    assert_int_equal(swan_jobs_complete(jobs, &job, &(swan_job_result){0}, &changed), SWAN_OK); /* the worker was as fast */
    assert_false(changed);
    assert_int_equal(state_of(jobs, id), SWAN_JOB_CANCELLED);
    assert_false(has_file(jobs, id));
    swan_job_free(&job);
    swan_jobs_close(jobs);
}

/* A server that ends without a word while a job runs: queued again once, then failed with a reason. */
static void restarts(void **state)
{
    char id[SWAN_JOB_ID_MAX], waiting[SWAN_JOB_ID_MAX];
    swan_jobs *jobs = open_store(*state, 4);
    add(jobs, "one", id);
    add(jobs, "two", waiting);
    for (int attempt = 1; attempt <= 2; attempt++) {
        swan_job job = claim(jobs);
        assert_string_equal(job.id, id); /* it keeps its place */
        assert_int_equal(job.attempt, attempt);
        write_files(jobs, &job);
        swan_job_free(&job);
        swan_jobs_close(jobs);
        jobs = open_store(*state, 4);
        assert_int_equal(state_of(jobs, id), attempt < 2 ? SWAN_JOB_QUEUED : SWAN_JOB_FAILED);
        assert_int_equal(state_of(jobs, waiting), SWAN_JOB_QUEUED);
    }
    swan_job failed = get(jobs, id);
    assert_string_equal(failed.error_code, "server_restarted");
    assert_true(failed.expires_at > 0);
    swan_job_free(&failed);
    char work[512];
    snprintf(work, sizeof work, "%s/work", (char *)*state);
    assert_int_equal(scratch_count(work), 0); /* nothing half-made is left */
    swan_jobs_close(jobs);
}

/* Killed between the rename and the commit: the files have no row, and go; the job runs again. */
static void renamed_but_not_committed(void **state)
{
    char id[SWAN_JOB_ID_MAX], path[600];
    swan_jobs *jobs = open_store(*state, 4);
    add(jobs, "one", id);
    swan_job job = claim(jobs);
    swan_job_free(&job);
    snprintf(path, sizeof path, "%s/videos/%s", (char *)*state, id);
    assert_int_equal(mkdir(path, 0700), 0);
    put_video(path, "half");
    swan_jobs_close(jobs);
    jobs = open_store(*state, 4);
    assert_false(has_file(jobs, id));
    job = claim(jobs);
    bool changed;
    write_files(jobs, &job);
    assert_int_equal(swan_jobs_complete(jobs, &job, &(swan_job_result){0}, &changed), SWAN_OK);
    assert_true(changed && has_file(jobs, id));
    swan_job_free(&job);
    swan_jobs_close(jobs);
    jobs = open_store(*state, 4);
    assert_true(has_file(jobs, id)); /* a completed one stays */
    swan_jobs_close(jobs);
}

static void a_late_attempt_changes_nothing(void **state)
{
    swan_jobs *jobs = open_store(*state, 4);
    char id[SWAN_JOB_ID_MAX];
    bool changed;
    add(jobs, "one", id);
    swan_job old = claim(jobs);
    swan_jobs_close(jobs);
    jobs = open_store(*state, 4);
    swan_job now = claim(jobs);
    assert_int_equal(swan_jobs_fail(jobs, &old, "late", "late", &changed), SWAN_OK);
    assert_false(changed);
    assert_int_equal(swan_jobs_complete(jobs, &old, &(swan_job_result){0}, &changed), SWAN_OK);
    assert_false(changed);
    assert_int_equal(state_of(jobs, id), SWAN_JOB_IN_PROGRESS);
    swan_job_free(&old);
    swan_job_free(&now);
    swan_jobs_close(jobs);
}

static void bounds(void **state)
{
    swan_jobs *jobs = open_store(*state, 2);
    char id[SWAN_JOB_ID_MAX];
    bool changed;
    int ahead;
    assert_int_equal(add(jobs, "one", NULL), SWAN_JOBS_ADDED);
    assert_int_equal(add(jobs, "two", id), SWAN_JOBS_ADDED);
    assert_int_equal(add(jobs, "three", NULL), SWAN_JOBS_QUEUE_FULL);
    assert_int_equal(swan_jobs_ahead(jobs, id, &ahead), SWAN_OK);
    assert_int_equal(ahead, 1);
    assert_int_equal(swan_jobs_cancel(jobs, id, &changed), SWAN_OK);
    assert_int_equal(add(jobs, "three", NULL), SWAN_JOBS_ADDED); /* cancelling frees the place */
    swan_job job = claim(jobs);
    write_files(jobs, &job);
    swan_jobs_complete(jobs, &job, &(swan_job_result){0}, &changed);
    swan_job_free(&job);
    swan_jobs_close(jobs);
    const swan_jobs_config small = {.directory = *state, .queue_max = 9, .attempts_max = 2, .stored_max = 5};
    assert_int_equal(swan_jobs_open(&small, &jobs), SWAN_OK);
    assert_int_equal(add(jobs, "four", NULL), SWAN_JOBS_STORE_FULL);
    swan_jobs_close(jobs);
}

static void expiry(void **state)
{
    swan_jobs *jobs = open_store(*state, 4);
    char id[SWAN_JOB_ID_MAX], waiting[SWAN_JOB_ID_MAX];
    bool changed;
    int count;
    add(jobs, "one", id);
    swan_job job = claim(jobs);
    write_files(jobs, &job);
    swan_jobs_complete(jobs, &job, &(swan_job_result){0}, &changed);
    add(jobs, "two", waiting);
    swan_job done = get(jobs, id);
    assert_int_equal(swan_jobs_expire(jobs, done.expires_at - 1, &count), SWAN_OK);
    assert_int_equal(count, 0);
    assert_int_equal(swan_jobs_expire(jobs, done.expires_at, &count), SWAN_OK);
    assert_int_equal(count, 1);
    assert_false(has_file(jobs, id));
    assert_int_equal(state_of(jobs, waiting), SWAN_JOB_QUEUED);
    swan_job_free(&done);
    swan_job_free(&job);
    swan_jobs_close(jobs);
}

static void pages(void **state)
{
    swan_jobs *jobs = open_store(*state, 9);
    char id[5][SWAN_JOB_ID_MAX];
    swan_jobs_page page;
    for (int i = 0; i < 5; i++) add(jobs, "p", id[i]);
    assert_int_equal(swan_jobs_list(jobs, &(swan_jobs_query){.limit = 2}, &page), SWAN_OK);
    assert_int_equal(page.count, 2);
    assert_true(page.has_more);
    assert_string_equal(page.job[0].id, id[4]);
    swan_jobs_page_free(&page);
    assert_int_equal(swan_jobs_list(jobs, &(swan_jobs_query){.limit = 9, .after = id[3]}, &page), SWAN_OK);
    assert_int_equal(page.count, 3);
    assert_false(page.has_more);
    swan_jobs_page_free(&page);
    assert_int_equal(swan_jobs_list(jobs, &(swan_jobs_query){.limit = 2, .after = id[1], .ascending = true}, &page), SWAN_OK);
    assert_string_equal(page.job[0].id, id[2]);
    assert_true(page.has_more);
    swan_jobs_page_free(&page);
    assert_int_equal(swan_jobs_list(jobs, &(swan_jobs_query){.limit = 2, .after = "video_no"}, &page), SWAN_E_NOT_FOUND);
    swan_jobs_close(jobs);
}

static void put_back(void **state)
{
    swan_jobs *jobs = open_store(*state, 1);
    char id[SWAN_JOB_ID_MAX];
    bool changed;
    add(jobs, "one", id);
    swan_job job = claim(jobs);
    assert_int_equal(add(jobs, "two", NULL), SWAN_JOBS_ADDED);
    assert_int_equal(swan_jobs_requeue(jobs, &job, &changed), SWAN_OK);
    assert_true(changed);
    swan_job_free(&job);
    job = claim(jobs);
    assert_string_equal(job.id, id); /* its place is kept, and the attempt did not count */
    assert_int_equal(job.attempt, 1);
    swan_job_free(&job);
    swan_jobs_close(jobs);
}

static void stores_that_cannot_be_used(void **state)
{
    char path[600];
    swan_jobs *jobs;
    sqlite3 *db;
    const swan_jobs_config config = {.directory = *state, .queue_max = 4, .attempts_max = 2};
    swan_jobs_close(open_store(*state, 4));
    snprintf(path, sizeof path, "%s/jobs.sqlite", (char *)*state);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL);
    sqlite3_close(db);
    assert_int_equal(swan_jobs_open(&config, &jobs), SWAN_E_FORMAT);
    assert_non_null(strstr(swan_last_error(), "newer"));
    assert_non_null(scratch_write(*state, "file", "", 0));
    snprintf(path, sizeof path, "%s/file/data", (char *)*state);
    assert_int_equal(swan_jobs_open(&(swan_jobs_config){.directory = path, .queue_max = 4}, &jobs), SWAN_E_IO);
}

static void ids(void **state)
{
    (void)state;
    assert_true(swan_job_id_valid("video_0123456789abcdef0123456789abcdef"));
    assert_false(swan_job_id_valid("video_0123456789ABCDEF0123456789abcdef"));
    assert_false(swan_job_id_valid("video_../../../../../etc/passwd_______"));
    assert_false(swan_job_id_valid("video_0123456789abcdef0123456789abcdef0"));
    assert_false(swan_job_id_valid(""));
}

int main(void)
{
#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_open, scratch_close)
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(a_life), WITH_SCRATCH(cancelled_while_running), WITH_SCRATCH(restarts), WITH_SCRATCH(renamed_but_not_committed),
        WITH_SCRATCH(a_late_attempt_changes_nothing), WITH_SCRATCH(bounds), WITH_SCRATCH(expiry), WITH_SCRATCH(pages), WITH_SCRATCH(put_back),
        WITH_SCRATCH(stores_that_cannot_be_used), cmocka_unit_test(ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
