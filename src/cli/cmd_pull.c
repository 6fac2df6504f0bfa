#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "cli/signals.h"
#include "hub/hub.h"

/* Ctrl-C asks the transfers to stop; the second one ends the process, which loses nothing either. */
static atomic_bool cancelled;

static void stop(void) { atomic_store(&cancelled, true); }

/* ---- what is shown ---- */

typedef struct pull_show {
    bool json, quiet, tty, line_open;
    double said_at; /* off a terminal: the last progress line */
} pull_show;

static void end_line(pull_show *show)
{
    if (show->line_open) fputc('\n', stderr);
    show->line_open = false;
}

static void print_time(double seconds, char *buf, size_t n)
{
    long s = (long)(seconds + 0.5);
    if (seconds < 0 || seconds > 360000) snprintf(buf, n, "?");
    else if (s < 60) snprintf(buf, n, "%ld s", s);
    else if (s < 3600) snprintf(buf, n, "%ld min %02ld s", s / 60, s % 60);
    else snprintf(buf, n, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

static void draw(pull_show *show, const swan_hub_event *e)
{
    enum { WIDTH = 24, EVERY_S = 15 };
    char bar[WIDTH + 1], done[32], all[32], speed[32], left[32];
    double share = e->bytes ? (double)e->done / (double)e->bytes : 0;
    if (!show->tty && e->elapsed_s - show->said_at < EVERY_S) return;
    show->said_at = e->elapsed_s;
    cli_bytes(e->done, done, sizeof done);
    cli_bytes(e->bytes, all, sizeof all);
    cli_bytes((uint64_t)e->bytes_per_s, speed, sizeof speed);
    print_time(e->remaining_s, left, sizeof left);
    if (!show->tty) {
        fprintf(stderr, "%3.0f%%  %s of %s  %s/s  %s left\n", 100 * share, done, all, speed, left);
        return;
    }
    int full = (int)(share * WIDTH);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '=' : i == full ? '>' : ' ';
    bar[WIDTH] = 0;
    fprintf(stderr, "\r\033[K[%s] %3.0f%%  %s of %s  %s/s  %s left", bar, 100 * share, done, all, speed, left);
    fflush(stderr);
    show->line_open = true;
}

static void print_json(const swan_hub_event *e)
{
    static const char *const names[] = {"start", "progress", "file", "retry"};
    printf("{\"event\":\"%s\",\"repository\":\"%s\",\"revision\":\"%s\",\"files\":%d,\"files_done\":%d,\"bytes\":%llu,\"done_bytes\":%llu,"
           "\"received_bytes\":%llu,\"elapsed_s\":%.3f,\"bytes_per_s\":%.0f", names[e->kind], e->repository, e->revision, e->files,
           e->files_done, (unsigned long long)e->bytes, (unsigned long long)e->done, (unsigned long long)e->received, e->elapsed_s,
           e->bytes_per_s);
    if (e->remaining_s >= 0) printf(",\"remaining_s\":%.1f", e->remaining_s);
    if (e->kind == SWAN_HUB_RETRY) printf(",\"wait_s\":%.2f", e->wait_s);
    if (e->text) {
        printf(",\"text\":");
        cli_json_string(e->text);
    }
    printf("}\n");
    fflush(stdout);
}

static void on_event(void *user, const swan_hub_event *e)
{
    pull_show *show = user;
    char bytes[32], here[32];
    if (show->json) {
        print_json(e);
        return;
    }
    if (show->quiet) return;
    switch (e->kind) {
    case SWAN_HUB_START:
        cli_bytes(e->bytes, bytes, sizeof bytes);
        cli_bytes(e->done, here, sizeof here);
        fprintf(stderr, "%s at commit %.12s: %d files, %s", e->repository, e->revision, e->files, bytes);
        fprintf(stderr, e->done ? ", %s of them here already\n" : "\n", here);
        break;
    case SWAN_HUB_PROGRESS: draw(show, e); break;
    case SWAN_HUB_FILE:
        if (!show->tty) fprintf(stderr, "%s: complete and verified (%d of %d)\n", e->text, e->files_done, e->files);
        break;
    case SWAN_HUB_RETRY:
        end_line(show);
        fprintf(stderr, "note: %s; again in %.2g s\n", e->text, e->wait_s);
        break;
    }
}

/* ---- the command ---- */

static swan_status read_number(const char *flag, const char *text, double *value)
{
    if (!text) return SWAN_OK;
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= 0 && v <= 1e6)) return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted a number, found \"%s\"", flag, text);
    *value = v;
    return SWAN_OK;
}

/* A name that is nearly one of the published ones. */
static const char *guess(const char *name)
{
    cli_guess near = {0};
    const swan_published *p;
    for (size_t i = 0; (p = swan_cache_published(i)) != NULL; i++) {
        cli_nearest(name, strlen(name), p->alias, &near);
        cli_nearest(name, strlen(name), swan_path_name(p->repository), &near);
    }
    return near.name;
}

static void print_done(const pull_show *show, const swan_hub_model *m, bool already)
{
    char bytes[32];
    const swan_published *known = swan_cache_find_published(m->repository);
    if (show->json) {
        printf("{\"event\":\"done\",\"repository\":\"%s\",\"revision\":\"%s\",\"bytes\":%llu,\"already\":%s,\"directory\":", m->repository,
               m->revision, (unsigned long long)m->bytes, already ? "true" : "false");
        cli_json_string(m->directory);
        printf("}\n");
    } else if (!show->quiet) {
        fprintf(stderr, "%s %s: %s, commit %.12s\n%s\nuse it: swan generate \"a prompt\" -m %s\n", m->repository,
                already ? "is there already" : "is complete", cli_bytes(m->bytes, bytes, sizeof bytes), m->revision, m->directory,
                known ? known->alias : m->repository);
    }
}

static int run(swan_hub_options *options, pull_show *show)
{
    swan_hub_callbacks callbacks = {show, on_event};
    swan_hub_model model, partial;
    bool already;
    cli_catch_signals(stop);
    swan_status s = swan_hub_pull(options, &callbacks, &model, &already);
    end_line(show);
    if (!s) {
        print_done(show, &model, already);
        return CLI_OK;
    }
    int code = cli_fail(s);
    if (swan_hub_find(options->name, &partial) == SWAN_OK && !partial.complete && partial.bytes && !show->quiet) {
        char bytes[32];
        fprintf(stderr, "%s have arrived and are kept; the same command goes on from there: swan pull %s\n",
                cli_bytes(partial.bytes, bytes, sizeof bytes), options->name);
    }
    return code;
}

int cmd_pull(const cli_command *command, int argc, char **argv)
{
    bool json = false, quiet = false, update = false;
    const char *revision = NULL, *taehv = NULL, *jobs_text = NULL, *retries_text = NULL, *timeout_text = NULL;
    const cli_flag flags[] = {
        {"--revision", "REV", "branch, tag or commit [main]", NULL, &revision},
        {"--update", NULL, "look for a newer commit although the model is there, and replace it", &update, NULL},
        {"--taehv", "FILE|none", "a decoder file to copy instead of downloading it; none: without", NULL, &taehv},
        {"--jobs", "N", "files at a time [4]", NULL, &jobs_text},
        {"--retries", "N", "failures in a row without a new byte before giving up [6]", NULL, &retries_text},
        {"--timeout", "SECONDS", "a connection that brings nothing for so long has failed [30]", NULL, &timeout_text},
        {"--json", NULL, "print events as JSON lines on standard output", &json, NULL},
        {"--quiet", NULL, "print nothing but errors", &quiet, NULL},
        {NULL, NULL, NULL, NULL, NULL}};
    cli_args args;
    double jobs = 4, retries = 6, timeout = 30;
    swan_status s = cli_parse(command, flags, argc, argv, &args);
    if (!s && !args.help && !args.positional_count) s = SWAN_FAIL(SWAN_E_INVALID, "which model? `swan models` lists names");
    if (!s) s = read_number("--jobs", jobs_text, &jobs);
    if (!s) s = read_number("--retries", retries_text, &retries);
    if (!s) s = read_number("--timeout", timeout_text, &timeout);
    const char *name = args.positional_count ? args.positional[0] : "";
    if (!s && !args.help && !swan_cache_find_published(name) && !swan_cache_is_repository(name)) {
        const char *near = guess(name);
        s = SWAN_FAIL(SWAN_E_INVALID, "\"%.100s\": wanted OWNER/NAME, or a name that `swan models` lists%s%s%s", name,
                      near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (s || args.help) {
        int code = s ? cli_usage(command, s) : CLI_OK;
        cli_args_free(&args);
        return code;
    }
    swan_hub_options options = {.name = name, .revision = revision, .taehv = taehv, .jobs = (int)jobs, .retries = (int)retries,
                                .silence_s = timeout, .update = update, .cancel = &cancelled};
    pull_show show = {.json = json, .quiet = quiet, .tty = isatty(STDERR_FILENO)};
    int code = run(&options, &show);
    cli_args_free(&args);
    return code;
}
