#include "cli/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/show.h"

/* ---- ceilings ---- */

/* flops: the best of cuBLASLt's bf16 products at the 1.3B's shapes (M = 32,768; on the H100 4608 x 1536). bytes: read plus written by a
 * copy. Medians of one device of each kind, CUDA 13.0; bench/README.md says how to measure them again. */
static const bench_ceiling ceilings[] = {
    {"NVIDIA H100 80GB HBM3", 775e12, 2.93e12},
    {"NVIDIA H200", 783e12, 4.3e12},
};

const bench_ceiling *bench_find_ceiling(const char *description)
{
    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++)
        if (!strncmp(description, ceilings[i].device, strlen(ceilings[i].device))) return &ceilings[i];
    return NULL;
}

/* ---- numbers ---- */

typedef struct summary {
    double cold, median, min, max;
    double flops, bytes; /* a second, at the median; 0: not known */
} summary;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the warm runs; of the cold one when it is alone. */
static summary summarise(const bench_series *s, int runs)
{
    double warm[BENCH_RUNS_MOST];
    int n = runs > 1 ? runs - 1 : 1;
    memcpy(warm, s->seconds + (runs > 1), (size_t)n * sizeof *warm);
    qsort(warm, (size_t)n, sizeof *warm, by_value);
    summary out = {.cold = s->seconds[0], .min = warm[0], .max = warm[n - 1]};
    out.median = n % 2 ? warm[n / 2] : (warm[n / 2 - 1] + warm[n / 2]) / 2;
    if (out.median > 0) {
        out.flops = s->flops / out.median;
        out.bytes = s->bytes / out.median;
    }
    return out;
}

static bool has_output(const bench_result *r) { return r->report.output_bytes > 0; }

/* ---- for people ---- */

static void print_rate(double rate, double unit, double ceiling)
{
    if (rate <= 0) {
        printf(" %9s %6s", "", "");
        return;
    }
    printf(" %9.3g", rate / unit);
    if (ceiling > 0) printf(" %5.1f%%", 100 * rate / ceiling);
    else printf(" %6s", "");
}

static void print_memory(const char *what, uint64_t bytes)
{
    char text[32];
    printf("  %-34s %12s\n", what, cli_bytes(bytes, text, sizeof text));
}

static void print_file(const bench_result *r)
{
    const bench_file *f = &r->file;
    print_memory("file", r->report.output_bytes);
    printf("  %-34s %12s", "  encoder", f->encoder);
    if (*f->preset) printf(", preset %s", f->preset);
    printf(", quality %d\n", f->quality);
    if (f->y_psnr > 0) printf("  %-34s %9.2f dB\n", "  Y-PSNR", f->y_psnr);
    else printf("  %-34s %12s: %s\n", "  Y-PSNR", "not known", f->no_psnr);
}

void bench_print_text(const bench_result *r)
{
    const swan_plan *p = &r->plan;
    const bench_ceiling *c = r->ceiling;
    printf("%s%s on %s (%s)\n", r->model, strcmp(r->weights, "random") ? "" : " with random weights", r->device, r->description);
    printf("%dx%d, %d frames, %d steps, %d tokens", p->width, p->height, p->frames, p->steps, p->tokens);
    if (p->prompt_tokens) printf(", a prompt of %d", p->prompt_tokens);
    printf("; %d runs, the first one cold; opened in %.2f s, planned in %.2f s\n\n", r->runs, r->open_s, r->session_s);
    printf("%-14s %10s %10s %10s %10s %9s %6s %9s %6s\n", "milliseconds", "cold", "median", "min", "max", "TFLOP/s", c ? "of" : "", "TB/s",
           c ? "of" : "");
    if (c) printf("%-14s %10s %10s %10s %10s %9s %6.0f %9s %6.2f\n", "", "", "", "", "", "", c->flops / 1e12, "", c->bytes / 1e12);
    for (int i = 0; i < BENCH_STAGES; i++) {
        if (i == BENCH_CLOSE && !has_output(r)) continue;
        summary s = summarise(&r->stage[i], r->runs);
        printf("%-14s %10.2f %10.2f %10.2f %10.2f", r->stage[i].title, 1e3 * s.cold, 1e3 * s.median, 1e3 * s.min, 1e3 * s.max);
        print_rate(s.flops, 1e12, c ? c->flops : 0);
        print_rate(s.bytes, 1e12, c ? c->bytes : 0);
        printf("\n");
    }
    printf("\n");
    if (has_output(r)) print_file(r);
    print_memory("host memory, peak of the process", r->report.process_peak_bytes);
    if (!r->report.device_peak_bytes) return;
    uint64_t known = r->report.device_base_bytes + r->report.device_bytes, peak = r->report.device_peak_bytes;
    print_memory("device memory, peak", peak);
    print_memory("  planned", p->device_peak_bytes);
    print_memory("  weights and session", r->report.device_bytes);
    print_memory("  context, libraries, others", r->report.device_base_bytes);
    print_memory("  code, graphs, rounding", peak > known ? peak - known : 0);
    cli_show_residency(p);
}

/* ---- for programs ---- */

static void print_series(const bench_result *r, int i)
{
    summary s = summarise(&r->stage[i], r->runs);
    printf(",\"%s\":{\"cold_s\":%.6f,\"median_s\":%.6f,\"min_s\":%.6f,\"max_s\":%.6f,\"gflops\":%.3f,\"gbytes\":%.3f", r->stage[i].name, s.cold,
           s.median, s.min, s.max, s.flops / 1e9, s.bytes / 1e9);
    if (r->ceiling) printf(",\"flops_share\":%.4f,\"bytes_share\":%.4f", s.flops / r->ceiling->flops, s.bytes / r->ceiling->bytes);
    printf(",\"runs_s\":[");
    for (int k = 0; k < r->runs; k++) printf("%s%.6f", k ? "," : "", r->stage[i].seconds[k]);
    printf("]}");
}

void bench_print_json(const bench_result *r)
{
    const swan_plan *p = &r->plan;
    const swan_report *q = &r->report;
    printf("{\"model\":");
    cli_json_string(r->model);
    printf(",\"weights\":\"%s\",\"device\":\"%s\",\"device_name\":", r->weights, r->device);
    cli_json_string(r->description);
    printf(",\"width\":%d,\"height\":%d,\"frames\":%d,\"steps\":%d,\"tokens\":%d,\"prompt_tokens\":%d,\"runs\":%d,\"open_s\":%.6f,\"session_s\":%.6f",
           p->width, p->height, p->frames, p->steps, p->tokens, p->prompt_tokens, r->runs, r->open_s, r->session_s);
    printf(",\"process_peak_bytes\":%llu,\"device_peak_bytes\":%llu,\"device_planned_bytes\":%llu,\"device_bytes\":%llu,\"device_base_bytes\":%llu,"
           "\"output_bytes\":%llu", (unsigned long long)q->process_peak_bytes, (unsigned long long)q->device_peak_bytes,
           (unsigned long long)p->device_peak_bytes, (unsigned long long)q->device_bytes, (unsigned long long)q->device_base_bytes,
           (unsigned long long)q->output_bytes);
    putchar(',');
    cli_json_residency(p);
    if (has_output(r)) {
        printf(",\"encoder\":\"%s\",\"preset\":\"%s\",\"quality\":%d,\"y_psnr_db\":", r->file.encoder, r->file.preset, r->file.quality);
        r->file.y_psnr > 0 ? printf("%.3f", r->file.y_psnr) : printf("null");
    }
    for (int i = 0; i < BENCH_STAGES; i++) print_series(r, i);
    printf("}\n");
}
