#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/show.h"

#define MAX_RUNS 100

/* One timed quantity over the runs. */
typedef struct series {
    const char *name;
    double value[MAX_RUNS];
    double flops; /* of the phase, 0: not known */
} series;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_series(const series *s, int runs, bool json, bool last)
{
    double warm[MAX_RUNS], cold = s->value[0];
    int n = runs > 1 ? runs - 1 : 1;
    memcpy(warm, s->value + (runs > 1), (size_t)n * sizeof *warm);
    qsort(warm, (size_t)n, sizeof *warm, by_value);
    double median = n % 2 ? warm[n / 2] : (warm[n / 2 - 1] + warm[n / 2]) / 2;
    double gflops = s->flops > 0 && median > 0 ? s->flops / median / 1e9 : 0;
    if (json)
        printf("\"%s\":{\"cold_s\":%.6f,\"median_s\":%.6f,\"min_s\":%.6f,\"max_s\":%.6f,\"gflops\":%.3f}%s", s->name, cold, median, warm[0],
               warm[n - 1], gflops, last ? "" : ",");
    else {
        printf("%-8s %10.4f %10.4f %10.4f %10.4f", s->name, cold, median, warm[0], warm[n - 1]);
        if (gflops > 0) printf(" %12.1f", gflops);
        printf("\n");
    }
}

static swan_status measure(cli_args *args, int runs, series *out, swan_plan *plan, swan_report *report)
{
    swan_engine *engine;
    SWAN_TRY(swan_engine_open(args->params, NULL, &engine));
    swan_session *session = NULL;
    swan_status status = swan_engine_plan(engine, args->params, plan);
    if (!status) status = swan_session_open(engine, args->params, NULL, &session);
    for (int i = 0; i < runs && !status; i++) {
        status = swan_session_generate(session, NULL, 1024, report);
        out[0].value[i] = report->text_s;
        out[1].value[i] = report->denoise_s;
        out[2].value[i] = report->decode_s;
        out[3].value[i] = report->total_s;
    }
    for (int i = 0; i < 3 && !status; i++) out[i].flops = plan->phase[i].flops;
    swan_session_close(session);
    swan_engine_close(engine);
    return status;
}

int cmd_bench(const cli_command *command, int argc, char **argv)
{
    bool json = false;
    const char *runs_text = "4";
    const cli_flag flags[] = {{"--runs", "N", "runs in all, the cold one included [4]", NULL, &runs_text},
                              {"--json", NULL, "print JSON", &json, NULL},
                              {NULL, NULL, NULL, NULL, NULL}};
    cli_args args;
    swan_status status = cli_parse(command, flags, argc, argv, &args);
    char *end;
    long runs = strtol(runs_text, &end, 10);
    if (!status && (*end || runs < 1 || runs > MAX_RUNS))
        status = SWAN_FAIL(SWAN_E_INVALID, "--runs: wanted 1 to %d, found \"%s\"", MAX_RUNS, runs_text);
    if (!status && args.positional_count) status = swan_params_set(args.params, "prompt", args.positional[0]);
    if (status || args.help) {
        int code = status ? cli_usage(command, status) : CLI_OK;
        cli_args_free(&args);
        return code;
    }
    series phases[4] = {{.name = "text"}, {.name = "denoise"}, {.name = "decode"}, {.name = "total"}};
    swan_plan plan;
    swan_report report;
    status = measure(&args, (int)runs, phases, &plan, &report);
    cli_args_free(&args);
    if (status) return cli_fail(status);
    char memory[32];
    cli_bytes(report.process_peak_bytes, memory, sizeof memory);
    if (json) printf("{\"width\":%d,\"height\":%d,\"frames\":%d,\"steps\":%d,\"runs\":%ld,\"process_peak_bytes\":%llu,", report.width,
                     report.height, report.frames, report.steps, runs, (unsigned long long)report.process_peak_bytes);
    else printf("%dx%d, %d frames, %d steps, %ld runs; memory peak %s\n\n%-8s %10s %10s %10s %10s %12s\n", report.width, report.height,
                report.frames, report.steps, runs, memory, "seconds", "cold", "median", "min", "max", "GFLOP/s");
    for (int i = 0; i < 4; i++) print_series(&phases[i], (int)runs, json, i == 3);
    if (json) printf("}\n");
    return CLI_OK;
}
