/* What a fuzz target needs: a place for its files, and a check that ends the run. */
#ifndef SWAN_TESTS_FUZZ_FUZZ_H
#define SWAN_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes name in a directory that lives as long as the process, and gives its path (valid until 16 calls later). */
const char *fuzz_file(const char *name, const void *data, size_t size);
/* That directory. */
const char *fuzz_directory(void);

/* A safetensors file with this header and data_bytes zeros in buf; its size. */
static inline size_t fuzz_safetensors(uint8_t *buf, const char *header, size_t data_bytes)
{
    uint64_t length = strlen(header);
    memcpy(buf, &length, 8);
    memcpy(buf + 8, header, length);
    memset(buf + 8 + length, 0, data_bytes);
    return 8 + length + data_bytes;
}

/* An invariant of the parser: what it lets through is usable. */
#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
