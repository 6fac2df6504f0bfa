#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "cli/signals.h"

/* Ctrl-C asks the session to stop; the second one ends the process. */
static swan_session *volatile running;

static void stop(void)
{
    if (running) swan_session_cancel(running);
}

/* Without -o: the prompt's first words, with a number when that name is taken. */
static void default_output(const char *prompt, char *path, size_t n)
{
    char slug[49] = "";
    size_t used = 0;
    for (const char *p = prompt; *p && used + 1 < sizeof slug; p++) {
        if (isalnum((unsigned char)*p)) slug[used++] = (char)tolower((unsigned char)*p);
        else if (used && slug[used - 1] != '-') slug[used++] = '-';
    }
    while (used && slug[used - 1] == '-') used--;
    slug[used] = 0;
    snprintf(path, n, "%s.mp4", used ? slug : "swan");
    for (int i = 2; access(path, F_OK) == 0 && i < 10000; i++) snprintf(path, n, "%s-%d.mp4", used ? slug : "swan", i);
}

static void print_report(const cli_show *show, const char *output, const swan_report *r)
{
    char size[32], memory[32];
    cli_bytes(r->output_bytes, size, sizeof size);
    cli_bytes(r->process_peak_bytes, memory, sizeof memory);
    if (show->json) {
        printf("{\"event\":\"done\",\"output\":");
        cli_json_string(output);
        printf(",\"seed\":%llu,\"width\":%d,\"height\":%d,\"frames\":%d,\"fps\":%d,\"steps\":%d,\"text_s\":%.4f,\"denoise_s\":%.4f,"
               "\"decode_s\":%.4f,\"total_s\":%.4f,\"session_bytes\":%llu,\"process_peak_bytes\":%llu,\"device_bytes\":%llu,\"device_base_bytes\":%llu,"
               "\"device_peak_bytes\":%llu,\"output_bytes\":%llu}\n",
               (unsigned long long)r->seed, r->width, r->height, r->frames, r->fps, r->steps, r->text_s, r->denoise_s, r->decode_s,
               r->total_s, (unsigned long long)r->session_bytes, (unsigned long long)r->process_peak_bytes,
               (unsigned long long)r->device_bytes, (unsigned long long)r->device_base_bytes, (unsigned long long)r->device_peak_bytes,
               (unsigned long long)r->output_bytes);
        return;
    }
    if (show->quiet) return;
    fprintf(stderr, "%s: %dx%d, %d frames at %d fps, %s; seed %llu\n", output, r->width, r->height, r->frames, r->fps, size,
            (unsigned long long)r->seed);
    fprintf(stderr, "%.2f s: text %.2f, denoise %.2f (%d steps), decode %.2f; memory peak %s", r->total_s, r->text_s, r->denoise_s,
            r->steps, r->decode_s, memory);
    if (r->device_peak_bytes) fprintf(stderr, ", on the GPU %s", cli_bytes(r->device_peak_bytes, memory, sizeof memory));
    fprintf(stderr, "\n");
}

static swan_status run(cli_args *args, cli_show *show, swan_report *report)
{
    swan_callbacks callbacks = {.user = show, .progress = cli_show_progress, .log = cli_show_log};
    swan_engine *engine;
    SWAN_TRY(swan_engine_open(args->params, &callbacks, &engine));
    swan_session *session = NULL;
    swan_status status = swan_session_open(engine, args->params, &callbacks, &session);
    if (!status) {
        running = session;
        cli_catch_signals(stop);
        status = swan_session_generate(session, NULL, strtoll(swan_params_get(args->params, "seed"), NULL, 10), report);
        running = NULL;
        swan_session_close(session);
    }
    swan_engine_close(engine);
    return status;
}

int cmd_generate(const cli_command *command, int argc, char **argv)
{
    bool json = false, quiet = false;
    const cli_flag flags[] = {{"--json", NULL, "print events as JSON lines on standard output", &json, NULL},
                              {"--quiet", NULL, "print nothing but errors", &quiet, NULL},
                              {NULL, NULL, NULL, NULL, NULL}};
    cli_args args;
    swan_status status = cli_parse(command, flags, argc, argv, &args);
    if (!status && !args.help && args.positional_count) status = swan_params_set(args.params, "prompt", args.positional[0]);
    if (status || args.help) {
        int code = status ? cli_usage(command, status) : CLI_OK;
        cli_args_free(&args);
        return code;
    }
    char output[512];
    snprintf(output, sizeof output, "%s", swan_params_get(args.params, "output"));
    if (!output[0]) {
        default_output(swan_params_get(args.params, "prompt"), output, sizeof output);
        status = swan_params_set(args.params, "output", output);
    }
    cli_show show;
    cli_show_start(&show, json, quiet);
    swan_report report = {0};
    if (!status) status = run(&args, &show, &report);
    cli_show_end(&show);
    cli_args_free(&args);
    if (!status) print_report(&show, output, &report);
    return cli_fail(status);
}
