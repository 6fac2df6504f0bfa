/* image.from_latent, image.to_rgb8 */
#include <math.h>

#include "check.h"

static void latent_one(check *c, const int64_t d[4], int64_t t, check_fill fill)
{
    int64_t C = d[0], T = d[1], H = d[2], W = d[3];
    if (!check_begin(c, "C=%ld T=%ld H=%ld W=%ld t=%ld %s", (long)C, (long)T, (long)H, (long)W, (long)t, check_fill_name(fill)))
        return;
    check_buf *latent = check_input(c, SWAN_F32, C * T, H * W, 0, fill, 1);
    check_buf *y = check_new(c, CHECK_OUT, c->row->format, H * W, C, 0);
    for (int64_t ch = 0; ch < C; ch++) {
        for (int64_t p = 0; p < H * W; p++) {
            if (!check_wants(c, ch * H * W + p, C * H * W, 200000)) continue;
            double want = latent->f[(ch * T + t) * H * W + p];
            check_within(c, y, p, ch, want, y->dtype == SWAN_F32 ? 0 : check_ulp(y->dtype, want) / 2);
        }
    }
    check_work(c, 0, (4 + check_size(c)) * (double)(C * H * W));
    swan_image_from_latent_args a = {.latent = latent->data, .y = y->data, .C = C, .T = T, .H = H, .W = W, .t = t};
    check_run(c, &a, NULL);
}

void check_image_from_latent(check *c)
{
    for (int i = 0; !c->bench && i < 40; i++) {
        int64_t d[4] = {check_between(c, 1, 20), check_between(c, 1, 5), check_between(c, 1, 20), check_between(c, 1, 20)};
        latent_one(c, d, i % 2 ? d[1] - 1 : check_between(c, 0, d[1] - 1), (check_fill)(i % CHECK_FILLS));
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "latent", &at));) {
        int64_t d[4] = {check_get(line, "C", 16), check_get(line, "T", 1), check_get(line, "H", 1), check_get(line, "W", 1)};
        latent_one(c, d, d[1] - 1, CHECK_RANDOM);
    }
}

/* The byte, by comparison: the largest k with k <= 255 x. (No fp32 in [0, 1] has an fp32 product that is cut differently.) */
static double byte_of(float x)
{
    if (!(x > 0)) return 0;
    int k = 255;
    while (k > 0 && 255.0 * (x > 1 ? 1 : x) < k) k--;
    return k;
}

static float rgb_value(check *c, int64_t i)
{
    static const float special[] = {0,       1,        -0.0f, NAN,    INFINITY, -INFINITY,       -1,            2,
                                    1e-40f, -1e-40f, 1e30f, -1e30f, 0.5f,     0x1.fffffep-1f, 0x1.000002p0f, 1e-9f};
    switch (i % 4) {
    case 0: return special[i / 4 % 16];
    case 1: return (float)check_between(c, 0, 255) / 255.0f; /* comes back as it was */
    case 2: return nextafterf((float)check_between(c, 0, 255) / 255.0f, (float)check_between(c, -1, 2));
    default: return (float)(check_uniform(c) * 1.4 - 0.2);
    }
}

static void rgb_one(check *c, int64_t n, check_fill fill)
{
    if (!check_begin(c, "n=%ld %s", (long)n, check_fill_name(fill))) return;
    check_buf *x = check_input(c, c->row->format, 1, n, 0, fill, 1), *rgb = check_new(c, CHECK_OUT, SWAN_U8, 1, n, 0);
    for (int64_t i = 0; fill == CHECK_RANDOM && i < n; i++) check_set(x, 0, i, rgb_value(c, i));
    for (int64_t i = 0; i < n; i++)
        if (check_wants(c, i, n, 100000)) check_within(c, rgb, 0, i, byte_of(x->f[i]), 0);
    check_work(c, 0, (1 + check_size(c)) * (double)n);
    swan_image_to_rgb8_args a = {.x = x->data, .rgb = rgb->data, .n = n};
    check_run(c, &a, NULL);
}

void check_image_to_rgb8(check *c)
{
    static const int64_t extra[] = {1000, 4095, 4096, 4097, 30000};
    for (int i = 0; !c->bench && i < CHECK_SIZES + 5; i++)
        rgb_one(c, i < CHECK_SIZES ? check_sizes[i] : extra[i - CHECK_SIZES], CHECK_RANDOM);
    for (int fill = 0; !c->bench && fill < CHECK_FILLS; fill++) rgb_one(c, 99, (check_fill)fill);
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "image", &at));)
        rgb_one(c, 3 * check_get(line, "H", 1) * check_get(line, "W", 1), CHECK_RANDOM);
}
