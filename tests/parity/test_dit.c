/* Wan's transformer against diffusers' WanTransformer3DModel, dense and with VSA.
 * Fixtures: tools/fixtures/dit.py and vsa.py. */
#include <jansson.h>
#include <unistd.h>

#include "model/umt5.h"
#include "model/wan_dit.h"
#include "parity.h"

/* The reference in fp32 is up to 5.1e-6 from fp64 (dit.py and vsa.py print it; most of it is the fp32 angle of the
 * timestep's sinusoid, 757 radians to 24 bits). Ours may be as far off on the other side, and as much is left for orders of
 * summation. */
#define BOUND 2e-5

typedef struct dit {
    swan_ckpt *ckpt;
    swan_arena weights;
    swan_wan_dit model;
} dit;

/* config from directory, weights from path (a directory or file). */
static void dit_open(dit *d, const char *directory, const char *path)
{
    char config_path[256];
    swan_wan_config config;
    snprintf(config_path, sizeof config_path, "%s/config.json", directory);
    assert_ok(swan_wan_config_read(config_path, &config));
    assert_ok(swan_ckpt_open(path, NULL, &d->ckpt));
    uint8_t *used = calloc(swan_ckpt_count(d->ckpt), 1);
    assert_non_null(used);
    swan_weight_loader loader = {.ckpt = d->ckpt, .used = used};
    PARITY_BIND(loader, d->weights, swan_wan_dit_load(&d->model, &config, &loader));
    free(used);
}

static void dit_close(dit *d)
{
    swan_arena_free(&d->weights);
    swan_ckpt_close(d->ckpt);
}

/* One prediction and what to watch in it. */
typedef struct call {
    const dit *model;
    const swan_tensor *latent, *context;
    double timestep;
    bool vsa;
    int64_t topk;    /* 0: from sparsity */
    double sparsity;
    bool plain_text; /* all 512 text rows as they are, none standing for others */
    unsigned features;
} call;

/* Follows the trace: the residual stream behind every block, and the rotated q and k of every block. */
typedef struct watch {
    int64_t tokens, dim;
    void *residual;
    int writes, blocks;
    float *block[2], *q[2], *k[2];
} watch;

static void keep(float **at, const swan_tensor *t)
{
    *at = malloc(swan_tensor_bytes(t));
    assert_non_null(*at);
    memcpy(*at, t->data, swan_tensor_bytes(t));
}

static void record(void *user, const swan_kernel_row *row, const swan_tensor *out, double seconds)
{
    watch *w = user;
    (void)seconds;
    if (out->name && strcmp(out->name, "residual") == 0 && !w->residual) w->residual = out->data;
    if (out->data == w->residual && strcmp(row->family, "linear") == 0) {
        /* the patch embedding, then attention, cross-attention and feed-forward of each block */
        if (++w->writes > 1 && (w->writes - 1) % 3 == 0 && w->blocks < 2) keep(&w->block[w->blocks++], out);
    }
    if (out->name && strcmp(row->slot, "rms") == 0 && w->blocks < 2) {
        if (strcmp(out->name, "self.q") == 0) keep(&w->q[w->blocks], out);
        if (strcmp(out->name, "self.k") == 0) keep(&w->k[w->blocks], out);
    }
}

static void watch_free(watch *w)
{
    for (int i = 0; i < 2; i++) {
        free(w->block[i]);
        free(w->q[i]);
        free(w->k[i]);
    }
}

typedef struct geometry {
    swan_wan_geometry g;
    int32_t *order, *start;
    float *rope;
    int64_t tiles;
} geometry;

static void geometry_open(geometry *s, const call *c)
{
    swan_grid grid = {c->latent->ne[1], c->latent->ne[2] / 2, c->latent->ne[3] / 2};
    int64_t L = swan_grid_tokens(grid), half = c->model->model.config.head_dim / 2;
    s->tiles = swan_grid_tiles(grid);
    s->order = malloc((size_t)L * sizeof *s->order);
    s->start = malloc((size_t)(s->tiles + 1) * sizeof *s->start);
    s->rope = malloc((size_t)(L * half * 2) * sizeof *s->rope);
    assert_true(s->order && s->start && s->rope);
    swan_grid_tile_order(grid, s->order, s->start);
    swan_wan_rope(grid, 2 * half, c->vsa ? s->order : NULL, s->rope);
    s->g = (swan_wan_geometry){.grid = grid, .rope = swan_tensor_3d(s->rope, SWAN_F32, L, half, 2)};
    s->g.attention = (swan_self_attention){.kind = SWAN_ATTN_DENSE, .heads = c->model->model.config.heads};
    if (!c->vsa) return;
    s->g.order = swan_tensor_1d(s->order, SWAN_I32, L);
    s->g.attention.kind = SWAN_ATTN_VSA;
    s->g.attention.topk = c->topk ? c->topk : swan_grid_topk(s->tiles, c->sparsity);
    s->g.attention.tile_start = swan_tensor_1d(s->start, SWAN_I32, s->tiles + 1);
}

static void geometry_close(geometry *s)
{
    free(s->order);
    free(s->start);
    free(s->rope);
}

static swan_status pass(const call *c, swan_ctx *ctx, const geometry *s, const float *rows, float *velocity)
{
    const swan_wan_dit *m = &c->model->model;
    int64_t n = c->plain_text ? SWAN_TEXT_TOKENS : c->context->ne[0];
    swan_wan_text text;
    SWAN_TRY(swan_wan_text_reserve(m, ctx, n, &text));
    assert_int_equal(text.rows, c->plain_text ? n : n + 1);
    if (ctx->mode != SWAN_DRY) swan_wan_text_bias(n, text.rows, text.bias.data);
    swan_tensor context = swan_tensor_2d((void *)rows, SWAN_F32, text.rows, m->config.text_dim);
    SWAN_TRY(swan_wan_text_run(m, ctx, &context, NULL, &text));
    swan_tensor v = *c->latent;
    v.data = velocity;
    swan_tensor modulation;
    SWAN_TRY(swan_ctx_tensor(ctx, SWAN_F32, 2, (int64_t[]){swan_wan_modulation_rows(m), m->config.dim}, "modulation", &modulation));
    SWAN_TRY(swan_wan_modulation_run(m, ctx, c->timestep, &modulation));
    return swan_wan_dit_forward(m, ctx, &(swan_wan_step){.geometry = &s->g, .text = &text, .modulation = &modulation}, c->latent, &v);
}

/* The velocity, from malloc. w may be NULL. */
static float *predict(const call *c, watch *w)
{
    parity_run r;
    geometry s;
    parity_open(&r, c->features);
    geometry_open(&s, c);
    swan_trace trace = {.record = record, .user = w};
    float *velocity = malloc(swan_tensor_bytes(c->latent));
    /* the rows behind the prompt's are zero */
    float *rows = calloc((size_t)(SWAN_TEXT_TOKENS * c->context->ne[1]), sizeof *rows);
    assert_true(velocity && rows);
    memcpy(rows, c->context->data, swan_tensor_bytes(c->context));
    assert_ok(pass(c, &r.ctx, &s, rows, velocity));
    uint64_t planned = r.ctx.counters.launches;
    parity_reserve(&r);
    r.ctx.counters = (swan_counters){0};
    if (w) {
        r.ctx.mode = SWAN_TRACE;
        r.ctx.trace = &trace;
    }
    assert_ok(pass(c, &r.ctx, &s, rows, velocity));
    assert_int_equal(r.ctx.counters.launches, planned);
    free(rows);
    geometry_close(&s);
    parity_close(&r);
    return velocity;
}

/* Rows of a stream in tile order, brought to raster order. */
static float *to_raster(const float *x, const int32_t *order, int64_t rows, int64_t dim)
{
    float *y = malloc((size_t)(rows * dim) * sizeof *y);
    assert_non_null(y);
    for (int64_t l = 0; l < rows; l++) memcpy(y + order[l] * dim, x + l * dim, (size_t)dim * sizeof *y);
    return y;
}

static void check_blocks(const call *c, const watch *w, const char *folder)
{
    geometry s;
    geometry_open(&s, c);
    assert_int_equal(w->blocks, 2);
    for (int i = 0; i < 2; i++) {
        char name[64], what[64];
        snprintf(name, sizeof name, "%s/block_%d.npy", folder, i);
        swan_tensor want = parity_load(name);
        float *raster = c->vsa ? to_raster(w->block[i], s.order, want.ne[0], want.ne[1]) : NULL;
        snprintf(what, sizeof what, "  behind block %d", i);
        parity_expect(what, raster ? raster : w->block[i], &want, BOUND);
        free(raster);
        free(want.data);
    }
    geometry_close(&s);
}

static void dense(void **state)
{
    (void)state;
    dit d;
    dit_open(&d, PARITY_DATA "wan-tiny/transformer", PARITY_DATA "wan-tiny/transformer");
    assert_false(d.model.config.gates);
    swan_tensor latent = parity_load("dit/latent.npy"), context = parity_load("dit/context.npy");
    const int timesteps[] = {757, 999};
    for (int i = 0; i < 2; i++)
        for (unsigned fast = 0; fast < 2; fast++) {
            char name[64], what[64];
            snprintf(name, sizeof name, "dit/velocity_%d.npy", timesteps[i]);
            snprintf(what, sizeof what, "dense t = %d, %s", timesteps[i], fast ? "fast" : "portable");
            swan_tensor want = parity_load(name);
            call c = {.model = &d, .latent = &latent, .context = &context, .timestep = timesteps[i],
                      .features = fast ? ~0u : 0};
            watch w = {0};
            float *got = predict(&c, &w);
            if (timesteps[i] == 757) check_blocks(&c, &w, "dit");
            parity_expect(what, got, &want, BOUND);
            watch_free(&w);
            free(got);
            free(want.data);
        }
    free(latent.data);
    free(context.data);
    dit_close(&d);
}

/* One row with a log-count bias stands for the zero rows behind the prompt: the same sum in another order. */
static void zero_rows_collapse(void **state)
{
    (void)state;
    dit d;
    dit_open(&d, PARITY_DATA "wan-tiny/transformer", PARITY_DATA "wan-tiny/transformer");
    swan_tensor latent = parity_load("dit/latent.npy"), context = parity_load("dit/context.npy");
    swan_tensor want = parity_load("dit/velocity_757.npy");
    call c = {.model = &d, .latent = &latent, .context = &context, .timestep = 757, .features = ~0u};
    float *collapsed = predict(&c, NULL);
    c.plain_text = true;
    float *plain = predict(&c, NULL);
    parity_expect("all 512 text rows", plain, &want, BOUND);
    swan_tensor reference = want;
    reference.data = plain;
    parity_expect("one row for the zero rows", collapsed, &reference, 3e-6); /* two fp32 evaluations of the same sums */
    free(collapsed);
    free(plain);
    free(latent.data);
    free(context.data);
    free(want.data);
    dit_close(&d);
}

/* What each query tile selects, from the q and k that the forward pass used. */
static void check_picks(const call *c, const watch *w, const char *name)
{
    swan_tensor want = parity_load(name); /* i32 [layer, head, tile, k], ascending */
    geometry s;
    geometry_open(&s, c);
    int64_t L = swan_grid_tokens(s.g.grid), D = c->model->model.config.dim;
    int64_t heads = s.g.attention.heads, k = s.g.attention.topk;
    assert_int_equal(want.ne[3], k);
    for (int i = 0; i < 2; i++) {
        parity_run r;
        parity_open(&r, c->features);
        int32_t *picked = malloc((size_t)(heads * s.tiles * k) * sizeof *picked);
        assert_non_null(picked);
        for (int wet = 0; wet < 2; wet++) {
            swan_tensor q = swan_tensor_2d(w->q[i], SWAN_F32, L, D), qc, kc, out;
            swan_tensor key = swan_tensor_2d(w->k[i], SWAN_F32, L, D);
            swan_tensor index = swan_tensor_3d(picked, SWAN_I32, heads, s.tiles, k);
            swan_attention how = {.heads = heads, .scale = 1.0f / sqrtf((float)(D / heads))};
            assert_ok(swan_ctx_tensor_2d(&r.ctx, s.tiles, D, "qc", &qc));
            assert_ok(swan_ctx_tensor_2d(&r.ctx, s.tiles, D, "kc", &kc));
            assert_ok(swan_ctx_tensor_2d(&r.ctx, s.tiles, D, "out", &out));
            assert_ok(swan_op_vsa_pool(&r.ctx, &q, 0, &s.g.attention.tile_start, &qc));
            assert_ok(swan_op_vsa_pool(&r.ctx, &key, 0, &s.g.attention.tile_start, &kc));
            assert_ok(swan_op_vsa_coarse(&r.ctx, &how, &(swan_qkv){.q = qc, .k = kc, .v = kc}, &out, &index));
            if (!wet) parity_reserve(&r);
        }
        const int32_t *expected = (const int32_t *)want.data + i * heads * s.tiles * k;
        for (int64_t row = 0; row < heads * s.tiles; row++)
            for (int64_t j = 0; j < k; j++) {
                int found = 0;
                for (int64_t n = 0; n < k; n++) found += picked[row * k + n] == expected[row * k + j];
                if (found != 1) fail_msg("block %d, head %lld, tile %lld: tile %d is not selected once", i,
                                         (long long)(row / s.tiles), (long long)(row % s.tiles), expected[row * k + j]);
            }
        free(picked);
        parity_close(&r);
    }
    geometry_close(&s);
    free(want.data);
}

static void vsa(void **state)
{
    (void)state;
    dit d;
    dit_open(&d, PARITY_DATA "fastwan-tiny/transformer", PARITY_DATA "fastwan-tiny/transformer");
    assert_true(d.model.config.gates);
    swan_tensor latent = parity_load("vsa/latent.npy"), context = parity_load("vsa/context.npy");
    const int percent[] = {0, 50, 80};
    for (int i = 0; i < 3; i++)
        for (unsigned fast = 0; fast < 2; fast++) {
            char name[64], what[64];
            snprintf(name, sizeof name, "vsa/velocity_%02d.npy", percent[i]);
            snprintf(what, sizeof what, "vsa %d %%, %s", percent[i], fast ? "fast" : "portable");
            swan_tensor want = parity_load(name);
            call c = {.model = &d, .latent = &latent, .context = &context, .timestep = 757, .vsa = true,
                      .sparsity = percent[i] / 100.0, .features = fast ? ~0u : 0};
            watch w = {0};
            float *got = predict(&c, &w);
            snprintf(name, sizeof name, "vsa/picks_%02d.npy", percent[i]);
            if (percent[i]) check_picks(&c, &w, name);
            if (percent[i] == 80) check_blocks(&c, &w, "vsa");
            parity_expect(what, got, &want, BOUND);
            watch_free(&w);
            free(got);
            free(want.data);
        }
    free(latent.data);
    free(context.data);
    dit_close(&d);
}

/* Each of these is a mistake somebody could make; the bound must see it. */
static void mistakes_are_seen(void **state)
{
    (void)state;
    dit d;
    dit_open(&d, PARITY_DATA "fastwan-tiny/transformer", PARITY_DATA "fastwan-tiny/transformer");
    swan_tensor latent = parity_load("vsa/latent.npy"), context = parity_load("vsa/context.npy");
    swan_tensor want = parity_load("vsa/velocity_80.npy");
    call right = {.model = &d, .latent = &latent, .context = &context, .timestep = 757, .vsa = true, .sparsity = 0.8,
                  .features = ~0u};
    for (int mistake = 0; mistake < 4; mistake++) {
        static const char *const names[] = {"timestep 756.7567", "three tiles instead of two", "the prompt's last row lost",
                                            "q bias"};
        call c = right;
        float *bias = d.model.block[1].self.q.bias.data, kept = bias[7];
        swan_tensor shorter = context;
        shorter.ne[0]--;
        if (mistake == 0) c.timestep = 756.7567;
        if (mistake == 1) c.topk = 3;
        if (mistake == 2) c.context = &shorter;
        if (mistake == 3) bias[7] += 0.03f;
        float *got = predict(&c, NULL);
        bias[7] = kept;
        double distance = parity_distance(got, want.data, swan_tensor_count(&want));
        print_message("%-28s relative L2 %.2e\n", names[mistake], distance);
        assert_true(distance > 1.5 * BOUND);
        free(got);
    }
    free(latent.data);
    free(context.data);
    free(want.data);
    dit_close(&d);
}

/* A copy of a one-file checkpoint with other names for its tensors: names[which] of each entry of spellings.json. */
static void rename_tensors(const char *from, const char *to, size_t which)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    json_t *map = json_load_file(PARITY_DATA "dit/spellings.json", 0, NULL);
    assert_true(in && out && map);
    uint64_t bytes;
    assert_int_equal(fread(&bytes, sizeof bytes, 1, in), 1);
    char *text = malloc(bytes);
    assert_true(text && fread(text, 1, bytes, in) == bytes);
    json_t *header = json_loadb(text, bytes, 0, NULL), *renamed = json_object();
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        const char *other = json_string_value(json_array_get(json_object_get(map, name), which));
        assert_true(other || strcmp(name, "__metadata__") == 0);
        json_object_set(renamed, other ? other : name, entry);
    }
    assert_int_equal(json_object_size(renamed), json_object_size(header));
    char *dumped = json_dumps(renamed, JSON_COMPACT);
    uint64_t length = strlen(dumped);
    assert_true(fwrite(&length, sizeof length, 1, out) == 1 && fwrite(dumped, 1, length, out) == length);
    char buffer[1 << 16];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, in)) > 0;) assert_int_equal(fwrite(buffer, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
    fclose(in);
    free(dumped);
    free(text);
    json_decref(header);
    json_decref(renamed);
    json_decref(map);
}

static void three_spellings(void **state)
{
    (void)state;
    const char *own = PARITY_DATA "fastwan-tiny/transformer";
    swan_tensor latent = parity_load("vsa/latent.npy"), context = parity_load("vsa/context.npy");
    char folder[] = "/tmp/swan-parity-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/renamed.safetensors", folder);
    float *velocity[3] = {0};
    for (int i = 0; i < 3; i++) {
        dit d;
        if (i) rename_tensors(PARITY_DATA "fastwan-tiny/transformer/diffusion_pytorch_model.safetensors", path,
                              (size_t)i - 1);
        dit_open(&d, own, i ? path : own);
        swan_wan_config c;
        assert_ok(swan_wan_config_from_weights(d.ckpt, &c));
        assert_int_equal(c.dim, d.model.config.dim);
        assert_int_equal(c.ffn, d.model.config.ffn);
        assert_int_equal(c.layers, d.model.config.layers);
        assert_int_equal(c.text_dim, d.model.config.text_dim);
        velocity[i] = predict(&(call){.model = &d, .latent = &latent, .context = &context, .timestep = 757, .vsa = true,
                                      .sparsity = 0.8, .features = ~0u}, NULL);
        dit_close(&d);
        assert_memory_equal(velocity[i], velocity[0], swan_tensor_bytes(&latent));
    }
    unlink(path);
    rmdir(folder);
    for (int i = 0; i < 3; i++) free(velocity[i]);
    free(latent.data);
    free(context.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense),
        cmocka_unit_test(zero_rows_collapse),
        cmocka_unit_test(vsa),
        cmocka_unit_test(mistakes_are_seen),
        cmocka_unit_test(three_spellings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
