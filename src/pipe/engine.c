#include "pipe/engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/config.h"
#include "pipe/locate.h"
#include "pipe/memory.h"
#include "pipe/synthetic.h"
#include "pipe/usage.h"

/* ---- small things ---- */

void swan_engine_log(const swan_callbacks *callbacks, swan_log_level level, const char *format, ...)
{
    if (!callbacks || !callbacks->log) return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    callbacks->log(callbacks->user, level, text);
}

swan_status swan_engine_no_decoder(const swan_engine *engine)
{
    return SWAN_FAIL(SWAN_E_NOT_FOUND,
                     "%s: no decoder: wanted taew2_1.safetensors in that directory or --taehv FILE. It is published as "
                     "safetensors/taew2_1.safetensors in github.com/madebyollin/taehv; `git hash-object` of the file is "
                     "ec1a2be453a250aa406e912bb630c34463ba0b2f (commit of 2026-08 or later)", engine->directory);
}

/* ---- opening, part by part ---- */

bool swan_engine_on_host(const swan_engine *e) { return e->device.info.index == SWAN_DEVICE_HOST; }

/* The first GPU that kernels here run on and that opens; without one the host. */
static swan_status open_any_device(swan_engine *e, const swan_callbacks *callbacks)
{
    swan_device_info list[SWAN_DEVICE_MAX];
    int count = swan_device_list(list);
    for (int i = 1; i < count; i++) {
        if (!list[i].arch) continue;
        if (swan_device_open(list[i].index, &e->device) == SWAN_OK) return SWAN_OK;
        swan_engine_log(callbacks, SWAN_LOG_WARN, "%s; running on the CPU", swan_last_error());
    }
    return swan_device_open(SWAN_DEVICE_HOST, &e->device);
}

static swan_status open_device(swan_engine *e, const swan_callbacks *callbacks)
{
    const char *name = e->params->device;
    if (!name || !strcmp(name, "auto")) return open_any_device(e, callbacks);
    if (!strcmp(name, "cpu")) return swan_device_open(SWAN_DEVICE_HOST, &e->device);
    if (!strcmp(name, "cuda")) return swan_device_open(0, &e->device);
    if (!strncmp(name, "cuda:", 5) && strlen(name) < 8 && name[5] && strspn(name + 5, "0123456789") == strlen(name + 5))
        return swan_device_open((int)strtol(name + 5, NULL, 10), &e->device);
    return SWAN_FAIL(SWAN_E_INVALID, "device: wanted auto, cpu, cuda or cuda:N, found \"%s\"", name);
}

/* The items of "a.b=c,…" that are for slots of images (convolutions and image.*), or the others. */
static void choose_overrides(const char *overrides, bool images, char *out, size_t room)
{
    size_t used = 0;
    out[0] = 0;
    for (const char *at = overrides; at && *at;) {
        size_t n = strcspn(at, ",");
        bool image = !strncmp(at, "conv.", 5) || !strncmp(at, "image.", 6);
        if (n && image == images && used + n + 2 <= room) used += (size_t)snprintf(out + used, room - used, "%.*s,", (int)n, at);
        at += n + (at[n] == ',');
    }
}

static swan_status pick_kernels(swan_engine *e)
{
    unsigned arch = e->device.info.arch;
    bool exact = e->params->precision != SWAN_PRECISION_AUTO;
    e->cpu_features = swan_kernel_cpu_features();
    swan_dtype format = swan_engine_on_host(e) || exact ? SWAN_F32 : SWAN_BF16;
    const char *overrides = e->params->kernels;
    if (format == SWAN_BF16) { /* the image decoder runs in F16 */
        char images[512], others[512];
        if (overrides && strlen(overrides) > sizeof images - 2) return SWAN_FAIL(SWAN_E_INVALID, "kernels: more than %zu characters", sizeof images - 2);
        choose_overrides(overrides, true, images, sizeof images);
        choose_overrides(overrides, false, others, sizeof others);
        SWAN_TRY(swan_kernels_pick(arch, SWAN_F16, e->cpu_features, images, &e->kernels_f16));
        SWAN_TRY(swan_kernels_pick(arch, SWAN_BF16, e->cpu_features, others, &e->kernels));
        return swan_kernels_pick(arch, SWAN_F32, e->cpu_features, NULL, &e->kernels_f32);
    }
    SWAN_TRY(swan_kernels_pick(arch, SWAN_F32, e->cpu_features, overrides, &e->kernels));
    return swan_kernels_pick(arch, SWAN_F32, e->cpu_features, overrides, &e->kernels_f32);
}

/* model_index.json and, when there, scheduler, swan.json: what the recipe is chosen from. */
typedef struct model_files {
    swan_config *index, *swan, *transformer;
    double flow_shift;
    const char *taehv; /* of swan.json */
} model_files;

static void close_files(model_files *f)
{
    swan_config_close(f->index);
    swan_config_close(f->swan);
    swan_config_close(f->transformer);
}

static swan_status open_if_there(const char *directory, const char *name, swan_config **out)
{
    char path[SWAN_PATH_MAX];
    *out = NULL;
    SWAN_TRY(swan_path_join(directory, name, path, sizeof path));
    return swan_file_exists(path) ? swan_config_open(path, out) : SWAN_OK;
}

static swan_status read_files(swan_engine *e, model_files *f)
{
    char path[SWAN_PATH_MAX];
    SWAN_TRY(swan_path_join(e->directory, "model_index.json", path, sizeof path));
    if (!swan_file_exists(path))
        return SWAN_FAIL(SWAN_E_NOT_FOUND, "%s: no model_index.json: wanted a model directory in the Diffusers layout", e->directory);
    SWAN_TRY(swan_config_open(path, &f->index));
    const char *class_name = NULL;
    SWAN_TRY(swan_config_string(f->index, "_class_name", SWAN_REQUIRED, &class_name));
    if (strcmp(class_name, "WanPipeline") != 0 && strcmp(class_name, "WanDMDPipeline") != 0)
        return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: _class_name: wanted WanPipeline or WanDMDPipeline, found \"%s\"", path, class_name);
    snprintf(e->class_name, sizeof e->class_name, "%s", class_name);
    SWAN_TRY(open_if_there(e->directory, "transformer/config.json", &f->transformer));
    SWAN_TRY(open_if_there(e->directory, "swan.json", &f->swan));
    if (f->swan) {
        const char *prompt = "";
        SWAN_TRY(swan_config_string(f->swan, "taehv", SWAN_OPTIONAL, &f->taehv));
        SWAN_TRY(swan_config_string(f->swan, "default_prompt", SWAN_OPTIONAL, &prompt));
        snprintf(e->default_prompt, sizeof e->default_prompt, "%s", prompt);
    }
    swan_config *scheduler;
    SWAN_TRY(open_if_there(e->directory, "scheduler/scheduler_config.json", &scheduler));
    if (!scheduler) return SWAN_OK;
    swan_status s = swan_config_number(scheduler, "flow_shift", 0, 100, SWAN_OPTIONAL, &f->flow_shift);
    swan_config_close(scheduler);
    return s;
}

/* Loads one component twice: dry for its size, then for good. */
typedef swan_status load_function(swan_engine *e, swan_weight_loader *loader);

static swan_status load_component(swan_engine *e, swan_component *part, const int *away, swan_arena *arena, load_function *load)
{
    bool parity = e->params->precision == SWAN_PRECISION_PARITY_BF16;
    swan_weight_loader loader = {.ckpt = part->ckpt, .arena = arena, .round_bf16 = parity, .stream = &e->stream,
                                 .device = swan_engine_on_host(e) ? NULL : &e->device,
                                 .host_arena = &e->host_weights, .away = away,
                                 .bf16_matrices = parity || e->kernels.format == SWAN_BF16};
    loader.used = calloc(swan_ckpt_count(part->ckpt) + 1, 1);
    if (!loader.used) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", swan_ckpt_path(part->ckpt));
    size_t before = swan_arena_mark(arena) + swan_arena_mark(&e->host_weights);
    swan_status s = load(e, &loader);
    free(loader.used);
    part->mapped_bytes = loader.mapped_bytes;
    part->source_bytes = loader.source_bytes;
    part->copied_bytes = swan_arena_mark(arena) + swan_arena_mark(&e->host_weights) - before + swan_ckpt_copied_bytes(part->ckpt);
    part->parameters = loader.parameters;
    return s;
}

static swan_status load_text(swan_engine *e, swan_weight_loader *loader)
{
    swan_umt5_config config = e->umt5.config;
    return swan_umt5_load(&e->umt5, &config, loader);
}

static swan_status load_dit(swan_engine *e, swan_weight_loader *loader)
{
    swan_wan_config config = e->dit.config;
    return swan_wan_dit_load(&e->dit, &config, loader);
}

/* Beside bf16 activations the decoder runs in F16, as its authors do. */
static swan_status load_taehv(swan_engine *e, swan_weight_loader *loader)
{
    return e->kernels.format == SWAN_BF16 ? swan_taehv_load_merged(&e->taehv, loader, SWAN_F16) : swan_taehv_load(&e->taehv, loader);
}

/* Into this arena, and what is away into host_weights. Both may be dry. */
static swan_status load_weights(swan_engine *e, swan_arena *arena)
{
    /* the models' own parts, in the order of theirs */
    SWAN_TRY(load_component(e, &e->text_part, &e->away[SWAN_PART_TEXT_LAYERS], arena, load_text));
    SWAN_TRY(load_component(e, &e->dit_part, &e->away[SWAN_PART_BLOCKS], arena, load_dit));
    return e->taehv_part.ckpt ? load_component(e, &e->taehv_part, NULL, arena, load_taehv) : SWAN_OK;
}

static swan_status open_checkpoints(swan_engine *e, const model_files *f)
{
    char path[SWAN_PATH_MAX];
    SWAN_TRY(swan_path_join(e->directory, "tokenizer/spiece.model", path, sizeof path));
    SWAN_TRY(swan_tokenizer_open(path, &e->tokenizer));
    SWAN_TRY(swan_path_join(e->directory, "text_encoder/config.json", path, sizeof path));
    SWAN_TRY(swan_umt5_config_read(path, &e->umt5.config));
    SWAN_TRY(swan_path_join(e->directory, "text_encoder", path, sizeof path));
    SWAN_TRY(swan_ckpt_open(path, "model", &e->text_part.ckpt));

    const char *override = e->params->transformer;
    SWAN_TRY(swan_path_join(e->directory, "transformer", path, sizeof path));
    SWAN_TRY(override ? swan_ckpt_open(override, NULL, &e->dit_part.ckpt)
                      : swan_ckpt_open(path, "diffusion_pytorch_model", &e->dit_part.ckpt));
    SWAN_TRY(swan_path_join(e->directory, "transformer/config.json", path, sizeof path));
    if (f->transformer) SWAN_TRY(swan_wan_config_read(path, &e->dit.config));
    else SWAN_TRY(swan_wan_config_from_weights(e->dit_part.ckpt, &e->dit.config));

    SWAN_TRY(swan_locate_taehv(e->params->taehv, e->directory, f->taehv, e->taehv_path, sizeof e->taehv_path));
    return e->taehv_path[0] ? swan_ckpt_open(e->taehv_path, NULL, &e->taehv_part.ckpt) : SWAN_OK;
}

/* What one component says must fit the next. */
static swan_status check_fit(const swan_engine *e)
{
    if (e->umt5.config.width != e->dit.config.text_dim)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: the text encoder's d_model is %lld, the transformer's text_dim is %lld", e->directory,
                         (long long)e->umt5.config.width, (long long)e->dit.config.text_dim);
    if (e->taehv_path[0] && e->taehv.channels != e->dit.config.out_channels)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: decodes latents of %lld channels, the transformer makes %lld", e->taehv_path,
                         (long long)e->taehv.channels, (long long)e->dit.config.out_channels);
    if (e->tokenizer && swan_tokenizer_vocab(e->tokenizer) > e->umt5.config.vocab)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: the tokenizer has %d ids, the text encoder's table %lld rows", e->directory,
                         swan_tokenizer_vocab(e->tokenizer), (long long)e->umt5.config.vocab);
    return SWAN_OK;
}

/* Whether the transformer has gates, which the recipe hangs on. */
static swan_status find_gates(swan_engine *e)
{
    swan_arena dry;
    swan_arena_dry(&dry, "weights");
    return load_component(e, &e->dit_part, NULL, &dry, load_dit);
}

static swan_status choose_recipe(swan_engine *e, const model_files *f)
{
    const char *name_or_path = NULL;
    if (f->transformer) SWAN_TRY(swan_config_string(f->transformer, "_name_or_path", SWAN_OPTIONAL, &name_or_path));
    if (!name_or_path) SWAN_TRY(swan_config_string(f->index, "_name_or_path", SWAN_OPTIONAL, &name_or_path));
    swan_recipe_facts facts = {.directory = e->directory, .name_or_path = name_or_path, .class_name = e->class_name,
                               .flow_shift = f->flow_shift, .gates = e->dit.config.gates, .width = e->dit.config.dim};
    return swan_recipe_choose(&facts, &e->recipe);
}

/* Everything that is read from the model's directory, recipe included, once the weights are placed. */
static swan_status open_directory(swan_engine *e, model_files *files)
{
    SWAN_TRY(swan_locate_model(e->params->model, e->directory, sizeof e->directory));
    size_t n = strlen(e->directory);
    while (n > 1 && e->directory[n - 1] == '/') e->directory[--n] = 0;
    snprintf(e->name, sizeof e->name, "%s", swan_path_name(e->directory));
    SWAN_TRY(read_files(e, files));
    SWAN_TRY(open_checkpoints(e, files));
    e->resident_bytes = swan_usage_resident(); /* again, with the tokenizer; of the weights nothing is read yet */
    return SWAN_OK;
}

/* ---- where the weights live ---- */

/* CUDA's context, libraries, code and graphs of one process (measured on an H100: 0.53 GiB), rounded up; of these, what is there
 * before the weights are. */
#define DEVICE_OVERHEAD ((uint64_t)640 << 20)
#define CONTEXT_BYTES ((uint64_t)528 << 20)

int swan_engine_layers(const swan_engine *e, int part)
{
    switch (part) {
    case SWAN_PART_BLOCKS: return e->dit.config.layers;
    case SWAN_PART_BLOCK_TEXTS: return e->dit.config.layers / swan_wan_text_group(&e->dit);
    case SWAN_PART_TEXT_LAYERS: return e->umt5.config.layers;
    default: return 1;
    }
}

swan_weight_span swan_engine_span(const swan_engine *e, int part, int layer)
{
    if (part == SWAN_PART_TEXT_LAYERS) return swan_umt5_span(&e->umt5, layer);
    return swan_wan_span(&e->dit, part == SWAN_PART_BLOCKS ? SWAN_WAN_STEPS : SWAN_WAN_TEXTS, layer);
}

/* Bytes that may be ours on the device: of what is free, and of --vram. */
static swan_status allow_bytes(swan_engine *e, uint64_t *allowed)
{
    uint64_t free_bytes, total, vram = (uint64_t)e->params->vram, later = DEVICE_OVERHEAD - CONTEXT_BYTES;
    SWAN_TRY(e->device.backend->memory(&e->device, &free_bytes, &total));
    *allowed = free_bytes > later ? free_bytes - later : 0;
    if (!vram) return SWAN_OK;
    e->allowed_bytes = vram > DEVICE_OVERHEAD ? vram - DEVICE_OVERHEAD : 1;
    if (e->allowed_bytes < *allowed) *allowed = e->allowed_bytes;
    return SWAN_OK;
}

/* Sizes the weights, with so many layers away. */
static swan_status size_weights(swan_engine *e, const int away[SWAN_PARTS], swan_arena *dry)
{
    memcpy(e->away, away, sizeof e->away);
    swan_arena_dry(dry, "weights");
    swan_arena_dry(&e->host_weights, "streamed weights");
    return load_weights(e, dry);
}

/* What a session of the engine's own settings takes on the device, with the weights as they are sized. One that cannot be takes
 * nothing: it is refused when it is opened, not here. */
static uint64_t session_bytes(const swan_engine *e, int *steps)
{
    swan_plan plan;
    if (swan_engine_plan(e, e->params, &plan) != SWAN_OK) return 0;
    *steps = plan.steps;
    return plan.session_bytes;
}

/* The layers of a streamed part pass through the same places. All of them are away here. */
static swan_status check_alike(swan_engine *e, int part)
{
    size_t bytes = e->layer_bytes[part] = swan_engine_span(e, part, 0).bytes;
    for (int i = 1; i < swan_engine_layers(e, part); i++)
        if (swan_engine_span(e, part, i).bytes != bytes)
            return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: %s 0 and %d are stored in different types, so they cannot be streamed", e->directory,
                             swan_part_name(part), i);
    return SWAN_OK;
}

/* What each part takes, from the difference that it makes. whole: weights and session when nothing is away. */
static swan_status measure_parts(swan_engine *e, uint64_t weights, uint64_t session, int steps, swan_residency_sizes *out)
{
    swan_arena dry;
    *out = (swan_residency_sizes){.fixed_bytes = weights};
    for (int p = 0; p < SWAN_PARTS; p++) {
        int away[SWAN_PARTS] = {0};
        away[p] = swan_engine_layers(e, p);
        SWAN_TRY(size_weights(e, away, &dry));
        if (p != SWAN_PART_TEXT_TABLE) SWAN_TRY(check_alike(e, p));
        double uses = p == SWAN_PART_BLOCKS ? steps : p == SWAN_PART_TEXT_TABLE ? 0 : 1;
        out->part[p] = (swan_part_size){.layers = away[p], .bytes = (weights - dry.peak) / (uint64_t)away[p], .uses = uses};
        out->fixed_bytes -= weights - dry.peak;
    }
    for (int set = 0; set < SWAN_RESIDENCIES; set++) {
        int away[SWAN_PARTS], same = set & ~(1 << SWAN_PART_TEXT_TABLE); /* the table has no place in a session */
        for (int p = 0; p < SWAN_PARTS; p++) away[p] = set >> p & 1 ? out->part[p].layers : 0;
        out->session_bytes[set] = set == 0 ? session : out->session_bytes[same];
        if (set == 0 || same != set) continue;
        SWAN_TRY(size_weights(e, away, &dry)); /* kernels hang on how weights lie */
        out->session_bytes[set] = session_bytes(e, &steps);
    }
    return SWAN_OK;
}

static swan_status refuse(const swan_engine *e, uint64_t allowed, uint64_t all, uint64_t least)
{
    const double gib = 0x1p30;
    if (e->allowed_bytes == allowed)
        return SWAN_FAIL(SWAN_E_NOMEM, "--vram: wanted at least %lluM for these settings on %s, found %lluM: %llu MiB are CUDA's own, and "
                         "weights and session take %.2f GiB, or %.2f with every layer streamed; fewer frames or a smaller size take less",
                         (unsigned long long)((least + DEVICE_OVERHEAD + 0xFFFFF) >> 20), e->device.info.name,
                         (unsigned long long)(e->params->vram >> 20), (unsigned long long)(DEVICE_OVERHEAD >> 20), (double)all / gib,
                         (double)least / gib);
    return SWAN_FAIL(SWAN_E_NOMEM, "%s: wanted %.2f GiB for weights and session, or %.2f with every layer streamed, found %.2f free; fewer "
                     "frames or a smaller size take less", e->device.info.name, (double)all / gib, (double)least / gib, (double)allowed / gib);
}

/* All on the device when there is room; else as many layers as fit. */
static swan_status choose_residency(swan_engine *e, const swan_callbacks *callbacks, swan_arena *dry)
{
    SWAN_TRY(size_weights(e, (const int[SWAN_PARTS]){0}, dry));
    if (swan_engine_on_host(e)) return SWAN_OK;
    uint64_t allowed;
    int steps = 1;
    SWAN_TRY(allow_bytes(e, &allowed));
    if (!e->params->vram && 2 * dry->peak <= allowed) return SWAN_OK; /* planning a session takes a while */
    uint64_t session = session_bytes(e, &steps), all = dry->peak + session;
    if (all <= allowed) return SWAN_OK;
    swan_residency_sizes sizes;
    swan_residency chosen;
    SWAN_TRY(measure_parts(e, dry->peak, session, steps, &sizes));
    bool fits = swan_residency_choose(&sizes, allowed, &chosen);
    SWAN_TRY(size_weights(e, chosen.away, dry));
    if (fits) return SWAN_OK;
    swan_status refused = refuse(e, allowed, all, chosen.device_bytes);
    if (!e->plan_only) return refused;
    swan_engine_log(callbacks, SWAN_LOG_WARN, "%s", swan_last_error());
    return SWAN_OK;
}

static void log_residency(const swan_engine *e, const swan_callbacks *callbacks)
{
    char text[256] = "";
    for (int p = 0; p < SWAN_PARTS; p++) {
        size_t used = strlen(text);
        if (e->away[p] && p != SWAN_PART_TEXT_TABLE)
            snprintf(text + used, sizeof text - used, "%s%d of %d %s", used ? ", " : "", e->away[p], swan_engine_layers(e, p), swan_part_name(p));
    }
    swan_engine_log(callbacks, SWAN_LOG_INFO, "%s: streamed from %.2f GiB of host memory", text[0] ? text : swan_part_name(SWAN_PART_TEXT_TABLE),
                    (double)e->host_weights.size / 0x1p30);
}

/* Sizes first, then the memory, then the weights. */
static swan_status place_weights(swan_engine *e, const swan_callbacks *callbacks)
{
    swan_arena dry;
    SWAN_TRY(choose_residency(e, callbacks, &dry));
    SWAN_TRY(check_fit(e));
    size_t host = e->host_weights.peak;
    e->host_weights = (swan_arena){.size = host};
    e->weights = (swan_arena){.size = dry.peak};
    if (host) log_residency(e, callbacks);
    if (e->plan_only) return SWAN_OK;
    if (host) SWAN_TRY(swan_memory_reserve_staging(&e->device, "streamed weights", host, &e->host_weights));
    SWAN_TRY(swan_memory_reserve(&e->device, "weights", dry.peak, &e->weights));
    return load_weights(e, &e->weights);
}

static swan_status open_engine(swan_engine *e, const swan_callbacks *callbacks)
{
    if (!e->device.backend) SWAN_TRY(open_device(e, callbacks));
    SWAN_TRY(e->device.backend->stream_open(&e->device, &e->stream));
    e->resident_bytes = swan_usage_resident();
    e->device_base_bytes = swan_usage_device(e);
    SWAN_TRY(pick_kernels(e));
    model_files files = {0};
    bool made_up = e->params->weights == SWAN_WEIGHTS_RANDOM;
    swan_status s = made_up ? swan_synthetic_open(e) : open_directory(e, &files);
    if (!s && !made_up) s = find_gates(e);
    if (!s && !made_up) s = choose_recipe(e, &files);
    if (!s) s = place_weights(e, callbacks);
    close_files(&files);
    if (s) return s;
    swan_engine_log(callbacks, SWAN_LOG_INFO, "model %s: %.3g B parameters, recipe: %s", e->name,
                    (double)(e->text_part.parameters + e->dit_part.parameters + e->taehv_part.parameters) / 1e9, e->recipe.rule);
    return SWAN_OK;
}

swan_status swan_engine_open_on(const swan_device *device, const swan_params *params, const swan_callbacks *callbacks, swan_engine **out)
{
    *out = NULL;
    swan_engine *e = calloc(1, sizeof *e);
    if (!e) return SWAN_FAIL(SWAN_E_NOMEM, "engine: out of memory");
    if (device) e->device = *device;
    e->device_lent = device != NULL;
    swan_status s = swan_params_copy(params, &e->params);
    if (!s) s = open_engine(e, callbacks);
    if (s) {
        swan_engine_close(e);
        return s;
    }
    *out = e;
    return SWAN_OK;
}

swan_status swan_engine_open(const swan_params *params, const swan_callbacks *callbacks, swan_engine **out)
{
    return swan_engine_open_on(NULL, params, callbacks, out);
}

swan_status swan_plan_model(const swan_params *params, const swan_callbacks *callbacks, swan_plan *plan)
{
    swan_engine *e = calloc(1, sizeof *e);
    if (!e) return SWAN_FAIL(SWAN_E_NOMEM, "engine: out of memory");
    e->plan_only = true;
    swan_status s = swan_params_copy(params, &e->params);
    if (!s) s = open_engine(e, callbacks);
    if (!s) s = swan_engine_plan(e, params, plan);
    swan_engine_close(e);
    return s;
}

void swan_engine_close(swan_engine *e)
{
    if (!e) return;
    swan_tokenizer_close(e->tokenizer);
    swan_ckpt_close(e->text_part.ckpt);
    swan_ckpt_close(e->dit_part.ckpt);
    swan_ckpt_close(e->taehv_part.ckpt);
    swan_memory_release(&e->device, &e->weights);
    swan_memory_release_staging(&e->device, &e->host_weights);
    if (e->device.backend) e->device.backend->stream_close(&e->device, &e->stream);
    if (!e->device_lent) swan_device_close(&e->device);
    swan_params_free(e->params);
    free(e);
}
