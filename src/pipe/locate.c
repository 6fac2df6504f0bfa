#include "pipe/locate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cache.h"

#define BUILT_IN "tinyworld"

/* directory/models/tinyworld/model_index.json is there: its directory. */
static bool try_root(const char *root, const char *below, char *directory, size_t n)
{
    char index[SWAN_PATH_MAX];
    int length = snprintf(directory, n, "%s%s/" BUILT_IN, root, below);
    if (length < 0 || (size_t)length >= n) return false;
    return swan_path_join(directory, "model_index.json", index, sizeof index) == SWAN_OK && swan_file_exists(index);
}

static bool beside_program(char *directory, size_t n)
{
    char program[SWAN_PATH_MAX], folder[SWAN_PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = 0;
    if (swan_path_directory(program, folder, sizeof folder) != SWAN_OK) return false;
    return try_root(folder, "/../share/swan/models", directory, n) || try_root(folder, "/../../models", directory, n);
}

/* A name that is no path: a pulled model. */
static swan_status find_pulled(const char *given, char *directory, size_t n)
{
    char repository[SWAN_REPOSITORY_MAX];
    swan_status s = swan_cache_find(given, repository);
    if (s == SWAN_OK) return swan_cache_place(repository, directory, n);
    const swan_published *known = swan_cache_find_published(given);
    if (s == SWAN_E_NOT_FOUND && known)
        return SWAN_FAIL(s, "%s: not here yet: swan pull %s", given, known->alias);
    return s == SWAN_E_NOT_FOUND ? SWAN_FAIL(s, "%s: there is no such model directory, nor a pulled model of that name", given) : s;
}

swan_status swan_locate_model(const char *given, char *directory, size_t n)
{
    if (given && (strcmp(given, BUILT_IN) != 0 || swan_file_is_directory(given))) {
        if (!swan_file_exists(given)) return find_pulled(given, directory, n);
        if (!swan_file_is_directory(given))
            return SWAN_FAIL(SWAN_E_INVALID, "%s: wanted a model directory, found a file; a single transformer file goes on top of a "
                             "base directory: -m DIR --transformer %s", given, given);
        if (strlen(given) >= n) return SWAN_FAIL(SWAN_E_INVALID, "%s: path too long", given);
        strcpy(directory, given);
        return SWAN_OK;
    }
    if (beside_program(directory, n) || try_root(SWAN_SOURCE_MODELS, "", directory, n) || try_root(SWAN_DATA_MODELS, "", directory, n))
        return SWAN_OK;
    return SWAN_FAIL(SWAN_E_NOT_FOUND, "the built-in model " BUILT_IN " was not found beside the program, in %s or in %s; name a model with -m DIR",
                     SWAN_SOURCE_MODELS, SWAN_DATA_MODELS);
}

swan_status swan_locate_taehv(const char *flag, const char *directory, const char *from_swan_json, char *path, size_t n)
{
    path[0] = 0;
    if (flag || from_swan_json) {
        if (flag && strlen(flag) >= n) return SWAN_FAIL(SWAN_E_INVALID, "%s: path too long", flag);
        if (flag) strcpy(path, flag);
        else SWAN_TRY(swan_path_join(directory, from_swan_json, path, n));
        if (!swan_file_exists(path)) return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: there is no such TAEHV decoder file", path);
        size_t length = strlen(path);
        if (length > 4 && !strcmp(path + length - 4, ".pth"))
            return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: .pth files cannot be read; TAEHV is published as .safetensors as well", path);
        return SWAN_OK;
    }
    static const char *const usual[] = {"taew2_1.safetensors", "taehv/taew2_1.safetensors", "taehv/diffusion_pytorch_model.safetensors"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        SWAN_TRY(swan_path_join(directory, usual[i], path, n));
        if (swan_file_exists(path)) return SWAN_OK;
    }
    path[0] = 0;
    return SWAN_OK;
}
