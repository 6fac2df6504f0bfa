#include "base/cache.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* The recipes say the same as the rules of pipe/recipe.c; they go into swan.json, where they hold under any name of the directory. */
#define VIDEO_480P "\"width\":832,\"height\":480,\"num_frames\":81,\"fps\":16}"
#define DMD_VSA(sparsity) "{\"sampler\":\"dmd\",\"num_inference_steps\":3,\"flow_shift\":8,\"guidance_scale\":1,\"vsa_sparsity\":" sparsity "," VIDEO_480P
#define QAD "{\"sampler\":\"unipc\",\"sigma_grid\":\"fastvideo\",\"num_inference_steps\":3,\"flow_shift\":3,\"guidance_scale\":1," VIDEO_480P
#define BASE "{\"sampler\":\"unipc\",\"sigma_grid\":\"diffusers\",\"num_inference_steps\":50,\"flow_shift\":3,\"guidance_scale\":5," VIDEO_480P

static const swan_published published[] = {
    {"fastwan", "FastVideo/FastWan2.1-T2V-1.3B-Diffusers", "3 steps, sparse attention, 480p; 1.3 B", DMD_VSA("0.8")},
    {"fastwan-qad", "FastVideo/FastWan-QAD-1.3B", "3 steps, trained for NVFP4 and FP4 attention; 1.3 B", QAD},
    {"fastwan-qad-sa2", "FastVideo/FastWan-QAD-1.3B-SA2", "3 steps, trained for NVFP4 and INT8/FP8 attention; 1.3 B", QAD},
    {"fastwan-qad-fp8", "FastVideo/FastWan-QAD-FP8-1.3B", "3 steps, trained for FP8; 1.3 B", QAD},
    {"fastwan-14b", "FastVideo/FastWan2.1-T2V-14B-480P-Diffusers", "3 steps, sparse attention, 480p; 14 B", DMD_VSA("0.9")},
    {"wan", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "the base model, 50 steps; 1.3 B", BASE},
};

const swan_published *swan_cache_published(size_t i)
{
    return i < sizeof published / sizeof *published ? &published[i] : NULL;
}

const swan_published *swan_cache_find_published(const char *name)
{
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        if (!strcmp(name, published[i].alias) || !strcmp(name, published[i].repository) ||
            !strcmp(name, swan_path_name(published[i].repository)))
            return &published[i];
    return NULL;
}

static bool is_part(const char *s, size_t n)
{
    if (n == 0 || n > 96 || s[0] == '.' || s[0] == '-' || s[0] == '_') return false;
    for (size_t i = 0; i < n; i++) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9');
        if (!letter && s[i] != '-' && s[i] != '_' && s[i] != '.') return false;
        if (s[i] == '.' && i + 1 < n && s[i + 1] == '.') return false;
    }
    return true;
}

bool swan_cache_is_repository(const char *text)
{
    const char *slash = strchr(text, '/');
    return slash && is_part(text, (size_t)(slash - text)) && is_part(slash + 1, strlen(slash + 1));
}

swan_status swan_cache_models(char *buf, size_t n)
{
    const char *own = getenv("SWAN_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    /* as the XDG rule has it, a relative XDG_CACHE_HOME is ignored */
    if (own && own[0]) return swan_path_join(own, "models", buf, n);
    if (xdg && xdg[0] == '/') return swan_path_join(xdg, "swan/models", buf, n);
    if (home && home[0]) return swan_path_join(home, ".cache/swan/models", buf, n);
    return SWAN_FAIL(SWAN_E_INVALID, "where do models go? wanted one of SWAN_CACHE, XDG_CACHE_HOME and HOME in the environment");
}

swan_status swan_cache_place(const char *repository, char *directory, size_t n)
{
    if (!swan_cache_is_repository(repository))
        return SWAN_FAIL(SWAN_E_INVALID, "\"%.200s\": wanted OWNER/NAME of a model repository", repository);
    char models[SWAN_PATH_MAX];
    SWAN_TRY(swan_cache_models(models, sizeof models));
    return swan_path_join(models, repository, directory, n);
}

static bool is_pulled(const char *repository)
{
    char directory[SWAN_PATH_MAX];
    return swan_cache_place(repository, directory, sizeof directory) == SWAN_OK && swan_file_is_directory(directory);
}

/* A bare name: one of any owner. */
static swan_status find_name(const char *name, char *repository)
{
    char models[SWAN_PATH_MAX];
    if (swan_cache_models(models, sizeof models)) return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: no pulled model: there is no cache", name);
    DIR *owners = opendir(models);
    int found = 0;
    for (struct dirent *e; owners && (e = readdir(owners));) {
        char candidate[SWAN_REPOSITORY_MAX];
        int length = snprintf(candidate, sizeof candidate, "%s/%s", e->d_name, name);
        if (length < 0 || (size_t)length >= sizeof candidate || !is_pulled(candidate)) continue;
        if (found++ == 0) strcpy(repository, candidate);
    }
    if (owners) closedir(owners);
    if (found > 1) return SWAN_FAIL(SWAN_E_INVALID, "%s: several owners have a model of this name; wanted OWNER/%s", name, name);
    return found ? SWAN_OK : SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: no pulled model of this name in %s", name, models);
}

swan_status swan_cache_find(const char *name, char *repository)
{
    const swan_published *known = swan_cache_find_published(name);
    if (known && is_pulled(known->repository)) {
        strcpy(repository, known->repository);
        return SWAN_OK;
    }
    if (is_part(name, strlen(name))) return find_name(name, repository);
    if (!is_pulled(name)) return SWAN_FAIL(SWAN_E_NOT_FOUND, "%.200s: no pulled model of this name", name);
    strcpy(repository, name);
    return SWAN_OK;
}
