/* The pool of workers against children that fail in every way that a real one may. The pool starts /proc/self/exe, which is this
 * test: as "swan worker" it plays a child, and the prompt of a job says how it behaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <poll.h>
#include <sys/socket.h>

#include "scratch.h"
#include "server/child.h"
#include "server/lines.h"
#include "server/worker.h"

/* ---- the child ---- */

static void say(json_t *message)
{
    if (swan_lines_send(SWAN_CHILD_FD, message)) _exit(0);
}

static void write_in(const char *directory, const char *name)
{
    if (!scratch_write(directory, name, "a video", 7)) _exit(9);
}

static void say_progress(const char *id, double fraction)
{
    say(json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f}", "event", "progress", "id", id, "phase", "denoise", "step", 1, "steps", 4, "fraction", fraction,
                  "remaining_s", 1.0));
}

static void play(const json_t *job)
{
    const char *prompt = swan_lines_text(job, "prompt", ""), *id = swan_lines_text(job, "id", ""), *directory = swan_lines_text(job, "directory", "");
    if (!strcmp(prompt, "device fault")) {
        say(json_pack("{s:s, s:s, s:s, s:s, s:b}", "event", "failed", "id", id, "code", "device_failed", "message", "the device is lost", "fatal", 1));
        _exit(3);
    }
    if (!strcmp(prompt, "refused")) {
        say(json_pack("{s:s, s:s, s:s, s:s, s:b}", "event", "failed", "id", id, "code", "invalid_settings", "message", "too large", "fatal", 0));
        return;
    }
    if (!strcmp(prompt, "crash")) abort();
    if (!strcmp(prompt, "leave")) _exit(0);
    if (!strcmp(prompt, "hang")) pause();
    if (!strcmp(prompt, "nonsense")) {
        if (send(SWAN_CHILD_FD, "no object\n", 10, MSG_NOSIGNAL) != 10) _exit(9);
        pause();
    }
    if (!strcmp(prompt, "endless")) {
        static char line[65536];
        memset(line, 'x', sizeof line);
        while (send(SWAN_CHILD_FD, line, sizeof line, MSG_NOSIGNAL) > 0) {}
        pause();
    }
    if (!strcmp(prompt, "back and forth")) {
        static const double fractions[] = {0.5, 0.2, -3, 7, 0.1};
        for (int i = 0; i < 5; i++) say_progress(id, fractions[i]);
        say_progress("video_00000000000000000000000000000000", 0.9); /* of another one */
        poll(NULL, 0, 300);
    }
    write_in(directory, "video.mp4");
    say(json_pack("{s:s, s:s, s:f}", "event", "done", "id", id, "seconds", 0.1));
}

/* The first child of a "deaf" pool does not hear: what is sent to it fails. */
static void be_deaf_once(const char *marker)
{
    FILE *f = fopen(marker, "wbx");
    if (!f) return;
    fclose(f);
    shutdown(SWAN_CHILD_FD, SHUT_RD);
}

static int be_child(const char *marker)
{
    if (marker) be_deaf_once(marker);
    say(json_pack("{s:s, s:{s:s, s:{s:i, s:i, s:i, s:i, s:i, s:f, s:f}}}", "event", "ready", "describe", "name", "fake", "recipe", "width", 64, "height",
                  48, "num_frames", 9, "fps", 16, "num_inference_steps", 4, "flow_shift", 3.0, "guidance_scale", 1.0));
    swan_lines lines;
    swan_lines_open(&lines, SWAN_CHILD_FD, SWAN_CHILD_LINE_MAX);
    for (bool ended = false; !ended;) {
        json_t *message;
        if (swan_lines_fill(&lines, &ended)) return 1;
        while (!swan_lines_next(&lines, &message) && message) {
            if (!strcmp(swan_lines_text(message, "do", ""), "run")) play(message);
            json_decref(message);
        }
        if (ended && marker) pause(); /* deaf, not dead */
    }
    return 0;
}

/* ---- the test ---- */

typedef struct pool {
    swan_jobs *jobs;
    swan_events *events;
    swan_workers *workers;
} pool;

static pool open_pool(const char *directory, const char *marker)
{
    static const char *argument[4];
    pool p;
    const swan_jobs_config jobs = {.directory = directory, .queue_max = 50, .attempts_max = 2, .keep_s = 100};
    swan_workers_config workers = {.count = 1, .stall_s = 2 /* ThreadSanitizer lets a process end after one */, .grace_s = 1};
    argument[0] = "swan", argument[1] = "worker", argument[2] = marker, argument[3] = NULL;
    workers.argument[0] = argument;
    assert_int_equal(swan_jobs_open(&jobs, &p.jobs), SWAN_OK);
    assert_int_equal(swan_events_open(1, &p.events), SWAN_OK);
    assert_int_equal(swan_workers_open(&workers, p.jobs, p.events, &p.workers), SWAN_OK);
    return p;
}

static void close_pool(pool *p)
{
    swan_workers_close(p->workers);
    swan_events_close(p->events);
    swan_jobs_close(p->jobs);
}

static void ask(pool *p, const char *prompt, char id[SWAN_JOB_ID_MAX])
{
    char model[] = "fake", settings[] = "{\"seed\":1,\"width\":64,\"height\":48,\"num_frames\":9}", text[64];
    swan_jobs_answer answer;
    snprintf(text, sizeof text, "%s", prompt);
    swan_job job = {.model = model, .prompt = text, .settings = settings};
    assert_int_equal(swan_jobs_add(p->jobs, &job, &answer), SWAN_OK);
    assert_int_equal(answer, SWAN_JOBS_ADDED);
    memcpy(id, job.id, SWAN_JOB_ID_MAX);
    swan_workers_wake(p->workers);
}

/* The job when it is over, within ten seconds; progress never goes back on the way. */
static swan_job finish(pool *p, const char *id)
{
    int progress = 0;
    for (int i = 0; i < 2000; i++) {
        swan_job job;
        swan_live live;
        bool found;
        if (swan_events_look(p->events, id, &live)) {
            assert_true(live.progress >= progress && live.progress <= 99);
            progress = live.progress;
        }
        assert_int_equal(swan_jobs_get(p->jobs, id, &job, &found), SWAN_OK);
        assert_true(found);
        if (swan_job_is_over(&job)) return job;
        swan_job_free(&job);
        poll(NULL, 0, 5);
    }
    fail_msg("%s does not end", id);
    return (swan_job){0};
}

static void expect(pool *p, const char *prompt, swan_job_state state, const char *code, const char *says)
{
    char id[SWAN_JOB_ID_MAX];
    ask(p, prompt, id);
    swan_job job = finish(p, id);
    if (job.state != state) fail_msg("%s: %s, %s", prompt, swan_job_state_name(job.state), job.error_message ? job.error_message : "");
    if (code) assert_string_equal(job.error_code, code);
    if (says && !strstr(job.error_message, says)) fail_msg("%s: \"%s\" does not say \"%s\"", prompt, job.error_message, says);
    assert_int_equal(job.attempt, 1);
    swan_job_free(&job);
}

static void every_failure(void **state)
{
    static const struct {
        const char *prompt, *code, *says;
        bool lost;
    } cases[] = {
        {"device fault", "device_failed", "the device is lost", true},
        {"refused", "invalid_settings", "too large", false},
        {"crash", "worker_crashed", "signal 6", true},
        {"leave", "worker_crashed", "ended by itself with status 0", true},
        {"hang", "worker_hung", "no sign of life", true},
        {"nonsense", "worker_crashed", "no message", true},
        {"endless", "worker_crashed", "no message", true},
    };
    pool p = open_pool(*state, NULL);
    unsigned lost = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(&p, cases[i].prompt, SWAN_JOB_FAILED, cases[i].code, cases[i].says);
        lost += cases[i].lost;
        expect(&p, "fine", SWAN_JOB_COMPLETED, NULL, NULL); /* the queue goes on */
        swan_workers_state s;
        swan_workers_look(p.workers, &s, NULL);
        assert_int_equal(s.restarts, lost);
    }
    assert_int_equal(scratch_count(scratch_path(*state, "work")), 0);
    assert_int_equal(scratch_count(scratch_path(*state, "videos")), (int)(sizeof cases / sizeof cases[0]));
    close_pool(&p);
}

static void progress_only_rises(void **state)
{
    pool p = open_pool(*state, NULL);
    expect(&p, "back and forth", SWAN_JOB_COMPLETED, NULL, NULL);
    close_pool(&p);
}

/* A job that its child never heard of is made by the next child, as if it had not been begun. */
static void a_deaf_child(void **state)
{
    pool p = open_pool(*state, scratch_path(*state, "marker"));
    expect(&p, "fine", SWAN_JOB_COMPLETED, NULL, NULL);
    swan_workers_state s;
    swan_workers_look(p.workers, &s, NULL);
    assert_int_equal(s.restarts, 1);
    assert_int_equal(s.failed, 0);
    close_pool(&p);
}

/* What cannot be given a place fails with the reason, and its child stays. */
static void no_place(void **state)
{
    pool p = open_pool(*state, NULL);
    expect(&p, "fine", SWAN_JOB_COMPLETED, NULL, NULL);
    scratch_remove(scratch_path(*state, "work"));
    expect(&p, "fine", SWAN_JOB_FAILED, "storage_failed", "cannot be made");
    assert_int_equal(mkdir(scratch_path(*state, "work"), 0700), 0);
    expect(&p, "fine", SWAN_JOB_COMPLETED, NULL, NULL);
    swan_workers_state s;
    swan_workers_look(p.workers, &s, NULL);
    assert_int_equal(s.restarts, 0);
    close_pool(&p);
}

/* A pool that is closed puts back what it had begun; the child that hangs does not hold it up. */
static void closing(void **state)
{
    char id[SWAN_JOB_ID_MAX];
    swan_job job;
    bool found;
    pool p = open_pool(*state, NULL);
    ask(&p, "hang", id);
    for (int i = 0; i < 1000; i++) {
        swan_workers_state s;
        swan_workers_look(p.workers, &s, NULL);
        if (s.running) break;
        poll(NULL, 0, 2);
    }
    swan_workers_close(p.workers);
    assert_int_equal(swan_jobs_get(p.jobs, id, &job, &found), SWAN_OK);
    assert_int_equal(job.state, SWAN_JOB_QUEUED);
    assert_int_equal(job.attempt, 0);
    swan_job_free(&job);
    swan_events_close(p.events);
    swan_jobs_close(p.jobs);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "worker")) return be_child(argc > 2 ? argv[2] : NULL);
#define SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_open, scratch_close)
    const struct CMUnitTest tests[] = {
        SCRATCH(every_failure), SCRATCH(progress_only_rises), SCRATCH(a_deaf_child), SCRATCH(no_place), SCRATCH(closing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
