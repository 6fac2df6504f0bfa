#include "tensor/tensor.h"

#include <stdio.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[SWAN_DTYPE_COUNT] = {
    [SWAN_F32] = {"F32", 4}, [SWAN_F16] = {"F16", 2}, [SWAN_BF16] = {"BF16", 2}, [SWAN_F64] = {"F64", 8},
    [SWAN_I32] = {"I32", 4}, [SWAN_I64] = {"I64", 8}, [SWAN_U8] = {"U8", 1},
};

size_t swan_dtype_bytes(swan_dtype dtype) { return dtypes[dtype].bytes; }
const char *swan_dtype_name(swan_dtype dtype) { return dtypes[dtype].name; }

int64_t swan_tensor_count(const swan_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->ndim; i++) n *= t->ne[i];
    return n;
}

size_t swan_tensor_bytes(const swan_tensor *t) { return (size_t)swan_tensor_count(t) * swan_dtype_bytes(t->dtype); }

const char *swan_tensor_shape(const swan_tensor *t, char *buf, size_t n)
{
    size_t used = (size_t)snprintf(buf, n, "[");
    for (int i = 0; i < t->ndim && used < n; i++)
        used += (size_t)snprintf(buf + used, n - used, i ? ", %lld" : "%lld", (long long)t->ne[i]);
    if (used < n) snprintf(buf + used, n - used, "]");
    return buf;
}

bool swan_tensor_same_shape(const swan_tensor *a, const swan_tensor *b)
{
    if (a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->ne[i] != b->ne[i]) return false;
    return true;
}

swan_tensor swan_tensor_1d(void *data, swan_dtype dtype, int64_t n0)
{
    return (swan_tensor){.data = data, .dtype = dtype, .ndim = 1, .ne = {n0}};
}

swan_tensor swan_tensor_2d(void *data, swan_dtype dtype, int64_t n0, int64_t n1)
{
    return (swan_tensor){.data = data, .dtype = dtype, .ndim = 2, .ne = {n0, n1}};
}

swan_tensor swan_tensor_3d(void *data, swan_dtype dtype, int64_t n0, int64_t n1, int64_t n2)
{
    return (swan_tensor){.data = data, .dtype = dtype, .ndim = 3, .ne = {n0, n1, n2}};
}

swan_tensor swan_tensor_4d(void *data, swan_dtype dtype, int64_t n0, int64_t n1, int64_t n2, int64_t n3)
{
    return (swan_tensor){.data = data, .dtype = dtype, .ndim = 4, .ne = {n0, n1, n2, n3}};
}
