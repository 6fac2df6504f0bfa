/* conv.conv3x3 */
#include <math.h>

#include "check.h"

typedef struct shape {
    int64_t H, W, Cx, Cp, Cout;
    int past;     /* with Cp > 0: 1 a frame, 0 NULL (zeros) */
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

static void element(check *c, const shape *s, const operands *o, int64_t pixel, int64_t n)
{
    sums sum = {0};
    int64_t oy = pixel / s->W, ox = pixel % s->W, Cin = s->Cx + s->Cp;
    for (int tap = 0; tap < 9; tap++) {
        int64_t y = oy + tap / 3 - 1, x = ox + tap % 3 - 1;
        if (y < 0 || x < 0 || y >= s->H || x >= s->W) continue;
        const float *w = o->w->f + (n * 9 + tap) * Cin;
        int64_t from = s->upsample ? (y >> 1) * (s->W >> 1) + (x >> 1) : y * s->W + x;
        for (int64_t ch = 0; ch < s->Cx; ch++) add(&sum, o->x->f[from * s->Cx + ch], w[ch]);
        for (int64_t ch = 0; o->past && ch < s->Cp; ch++) add(&sum, o->past->f[from * s->Cp + ch], w[s->Cx + ch]);
    }
    if (o->bias) add(&sum, o->bias->f[n], 1);
    if (o->residual) add(&sum, o->residual->f[pixel * s->Cout + n], 1);
    check_value(c, o->y, pixel, n, s->relu ? fmax(sum.r, 0) : sum.r, s->relu ? fmaxf(sum.twin, 0) : sum.twin, sum.size);
}

static void one(check *c, const shape *s)
{
    static const char *const residuals[] = {"", " +residual", " +x"};
    if (!check_begin(c, "H=%ld W=%ld Cx=%ld Cp=%ld%s Cout=%ld%s%s%s%s %s", (long)s->H, (long)s->W, (long)s->Cx, (long)s->Cp,
                     s->Cp && !s->past ? "(NULL)" : "", (long)s->Cout, s->bias ? " +bias" : "", residuals[s->residual],
                     s->upsample ? " upsample" : "", s->relu ? " relu" : "", check_fill_name(s->fill)))
        return;
    swan_dtype format = c->row->format;
    int64_t pixels = s->H * s->W, Cin = s->Cx + s->Cp;
    operands o = {0};
    o.x = check_input(c, format, s->upsample ? pixels / 4 : pixels, s->Cx, 0, s->fill, 1);
    o.past = s->Cp && s->past ? check_input(c, format, pixels, s->Cp, 0, s->fill, 1) : NULL;
    o.w = check_input(c, SWAN_F32, s->Cout, 9 * Cin, 0, CHECK_RANDOM, 1 / sqrt(9 * (double)Cin));
    o.bias = s->bias ? check_vector(c, s->Cout, 0.5) : NULL;
    o.residual = s->residual == 2 ? o.x : s->residual ? check_input(c, format, pixels, s->Cout, 0, CHECK_RANDOM, 1) : NULL;
    o.y = check_new(c, CHECK_OUT, format, pixels, s->Cout, 0);
    for (int64_t i = 0; i < pixels * s->Cout; i++)
        if (check_wants(c, i, pixels * s->Cout, 3000000 / (9 * Cin))) element(c, s, &o, i / s->Cout, i % s->Cout);
    check_work(c, 18.0 * (double)(pixels * Cin * s->Cout), check_size(c) * (double)(pixels * (Cin + s->Cout)) + 36.0 * (double)(Cin * s->Cout));
    swan_conv_conv3x3_args a = {.x = o.x->data,
                                .past = o.past ? o.past->data : NULL,
                                .w = o.w->data,
                                .bias = o.bias ? o.bias->data : NULL,
                                .residual = o.residual ? o.residual->data : NULL,
                                .y = o.y->data,
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
        shape s = {.H = check_between(c, 1, 6), .W = check_between(c, 1, 9), .Cx = channels[check_between(c, 0, 7)],
                   .Cout = channels[check_between(c, 0, 7)], .relu = i % 2, .bias = i % 3 != 1};
        int64_t *const dims[] = {&s.H, &s.W, &s.Cx, &s.Cout};
        *dims[i % 4] = i % 4 < 2 ? sizes[i / 4 % 12] : channels[i / 4 % 12];
        if (i / 4 % 3 == 1) s.upsample = true, s.H += s.H % 2, s.W += s.W % 2;
        if (i / 4 % 3 == 2) s.Cp = i % 8 < 4 ? s.Cx : channels[check_between(c, 0, 7)], s.past = i % 4 != 1;
        s.residual = i / 2 % 3;
        if (s.residual == 2 && s.upsample) s.residual = 1;
        if (s.residual == 2) s.Cout = s.Cx;
        s.fill = i % 2 ? CHECK_RANDOM : (check_fill)(i / 2 % CHECK_FILLS);
        one(c, &s);
    }
}

void check_conv_conv3x3(check *c)
{
    if (!c->bench) sweep(c);
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "conv", &at));) {
        shape s = {.H = check_get(line, "H", 1),
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
