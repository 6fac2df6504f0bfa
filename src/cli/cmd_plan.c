#include <stdio.h>

#include "base/status.h"
#include "cli/commands.h"
#include "cli/show.h"

static void print_text(const swan_plan *p)
{
    char a[32], b[32], c[32];
    printf("%dx%d, %d frames at %d fps, %d steps, %d tokens", p->width, p->height, p->frames, p->fps, p->steps, p->tokens);
    if (p->prompt_tokens) printf(", a prompt of %d", p->prompt_tokens);
    printf("\n\n");
    printf("%-10s %12s %12s %10s %12s %14s\n", "phase", "weights", "activations", "calls", "TFLOP", "GB moved");
    for (int i = 0; i < p->phase_count; i++) {
        const swan_plan_phase *f = &p->phase[i];
        printf("%-10s %12s %12s %10llu %12.4g %14.4g\n", f->name, cli_bytes(f->weight_bytes, a, sizeof a),
               cli_bytes(f->activation_bytes, b, sizeof b), (unsigned long long)f->launches, f->flops / 1e12, f->bytes / 1e9);
    }
    printf("\nmapped weights  %12s\nconverted       %12s\nsession         %12s\n", cli_bytes(p->mapped_bytes, a, sizeof a),
           cli_bytes(p->arena_bytes, b, sizeof b), cli_bytes(p->session_bytes, c, sizeof c));
    printf("process peak    %12s (expected)\n", cli_bytes(p->peak_bytes, a, sizeof a));
    if (!p->device_bytes) return;
    printf("\non the GPU      %12s of these: weights and session\nin use before   %12s (CUDA's context, libraries, other processes)\n",
           cli_bytes(p->device_bytes, a, sizeof a), cli_bytes(p->device_base_bytes, b, sizeof b));
    printf("device peak     %12s (expected)\n", cli_bytes(p->device_peak_bytes, a, sizeof a));
    cli_show_residency(p);
}

static void print_json(const swan_plan *p)
{
    printf("{\"width\":%d,\"height\":%d,\"frames\":%d,\"fps\":%d,\"steps\":%d,\"tokens\":%d,\"prompt_tokens\":%d,\"mapped_bytes\":%llu,\"arena_bytes\":%llu,"
           "\"session_bytes\":%llu,\"state_bytes\":%llu,\"staging_bytes\":%llu,\"peak_bytes\":%llu,"
           "\"device_bytes\":%llu,\"device_base_bytes\":%llu,\"device_peak_bytes\":%llu,", p->width, p->height, p->frames, p->fps, p->steps,
           p->tokens, p->prompt_tokens, (unsigned long long)p->mapped_bytes, (unsigned long long)p->arena_bytes, (unsigned long long)p->session_bytes,
           (unsigned long long)p->state_bytes, (unsigned long long)p->staging_bytes,
           (unsigned long long)p->peak_bytes, (unsigned long long)p->device_bytes, (unsigned long long)p->device_base_bytes,
           (unsigned long long)p->device_peak_bytes);
    cli_json_residency(p);
    printf(",\"phases\":[");
    for (int i = 0; i < p->phase_count; i++) {
        const swan_plan_phase *f = &p->phase[i];
        printf("%s{\"name\":\"%s\",\"weight_bytes\":%llu,\"activation_bytes\":%llu,\"launches\":%llu,\"flops\":%.6g,\"bytes\":%.6g}", i ? "," : "",
               f->name, (unsigned long long)f->weight_bytes, (unsigned long long)f->activation_bytes, (unsigned long long)f->launches,
               f->flops, f->bytes);
    }
    printf("]}\n");
}

int cmd_plan(const cli_command *command, int argc, char **argv)
{
    bool json = false;
    const cli_flag flags[] = {{"--json", NULL, "print JSON", &json, NULL}, {NULL, NULL, NULL, NULL, NULL}};
    cli_args args;
    swan_status status = cli_parse(command, flags, argc, argv, &args);
    if (!status && args.positional_count) status = swan_params_set(args.params, "prompt", args.positional[0]);
    if (status || args.help) {
        int code = status ? cli_usage(command, status) : CLI_OK;
        cli_args_free(&args);
        return code;
    }
    cli_show show;
    cli_show_start(&show, false, json);
    swan_callbacks callbacks = {.user = &show, .log = cli_show_log};
    swan_plan plan;
    status = swan_plan_model(args.params, &callbacks, &plan);
    cli_args_free(&args);
    if (!status) json ? print_json(&plan) : print_text(&plan);
    return cli_fail(status);
}
