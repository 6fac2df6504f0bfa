#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/status.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/show.h"
#include "pipe/output.h"

#define SEED 1024 /* the same noise in every run */
#define TOKENS_MOST 512
#define RANDOM_TOKENS "64" /* of the prompt, when nothing is said: what people write has 20 to 130 */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void describe_device(const char *wanted, bench_result *r)
{
    swan_device_summary d;
    bool any = !wanted || !*wanted || !strcmp(wanted, "auto");
    snprintf(r->device, sizeof r->device, "%s", any ? "cpu" : !strcmp(wanted, "cuda") ? "cuda:0" : wanted);
    /* the engine takes the first GPU that it can */
    for (size_t i = 0; any && swan_device_at(i, &d); i++)
        if (d.usable && strcmp(d.name, "cpu") != 0) {
            snprintf(r->device, sizeof r->device, "%s", d.name);
            break;
        }
    for (size_t i = 0; swan_device_at(i, &d); i++)
        if (!strcmp(d.name, r->device)) snprintf(r->description, sizeof r->description, "%s", d.description);
    r->ceiling = bench_find_ceiling(r->description);
}

static void keep(bench_result *r, int run)
{
    const swan_report *q = &r->report;
    r->stage[BENCH_TEXT].seconds[run] = q->text_s;
    r->stage[BENCH_DENOISE].seconds[run] = q->denoise_s;
    r->stage[BENCH_STEP].seconds[run] = q->denoise_s / q->steps;
    r->stage[BENCH_DECODE].seconds[run] = q->decode_s - q->close_s;
    r->stage[BENCH_CLOSE].seconds[run] = q->close_s;
    r->stage[BENCH_TOTAL].seconds[run] = q->total_s;
}

static void take_costs(bench_result *r)
{
    static const int stage_of[] = {BENCH_TEXT, BENCH_DENOISE, BENCH_DECODE};
    for (int i = 0; i < r->plan.phase_count && i < 3; i++) {
        if (i == 0 && !r->plan.prompt_tokens) continue; /* planned for the longest prompt, not for this one */
        r->stage[stage_of[i]].flops = r->plan.phase[i].flops;
        r->stage[stage_of[i]].bytes = r->plan.phase[i].bytes;
    }
    r->stage[BENCH_STEP].flops = r->stage[BENCH_DENOISE].flops / r->plan.steps;
    r->stage[BENCH_STEP].bytes = r->stage[BENCH_DENOISE].bytes / r->plan.steps;
}

/* Behind the runs: no part of what is timed. */
static swan_status examine_file(swan_session *session, bench_file *file)
{
    static swan_output_facts facts;
    SWAN_TRY(swan_output_examine(session, &facts));
    *file = (bench_file){.encoder = facts.encoder, .preset = facts.preset, .quality = facts.quality, .y_psnr = facts.y_psnr, .no_psnr = facts.no_psnr};
    return SWAN_OK;
}

static swan_status measure(cli_args *args, bench_result *r)
{
    swan_engine *engine;
    double at = now_s();
    SWAN_TRY(swan_engine_open(args->params, NULL, &engine));
    r->open_s = now_s() - at;
    swan_session *session = NULL;
    swan_status status = swan_engine_plan(engine, args->params, &r->plan);
    at = now_s();
    if (!status) status = swan_session_open(engine, args->params, NULL, &session);
    r->session_s = now_s() - at;
    for (int i = 0; i < r->runs && !status; i++) {
        status = swan_session_generate(session, NULL, SEED, &r->report);
        if (!status) keep(r, i);
    }
    if (!status) take_costs(r);
    if (!status && r->report.output_bytes) status = examine_file(session, &r->file);
    swan_session_close(session);
    swan_engine_close(engine);
    return status;
}

static swan_status read_number(const char *flag, const char *text, int most, int *out)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (!*text || *end || n < 1 || n > most) return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted 1 to %d, found \"%s\"", flag, most, text);
    *out = (int)n;
    return SWAN_OK;
}

/* A prompt of n tokens, where a word is one: n - 1 words and the end. */
static swan_status set_words(swan_params *params, int n)
{
    char text[TOKENS_MOST * 4 + 1];
    size_t used = 0;
    for (int i = 1; i < n; i++) used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 1 ? " " : "", i % 2 ? "fox" : "sea");
    text[used] = 0;
    return swan_params_set(params, "prompt", text);
}

static swan_status read_flags(cli_args *args, const char *runs, const char *tokens, bench_result *r)
{
    bool made_up = !strcmp(swan_params_get(args->params, "weights"), "random");
    int n = 0;
    SWAN_TRY(read_number("--runs", runs, BENCH_RUNS_MOST, &r->runs));
    if (args->positional_count) SWAN_TRY(swan_params_set(args->params, "prompt", args->positional[0]));
    bool prompted = *swan_params_get(args->params, "prompt") != 0;
    if (tokens && prompted) return SWAN_FAIL(SWAN_E_INVALID, "--tokens makes a prompt; there is one already");
    if (!tokens && made_up && !prompted) tokens = RANDOM_TOKENS;
    if (!tokens) return SWAN_OK;
    SWAN_TRY(read_number("--tokens", tokens, TOKENS_MOST, &n));
    return set_words(args->params, n);
}

static void name_run(cli_args *args, bench_result *r)
{
    static const char *const names[][2] = {[BENCH_TEXT] = {"text", "text"},       [BENCH_DENOISE] = {"denoise", "denoise"},
                                           [BENCH_STEP] = {"step", "  a step"},   [BENCH_DECODE] = {"decode", "decode"},
                                           [BENCH_CLOSE] = {"close", "encode+close"}, [BENCH_TOTAL] = {"total", "total"}};
    const char *model = swan_params_get(args->params, "model");
    r->model = *model ? model : "tinyworld";
    r->weights = !strcmp(swan_params_get(args->params, "weights"), "random") ? "random" : "files";
    for (int i = 0; i < BENCH_STAGES; i++) {
        r->stage[i].name = names[i][0];
        r->stage[i].title = names[i][1];
    }
    describe_device(swan_params_get(args->params, "device"), r);
}

int cmd_bench(const cli_command *command, int argc, char **argv)
{
    bool json = false;
    const char *runs = "4", *tokens = NULL;
    const cli_flag flags[] = {{"--runs", "N", "runs in all, the cold one included [4]", NULL, &runs},
                              {"--tokens", "N", "a prompt of about N tokens [random weights: " RANDOM_TOKENS "]", NULL, &tokens},
                              {"--json", NULL, "print JSON", &json, NULL},
                              {NULL, NULL, NULL, NULL, NULL}};
    cli_args args;
    static bench_result result; /* too large for a stack */
    swan_status status = cli_parse(command, flags, argc, argv, &args);
    if (!status && !args.help) status = read_flags(&args, runs, tokens, &result);
    if (status || args.help) {
        int code = status ? cli_usage(command, status) : CLI_OK;
        cli_args_free(&args);
        return code;
    }
    name_run(&args, &result);
    status = measure(&args, &result);
    if (!status) json ? bench_print_json(&result) : bench_print_text(&result);
    cli_args_free(&args);
    return cli_fail(status);
}
