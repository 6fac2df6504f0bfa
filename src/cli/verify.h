/* What `swan verify` runs: the cases of tests/checkkernel, every row of kernels.def against fp64. They are in the program as the
 * library swan_check (CMake option SWAN_VERIFY); this is all of it that the program sees. */
#ifndef SWAN_CLI_VERIFY_H
#define SWAN_CLI_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct verify_options {
    bool cpu, gpu; /* which rows */
    int index;     /* of the GPU */
    const char *only; /* rows whose family.slot=variant (format) contains it; NULL: all */
    uint64_t seed;
} verify_options;

/* Prints a line for each row: ok, FAIL with the first differences, SKIP with the reason; then the count. Rows run in child processes:
 * a crash is a failure of its row. 0 when all that ran were right; 1 when one was not; 2 when there was nothing to run. */
int verify_kernels(const verify_options *o);

#endif
