/* A view of an array: pointer, type, shape, name. Row-major, the last axis fastest. Owns nothing. */
#ifndef SWAN_TENSOR_TENSOR_H
#define SWAN_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SWAN_MAX_DIMS 5

typedef enum swan_dtype {
    SWAN_F32,
    SWAN_F16,
    SWAN_BF16,
    SWAN_F64,
    SWAN_I32,
    SWAN_I64,
    SWAN_U8,
    SWAN_DTYPE_COUNT
} swan_dtype;

typedef struct swan_tensor {
    void *data;
    swan_dtype dtype;
    int ndim;                  /* 0..SWAN_MAX_DIMS; 0 is a scalar */
    int64_t ne[SWAN_MAX_DIMS]; /* extents, slowest first */
    const char *name;          /* borrowed; may be NULL */
} swan_tensor;

/* Bytes of one element. */
size_t swan_dtype_bytes(swan_dtype dtype);
/* "F32", "BF16", … as safetensors spells them. */
const char *swan_dtype_name(swan_dtype dtype);

/* Product of the extents (1 for a scalar). */
int64_t swan_tensor_count(const swan_tensor *t);
size_t swan_tensor_bytes(const swan_tensor *t);
/* Writes "[2, 3]" into buf and returns it. */
const char *swan_tensor_shape(const swan_tensor *t, char *buf, size_t n);
bool swan_tensor_same_shape(const swan_tensor *a, const swan_tensor *b);

/* Views over memory that the caller owns. */
swan_tensor swan_tensor_1d(void *data, swan_dtype dtype, int64_t n0);
swan_tensor swan_tensor_2d(void *data, swan_dtype dtype, int64_t n0, int64_t n1);
swan_tensor swan_tensor_3d(void *data, swan_dtype dtype, int64_t n0, int64_t n1, int64_t n2);
swan_tensor swan_tensor_4d(void *data, swan_dtype dtype, int64_t n0, int64_t n1, int64_t n2, int64_t n3);

#ifdef __cplusplus
}
#endif
#endif
