/* A .npy of any bytes is refused, or its array is exactly what is left of the file; written again it reads the same. */
#include <string.h>

#include "ckpt/npy.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    swan_tensor t, back;
    float values[16];
    const int64_t shape[] = {2, 3};
    const char *path = fuzz_file("a.npy", data, size);
    swan_npy_read_f32(path, shape, 2, values);
    if (swan_npy_load(path, &t) != SWAN_OK) {
        FUZZ_CHECK(!t.data && strstr(swan_last_error(), path));
        return 0;
    }
    size_t bytes = swan_tensor_bytes(&t);
    FUZZ_CHECK(bytes <= size && t.ndim <= SWAN_MAX_DIMS);
    FUZZ_CHECK(memcmp(t.data, data + size - bytes, bytes) == 0);
    const char *copy = fuzz_file("b.npy", "", 0);
    FUZZ_CHECK(swan_npy_write(copy, &t) == SWAN_OK && swan_npy_load(copy, &back) == SWAN_OK);
    FUZZ_CHECK(back.dtype == t.dtype && swan_tensor_same_shape(&back, &t) && memcmp(back.data, t.data, bytes) == 0);
    free(back.data);
    free(t.data);
    return 0;
}
