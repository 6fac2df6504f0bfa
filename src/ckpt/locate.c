#include "ckpt/locate.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/json.h"
#include "ckpt/say.h"

#define INDEX_MAX ((size_t)100000000)
#define SUFFIX ".safetensors"
#define INDEX_SUFFIX ".safetensors.index.json"

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n > m && strcmp(s + n - m, end) == 0;
}

/* Appends a copy of s, which may be NULL after a failed allocation of the caller's. */
static swan_status push(char ***list, size_t *n, const char *s)
{
    char **grown = realloc(*list, (*n + 1) * sizeof **list);
    if (grown) *list = grown;
    char *copy = grown ? strdup(s) : NULL;
    if (!copy) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", swan_say(s).text);
    grown[(*n)++] = copy;
    return SWAN_OK;
}

static void free_list(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++) free(list[i]);
    free(list);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* ---- index ---------------------------------------------------------------------------------------------------------- */

/* An index may name files beside it and nothing else: it comes from strangers. */
static swan_status check_shard_name(const char *index, const char *tensor, const json_t *value)
{
    const char *name = json_string_value(value);
    if (!name) return SWAN_FAIL(SWAN_E_FORMAT, "%s: weight_map: %s: wanted a file name", index, swan_say(tensor).text);
    if (strchr(name, '/') || strchr(name, '\\') || !ends_with(name, SUFFIX))
        return SWAN_FAIL(SWAN_E_FORMAT,
                         "%s: weight_map: %s: wanted a *.safetensors file beside the index, found \"%s\"", index,
                         swan_say(tensor).text, swan_say(name).text);
    return SWAN_OK;
}

static swan_status add_shards(const char *index, swan_located *found)
{
    char directory[SWAN_PATH_MAX], path[SWAN_PATH_MAX];
    const char *tensor;
    json_t *value;
    SWAN_TRY(swan_path_directory(index, directory, sizeof directory));
    json_t *seen = json_object();
    if (!seen) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", index);
    swan_status status = SWAN_OK;
    json_object_foreach(found->weight_map, tensor, value)
    {
        status = check_shard_name(index, tensor, value);
        if (status != SWAN_OK) break;
        const char *name = json_string_value(value);
        if (json_object_get(seen, name)) continue;
        if (json_object_set_new(seen, name, json_true()) != 0)
            status = SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", index);
        if (status == SWAN_OK) status = swan_path_join(directory, name, path, sizeof path);
        if (status == SWAN_OK && !swan_file_exists(path))
            status =
                SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: names the shard %s, which is missing", index, swan_say(name).text);
        if (status == SWAN_OK) status = push(&found->files, &found->count, path);
        if (status != SWAN_OK) break;
    }
    json_decref(seen);
    if (status == SWAN_OK && found->count == 0) status = SWAN_FAIL(SWAN_E_FORMAT, "%s: weight_map is empty", index);
    return status;
}

static swan_status locate_index(const char *index, swan_located *found)
{
    char *text;
    size_t bytes;
    json_t *root;
    SWAN_TRY(swan_file_read(index, INDEX_MAX, &text, &bytes));
    swan_status status = swan_json_parse(index, text, bytes, &root);
    free(text);
    SWAN_TRY(status);
    found->weight_map = json_incref(json_object_get(root, "weight_map"));
    json_decref(root);
    if (!json_is_object(found->weight_map))
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: wanted an object \"weight_map\"", index);
    return add_shards(index, found);
}

/* ---- directory ------------------------------------------------------------------------------------------------------ */

typedef struct shard_name {
    size_t stem; /* length of what is before -0000i-of-0000n.safetensors */
    long number, total;
} shard_name;

static bool five_digits(const char *s, long *value)
{
    for (int i = 0; i < 5; i++)
        if (s[i] < '0' || s[i] > '9') return false;
    *value = strtol(s, NULL, 10); /* what follows the five digits is not a digit */
    return true;
}

static bool parse_shard_name(const char *name, shard_name *shard)
{
    const size_t tail = strlen("-00001-of-00002" SUFFIX);
    size_t n = strlen(name);
    if (n <= tail || !ends_with(name, SUFFIX)) return false;
    const char *at = name + n - tail;
    shard->stem = n - tail;
    return at[0] == '-' && five_digits(at + 1, &shard->number) && strncmp(at + 6, "-of-", 4) == 0 &&
           five_digits(at + 10, &shard->total);
}

/* What a directory offers: single files and indices by name, shards of sets that have no index apart. */
typedef struct offer {
    char **names; /* every *.safetensors and *.safetensors.index.json, sorted */
    size_t count;
    size_t candidate[3]; /* positions in names: a file, an index, or the first shard of a set */
    size_t candidates; /* may exceed 3 */
} offer;

static swan_status read_names(const char *directory, offer *o)
{
    DIR *d = opendir(directory);
    if (!d)
        return SWAN_FAIL(errno == ENOENT ? SWAN_E_NOT_FOUND : SWAN_E_IO, "%s: cannot be listed: %s", directory,
                         strerror(errno));
    swan_status status = SWAN_OK;
    for (struct dirent *e; status == SWAN_OK && (e = readdir(d));)
        if (e->d_name[0] != '.' && (ends_with(e->d_name, SUFFIX) || ends_with(e->d_name, INDEX_SUFFIX)))
            status = push(&o->names, &o->count, e->d_name);
    closedir(d);
    if (status == SWAN_OK && o->count) qsort(o->names, o->count, sizeof *o->names, by_name);
    return status;
}

static bool has_index(const offer *o, const char *stem, size_t length)
{
    for (size_t i = 0; i < o->count; i++)
        if (strncmp(o->names[i], stem, length) == 0 && strcmp(o->names[i] + length, INDEX_SUFFIX) == 0) return true;
    return false;
}

static bool same_set(const char *a, const char *b)
{
    shard_name x, y;
    return parse_shard_name(a, &x) && parse_shard_name(b, &y) && x.stem == y.stem && x.total == y.total &&
           strncmp(a, b, x.stem) == 0;
}

static bool stem_is(const char *name, size_t length, const char *stem)
{
    return !stem || (strlen(stem) == length && strncmp(name, stem, length) == 0);
}

static void find_candidates(offer *o, const char *stem)
{
    for (size_t i = 0; i < o->count; i++) {
        const char *name = o->names[i];
        shard_name shard;
        bool chosen;
        if (ends_with(name, INDEX_SUFFIX))
            chosen = stem_is(name, strlen(name) - strlen(INDEX_SUFFIX), stem);
        else if (parse_shard_name(name, &shard))
            chosen = stem_is(name, shard.stem, stem) && !has_index(o, name, shard.stem) &&
                     !(i > 0 && same_set(o->names[i - 1], name)); /* sorted: a set is one run */
        else
            chosen = stem_is(name, strlen(name) - strlen(SUFFIX), stem);
        if (!chosen) continue;
        if (o->candidates < 3) o->candidate[o->candidates] = i;
        o->candidates++;
    }
}

static swan_status locate_set(const char *directory, const offer *o, swan_located *found)
{
    char path[SWAN_PATH_MAX];
    const char *first = o->names[o->candidate[0]];
    shard_name shard;
    long next = 1;
    parse_shard_name(first, &shard);
    long total = shard.total;
    for (size_t i = o->candidate[0]; i < o->count && same_set(first, o->names[i]); i++, next++) {
        parse_shard_name(o->names[i], &shard);
        if (shard.number != next) break;
        SWAN_TRY(swan_path_join(directory, o->names[i], path, sizeof path));
        SWAN_TRY(push(&found->files, &found->count, path));
    }
    if (next == total + 1) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: the set of %s is not complete: shard %ld of %ld is missing", directory,
                     swan_say(first).text, next, total);
}

static swan_status locate_none(const char *directory, const char *stem, const offer *o)
{
    char wanted[256];
    if (stem)
        snprintf(wanted, sizeof wanted, "%.64s.safetensors, its index or its shards", stem);
    else
        snprintf(wanted, sizeof wanted, "a *.safetensors file or a *.safetensors.index.json");
    if (!o->count) return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: wanted %s, found no safetensors file", directory, wanted);
    return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: wanted %s, found %s%s", directory, wanted, swan_say(o->names[0]).text,
                     o->count > 1 ? " and others" : "");
}

static swan_status choose(const char *directory, const char *stem, const offer *o, swan_located *found)
{
    if (o->candidates == 0) return locate_none(directory, stem, o);
    const char *name = o->names[o->candidate[0]];
    if (o->candidates > 1)
        return SWAN_FAIL(SWAN_E_INVALID, "%s: which checkpoint? found %s and %s%s: name one of them", directory,
                         swan_say(name).text, swan_say(o->names[o->candidate[1]]).text,
                         o->candidates > 2 ? " and others" : "");
    shard_name shard;
    if (!ends_with(name, INDEX_SUFFIX) && parse_shard_name(name, &shard)) return locate_set(directory, o, found);
    SWAN_TRY(swan_path_join(directory, name, found->path, sizeof found->path));
    if (ends_with(name, INDEX_SUFFIX)) return locate_index(found->path, found);
    return push(&found->files, &found->count, found->path);
}

static swan_status locate_in(const char *directory, const char *stem, swan_located *found)
{
    offer o = {0};
    swan_status status = read_names(directory, &o);
    if (status == SWAN_OK) {
        find_candidates(&o, stem);
        status = choose(directory, stem, &o, found);
    }
    free_list(o.names, o.count);
    return status;
}

swan_status swan_locate(const char *path, const char *stem, swan_located *found)
{
    *found = (swan_located){0};
    if (strlen(path) >= sizeof found->path)
        return SWAN_FAIL(SWAN_E_INVALID, "%.64s...: path longer than %zu bytes", path, sizeof found->path - 1);
    memcpy(found->path, path, strlen(path) + 1);
    swan_status status;
    if (swan_file_is_directory(path))
        status = locate_in(path, stem, found);
    else if (ends_with(path, ".json"))
        status = locate_index(path, found);
    else
        status = push(&found->files, &found->count, path);
    if (status == SWAN_OK) qsort(found->files, found->count, sizeof *found->files, by_name);
    if (status != SWAN_OK) swan_located_free(found);
    return status;
}

void swan_located_free(swan_located *found)
{
    free_list(found->files, found->count);
    json_decref(found->weight_map);
    *found = (swan_located){0};
}
