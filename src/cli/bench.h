/* What `swan bench` measured, and how it is shown. */
#ifndef SWAN_CLI_BENCH_H
#define SWAN_CLI_BENCH_H

#include <swan/swan.h>

#define BENCH_RUNS_MOST 100

/* One timed quantity over the runs. */
typedef struct bench_series {
    const char *name;               /* key in JSON */
    const char *title;              /* for people */
    double seconds[BENCH_RUNS_MOST]; /* the first one is cold */
    double flops, bytes;            /* of one run, from DRY; 0: not known */
} bench_series;

enum { BENCH_TEXT, BENCH_DENOISE, BENCH_STEP, BENCH_DECODE, BENCH_CLOSE, BENCH_TOTAL, BENCH_STAGES };

/* What a device reaches at best, as measured on one. */
typedef struct bench_ceiling {
    const char *device;  /* begins the device's description */
    double flops, bytes; /* a second; flops in bf16 */
} bench_ceiling;

/* The video that was written. */
typedef struct bench_file {
    const char *encoder, *preset; /* preset: "" where the encoder has none */
    int quality;
    double y_psnr;                /* dB; 0: not known, because: */
    const char *no_psnr;
} bench_file;

typedef struct bench_result {
    const char *model, *weights;
    char device[16], description[120];
    const bench_ceiling *ceiling; /* NULL: none known */
    int runs;
    double open_s, session_s; /* loading the model; planning and reserving */
    swan_plan plan;
    swan_report report;       /* of the last run */
    bench_file file;          /* that it wrote, if it did */
    bench_series stage[BENCH_STAGES];
} bench_result;

/* The ceiling of a device by its description; NULL when nobody measured one. */
const bench_ceiling *bench_find_ceiling(const char *description);
void bench_print_text(const bench_result *r);
void bench_print_json(const bench_result *r);

#endif
