/* A hub's list of any bytes: what is taken stays inside a directory and within its bounds. The first byte says how. */
#include <string.h>

#include "base/status.h"
#include "fuzz.h"
#include "hub/listing.h"

static void check_files(const swan_listing *l)
{
    uint64_t total = 0;
    FUZZ_CHECK(l->count <= SWAN_LISTING_FILES);
    for (size_t i = 0; i < l->count; i++) {
        const swan_hub_file *f = &l->files[i];
        FUZZ_CHECK(swan_listing_is_path(f->path) && f->path[0] != '/' && strncmp(f->path, "../", 3) != 0 && !strstr(f->path, "/../"));
        FUZZ_CHECK(f->bytes <= SWAN_LISTING_BYTES);
        FUZZ_CHECK(strlen(f->hash) == (f->kind == SWAN_HASH_SHA256 ? 64 : f->kind == SWAN_HASH_GIT_BLOB ? 40 : 0));
        total += f->bytes;
    }
    FUZZ_CHECK(total == l->total && total <= SWAN_LISTING_TOTAL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    const char *text = (const char *)data + 1;
    char commit[SWAN_COMMIT_TEXT] = "";
    if (data[0] & 1) {
        if (swan_listing_commit("hub", text, size - 1, commit) == SWAN_OK) FUZZ_CHECK(swan_listing_is_hex(commit, 40));
        else FUZZ_CHECK(!commit[0] && strncmp(swan_last_error(), "hub: ", 5) == 0);
        return 0;
    }
    swan_listing l = {0};
    swan_status s = swan_listing_add(&l, "hub", text, size - 1);
    check_files(&l);
    if (s == SWAN_OK && (data[0] & 2)) s = swan_listing_add(&l, "hub", text, size - 1);
    if (s == SWAN_OK && swan_listing_choose(&l, "hub") == SWAN_OK) FUZZ_CHECK(l.count >= 5 && swan_listing_find(&l, "model_index.json"));
    check_files(&l);
    swan_listing_free(&l);
    return 0;
}
