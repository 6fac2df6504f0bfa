/* A safetensors file of any bytes is refused, or its views can be read and share out the data section exactly. */
#include <string.h>

#include "ckpt/safetensors.h"
#include "fuzz.h"

static volatile uint8_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    swan_ckpt *c;
    float values[256];
    size_t bytes = 0;
    const char *path = fuzz_file("m.safetensors", data, size);
    if (swan_ckpt_open(path, NULL, &c) != SWAN_OK) {
        FUZZ_CHECK(!c && strstr(swan_last_error(), path));
        return 0;
    }
    uint64_t header;
    FUZZ_CHECK(swan_ckpt_mapped_bytes(c) == size && size >= 8);
    memcpy(&header, data, 8);
    const size_t data_bytes = size - 8 - (size_t)header;
    for (size_t i = 0; i < swan_ckpt_count(c); i++) {
        const swan_tensor *t = swan_ckpt_at(c, i);
        size_t n = swan_tensor_bytes(t);
        FUZZ_CHECK(swan_ckpt_find(c, t->name) == t);
        FUZZ_CHECK((uintptr_t)t->data % swan_dtype_bytes(t->dtype) == 0);
        FUZZ_CHECK(n <= data_bytes && (bytes += n) <= data_bytes);
        for (size_t at = 0; at < n; at++) sink = ((const uint8_t *)t->data)[at];
        if (swan_tensor_count(t) <= 256) swan_ckpt_read_f32(t, values);
    }
    FUZZ_CHECK(bytes == data_bytes || swan_ckpt_unsupported_at(c, 0, NULL));
    for (size_t i = 0; swan_ckpt_unsupported_at(c, i, NULL); i++)
        FUZZ_CHECK(!swan_ckpt_find(c, swan_ckpt_unsupported_at(c, i, NULL)));
    swan_ckpt_metadata(c, "format");
    swan_ckpt_close(c);
    return 0;
}
