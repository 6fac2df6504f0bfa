/* embed.rows, embed.timestep, embed.patchify, embed.unpatchify */
#include <math.h>

#include "check.h"

/* ---- rows ---- */

static void rows_one(check *c, int64_t n, int64_t D, int64_t rows, swan_dtype dtype, check_fill fill)
{
    if (!check_begin(c, "n=%ld D=%ld rows=%ld table %s %s", (long)n, (long)D, (long)rows, swan_dtype_name(dtype),
                     check_fill_name(fill)))
        return;
    check_buf *table = check_input(c, dtype, rows, D, 0, fill, 1);
    check_buf *ids = check_new(c, CHECK_IN, SWAN_I32, 1, n, 0), *y = check_new(c, CHECK_OUT, c->row->format, n, D, 0);
    for (int64_t i = 0; i < n; i++) {
        int64_t id = i == 0 ? rows - 1 : i == 1 ? 0 : check_between(c, 0, rows - 1);
        check_ints(ids)[i] = (int32_t)id;
        for (int64_t d = 0; d < D; d++) {
            if (!check_wants(c, i * D + d, n * D, 200000)) continue;
            double want = table->f[id * D + d];
            check_within(c, y, i, d, want, c->row->format == SWAN_F32 ? 0 : check_ulp(c->row->format, want) / 2);
        }
    }
    check_work(c, 0, (double)(n * D) * (check_size(c) + (double)swan_dtype_bytes(dtype)));
    swan_embed_rows_args a = {
        .table = table->data, .ids = check_ints(ids), .y = y->data, .n = n, .D = D, .table_dtype = dtype};
    check_run(c, &a, NULL);
}

void check_embed_rows(check *c)
{
    static const swan_dtype dtypes[] = {SWAN_F32, SWAN_F16, SWAN_BF16};
    for (int i = 0; !c->bench && i < CHECK_SIZES * 3; i++)
        rows_one(c, check_between(c, 1, 40), check_sizes[i / 3], check_between(c, 1, 50), dtypes[i % 3],
                 i % 2 ? CHECK_RANDOM : (check_fill)(i / 6 % CHECK_FILLS));
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "embed.rows", &at));)
        rows_one(c, check_get(line, "n", 1), check_get(line, "D", 1), check_get(line, "rows", 1), SWAN_BF16, CHECK_RANDOM);
}

/* ---- timestep ---- */

static void timestep_one(check *c, double timestep, int64_t freq_dim)
{
    if (!check_begin(c, "timestep=%.17g freq_dim=%ld", timestep, (long)freq_dim)) return;
    check_buf *y = check_new(c, CHECK_OUT, SWAN_F32, 1, freq_dim, 0);
    int64_t half = freq_dim / 2;
    for (int64_t i = 0; i < freq_dim; i++) {
        double angle = timestep * exp(-log(10000) * (double)(i % half) / (double)half);
        double want = i < half ? cos(angle) : sin(angle);
        /* one rounding to f32, and fp64 sines of an angle that is off by a few ulp of 1000 */
        check_within(c, y, 0, i, want, 0.5000001 * check_ulp(SWAN_F32, want) + 1e-12);
    }
    check_work(c, 0, 4.0 * (double)freq_dim);
    swan_embed_timestep_args a = {.timestep = timestep, .y = y->data, .freq_dim = freq_dim};
    check_run(c, &a, NULL);
}

void check_embed_timestep(check *c)
{
    static const double steps[] = {1000, 757, 522, 999.5, 0, 1, 937.5, 1e-3};
    for (int i = 0; !c->bench && i < 40; i++) timestep_one(c, steps[i % 8], i < 8 ? 256 : 2 * check_sizes[i % CHECK_SIZES]);
    if (c->bench) timestep_one(c, 757, 256);
}

/* ---- patches ---- */

typedef struct grid {
    int64_t C, T, H, W;
    bool ordered;
} grid;

/* A random order of the tokens, or NULL. */
static check_buf *open_order(check *c, const grid *g, int64_t L)
{
    if (!g->ordered) return NULL;
    check_buf *b = check_new(c, CHECK_IN, SWAN_I32, 1, L, 0);
    int32_t *order = check_ints(b);
    for (int64_t i = 0; i < L; i++) order[i] = (int32_t)i;
    for (int64_t i = L - 1; i > 0; i--) {
        int64_t j = check_between(c, 0, i);
        int32_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    return b;
}

/* Visits every element by its place in the latent; patch column (c, py, px) or (py, px, c). */
static void patches_expect(check *c, const grid *g, const check_buf *order, const check_buf *from, check_buf *to, bool inverse)
{
    int64_t h = g->H / 2, w = g->W / 2, L = g->T * h * w;
    for (int64_t l = 0; l < L; l++) {
        int64_t token = order ? ((const int32_t *)order->data)[l] : l;
        int64_t t = token / (h * w), i = token % (h * w) / w, j = token % w;
        for (int64_t n = 0; n < g->C * 4; n++) {
            if (!check_wants(c, l * g->C * 4 + n, L * g->C * 4, 200000)) continue;
            int64_t channel = inverse ? n % g->C : n / 4, corner = inverse ? n / g->C : n % 4;
            int64_t row = (channel * g->T + t) * g->H + 2 * i + corner / 2, col = 2 * j + corner % 2;
            if (inverse) {
                check_within(c, to, row, col, from->f[l * g->C * 4 + n], 0);
            } else {
                double want = from->f[row * g->W + col];
                check_within(c, to, l, n, want, to->dtype == SWAN_F32 ? 0 : check_ulp(to->dtype, want) / 2);
            }
        }
    }
}

static void patches_one(check *c, const grid *g, check_fill fill, bool inverse)
{
    if (!check_begin(c, "C=%ld T=%ld H=%ld W=%ld%s %s", (long)g->C, (long)g->T, (long)g->H, (long)g->W,
                     g->ordered ? " ordered" : "", check_fill_name(fill)))
        return;
    int64_t L = g->T * (g->H / 2) * (g->W / 2), rows = g->C * g->T * g->H;
    check_buf *order = open_order(c, g, L);
    check_buf *from = inverse ? check_input(c, c->row->format, L, g->C * 4, 0, fill, 1)
                              : check_input(c, SWAN_F32, rows, g->W, 0, fill, 1);
    check_buf *to = inverse ? check_new(c, CHECK_OUT, SWAN_F32, rows, g->W, 0)
                            : check_new(c, CHECK_OUT, c->row->format, L, g->C * 4, 0);
    patches_expect(c, g, order, from, to, inverse);
    check_work(c, 0, (4 + check_size(c)) * (double)(rows * g->W));
    if (inverse) {
        swan_embed_unpatchify_args a = {.x = from->data, .latent = to->data, .C = g->C, .T = g->T, .H = g->H, .W = g->W};
        a.order = order ? check_ints(order) : NULL;
        check_run(c, &a, NULL);
    } else {
        swan_embed_patchify_args a = {.latent = from->data, .y = to->data, .C = g->C, .T = g->T, .H = g->H, .W = g->W};
        a.order = order ? check_ints(order) : NULL;
        check_run(c, &a, NULL);
    }
}

static void patches(check *c, bool inverse)
{
    for (int i = 0; !c->bench && i < 40; i++) {
        grid g = {check_between(c, 1, 17), check_between(c, 1, 4), 2 * check_between(c, 1, 9), 2 * check_between(c, 1, 9), i % 2};
        patches_one(c, &g, (check_fill)(i % CHECK_FILLS), inverse);
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "latent", &at));) {
        grid g = {check_get(line, "C", 16), check_get(line, "T", 1), check_get(line, "H", 2), check_get(line, "W", 2), true};
        patches_one(c, &g, CHECK_RANDOM, inverse);
    }
}

void check_embed_patchify(check *c) { patches(c, false); }
void check_embed_unpatchify(check *c) { patches(c, true); }
