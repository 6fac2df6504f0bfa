/* NumPy's .npy files, versions 1 to 3, little endian, C order: noise in, dumps out, fixtures of the tests. */
#ifndef SWAN_CKPT_NPY_H
#define SWAN_CKPT_NPY_H

#include "base/status.h"
#include "tensor/tensor.h"

/* Writes t (any type but BF16, which NumPy has not) whole or not at all: on failure, a full disk among them, what was at path
 * before is still there and nothing else. SWAN_E_IO, SWAN_E_NOT_FOUND (the directory), SWAN_E_UNSUPPORTED. */
swan_status swan_npy_write(const char *path, const swan_tensor *t);

/* Reads an array of float16, float32 or float64 of exactly this shape into dst, as fp32 (float64 rounds to nearest even).
 * Another shape or type is SWAN_E_INVALID with wanted and found; a damaged file SWAN_E_FORMAT. */
swan_status swan_npy_read_f32(const char *path, const int64_t *shape, int ndim, float *dst);

/* Reads an array of any shape and of the type that it has. out->data comes from malloc and is the caller's to free (never NULL,
 * also for an empty array); out->name is NULL. */
swan_status swan_npy_load(const char *path, swan_tensor *out);

#endif
