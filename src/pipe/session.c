#include "pipe/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/frame_queue.h"
#include "pipe/memory.h"
#include "pipe/synthetic.h"
#include "pipe/usage.h"

/* ---- sizes ---- */

#define SIZE_STEP 16 /* 8 pixels a latent, 2 latents a token */

static int nearest_multiple(int n, int step) { return n < step ? step : (n + step / 2) / step * step; }

swan_status swan_session_sizes(const swan_recipe *r, const swan_callbacks *callbacks, swan_geometry_sizes *out)
{
    if (r->width % SIZE_STEP || r->height % SIZE_STEP)
        return SWAN_FAIL(SWAN_E_INVALID, "size: wanted multiples of %d, found %dx%d; the nearest is %dx%d", SIZE_STEP, r->width,
                         r->height, nearest_multiple(r->width, SIZE_STEP), nearest_multiple(r->height, SIZE_STEP));
    int frames = (r->frames - 1) / 4 * 4 + 1;
    if (frames != r->frames) {
        if (r->frames - frames > 2) frames += 4;
        swan_engine_log(callbacks, SWAN_LOG_WARN, "num_frames: %d is not 4n+1; making %d frames", r->frames, frames);
    }
    *out = (swan_geometry_sizes){.width = r->width, .height = r->height, .frames = frames, .fps = r->fps,
                                 .T = (frames - 1) / 4 + 1, .H = r->height / 8, .W = r->width / 8};
    out->grid = (swan_grid){out->T, out->H / 2, out->W / 2};
    if (swan_grid_tokens(out->grid) > INT32_MAX / 4)
        return SWAN_FAIL(SWAN_E_INVALID, "size: %dx%d with %d frames makes %lld tokens, more than any attention here can hold",
                         out->width, out->height, frames, (long long)swan_grid_tokens(out->grid));
    return SWAN_OK;
}

/* ---- state: the tensors that live through the phases ---- */

/* Bytes that swan_wan_text_reserve takes for a prompt of n tokens; SWAN_TEXT_TOKENS is the most. */
static swan_status text_memory_bytes(const struct swan_session *s, int64_t n, size_t *bytes)
{
    swan_arena dry;
    swan_arena_dry(&dry, "text");
    swan_ctx ctx = s->ctx;
    ctx.arena = &dry;
    swan_wan_text text;
    SWAN_TRY(swan_wan_text_reserve(&s->engine->dit, &ctx, n, &text));
    *bytes = dry.peak;
    return SWAN_OK;
}

/* Lays the state out in the context's arena: once dry, for its size, then for good. */
static swan_status lay_out(struct swan_session *s, swan_arena *arena)
{
    const swan_engine *e = s->engine;
    swan_ctx c = s->ctx;
    c.arena = arena;
    swan_state *st = &s->state;
    *st = (swan_state){0};
    int64_t rows = SWAN_TEXT_TOKENS, heads = e->umt5.config.heads, C = e->dit.config.in_channels;
    int64_t latent[4] = {C, s->size.T, s->size.H, s->size.W};
    SWAN_TRY(swan_ctx_tensor(&c, SWAN_I32, 1, &rows, "ids", &st->ids));
    SWAN_TRY(swan_ctx_tensor(&c, SWAN_I32, 1, (int64_t[]){heads * (2 * rows - 1)}, "bias ids", &st->bias_ids));
    int64_t biases[3] = {e->umt5.config.layers, heads, 2 * rows - 1};
    if (!swan_engine_on_host(e)) SWAN_TRY(swan_ctx_tensor(&c, SWAN_F32, 3, biases, "position biases", &st->biases));
    if (!swan_engine_on_host(e)) SWAN_TRY(swan_ctx_tensor(&c, SWAN_F32, 1, &rows, "key bias", &st->key_bias));
    SWAN_TRY(swan_ctx_tensor_2d(&c, rows, e->umt5.config.width, "context", &st->context));
    int64_t modulation[3] = {s->sched.steps, swan_wan_modulation_rows(&e->dit), e->dit.config.dim};
    SWAN_TRY(swan_ctx_tensor(&c, SWAN_F32, 3, modulation, "modulations", &st->modulations));
    SWAN_TRY(swan_ctx_tensor(&c, SWAN_F32, 2, modulation + 1, "modulation", &st->modulation));
    size_t bytes;
    SWAN_TRY(text_memory_bytes(s, SWAN_TEXT_TOKENS, &bytes));
    for (int i = 0; i < (s->guided ? 2 : 1); i++)
        SWAN_TRY(swan_ctx_tensor(&c, SWAN_U8, 1, (int64_t[]){(int64_t)bytes}, "text", &st->text_memory[i]));
    unsigned used = swan_sched_buffers(&s->sched);
    for (int i = 0; i < SWAN_SCHED_BUFFERS; i++)
        if (used >> i & 1) SWAN_TRY(swan_ctx_tensor(&c, SWAN_F32, 4, latent, "latent", &st->buffer[i]));
    if (s->guided) SWAN_TRY(swan_ctx_tensor(&c, SWAN_F32, 4, latent, "unguided velocity", &st->unguided));
    SWAN_TRY(swan_ctx_tensor(&c, SWAN_U8, 3, (int64_t[]){s->size.height, s->size.width, 3}, "rgb", &st->rgb));
    int64_t under_way[2] = {SWAN_FRAMES_UNDER_WAY, swan_tensor_count(&st->rgb)};
    if (!swan_engine_on_host(e)) SWAN_TRY(swan_ctx_tensor(&c, SWAN_U8, 2, under_way, "frames", &st->frames));

    swan_wan_geometry *g = &s->geometry;
    *g = (swan_wan_geometry){.grid = s->size.grid, .attention = {.kind = s->recipe.attention, .heads = e->dit.config.heads}};
    int64_t L = swan_grid_tokens(g->grid), tiles = swan_grid_tiles(g->grid);
    SWAN_TRY(swan_ctx_tensor(&c, SWAN_F32, 3, (int64_t[]){L, e->dit.config.head_dim / 2, 2}, "rope", &g->rope));
    if (g->attention.kind == SWAN_ATTN_VSA) {
        g->attention.topk = swan_grid_topk(tiles, s->recipe.sparsity);
        SWAN_TRY(swan_ctx_tensor(&c, SWAN_I32, 1, &L, "token order", &g->order));
        SWAN_TRY(swan_ctx_tensor(&c, SWAN_I32, 1, (int64_t[]){tiles + 1}, "tile starts", &g->attention.tile_start));
    }
    return SWAN_OK;
}

/* The host's buffers, laid out as the state is. */
static swan_status lay_out_staging(struct swan_session *s, swan_arena *arena)
{
    swan_staging *h = &s->staging;
    size_t latent = swan_tensor_bytes(&s->state.buffer[SWAN_SCHED_SAMPLE]), rows = SWAN_TEXT_TOKENS * sizeof(float);
    bool whole = true;
    for (int i = 0; i < (s->guided ? 2 : 1); i++) {
        whole &= (h->text[i].ids = swan_arena_alloc(arena, swan_tensor_bytes(&s->state.ids))) != NULL;
        whole &= (h->text[i].bias_ids = swan_arena_alloc(arena, swan_tensor_bytes(&s->state.bias_ids))) != NULL;
        whole &= (h->text[i].text_bias = swan_arena_alloc(arena, rows)) != NULL;
        if (s->state.key_bias.data) whole &= (h->text[i].key_bias = swan_arena_alloc(arena, rows)) != NULL;
    }
    h->noise = swan_arena_alloc(arena, latent);
    h->drawn = s->recipe.sampler == SWAN_SAMPLER_DMD ? swan_arena_alloc(arena, latent) : h->noise;
    h->rgb = swan_arena_alloc(arena, swan_tensor_bytes(&s->state.rgb));
    size_t queue = swan_frame_queue_bytes(swan_tensor_bytes(&s->state.rgb), SWAN_FRAMES_QUEUED);
    if (s->state.frames.data) whole &= (h->frames = swan_arena_alloc(arena, queue)) != NULL;
    return whole && h->noise && h->drawn && h->rgb ? SWAN_OK : SWAN_E_BUG;
}

/* Token order, tile starts and rotary table: made once on the host, then copied. */
static swan_status fill_geometry(struct swan_session *s)
{
    swan_wan_geometry *g = &s->geometry;
    int32_t *order = NULL, *starts = NULL;
    float *rope = malloc(swan_tensor_bytes(&g->rope));
    bool tiled = g->order.data != NULL;
    if (tiled) {
        order = malloc(swan_tensor_bytes(&g->order));
        starts = malloc(swan_tensor_bytes(&g->attention.tile_start));
    }
    swan_status status = rope && (!tiled || (order && starts)) ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "session: out of memory");
    if (!status && tiled) {
        swan_grid_tile_order(g->grid, order, starts);
        status = swan_memory_upload(&s->ctx, &g->order, order);
        if (!status) status = swan_memory_upload(&s->ctx, &g->attention.tile_start, starts);
    }
    if (!status) {
        swan_wan_rope(g->grid, s->engine->dit.config.head_dim, order, rope);
        status = swan_memory_upload(&s->ctx, &g->rope, rope);
    }
    swan_status drained = s->engine->device.backend->synchronise(&s->stream); /* what is freed below has been copied */
    free(rope);
    free(order);
    free(starts);
    return status ? status : drained;
}

/* The modulation of one step in the table of all. */
static swan_tensor modulation_of(const struct swan_session *s, int step)
{
    const swan_tensor *all = &s->state.modulations;
    return swan_tensor_2d((float *)all->data + step * all->ne[1] * all->ne[2], SWAN_F32, all->ne[1], all->ne[2]);
}

/* One timestep after the other, so that a step's numbers do not depend on how many there are. */
static swan_status fill_modulations(struct swan_session *s)
{
    for (int i = 0; i < s->sched.steps; i++) {
        swan_tensor out = modulation_of(s, i);
        SWAN_TRY(swan_wan_modulation_run(&s->engine->dit, &s->ctx, s->sched.timestep[i], &out));
    }
    return SWAN_OK;
}

/* ---- layers that are away ---- */

swan_status swan_session_reserve_places(struct swan_session *s, int part)
{
    swan_layer_stream *l = &s->away[part];
    size_t room = swan_layer_stream_room(l->away, l->bytes);
    swan_tensor places;
    if (!room) return SWAN_OK;
    /* arenas align to less */
    SWAN_TRY(swan_ctx_tensor(&s->ctx, SWAN_U8, 1, (int64_t[]){(int64_t)(room + SWAN_STREAM_ALIGN)}, "places of layers", &places));
    swan_layer_stream_place(l, (void *)(((uintptr_t)places.data + SWAN_STREAM_ALIGN - 1) / SWAN_STREAM_ALIGN * SWAN_STREAM_ALIGN));
    return SWAN_OK;
}

static swan_status take_layer(void *user, int i, ptrdiff_t *shift)
{
    SWAN_TRY(swan_layer_stream_take(user, i));
    *shift = swan_layer_stream_shift(user, i);
    return SWAN_OK;
}

swan_weight_fetch swan_session_fetch(struct swan_session *s, int part) { return (swan_weight_fetch){take_layer, &s->away[part]}; }

swan_status swan_session_settle(struct swan_session *s)
{
    const swan_backend *backend = s->engine->device.backend;
    SWAN_TRY(backend->synchronise(&s->stream));
    return s->copies.cuda ? backend->synchronise(&s->copies) : SWAN_OK;
}

/* What the engine decided, as a session sees it; nothing of the device yet. */
static void describe_layers(struct swan_session *s)
{
    const swan_engine *e = s->engine;
    for (int p = 0; p < SWAN_PARTS; p++) {
        swan_layer_stream *l = &s->away[p];
        if (!e->away[p] || p == SWAN_PART_TEXT_TABLE) continue;
        *l = (swan_layer_stream){.layers = swan_engine_layers(e, p), .away = e->away[p], .bytes = e->layer_bytes[p]};
        for (int i = 0, k = 0; i < l->layers; i++)
            if (swan_weights_is_away(i, l->away, l->layers)) l->from[k++] = swan_engine_span(e, p, i).first;
    }
}

static swan_status open_layers(struct swan_session *s)
{
    const swan_device *d = &s->engine->device;
    bool any = false;
    for (int p = 0; p < SWAN_PARTS; p++) any |= s->away[p].away > 0;
    if (!any) return SWAN_OK;
    SWAN_TRY(d->backend->stream_open(d, &s->copies));
    for (int p = 0; p < SWAN_PARTS; p++) SWAN_TRY(swan_layer_stream_open(&s->away[p], d, &s->stream, &s->copies));
    return SWAN_OK;
}

/* ---- the phases; the text's are in text.c ---- */

swan_status swan_session_set_modulation(struct swan_session *s, int i)
{
    if (s->ctx.mode == SWAN_DRY) return SWAN_OK;
    swan_tensor of_step = modulation_of(s, i);
    return s->engine->device.backend->copy(&s->stream, s->state.modulation.data, of_step.data, swan_tensor_bytes(&of_step));
}

swan_status swan_session_denoise_step(struct swan_session *s, int i)
{
    swan_tensor *velocity = &s->state.buffer[SWAN_SCHED_VELOCITY];
    double g = s->recipe.guidance;
    swan_segments_begin_step(s);
    SWAN_TRY(swan_session_set_modulation(s, i));
    SWAN_TRY(swan_segments_pass(s, SWAN_POSITIVE, velocity));
    if (!s->guided) return SWAN_OK;
    SWAN_TRY(swan_segments_pass(s, SWAN_NEGATIVE, &s->state.unguided));
    const swan_tensor *const both[] = {velocity, &s->state.unguided}; /* v_u + g (v_c - v_u) */
    return swan_op_combine(&s->ctx, 2, (double[]){g, 1 - g}, both, s->ctx.parity_bf16, velocity);
}

swan_status swan_session_update(struct swan_session *s, int i)
{
    swan_sched_update update[SWAN_SCHED_MAX_UPDATES];
    int count = swan_sched_step(&s->sched, i, update);
    for (int k = 0; k < count; k++) {
        const swan_tensor *source[SWAN_SCHED_MAX_TERMS];
        double coefficient[SWAN_SCHED_MAX_TERMS];
        for (int t = 0; t < update[k].terms; t++) {
            source[t] = &s->state.buffer[update[k].term[t].source];
            coefficient[t] = update[k].term[t].coefficient;
        }
        /* the reference keeps the samples of its distilled models in bf16 */
        bool round = s->ctx.parity_bf16 && s->recipe.sampler == SWAN_SAMPLER_DMD;
        SWAN_TRY(swan_op_combine(&s->ctx, update[k].terms, coefficient, source, round, &s->state.buffer[update[k].target]));
    }
    return SWAN_OK;
}

swan_status swan_session_decode(struct swan_session *s, const swan_taehv_sink *sink)
{
    return swan_taehv_decode(&s->engine->taehv, &s->ctx, &s->state.buffer[SWAN_SCHED_SAMPLE], sink);
}

/* ---- measuring ---- */

static swan_status dry_frame(void *user, swan_ctx *ctx, int64_t index, const swan_tensor *frame)
{
    (void)index;
    struct swan_session *s = user;
    return swan_op_rgb8(ctx, frame, &s->state.rgb);
}

static void end_phase(struct swan_session *s, const char *name, uint64_t weights, swan_plan_phase *out)
{
    if (s->activations.peak > out->activation_bytes) out->activation_bytes = s->activations.peak;
    out->name = name;
    out->weight_bytes = weights;
    out->launches = s->ctx.counters.launches;
    out->flops = s->ctx.counters.flops;
    out->bytes = s->ctx.counters.bytes;
    swan_arena_dry(&s->activations, "activations");
    s->ctx.counters = (swan_counters){0};
}

static swan_status dry_text(struct swan_session *s, int64_t tokens)
{
    for (int which = 0; which < (s->guided ? 2 : 1); which++) SWAN_TRY(swan_session_encode_tokens(s, which, tokens));
    return SWAN_OK;
}

static swan_status dry_denoise(struct swan_session *s)
{
    for (int i = 0; i < s->sched.steps; i++) {
        SWAN_TRY(swan_session_denoise_step(s, i));
        SWAN_TRY(swan_session_update(s, i));
    }
    return SWAN_OK;
}

/* Prompt lengths whose scratch may differ: kernels choose by size. Each one is run dry, so the peak covers them all. */
static swan_status measure_other_lengths(struct swan_session *s, swan_plan *plan)
{
    swan_sched whole = s->sched;
    s->sched.steps = 1;
    swan_status status = SWAN_OK;
    bool padded = !swan_engine_on_host(s->engine);
    for (int64_t n = 1; n < SWAN_TEXT_TOKENS && !status; n++) {
        if (padded && !swan_session_shape_ends(n)) continue;
        swan_plan_phase ignored = {0};
        status = dry_text(s, n);
        ignored.activation_bytes = plan->phase[SWAN_PLAN_TEXT].activation_bytes;
        end_phase(s, "text", 0, &ignored);
        plan->phase[SWAN_PLAN_TEXT].activation_bytes = ignored.activation_bytes;
        if (!status && (padded || (n & (n - 1)) == 0)) { /* denoising sees the prompt only as keys: powers of two stand for all */
            status = dry_denoise(s);
            ignored.activation_bytes = plan->phase[SWAN_PLAN_DENOISE].activation_bytes;
            end_phase(s, "denoise", 0, &ignored);
            plan->phase[SWAN_PLAN_DENOISE].activation_bytes = ignored.activation_bytes;
        }
    }
    s->sched = whole;
    return status;
}

/* Where the weights live, and what crosses the bus for it. */
static void plan_residency(const struct swan_session *s, swan_plan *plan)
{
    const swan_engine *e = s->engine;
    uint64_t passes = s->guided ? 2 : 1, of_part[SWAN_PARTS];
    for (int p = 0; p < SWAN_PARTS; p++) of_part[p] = passes * (uint64_t)s->away[p].away * s->away[p].bytes;
    plan->host_weight_bytes = e->host_weights.size;
    plan->blocks = e->dit.config.layers;
    plan->blocks_streamed = e->away[SWAN_PART_BLOCKS];
    plan->text_layers = e->umt5.config.layers;
    plan->text_layers_streamed = e->away[SWAN_PART_TEXT_LAYERS];
    plan->prompt_bus_bytes = of_part[SWAN_PART_TEXT_LAYERS] + of_part[SWAN_PART_BLOCK_TEXTS];
    plan->step_bus_bytes = of_part[SWAN_PART_BLOCKS];
}

swan_status swan_session_measure(struct swan_session *s, int64_t tokens, swan_plan *plan)
{
    const swan_engine *e = s->engine;
    *plan = (swan_plan){.width = s->size.width, .height = s->size.height, .frames = s->size.frames, .fps = s->size.fps,
                        .steps = s->sched.steps, .tokens = (int)swan_grid_tokens(s->size.grid)};
    swan_arena state, staging;
    swan_arena_dry(&state, "state");
    swan_arena_dry(&staging, "staging");
    s->ctx = (swan_ctx){.mode = SWAN_DRY, .kernels = &e->kernels, .kernels_f32 = &e->kernels_f32,
                        .kernels_f16 = &e->kernels_f16, .device = &e->device,
                        .stream = &s->stream, .arena = &s->activations,
                        .parity_bf16 = e->params->precision == SWAN_PRECISION_PARITY_BF16};
    SWAN_TRY(lay_out(s, &state));
    SWAN_TRY(lay_out_staging(s, &staging));
    swan_arena_dry(&s->activations, "activations");
    swan_plan_phase at_open = {0};
    SWAN_TRY(fill_modulations(s));
    end_phase(s, "open", 0, &at_open);
    if (!tokens) SWAN_TRY(measure_other_lengths(s, plan));
    SWAN_TRY(dry_text(s, tokens ? tokens : SWAN_TEXT_TOKENS));
    end_phase(s, "text", e->text_part.mapped_bytes + e->text_part.copied_bytes, &plan->phase[SWAN_PLAN_TEXT]);
    SWAN_TRY(dry_denoise(s));
    end_phase(s, "denoise", e->dit_part.mapped_bytes + e->dit_part.copied_bytes, &plan->phase[SWAN_PLAN_DENOISE]);
    plan->phase_count = 2;
    if (e->taehv_path[0]) {
        SWAN_TRY(swan_session_decode(s, &(swan_taehv_sink){dry_frame, s}));
        end_phase(s, "decode", e->taehv_part.mapped_bytes + e->taehv_part.copied_bytes, &plan->phase[SWAN_PLAN_DECODE]);
        plan->phase_count = 3;
    }
    uint64_t most = at_open.activation_bytes;
    for (int i = 0; i < plan->phase_count; i++)
        if (plan->phase[i].activation_bytes > most) most = plan->phase[i].activation_bytes;
    plan->mapped_bytes = e->text_part.mapped_bytes + e->dit_part.mapped_bytes + e->taehv_part.mapped_bytes;
    plan->arena_bytes = e->weights.size;
    plan->session_bytes = state.peak + most;
    plan->state_bytes = state.peak;
    plan->staging_bytes = staging.peak;
    plan_residency(s, plan);
    return SWAN_OK;
}

/* ---- open and close ---- */

/* Everything but memory: recipe, schedule, sizes, threads. */
static swan_status prepare(struct swan_session *s, swan_engine *engine, const swan_params *params)
{
    s->engine = engine;
    s->recipe = engine->recipe;
    SWAN_TRY(swan_params_copy(params, &s->params));
    SWAN_TRY(swan_recipe_apply(params, engine->dit.config.gates, &s->recipe));
    s->guided = s->recipe.guidance > 1;
    swan_sched_config config = {.sampler = s->recipe.sampler, .grid = s->recipe.grid, .steps = s->recipe.steps, .shift = s->recipe.shift};
    SWAN_TRY(swan_sched_init(&s->sched, &config));
    SWAN_TRY(swan_session_sizes(&s->recipe, &s->callbacks, &s->size));
    SWAN_TRY(swan_pool_open(params->threads, &s->pool));
    describe_layers(s);
    atomic_init(&s->cancel, false);
    s->stream = (swan_stream){.pool = s->pool, .cancel = &s->cancel};
    const swan_device *d = &engine->device;
    SWAN_TRY(d->backend->use(d));
    for (int i = 0; i < SWAN_MARKS; i++) SWAN_TRY(d->backend->event_open(d, &s->mark[i]));
    return d->backend->stream_open(d, &s->stream);
}

/* A session may be larger than the one that the engine made room for. */
static swan_status check_allowed(const struct swan_session *s, const swan_plan *plan)
{
    const swan_engine *e = s->engine;
    uint64_t wanted = e->weights.size + plan->session_bytes;
    if (swan_engine_on_host(e) || !e->allowed_bytes || wanted <= e->allowed_bytes) return SWAN_OK;
    return SWAN_FAIL(SWAN_E_NOMEM, "--vram: wanted %.1f MiB on %s for weights and a session of %dx%d with %d frames, found %.1f; open the "
                     "engine with these settings, or ask for fewer frames or a smaller size", (double)wanted / 0x1p20, e->device.info.name,
                     s->size.width, s->size.height, s->size.frames, (double)e->allowed_bytes / 0x1p20);
}

static swan_status reserve(struct swan_session *s)
{
    swan_plan plan;
    SWAN_TRY(swan_session_measure(s, 0, &plan));
    for (int i = 0; i < plan.phase_count; i++) s->total_flops += s->phase_flops[i] = plan.phase[i].flops;
    const swan_device *device = &s->engine->device;
    SWAN_TRY(check_allowed(s, &plan));
    SWAN_TRY(swan_memory_reserve(device, "session state", plan.state_bytes, &s->state_arena));
    SWAN_TRY(swan_memory_reserve(device, "activations", plan.session_bytes - plan.state_bytes, &s->activations));
    SWAN_TRY(swan_memory_reserve_staging(device, "staging", plan.staging_bytes, &s->staging_arena));
    SWAN_TRY(lay_out(s, &s->state_arena));
    SWAN_TRY(lay_out_staging(s, &s->staging_arena));
    if (s->staging.frames) SWAN_TRY(swan_frame_ring_open(&s->ring, device));
    SWAN_TRY(open_layers(s));
    s->ctx.mode = SWAN_RUN;
    /* the warm-up reads what a request would have written */
    if (!swan_engine_on_host(s->engine)) SWAN_TRY(device->backend->fill(&s->stream, s->state_arena.base, 0, s->state_arena.size));
    SWAN_TRY(fill_geometry(s));
    SWAN_TRY(fill_modulations(s));
    SWAN_TRY(swan_text_open(s));
    s->ctx.counters = (swan_counters){0};
    s->activations.peak = s->activations.used;
    return swan_segments_open(s);
}

swan_status swan_session_open(swan_engine *engine, const swan_params *params, const swan_callbacks *callbacks, swan_session **out)
{
    *out = NULL;
    swan_session *s = calloc(1, sizeof *s);
    if (!s) return SWAN_FAIL(SWAN_E_NOMEM, "session: out of memory");
    if (callbacks) s->callbacks = *callbacks;
    swan_status status = prepare(s, engine, params);
    if (!status && !engine->taehv_path[0]) status = swan_engine_no_decoder(engine);
    if (!status) status = reserve(s);
    if (status) {
        swan_session_close(s);
        return status;
    }
    *out = s;
    return SWAN_OK;
}

void swan_session_close(swan_session *s)
{
    if (!s) return;
    const swan_device *device = &s->engine->device;
    (void)device->backend->use(device); /* a fault does not keep us from giving back what is the host's */
    swan_segments_close(s);
    for (int p = 0; p < SWAN_PARTS; p++) swan_layer_stream_close(&s->away[p]);
    for (int i = 0; i < SWAN_MARKS; i++) device->backend->event_close(device, &s->mark[i]);
    swan_frame_ring_close(&s->ring);
    if (s->activations.base) swan_memory_release(device, &s->activations);
    swan_memory_release(device, &s->state_arena);
    swan_memory_release_staging(device, &s->staging_arena);
    device->backend->stream_close(device, &s->copies);
    device->backend->stream_close(device, &s->stream);
    swan_pool_close(s->pool);
    swan_params_free(s->params);
    free(s);
}

void swan_session_cancel(swan_session *s) { atomic_store(&s->cancel, true); }

/* The phases for a prompt of n tokens, and the memory that such a prompt leaves untouched of what is reserved for any. */
static swan_status measure_prompt(struct swan_session *s, int64_t n, swan_plan *plan, uint64_t *untouched)
{
    swan_plan at_n;
    size_t most, used;
    SWAN_TRY(swan_session_measure(s, n, &at_n));
    SWAN_TRY(text_memory_bytes(s, SWAN_TEXT_TOKENS, &most));
    SWAN_TRY(text_memory_bytes(s, n, &used));
    *untouched = plan->session_bytes - at_n.session_bytes + (s->guided ? 2 : 1) * (most - used);
    memcpy(plan->phase, at_n.phase, sizeof plan->phase);
    return SWAN_OK;
}

static swan_status make_plan(struct swan_session *s, swan_plan *plan)
{
    uint64_t untouched = 0;
    SWAN_TRY(swan_session_measure(s, 0, plan));
    if (s->params->prompt) {
        int32_t ids[SWAN_TEXT_TOKENS];
        int n = 0;
        SWAN_TRY(swan_session_tokenize(s->engine, s->params->prompt, ids, &n));
        SWAN_TRY(measure_prompt(s, n, plan, &untouched));
        plan->prompt_tokens = n;
    }
    swan_usage_predict(s, untouched, plan);
    return SWAN_OK;
}

swan_status swan_engine_plan(const swan_engine *engine, const swan_params *params, swan_plan *plan)
{
    swan_session *s = calloc(1, sizeof *s);
    if (!s) return SWAN_FAIL(SWAN_E_NOMEM, "plan: out of memory");
    /* the engine is only read: a session holds it without const because generating reports through it */
    swan_status status = prepare(s, (swan_engine *)(uintptr_t)engine, params);
    if (!status) status = make_plan(s, plan);
    swan_session_close(s);
    return status;
}
