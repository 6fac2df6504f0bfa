/* checkkernel: every row of kernels.def against fp64.
 *
 * A slot's test builds cases: check_begin, buffers, fills, expected values from its own fp64 loops, check_run. check_run calls
 * the row three times (several threads, the same again, one thread) and checks: status, bitwise equal outputs, canaries around
 * every buffer and in row padding, inputs untouched, a workspace of exactly the bytes asked for, and the tolerance:
 *
 *   |y - want| <= 2 max(twin error, 2^-24) magnitude + 1 ulp of the output,        and the same for the root mean square
 *
 * where the twin computes in plain sequential fp32 on the same operands, and errors are relative to the element's magnitude, the
 * sum of the absolute values that were added up. 2^-24 is one fp32 rounding at that magnitude: without it a twin that is exact
 * by luck (few elements) would forbid any other order of summation. Results below the normal range may be flushed.
 * With --bench the same call is timed instead.
 *
 * A test builds its case on the host. check_run copies every buffer to the row's device, the host or a GPU, calls the row with
 * the same arguments there, and copies everything back, canaries included. */
#ifndef SWAN_TESTS_CHECKKERNEL_CHECK_H
#define SWAN_TESTS_CHECKKERNEL_CHECK_H

#include "kernel/device.h"

typedef enum check_kind { CHECK_IN, CHECK_OUT, CHECK_INOUT } check_kind;

/* A matrix [rows, width] with row stride ld, between canaries. Floats have a shadow: f[row * width + col], exactly what is
 * stored (of an OUT or INOUT buffer: before the run). */
typedef struct check_buf {
    swan_dtype dtype;
    check_kind kind;
    int64_t rows, width, ld;
    size_t bytes;   /* of rows * ld elements */
    size_t total;   /* of block */
    uint8_t *block; /* canary, bytes, canary */
    void *data;     /* in block */
    void *there;    /* the block on the device */
    float *f;
    uint8_t *before; /* the contents before a run */
    uint8_t *first;  /* the contents after the first run */
} check_buf;

typedef enum check_fill {
    CHECK_RANDOM,   /* about normal, deviation = magnitude */
    CHECK_OUTLIER,  /* random, some columns x100 */
    CHECK_OFFSET,   /* 100 * magnitude + random: mean far above deviation */
    CHECK_EQUAL,    /* every element = magnitude */
    CHECK_ZERO,
    CHECK_LARGE,    /* +-magnitude * 1e6 */
    CHECK_DENORMAL, /* fp32 subnormals */
    CHECK_FILLS
} check_fill;

/* One line of bench/shapes: "linear M=1260 N=256 K=256". */
#define CHECK_KEYS 12
typedef struct check_line {
    char slot[32];
    char key[CHECK_KEYS][16];
    int64_t value[CHECK_KEYS];
    int keys;
} check_line;

#define CHECK_BUFS 24
#define CHECK_LINES 256
typedef struct check_expected check_expected;
typedef struct check {
    const swan_kernel_row *row;
    uint64_t seed;
    bool bench, quiet, first_only; /* first_only: no more cases after a failure */
    int threads, gpu; /* gpu: the number of the one that rows for GPUs run on */
    int most;         /* 0, or no more cases than this */
    const check_line *lines;
    int line_count;

    /* of the row */
    int cases, failures;
    bool cancel_tested;
    char name[256]; /* of the present case */
    char *progress; /* NULL, or where the name is copied to, 256 bytes */

    /* of the case */
    uint64_t rng;
    swan_pool *many, *one;
    swan_device device;
    swan_stream stream; /* on it */
    check_buf bufs[CHECK_BUFS];
    int buf_count;
    check_expected *expected;
    size_t expected_count, expected_size;
    double flops, bytes;
} check;

typedef void check_test(check *c);
/* The test of a slot, one file a family; the table of them is in run.c. */
check_test check_linear, check_linear_gelu_mul, check_norm_layer, check_norm_rms, check_attn_dense, check_attn_block_sparse, check_vsa_pool,
    check_vsa_coarse, check_vsa_combine, check_embed_rows, check_embed_timestep, check_embed_patchify,
    check_embed_unpatchify, check_elem_combine, check_elem_map, check_conv_conv3x3, check_conv_up2x2, check_image_from_latent,
    check_image_to_rgb8, check_image_to_i420;

/* ---- random choices: functions of the seed, the row's slot and the number of the case ------------------------------------ */
uint64_t check_random(check *c);
int64_t check_between(check *c, int64_t low, int64_t high); /* inclusive */
double check_uniform(check *c);                             /* [0, 1) */
double check_normal(check *c);
/* Sizes around the tiles that kernels use: 1, 7, 8, 9, 15, …, 129. */
#define CHECK_SIZES 24
extern const int64_t check_sizes[CHECK_SIZES];

/* ---- a case -------------------------------------------------------------------------------------------------------------- */
/* Begins a case, with a name; false: this case is not wanted (a failure was found already). */
bool check_begin(check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A buffer; pad elements stand between rows. Elements begin one element off alignment in every other case. */
check_buf *check_new(check *c, check_kind kind, swan_dtype dtype, int64_t rows, int64_t width, int64_t pad);
void check_set(check_buf *b, int64_t row, int64_t col, double value); /* rounds to the buffer's type */
void check_put(check *c, check_buf *b, check_fill fill, double magnitude);
/* new and put in one, in a float type */
check_buf *check_input(check *c, swan_dtype dtype, int64_t rows, int64_t width, int64_t pad, check_fill fill, double magnitude);
/* f32 vector of random values */
check_buf *check_vector(check *c, int64_t n, double magnitude);
int32_t *check_ints(check_buf *b);
const char *check_fill_name(check_fill fill);

/* Is unit i of count to be compared, when `budget` units may be? The ends and a random part are; never while benchmarking. */
bool check_wants(check *c, int64_t i, int64_t count, int64_t budget);
/* What element [row, col] of an OUT or INOUT buffer must be; magnitude and twin as above. */
void check_value(check *c, check_buf *b, int64_t row, int64_t col, double want, double twin, double magnitude);
/* The same with a fixed bound (0: equal; a NaN equals a NaN). */
void check_within(check *c, check_buf *b, int64_t row, int64_t col, double want, double bound);
/* Unit in the last place of a type at a value. */
double check_ulp(swan_dtype dtype, double value);
/* An element of a buffer as it stands now. */
double check_now(const check_buf *b, int64_t row, int64_t col);

/* Bytes of one activation of the row. */
double check_size(const check *c);
/* Operations and bytes of one call, for --bench. */
void check_work(check *c, double flops, double bytes);
/* Runs, and checks or times. workspace: the field of args, NULL when the slot has none. Buffers live until the next begin.
 * False when something failed. */
bool check_run(check *c, void *args, void **workspace);
/* The workspace that the row asks for with several threads. */
size_t check_workspace(check *c, const void *args);
void check_fail(check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- shapes of bench/shapes ---------------------------------------------------------------------------------------------- */
/* The next line for slot after *at (start at 0); NULL at the end. */
const check_line *check_next_line(check *c, const char *slot, int *at);
int64_t check_get(const check_line *line, const char *key, int64_t fallback);
/* Rows of a shape for this row of the table: reference rows have no tiles, so they are checked on fewer rows of a large shape
 * (work: multiplications of the whole). All of them while benchmarking. */
int64_t check_rows(const check *c, int64_t rows, double work);

/* ---- run.c, check.c, mutate.c ------------------------------------------------------------------------------------------- */
void check_open(check *c);  /* pools, and the row's device */
void check_close(check *c); /* everything that open and cases hold */
void check_end_case(check *c);
check_test *check_test_of(swan_slot slot);
/* Every seeded mutation must be caught; returns the number that was not. */
int check_self_test(const check *base);

#endif
