/* Settings of any bytes: every getter gives a value in its range, or says why not. */
#include <string.h>

#include "ckpt/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {"num_layers",  "eps", "cross_attn_norm", "qk_norm", "patch_size",
                                       "transformer", ""};
    const swan_config_list list = {1, 64, 1, 4};
    swan_config *cfg;
    if (swan_config_parse("c.json", (const char *)data, size, &cfg) != SWAN_OK) {
        FUZZ_CHECK(!cfg && strncmp(swan_last_error(), "c.json: ", 8) == 0);
        return 0;
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int64_t v = 1, vs[4] = {1, 1, 1, 1};
        double number = 0;
        bool flag;
        int n = 1;
        const char *s = "", *pair[2];
        bool has = swan_config_has(cfg, keys[i]);
        FUZZ_CHECK((swan_config_int(cfg, keys[i], 1, 200, SWAN_OPTIONAL, &v) == SWAN_OK || has) && v >= 1 && v <= 200);
        swan_config_number(cfg, keys[i], -1, 1, SWAN_OPTIONAL, &number);
        FUZZ_CHECK(number >= -1 && number <= 1);
        swan_config_bool(cfg, keys[i], SWAN_REQUIRED, &flag);
        swan_config_string(cfg, keys[i], SWAN_REQUIRED, &s);
        FUZZ_CHECK(strlen(s) <= size);
        swan_config_ints(cfg, keys[i], &list, SWAN_OPTIONAL, vs, &n);
        FUZZ_CHECK(n >= 1 && n <= 4);
        for (int j = 0; j < n; j++) FUZZ_CHECK(vs[j] >= 1 && vs[j] <= 64);
        if (has && swan_config_strings(cfg, keys[i], 2, SWAN_REQUIRED, pair) == SWAN_OK)
            FUZZ_CHECK((!pair[0] || strlen(pair[0]) <= size) && (!pair[1] || strlen(pair[1]) <= size));
    }
    swan_config_close(cfg);
    return 0;
}
