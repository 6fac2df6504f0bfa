/* Prompts of any bytes: refused exactly when they are not UTF-8 without NUL, else clean text. The sources are compiled
 * here, with the sanitizers. */
#include "tok/clean.c"
#include "tok/entities_table.c"
#include "tok/unicode.c"
#include "tok/unicode_table.c"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *out = NULL;
    const char *text = (const char *)data;
    bool good =
        size <= SWAN_PROMPT_MAX_BYTES && swan_utf8_valid(text, size) == size && (!size || !memchr(data, 0, size));
    swan_status status = swan_prompt_clean(text, size, &out);
    FUZZ_CHECK(status == (good ? SWAN_OK : SWAN_E_INVALID) && !out == !good);
    if (!good) return 0;
    size_t n = strlen(out);
    FUZZ_CHECK(swan_utf8_valid(out, n) == n);
    FUZZ_CHECK(!n || (out[0] != ' ' && out[n - 1] != ' '));
    FUZZ_CHECK(!strstr(out, "  ") && !strpbrk(out, "\t\n\v\f\r"));
    free(out);
    return 0;
}
