#include "pipe/recipe.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/status.h"
#include "ckpt/config.h"

/* ---- what is published ---- */

static const swan_recipe base = {SWAN_SAMPLER_UNIPC, SWAN_GRID_DIFFUSERS, 50, 3, 5, 0, SWAN_ATTN_DENSE, 832, 480, 81, 16, ""};
static const swan_recipe dmd = {SWAN_SAMPLER_DMD, SWAN_GRID_DEFAULT, 3, 8, 1, 0, SWAN_ATTN_DENSE, 832, 480, 81, 16, ""};
static const swan_recipe dmd_vsa = {SWAN_SAMPLER_DMD, SWAN_GRID_DEFAULT, 3, 8, 1, 0.8, SWAN_ATTN_VSA, 832, 480, 81, 16, ""};
static const swan_recipe dmd_vsa_14b = {SWAN_SAMPLER_DMD, SWAN_GRID_DEFAULT, 3, 8, 1, 0.9, SWAN_ATTN_VSA, 832, 480, 81, 16, ""};
/* As FastVideo ships it: UniPC on its doubly shifted grid. --sampler dmd is how it was trained. */
static const swan_recipe qad = {SWAN_SAMPLER_UNIPC, SWAN_GRID_FASTVIDEO, 3, 3, 1, 0, SWAN_ATTN_DENSE, 832, 480, 81, 16, ""};
static const swan_recipe wan_14b = {SWAN_SAMPLER_UNIPC, SWAN_GRID_DIFFUSERS, 50, 5, 5, 0, SWAN_ATTN_DENSE, 1280, 720, 81, 16, ""};

static const struct {
    const char *id;
    const swan_recipe *recipe;
} published[] = {
    {"FastWan2.1-T2V-1.3B-Diffusers", &dmd_vsa},     {"FastWan2.1-T2V-14B-480P-Diffusers", &dmd_vsa_14b},
    {"FastWan2.1-T2V-14B-Diffusers", &dmd_vsa_14b},  {"FastWan-QAD-1.3B", &qad},
    {"FastWan-QAD-1.3B-SA2", &qad},                  {"FastWan-QAD-FP8-1.3B", &qad},
    {"Wan2.1-T2V-1.3B-Diffusers", &base},            {"Wan2.1-T2V-14B-Diffusers", &wan_14b},
    {"Wan2.1-T2V-1.3B", &base},                      {"Wan2.1-T2V-14B", &wan_14b},
};

/* The published recipe whose id is the last part of a path or repository name. */
static const swan_recipe *find_published(const char *path, const char **id)
{
    if (!path) return NULL;
    size_t n = strlen(path);
    while (n && path[n - 1] == '/') n--;
    size_t first = n;
    while (first && path[first - 1] != '/') first--;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        if (strlen(published[i].id) == n - first && !memcmp(path + first, published[i].id, n - first)) {
            *id = published[i].id;
            return published[i].recipe;
        }
    return NULL;
}

/* ---- swan.json ---- */

static swan_status read_choice(const swan_config *c, const char *key, const char *const *names, int count, int *out)
{
    const char *value = NULL;
    SWAN_TRY(swan_config_string(c, key, SWAN_OPTIONAL, &value));
    if (!value) return SWAN_OK;
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], value)) {
            *out = i;
            return SWAN_OK;
        }
    return SWAN_FAIL(SWAN_E_FORMAT, "%s: %s: \"%s\" is not known", swan_config_path(c), key, value);
}

static swan_status read_int(const swan_config *c, const char *key, int min, int max, int *out)
{
    int64_t v = *out;
    SWAN_TRY(swan_config_int(c, key, min, max, SWAN_OPTIONAL, &v));
    *out = (int)v;
    return SWAN_OK;
}

static swan_status read_overrides(const swan_config *c, bool gates, swan_recipe *r)
{
    static const char *const samplers[] = {"dmd", "unipc", "euler"};
    static const char *const grids[] = {"default", "diffusers", "original", "fastvideo", "flow-match"};
    static const char *const kinds[] = {"dense", "vsa"};
    int sampler = (int)r->sampler, grid = (int)r->grid, kind = (int)r->attention;
    SWAN_TRY(read_choice(c, "sampler", samplers, 3, &sampler));
    if (sampler != (int)r->sampler) grid = SWAN_GRID_DEFAULT;
    SWAN_TRY(read_choice(c, "sigma_grid", grids, 5, &grid));
    SWAN_TRY(read_choice(c, "attention", kinds, 2, &kind));
    SWAN_TRY(read_int(c, "num_inference_steps", 1, SWAN_SCHED_MAX_STEPS, &r->steps));
    SWAN_TRY(swan_config_number(c, "flow_shift", 0.01, 100, SWAN_OPTIONAL, &r->shift));
    SWAN_TRY(swan_config_number(c, "guidance_scale", 0, 100, SWAN_OPTIONAL, &r->guidance));
    SWAN_TRY(swan_config_number(c, "vsa_sparsity", 0, 1, SWAN_OPTIONAL, &r->sparsity));
    SWAN_TRY(read_int(c, "width", 16, 16384, &r->width));
    SWAN_TRY(read_int(c, "height", 16, 16384, &r->height));
    SWAN_TRY(read_int(c, "num_frames", 1, 4097, &r->frames));
    SWAN_TRY(read_int(c, "fps", 1, 240, &r->fps));
    r->sampler = (swan_sampler)sampler;
    r->grid = (swan_sched_grid)grid;
    /* as with --attention: on a model with gates, dense means all tiles; without gates nothing is sparse */
    if (!gates || kind == SWAN_ATTN_DENSE) r->sparsity = 0;
    r->attention = gates ? SWAN_ATTN_VSA : SWAN_ATTN_DENSE;
    return SWAN_OK;
}

/* ---- the rules ---- */

swan_status swan_recipe_choose(const swan_recipe_facts *f, swan_recipe *out)
{
    const char *id = NULL;
    const swan_recipe *known = find_published(f->directory, &id);
    if (!known) known = find_published(f->name_or_path, &id);
    bool is_dmd = f->gates || (f->class_name && !strcmp(f->class_name, "WanDMDPipeline"));
    if (known) {
        *out = *known;
        snprintf(out->rule, sizeof out->rule, "published id %s", id);
    } else if (is_dmd) {
        *out = !f->gates ? dmd : f->width >= 5120 ? dmd_vsa_14b : dmd_vsa;
        snprintf(out->rule, sizeof out->rule, "%s", f->gates ? "weights with to_gate_compress" : "class WanDMDPipeline");
    } else {
        *out = base;
        if (f->flow_shift > 0) out->shift = f->flow_shift;
        snprintf(out->rule, sizeof out->rule, "base Wan");
    }
    if (!f->gates && out->attention == SWAN_ATTN_VSA) {
        out->attention = SWAN_ATTN_DENSE; /* a published VSA id whose transformer was replaced by one without gates */
        out->sparsity = 0;
    } else if (f->gates && out->attention == SWAN_ATTN_DENSE) {
        out->attention = SWAN_ATTN_VSA;
        out->sparsity = f->width >= 5120 ? 0.9 : 0.8;
    }
    char path[SWAN_PATH_MAX];
    SWAN_TRY(swan_path_join(f->directory ? f->directory : ".", "swan.json", path, sizeof path));
    if (!f->directory || !swan_file_exists(path)) return SWAN_OK;
    swan_config *c;
    const swan_recipe before = *out;
    SWAN_TRY(swan_config_open(path, &c));
    swan_status s = read_overrides(c, f->gates, out);
    swan_config_close(c);
    if (memcmp(&before, out, offsetof(swan_recipe, rule)) != 0) snprintf(out->rule, sizeof out->rule, "swan.json");
    return s;
}

swan_status swan_recipe_apply(const swan_params *p, bool gates, swan_recipe *r)
{
    swan_recipe before = *r;
    if (p->sampler != SWAN_UNSET_INT && (swan_sampler)p->sampler != r->sampler) {
        /* another sampler: its own steps, shift and grid, unless they are flags too */
        r->sampler = (swan_sampler)p->sampler;
        r->grid = SWAN_GRID_DEFAULT;
        r->steps = r->sampler == SWAN_SAMPLER_DMD ? dmd.steps : before.sampler == SWAN_SAMPLER_DMD ? base.steps : r->steps;
        r->shift = r->sampler == SWAN_SAMPLER_DMD ? dmd.shift : before.sampler == SWAN_SAMPLER_DMD ? base.shift : r->shift;
        if (r->sampler == SWAN_SAMPLER_DMD) r->guidance = 1;
    }
    if (p->grid != SWAN_UNSET_INT) r->grid = (swan_sched_grid)p->grid;
    if (p->steps != SWAN_UNSET_INT) r->steps = p->steps;
    if (p->shift >= 0) r->shift = p->shift;
    if (p->guidance >= 0) r->guidance = p->guidance;
    if (p->sparsity >= 0) r->sparsity = p->sparsity;
    if (p->fps != SWAN_UNSET_INT) r->fps = p->fps;
    if (p->frames != SWAN_UNSET_INT) r->frames = p->frames;
    if (p->width != SWAN_UNSET_INT) {
        r->width = p->width;
        r->height = p->height;
    }
    if (!gates && (p->attention == SWAN_ATTENTION_VSA || p->sparsity > 0))
        return SWAN_FAIL(SWAN_E_INVALID, "%s: the model has no to_gate_compress weights, so it was not trained for sparse attention",
                         p->attention == SWAN_ATTENTION_VSA ? "attention vsa" : "vsa_sparsity");
    if (gates && p->attention == SWAN_ATTENTION_DENSE) {
        if (p->sparsity > 0) return SWAN_FAIL(SWAN_E_INVALID, "attention dense and vsa_sparsity %g contradict each other", p->sparsity);
        r->sparsity = 0; /* all tiles, gates kept */
    }
    char *end = r->rule + strlen(r->rule);
    if (memcmp(&before, r, offsetof(swan_recipe, width)) != 0)
        snprintf(end, sizeof r->rule - (size_t)(end - r->rule), ", changed by flags");
    return SWAN_OK;
}
