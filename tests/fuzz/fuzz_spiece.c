/* SentencePiece model files of any bytes: what the check lets through has what its header promises. The sources are
 * compiled here, with the sanitizers. */
#include "tok/charsmap_check.c"
#include "tok/spiece_check.c"
#include "tok/unicode.c"
#include "tok/unicode_table.c"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    swan_spiece_info info;
    swan_status status = swan_spiece_check(data, size, "m.model", &info);
    if (status != SWAN_OK) {
        FUZZ_CHECK(status == SWAN_E_FORMAT || status == SWAN_E_UNSUPPORTED);
        FUZZ_CHECK(strncmp(swan_last_error(), "m.model: ", 9) == 0);
        return 0;
    }
    FUZZ_CHECK(info.pieces >= 2 && info.unk >= 0 && info.unk < info.pieces);
    FUZZ_CHECK(info.eos >= 0 && info.eos < info.pieces && info.eos != info.unk);
    FUZZ_CHECK(!info.byte_fallback || info.pieces >= 258);
    return 0;
}
