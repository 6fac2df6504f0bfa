#include "hub/listing.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- small checks ---- */

bool swan_listing_is_hex(const char *text, size_t n)
{
    if (!text || strlen(text) != n) return false;
    return strspn(text, "0123456789abcdef") == n;
}

bool swan_listing_is_path(const char *path)
{
    size_t n = strlen(path);
    if (n == 0 || n >= SWAN_LISTING_PATH) return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f) return false;
    for (const char *s = path; s;) {
        const char *slash = strchr(s, '/');
        size_t length = slash ? (size_t)(slash - s) : strlen(s);
        if (length == 0 || (length == 1 && s[0] == '.') || (length == 2 && s[0] == '.' && s[1] == '.')) return false;
        s = slash ? slash + 1 : NULL;
    }
    return true;
}

void swan_listing_printable(const char *text, char *out, size_t n)
{
    size_t i = 0;
    for (; text[i] && i + 1 < n; i++) out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    out[i] = 0;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* ---- parsing ---- */

static swan_status parse(const char *where, const char *text, size_t bytes, json_t **root)
{
    json_error_t error;
    *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (*root) return SWAN_OK;
    char said[JSON_ERROR_TEXT_LENGTH];
    swan_listing_printable(error.text, said, sizeof said);
    return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted JSON: line %d: %s", where, error.line, said);
}

swan_status swan_listing_commit(const char *where, const char *text, size_t bytes, char commit[SWAN_COMMIT_TEXT])
{
    json_t *root;
    SWAN_TRY(parse(where, text, bytes, &root));
    const char *sha = json_string_value(json_object_get(root, "sha"));
    bool good = swan_listing_is_hex(sha, SWAN_COMMIT_TEXT - 1);
    if (good) memcpy(commit, sha, SWAN_COMMIT_TEXT);
    json_decref(root);
    return good ? SWAN_OK : SWAN_FAIL(SWAN_E_FORMAT, "%s: sha: wanted the 40 digits of a commit", where);
}

/* Large files: lfs.oid is their SHA-256. The others: oid is git's name of the blob. */
static void read_hash(const json_t *entry, swan_hub_file *f)
{
    const char *large = json_string_value(json_object_get(json_object_get(entry, "lfs"), "oid"));
    const char *blob = json_string_value(json_object_get(entry, "oid"));
    if (large && !strncmp(large, "sha256:", 7)) large += 7;
    f->kind = SWAN_HASH_NONE;
    if (swan_listing_is_hex(large, 64)) f->kind = SWAN_HASH_SHA256;
    else if (!large && swan_listing_is_hex(blob, 40)) f->kind = SWAN_HASH_GIT_BLOB;
    const char *hash = f->kind == SWAN_HASH_SHA256 ? large : f->kind == SWAN_HASH_GIT_BLOB ? blob : "";
    snprintf(f->hash, sizeof f->hash, "%s", hash);
}

static swan_status read_file_entry(const char *where, const json_t *entry, swan_hub_file *f)
{
    const char *path = json_string_value(json_object_get(entry, "path"));
    char shown[96];
    swan_listing_printable(path ? path : "(none)", shown, sizeof shown);
    if (!path || !swan_listing_is_path(path))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: path \"%s\": wanted a relative path without \"..\" or control characters", where, shown);
    const json_t *size = json_object_get(entry, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0 || (uint64_t)json_integer_value(size) > SWAN_LISTING_BYTES)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: size: wanted an integer between 0 and %llu", where, shown,
                         (unsigned long long)SWAN_LISTING_BYTES);
    strcpy(f->path, path);
    f->bytes = (uint64_t)json_integer_value(size);
    read_hash(entry, f);
    return SWAN_OK;
}

static swan_status append(swan_listing *l, const char *where, const swan_hub_file *f)
{
    if (l->count >= SWAN_LISTING_FILES)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted at most %d files", where, SWAN_LISTING_FILES);
    if (l->total + f->bytes > SWAN_LISTING_TOTAL)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted at most %llu bytes in all", where, (unsigned long long)SWAN_LISTING_TOTAL);
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        swan_hub_file *grown = realloc(l->files, room * sizeof *grown);
        if (!grown) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", where);
        l->files = grown;
        l->room = room;
    }
    l->files[l->count++] = *f;
    l->total += f->bytes;
    return SWAN_OK;
}

swan_status swan_listing_add(swan_listing *l, const char *where, const char *text, size_t bytes)
{
    json_t *root;
    SWAN_TRY(parse(where, text, bytes, &root));
    swan_status s = json_is_array(root) ? SWAN_OK : SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted a list of files", where);
    for (size_t i = 0; !s && i < json_array_size(root); i++) {
        const json_t *entry = json_array_get(root, i);
        const char *type = json_string_value(json_object_get(entry, "type"));
        if (!type) s = SWAN_FAIL(SWAN_E_FORMAT, "%s: entry %zu: wanted a type", where, i);
        else if (!strcmp(type, "file")) {
            swan_hub_file f;
            s = read_file_entry(where, entry, &f);
            if (!s) s = append(l, where, &f);
        }
    }
    json_decref(root);
    return s;
}

void swan_listing_free(swan_listing *l)
{
    free(l->files);
    *l = (swan_listing){0};
}

/* ---- what Swan reads ---- */

/* name is stem.safetensors, its index, or stem-00001-of-00005.safetensors: other variants (fp16, …) are not taken. */
static bool is_weights(const char *name, const char *stem)
{
    size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0) return false;
    const char *rest = name + n;
    if (!strcmp(rest, ".safetensors") || !strcmp(rest, ".safetensors.index.json")) return true;
    static const char pattern[] = "-00000-of-00000.safetensors";
    if (strlen(rest) != sizeof pattern - 1) return false;
    for (size_t i = 0; pattern[i]; i++)
        if (pattern[i] == '0' ? rest[i] < '0' || rest[i] > '9' : rest[i] != pattern[i]) return false;
    return true;
}

static bool is_wanted(const char *path)
{
    static const char *const plain[] = {"model_index.json", "swan.json", "taew2_1.safetensors", "taehv/taew2_1.safetensors",
                                        "taehv/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json",
                                        "tokenizer/spiece.model", "text_encoder/config.json", "transformer/config.json"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (!strcmp(path, plain[i])) return true;
    if (!strncmp(path, "text_encoder/", 13)) return is_weights(path + 13, "model");
    return !strncmp(path, "transformer/", 12) && is_weights(path + 12, "diffusion_pytorch_model");
}

/* Weights may be there twice, whole and in shards; an index is what is read then, so the whole file is left where it is. */
static bool is_spare(const swan_listing *l, const char *path)
{
    char index[SWAN_LISTING_PATH + 16];
    if (!ends_with(path, "/model.safetensors") && !ends_with(path, "/diffusion_pytorch_model.safetensors")) return false;
    snprintf(index, sizeof index, "%s.index.json", path);
    return swan_listing_find(l, index) != NULL;
}

const swan_hub_file *swan_listing_find(const swan_listing *l, const char *path)
{
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->files[i].path, path)) return &l->files[i];
    return NULL;
}

static int by_path(const void *a, const void *b) { return strcmp(((const swan_hub_file *)a)->path, ((const swan_hub_file *)b)->path); }

static swan_status check_parts(const swan_listing *l, const char *where)
{
    static const char *const needed[] = {"model_index.json", "text_encoder/config.json", "tokenizer/spiece.model"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!swan_listing_find(l, needed[i]))
            return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: no %s: wanted a model in the Diffusers layout", where, needed[i]);
    bool text = false, transformer = false;
    for (size_t i = 0; i < l->count; i++) {
        if (!ends_with(l->files[i].path, ".safetensors")) continue;
        text |= !strncmp(l->files[i].path, "text_encoder/", 13);
        transformer |= !strncmp(l->files[i].path, "transformer/", 12);
    }
    if (!text || !transformer)
        return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: no weights in %s/ that Swan could read: wanted *.safetensors", where,
                         text ? "transformer" : "text_encoder");
    return SWAN_OK;
}

swan_status swan_listing_choose(swan_listing *l, const char *where)
{
    size_t kept = 0;
    if (l->count) qsort(l->files, l->count, sizeof *l->files, by_path);
    for (size_t i = 1; i < l->count; i++)
        if (!strcmp(l->files[i - 1].path, l->files[i].path))
            return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s is listed twice", where, l->files[i].path);
    for (size_t i = 0; i < l->count; i++)
        if (is_wanted(l->files[i].path)) l->files[kept++] = l->files[i];
    l->count = kept;
    kept = 0;
    l->total = 0;
    bool spare[512] = {false};
    if (l->count > sizeof spare / sizeof *spare)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted at most %zu weight files", where, sizeof spare / sizeof *spare);
    for (size_t i = 0; i < l->count; i++) spare[i] = is_spare(l, l->files[i].path);
    for (size_t i = 0; i < l->count; i++) {
        if (spare[i]) continue;
        l->total += l->files[i].bytes;
        l->files[kept++] = l->files[i];
    }
    l->count = kept;
    return check_parts(l, where);
}
