/* image.from_latent, image.to_rgb8, image.to_i420 */
#include <math.h>

#include "check.h"

/* F frames from t on. */
static void latent_one(check *c, const int64_t d[4], int64_t t, int64_t F, check_fill fill)
{
    int64_t C = d[0], T = d[1], H = d[2], W = d[3];
    if (!check_begin(c, "C=%ld T=%ld H=%ld W=%ld t=%ld F=%ld %s", (long)C, (long)T, (long)H, (long)W, (long)t, (long)F,
                     check_fill_name(fill)))
        return;
    double magnitude = c->row->format == SWAN_F16 && fill == CHECK_LARGE ? 1e-3 : 1; /* f16 ends at 65,504 */
    check_buf *latent = check_input(c, SWAN_F32, C * T, H * W, 0, fill, magnitude);
    check_buf *y = check_new(c, CHECK_OUT, c->row->format, F * H * W, C, 0);
    for (int64_t ch = 0; ch < C; ch++) {
        for (int64_t p = 0; p < F * H * W; p++) {
            if (!check_wants(c, ch * F * H * W + p, C * F * H * W, 200000)) continue;
            double want = latent->f[(ch * T + t + p / (H * W)) * H * W + p % (H * W)];
            check_within(c, y, p, ch, want, y->dtype == SWAN_F32 ? 0 : check_ulp(y->dtype, want) / 2);
        }
    }
    check_work(c, 0, (4 + check_size(c)) * (double)(F * C * H * W));
    swan_image_from_latent_args a = {.latent = latent->data, .y = y->data, .C = C, .T = T, .H = H, .W = W, .t = t, .F = F};
    check_run(c, &a, NULL);
}

void check_image_from_latent(check *c)
{
    for (int i = 0; !c->bench && i < 40; i++) {
        int64_t d[4] = {check_between(c, 1, 20), check_between(c, 1, 5), check_between(c, 1, 20), check_between(c, 1, 20)};
        int64_t t = i % 2 ? d[1] - 1 : check_between(c, 0, d[1] - 1);
        latent_one(c, d, t, check_between(c, 1, d[1] - t), (check_fill)(i % CHECK_FILLS));
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "latent", &at));) {
        int64_t d[4] = {check_get(line, "C", 16), check_get(line, "T", 1), check_get(line, "H", 1), check_get(line, "W", 1)};
        latent_one(c, d, d[1] - 1, 1, CHECK_RANDOM);
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

/* ---- i420 ---- */

/* BT.709 in real numbers, of bytes; rows round in 16-bit fixed point (base/yuv.h). */
static double luma_of(const int b[3]) { return 16 + 219.0 / 255 * (0.2126 * b[0] + 0.7152 * b[1] + 0.0722 * b[2]); }
static double chroma_of(const double b[3], int plane)
{
    double y = 0.2126 * b[0] + 0.7152 * b[1] + 0.0722 * b[2];
    return 128 + 224.0 / 255 * (plane ? (b[0] - y) / 1.5748 : (b[2] - y) / 1.8556);
}

static void i420_one(check *c, int64_t H, int64_t W, check_fill fill)
{
    if (!check_begin(c, "H=%ld W=%ld %s", (long)H, (long)W, check_fill_name(fill))) return;
    check_buf *x = check_input(c, c->row->format, H * W, 3, 0, fill, 1), *out = check_new(c, CHECK_OUT, SWAN_U8, 1, H * W * 3 / 2, 0);
    for (int64_t i = 0; fill == CHECK_RANDOM && i < 3 * H * W; i++) check_set(x, i / 3, i % 3, rgb_value(c, i / 3 * 7 + i % 3 * 5));
    for (int64_t i = 0; i < H * W; i++) {
        int b[3];
        for (int ch = 0; ch < 3; ch++) b[ch] = (int)byte_of(x->f[3 * i + ch]);
        if (check_wants(c, i, H * W, 30000)) check_within(c, out, 0, i, luma_of(b), 0.51);
    }
    for (int64_t i = 0; i < H * W / 4; i++) {
        double mean[3] = {0};
        int64_t y = i / (W / 2) * 2, col = i % (W / 2) * 2;
        for (int k = 0; k < 6; k++) {
            int64_t at = col + k % 3 - 1, from = (y + k / 3) * W + (at < 0 ? 0 : at);
            for (int ch = 0; ch < 3; ch++) mean[ch] += (k % 3 == 1 ? 2 : 1) / 8.0 * byte_of(x->f[3 * from + ch]);
        }
        for (int plane = 0; plane < 2 && check_wants(c, i, H * W / 4, 10000); plane++)
            check_within(c, out, 0, H * W + plane * (H * W / 4) + i, chroma_of(mean, plane), 0.51);
    }
    check_work(c, 0, (1.5 + 3 * check_size(c)) * (double)(H * W));
    swan_image_to_i420_args a = {.x = x->data, .i420 = out->data, .H = H, .W = W};
    check_run(c, &a, NULL);
}

void check_image_to_i420(check *c)
{
    for (int i = 0; !c->bench && i < 40; i++) {
        int64_t H = 2 * check_between(c, 1, 20), W = 2 * (i % 4 ? check_between(c, 1, 40) : 8 * check_between(c, 1, 9));
        i420_one(c, H, W, i < 30 ? CHECK_RANDOM : (check_fill)(i % CHECK_FILLS));
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "image", &at));)
        i420_one(c, check_get(line, "H", 2), check_get(line, "W", 2), CHECK_RANDOM);
}
