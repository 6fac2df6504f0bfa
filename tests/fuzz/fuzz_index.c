/* A shard index of any bytes is refused, or names only tensors that are there, in files beside it. */
#include <string.h>

#include "ckpt/safetensors.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char one[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    static const char two[] = "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    static int made;
    if (!made++) {
        uint8_t file[128];
        fuzz_file("one.safetensors", file, fuzz_safetensors(file, one, 4));
        fuzz_file("two.safetensors", file, fuzz_safetensors(file, two, 4));
    }
    swan_ckpt *c;
    const char *path = fuzz_file("m.safetensors.index.json", data, size);
    if (swan_ckpt_open(path, NULL, &c) != SWAN_OK) {
        FUZZ_CHECK(!c && strstr(swan_last_error(), fuzz_directory()));
        return 0;
    }
    FUZZ_CHECK(swan_ckpt_count(c) == 1 || swan_ckpt_count(c) == 2);
    for (size_t i = 0; i < swan_ckpt_count(c); i++)
        FUZZ_CHECK(strncmp(swan_ckpt_file(c, swan_ckpt_at(c, i)), fuzz_directory(), strlen(fuzz_directory())) == 0);
    swan_ckpt_close(c);
    return 0;
}
