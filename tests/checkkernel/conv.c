/* conv.conv3x3, conv.up2x2 */
#include <math.h>

#include "check.h"

typedef struct shape {
    int64_t F, H, W, Cx, Cp, Cout;
    int past;     /* with Cp > 0: 1 a buffer, 0 NULL (zeros), 2 the buffer of x, one frame earlier (Cp = Cx) */
    int residual; /* 0 none, 1 a buffer, 2 the buffer of x */
    bool upsample, relu, bias;
    check_fill fill;
} shape;

typedef struct operands {
    check_buf *x, *past, *w, *bias, *residual, *y;
} operands;

/* Sums of one output element. */
typedef struct sums {
    double r, size;
    float twin;
} sums;

static void add(sums *s, float a, float b)
{
    s->r += (double)a * b;
    s->size += fabs((double)a * b);
    s->twin += a * b;
}

/* Output row `pixel` of [F, H, W]. */
static void element(check *c, const shape *s, const operands *o, int64_t pixel, int64_t n)
{
    sums sum = {0};
    int64_t f = pixel / (s->H * s->W), oy = pixel / s->W % s->H, ox = pixel % s->W, Cin = s->Cx + s->Cp;
    int64_t ahead = s->past == 2 ? s->H * s->W : 0; /* x begins behind one frame of the past */
    for (int tap = 0; tap < 9; tap++) {
        int64_t y = oy + tap / 3 - 1, x = ox + tap % 3 - 1;
        if (y < 0 || x < 0 || y >= s->H || x >= s->W) continue;
        const float *w = o->w->f + (n * 9 + tap) * Cin;
        int64_t from = s->upsample ? (f * (s->H >> 1) + (y >> 1)) * (s->W >> 1) + (x >> 1) : (f * s->H + y) * s->W + x;
        for (int64_t ch = 0; ch < s->Cx; ch++) add(&sum, o->x->f[(ahead + from) * s->Cx + ch], w[ch]);
        for (int64_t ch = 0; o->past && ch < s->Cp; ch++) add(&sum, o->past->f[from * s->Cp + ch], w[s->Cx + ch]);
    }
    if (o->bias) add(&sum, o->bias->f[n], 1);
    if (o->residual) add(&sum, o->residual->f[pixel * s->Cout + n], 1);
    check_value(c, o->y, pixel, n, s->relu ? fmax(sum.r, 0) : sum.r, s->relu ? fmaxf(sum.twin, 0) : sum.twin, sum.size);
}

/* Weights are f16 beside f16 activations; what these hold ends at 65,504. */
static swan_dtype weight_type(const check *c) { return c->row->format == SWAN_F16 ? SWAN_F16 : SWAN_F32; }
static double magnitude(const check *c, check_fill fill) { return c->row->format == SWAN_F16 && fill == CHECK_LARGE ? 1e-3 : 1; }

static void one(check *c, const shape *s)
{
    static const char *const residuals[] = {"", " +residual", " +x"}, *const pasts[] = {"(NULL)", "", "(of x)"};
    if (!check_begin(c, "F=%ld H=%ld W=%ld Cx=%ld Cp=%ld%s Cout=%ld%s%s%s%s %s", (long)s->F, (long)s->H, (long)s->W, (long)s->Cx,
                     (long)s->Cp, s->Cp ? pasts[s->past] : "", (long)s->Cout, s->bias ? " +bias" : "", residuals[s->residual],
                     s->upsample ? " upsample" : "", s->relu ? " relu" : "", check_fill_name(s->fill)))
        return;
    swan_dtype format = c->row->format;
    int64_t pixels = s->F * s->H * s->W, ahead = s->past == 2 ? s->H * s->W : 0, Cin = s->Cx + s->Cp;
    double size = magnitude(c, s->fill);
    operands o = {0};
    o.x = check_input(c, format, s->upsample ? pixels / 4 : ahead + pixels, s->Cx, 0, s->fill, size);
    if (s->Cp && s->past) o.past = ahead ? o.x : check_input(c, format, pixels, s->Cp, 0, s->fill, size);
    o.w = check_input(c, weight_type(c), s->Cout, 9 * Cin, 0, CHECK_RANDOM, 1 / sqrt(9 * (double)Cin));
    o.bias = s->bias ? check_vector(c, s->Cout, 0.5) : NULL;
    o.residual = s->residual == 2 ? o.x : s->residual ? check_input(c, format, pixels, s->Cout, 0, CHECK_RANDOM, 1) : NULL;
    o.y = check_new(c, CHECK_OUT, format, pixels, s->Cout, 0);
    for (int64_t i = 0; i < pixels * s->Cout; i++)
        if (check_wants(c, i, pixels * s->Cout, 3000000 / (9 * Cin))) element(c, s, &o, i / s->Cout, i % s->Cout);
    check_work(c, 18.0 * (double)(pixels * Cin * s->Cout), check_size(c) * (double)(pixels * (Cin + s->Cout)) + 36.0 * (double)(Cin * s->Cout));
    swan_conv_conv3x3_args a = {.x = (uint8_t *)o.x->data + (size_t)(ahead * s->Cx) * swan_dtype_bytes(format),
                                .past = o.past ? o.past->data : NULL,
                                .w = o.w->data,
                                .bias = o.bias ? o.bias->data : NULL,
                                .residual = o.residual ? o.residual->data : NULL,
                                .y = o.y->data,
                                .F = s->F,
                                .H = s->H,
                                .W = s->W,
                                .Cx = s->Cx,
                                .Cp = s->Cp,
                                .Cout = s->Cout,
                                .upsample = s->upsample,
                                .relu = s->relu};
    check_run(c, &a, &a.workspace);
}

static void sweep(check *c)
{
    static const int64_t channels[] = {1, 3, 4, 7, 8, 9, 16, 17, 24, 32, 33, 40};
    static const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65};
    for (int i = 0; i < 96; i++) {
        shape s = {.F = i % 5 == 4 ? 3 : 1, .H = check_between(c, 1, 6), .W = check_between(c, 1, 9), .Cx = channels[check_between(c, 0, 7)],
                   .Cout = channels[check_between(c, 0, 7)], .relu = i % 2, .bias = i % 3 != 1};
        int64_t *const dims[] = {&s.H, &s.W, &s.Cx, &s.Cout};
        *dims[i % 4] = i % 4 < 2 ? sizes[i / 4 % 12] : channels[i / 4 % 12];
        if (i / 4 % 3 == 1) s.upsample = true, s.H += s.H % 2, s.W += s.W % 2;
        if (i / 4 % 3 == 2) s.Cp = i % 8 < 4 ? s.Cx : channels[check_between(c, 0, 7)], s.past = i % 4 != 1;
        s.residual = i / 2 % 3;
        if (s.residual == 2 && s.upsample) s.residual = 1;
        if (s.residual == 2) s.Cout = s.Cx;
        if (s.past && s.Cp == s.Cx && s.residual != 2 && i % 3) s.past = 2;
        s.fill = i % 2 ? CHECK_RANDOM : (check_fill)(i / 2 % CHECK_FILLS);
        one(c, &s);
    }
}

/* Channels that rows with tiles of 64 take, and sizes around tiles of 8, 16 and 32 pixels. */
static void sweep_wide(check *c)
{
    static const int64_t heights[] = {1, 7, 8, 9, 16, 17, 32, 33}, widths[] = {1, 7, 8, 9, 15, 16, 17, 33};
    for (int i = 0; i < 24; i++) {
        shape s = {.F = 1 + i % 3, .H = heights[check_between(c, 0, 7)], .W = widths[i % 8], .Cx = i % 4 == 3 ? 128 : 64,
                   .Cout = i % 3 == 2 ? 128 : i % 5 == 4 ? 3 : 64, .relu = i % 2, .bias = i % 3 != 1, .fill = i % 4 ? CHECK_RANDOM : (check_fill)(i / 4 % CHECK_FILLS)};
        if (i % 3 == 1) s.Cp = s.Cx, s.past = 1 + i / 3 % 2;
        s.residual = i / 2 % 3;
        if (s.residual == 2 && (s.past == 2 || s.Cout != s.Cx)) s.residual = 1;
        one(c, &s);
    }
}

void check_conv_conv3x3(check *c)
{
    if (!c->bench) sweep(c), sweep_wide(c);
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "conv", &at));) {
        shape s = {.F = check_get(line, "F", 1),
                   .H = check_get(line, "H", 1),
                   .W = check_get(line, "W", 1),
                   .Cx = check_get(line, "Cx", 1),
                   .Cp = check_get(line, "Cp", 0),
                   .Cout = check_get(line, "Cout", 1),
                   .past = 1,
                   .upsample = check_get(line, "upsample", 0),
                   .relu = true,
                   .bias = true};
        s.residual = s.Cx == s.Cout && !s.upsample && !s.Cp ? 2 : 0;
        int64_t rows = check_rows(c, s.H, 9.0 * (double)(s.H * s.W * (s.Cx + s.Cp) * s.Cout));
        s.H = s.upsample && rows % 2 ? rows + 1 : rows;
        one(c, &s);
    }
}

/* ---- up2x2 ---- */

typedef struct up_shape {
    int64_t F, H, W, Cx, Cout, grow;
    bool relu;
    check_fill fill;
} up_shape;

/* Output row `pixel` of [F, grow, 2 H, 2 W]. */
static void up_element(check *c, const up_shape *s, const operands *o, int64_t pixel, int64_t n)
{
    sums sum = {0};
    int64_t ox = pixel % (2 * s->W), oy = pixel / (2 * s->W) % (2 * s->H), frame = pixel / (4 * s->H * s->W);
    int64_t f = frame / s->grow, j = frame % s->grow, place = (j * 2 + oy % 2) * 2 + ox % 2;
    for (int tap = 0; tap < 4; tap++) {
        int64_t y = (oy + 1) / 2 - 1 + tap / 2, x = (ox + 1) / 2 - 1 + tap % 2; /* the two rows and columns nearest to it */
        if (y < 0 || x < 0 || y >= s->H || x >= s->W) continue;
        const float *from = o->x->f + ((f * s->H + y) * s->W + x) * s->Cx, *w = o->w->f + ((place * s->Cout + n) * 4 + tap) * s->Cx;
        for (int64_t ch = 0; ch < s->Cx; ch++) add(&sum, from[ch], w[ch]);
    }
    check_value(c, o->y, pixel, n, s->relu ? fmax(sum.r, 0) : sum.r, s->relu ? fmaxf(sum.twin, 0) : sum.twin, sum.size);
}

static void up_one(check *c, const up_shape *s)
{
    if (!check_begin(c, "F=%ld H=%ld W=%ld Cx=%ld Cout=%ld grow=%ld%s %s", (long)s->F, (long)s->H, (long)s->W, (long)s->Cx,
                     (long)s->Cout, (long)s->grow, s->relu ? " relu" : "", check_fill_name(s->fill)))
        return;
    int64_t pixels = s->F * s->grow * 4 * s->H * s->W;
    operands o = {0};
    o.x = check_input(c, c->row->format, s->F * s->H * s->W, s->Cx, 0, s->fill, magnitude(c, s->fill));
    o.w = check_input(c, weight_type(c), s->grow * 4 * s->Cout, 4 * s->Cx, 0, CHECK_RANDOM, 1 / sqrt(4 * (double)s->Cx));
    o.y = check_new(c, CHECK_OUT, c->row->format, pixels, s->Cout, 0);
    for (int64_t i = 0; i < pixels * s->Cout; i++)
        if (check_wants(c, i, pixels * s->Cout, 3000000 / (4 * s->Cx))) up_element(c, s, &o, i / s->Cout, i % s->Cout);
    check_work(c, 8.0 * (double)(pixels * s->Cx * s->Cout), check_size(c) * (double)(s->F * s->H * s->W * s->Cx + pixels * s->Cout));
    swan_conv_up2x2_args a = {.x = o.x->data, .w = o.w->data, .y = o.y->data, .F = s->F, .H = s->H, .W = s->W, .Cx = s->Cx,
                              .Cout = s->Cout, .grow = s->grow, .relu = s->relu};
    check_run(c, &a, NULL);
}

void check_conv_up2x2(check *c)
{
    static const int64_t channels[] = {1, 3, 8, 16, 24, 64, 128}, sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 33};
    for (int i = 0; !c->bench && i < 48; i++) {
        up_shape s = {.F = 1 + i % 2, .H = sizes[check_between(c, 0, 5)], .W = sizes[i % 9], .Cx = channels[i % 7],
                      .Cout = channels[i % 3 ? 5 + i / 3 % 2 : check_between(c, 0, 4)], .grow = 1 + i / 2 % 3, .relu = i % 2,
                      .fill = i % 2 ? CHECK_RANDOM : (check_fill)(i / 2 % CHECK_FILLS)};
        up_one(c, &s);
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "up", &at));) {
        up_shape s = {.F = check_get(line, "F", 1), .H = check_get(line, "H", 1), .W = check_get(line, "W", 1),
                      .Cx = check_get(line, "Cx", 1), .Cout = check_get(line, "Cout", 1), .grow = check_get(line, "grow", 1), .relu = true};
        s.H = check_rows(c, s.H, 16.0 * (double)(s.F * s.grow * s.H * s.W * s.Cx * s.Cout));
        up_one(c, &s);
    }
}
