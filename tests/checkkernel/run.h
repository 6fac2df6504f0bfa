/* What checkkernel and `swan verify` share: which rows are checked, and how it is told. */
#ifndef SWAN_TESTS_CHECKKERNEL_RUN_H
#define SWAN_TESTS_CHECKKERNEL_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* bench/shapes/cpu.txt as text; made by the build. */
extern const char swan_embedded_shapes[];
extern const size_t swan_embedded_shapes_bytes;

typedef struct check_options {
    const char *only; /* rows whose family.slot=variant (format) contains it; NULL: all */
    uint64_t seed;
    int threads;
    int jobs;         /* processes at once; 0 and 1: one after the other */
    int cases;        /* 0: all; or of each row the first ones */
    bool bench;       /* time instead */
    bool each;        /* a line for each row, not for failures alone */
    bool cpu, gpu;    /* which rows are wanted */
    bool here;        /* in this process: no child is there to crash instead; for debuggers and sanitizers */
} check_options;

/* Reads shapes from files that match the pattern; false, and says why, when it cannot. */
bool check_read_shapes(const char *pattern);
/* The same from text. */
bool check_take_shapes(const char *name, const char *text);
/* Looks for GPU number `index`, in a child; rows for GPUs run on it. False: there is none that they run on. */
bool check_find_gpu(int index);
/* Checks or times the rows that are wanted and can run here; 0 when nothing failed. */
int check_run_all(const check_options *o);
void check_list_rows(const check_options *o);
/* Seeded mutations of the reference rows: how many were not caught. */
int check_run_self_test(const check_options *o);

#endif
