#include "pipe/describe.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#ifdef SWAN_WITH_MEDIA
#include "media/mp4.h"
#endif

static const char *precision_name(int precision)
{
    static const char *const names[] = {"auto", "exact", "parity-bf16"};
    return names[precision];
}

/* A string of the file system, which may hold any bytes: those that are no ASCII become '?' when the whole is not UTF-8. */
static json_t *path_text(const char *path)
{
    json_t *text = json_string(path);
    if (text) return text;
    char *plain = strdup(path);
    for (char *c = plain; c && *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    text = plain ? json_string(plain) : NULL;
    free(plain);
    return text;
}

static swan_status dump(json_t *object, size_t flags, char **out)
{
    *out = object ? json_dumps(object, flags) : NULL;
    json_decref(object);
    return *out ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "JSON: out of memory");
}

swan_status swan_describe_run(const struct swan_session *s, const char *prompt, uint64_t seed, char **json)
{
    const swan_recipe *r = &s->recipe;
    const char *negative = s->guided && s->params->negative_prompt ? s->params->negative_prompt : "";
    json_t *o = json_pack(
        "{s:s, s:o, s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:s, s:s, s:i, s:f, s:f, s:s, s:f, s:s}", "swan", swan_version(), "model",
        path_text(s->engine->name), "prompt", prompt, "negative_prompt", negative, "seed", (json_int_t)seed, "width", s->size.width, "height",
        s->size.height, "num_frames", s->size.frames, "fps", s->size.fps, "sampler", swan_sampler_name(r->sampler), "sigma_grid",
        swan_sched_grid_name(r->grid), "num_inference_steps", s->sched.steps, "flow_shift", r->shift, "guidance_scale", r->guidance,
        "attention", r->attention == SWAN_ATTN_VSA ? "vsa" : "dense", "vsa_sparsity", r->sparsity, "precision",
        precision_name(s->engine->params->precision));
    if (!o) return SWAN_FAIL(SWAN_E_INVALID, "prompt: not valid UTF-8");
    return dump(o, JSON_COMPACT | JSON_REAL_PRECISION(9), json);
}

static json_t *describe_part(const swan_component *part)
{
    if (!part->ckpt) return json_null();
    return json_pack("{s:o, s:I, s:I, s:I, s:I}", "path", path_text(swan_ckpt_path(part->ckpt)), "tensors", (json_int_t)swan_ckpt_count(part->ckpt),
                     "parameters", (json_int_t)part->parameters, "mapped_bytes", (json_int_t)part->mapped_bytes, "converted_bytes",
                     (json_int_t)part->copied_bytes);
}

swan_status swan_engine_describe(const swan_engine *e, char **json)
{
    const swan_recipe *r = &e->recipe;
    const swan_wan_config *d = &e->dit.config;
    const swan_umt5_config *t = &e->umt5.config;
    json_t *kernels = json_object();
    for (int slot = 0; kernels && slot < SWAN_SLOT_COUNT; slot++) {
        const swan_kernel_row *row = swan_kernels_row(&e->kernels, (swan_slot)slot);
        char name[64];
        if (!row) continue;
        snprintf(name, sizeof name, "%s.%s", row->family, row->slot);
        json_object_set_new(kernels, name, json_string(row->variant));
    }
    json_t *o = json_pack(
        "{s:o, s:o, s:s, s:{s:s, s:s, s:s, s:i, s:f, s:f, s:s, s:f, s:i, s:i, s:i, s:i},"
        " s:{s:I, s:I, s:I, s:i, s:I, s:I, s:b, s:o}, s:{s:I, s:I, s:i, s:I, s:o}, s:o, s:o}",
        "name", path_text(e->name), "directory", path_text(e->directory), "class", e->class_name, "recipe", "rule", r->rule, "sampler",
        swan_sampler_name(r->sampler), "sigma_grid", swan_sched_grid_name(r->grid), "num_inference_steps", r->steps, "flow_shift", r->shift,
        "guidance_scale", r->guidance, "attention", r->attention == SWAN_ATTN_VSA ? "vsa" : "dense", "vsa_sparsity", r->sparsity, "width",
        r->width, "height", r->height, "num_frames", r->frames, "fps", r->fps, "transformer", "dim", (json_int_t)d->dim, "heads",
        (json_int_t)d->heads, "ffn_dim", (json_int_t)d->ffn, "layers", d->layers, "text_dim", (json_int_t)d->text_dim, "channels",
        (json_int_t)d->in_channels, "gates", d->gates, "weights", describe_part(&e->dit_part), "text_encoder", "d_model",
        (json_int_t)t->width, "heads", (json_int_t)t->heads, "layers", t->layers, "vocab", (json_int_t)t->vocab, "weights",
        describe_part(&e->text_part), "taehv", describe_part(&e->taehv_part), "kernels", kernels);
    return dump(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9), json);
}

swan_status swan_inspect(const char *path, char **json)
{
#ifdef SWAN_WITH_MEDIA
    return swan_mp4_read_comment(path, json);
#else
    *json = NULL;
    return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: this build was made without libav", path);
#endif
}

void swan_string_free(char *string) { free(string); }
