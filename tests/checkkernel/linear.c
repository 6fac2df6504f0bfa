/* linear.f32, linear.bf16, linear.f16, linear.gelu_mul */
#include <math.h>

#include "base/half.h"
#include "check.h"

static double epilogue(swan_epilogue e, double r, double y, double gate)
{
    switch (e) {
    case SWAN_EPI_GELU: return 0.5 * r * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (r + 0.044715 * pow(r, 3))));
    case SWAN_EPI_SILU: return r * (1 / (1 + exp(-r)));
    case SWAN_EPI_MUL: return y * r;
    case SWAN_EPI_ADD: return y + r;
    case SWAN_EPI_GATED_ADD: return y + gate * r;
    default: return r;
    }
}

static float twin_epilogue(swan_epilogue e, float r, float y, float gate)
{
    switch (e) {
    case SWAN_EPI_GELU: return 0.5f * r * (1 + tanhf(0.7978845608f * (r + 0.044715f * (r * r * r))));
    case SWAN_EPI_SILU: return r / (1 + expf(-r));
    case SWAN_EPI_MUL: return y * r;
    case SWAN_EPI_ADD: return y + r;
    case SWAN_EPI_GATED_ADD: return y + gate * r;
    default: return r;
    }
}

/* What is added up in an element, given that of the product: gelu and silu have slopes of about 1 at most. */
static double magnitude(swan_epilogue e, double sum, double y, double gate)
{
    switch (e) {
    case SWAN_EPI_MUL: return fabs(y) * sum;
    case SWAN_EPI_ADD: return fabs(y) + sum;
    case SWAN_EPI_GATED_ADD: return fabs(y) + fabs(gate) * sum;
    default: return sum;
    }
}

typedef struct shape {
    int64_t M, N, K, pad;
    swan_epilogue epilogue;
    bool bias;
    check_fill fill;
} shape;

static swan_dtype weights_of(const check *c)
{
    return c->row->id == SWAN_SLOT_linear_bf16 ? SWAN_BF16 : c->row->id == SWAN_SLOT_linear_f16 ? SWAN_F16 : SWAN_F32;
}

static void element(check *c, const shape *s, check_buf *const b[5], int64_t m, int64_t n)
{
    const float *x = b[0]->f + m * s->K, *w = b[1]->f + n * s->K;
    float bias = b[2] ? b[2]->f[n] : 0, gate = b[3] ? b[3]->f[n] : 0, old = b[4]->kind == CHECK_INOUT ? b[4]->f[m * s->N + n] : 0;
    double r = 0, sum = fabsf(bias);
    float twin = 0;
    for (int64_t k = 0; k < s->K; k++) {
        r += (double)x[k] * w[k];
        sum += fabs((double)x[k] * w[k]);
        twin += x[k] * w[k];
    }
    check_value(c, b[4], m, n, epilogue(s->epilogue, r + bias, old, gate), twin_epilogue(s->epilogue, twin + bias, old, gate),
                magnitude(s->epilogue, sum, old, gate));
}

static void one(check *c, const shape *s)
{
    static const char *const names[SWAN_EPI_COUNT] = {"none", "gelu", "silu", "mul", "add", "gated_add"};
    if (!check_begin(c, "M=%ld N=%ld K=%ld %s%s pad=%ld %s", (long)s->M, (long)s->N, (long)s->K, names[s->epilogue],
                     s->bias ? "+bias" : "", (long)s->pad, check_fill_name(s->fill)))
        return;
    swan_dtype format = c->row->format, weights = weights_of(c);
    bool reads = s->epilogue == SWAN_EPI_MUL || s->epilogue == SWAN_EPI_ADD || s->epilogue == SWAN_EPI_GATED_ADD;
    check_buf *x = check_input(c, format, s->M, s->K, s->pad, s->fill, 1);
    check_buf *w = check_input(c, weights, s->N, s->K, 0, CHECK_RANDOM, 1 / sqrt((double)s->K));
    check_buf *bias = s->bias ? check_vector(c, s->N, 0.5) : NULL;
    check_buf *gate = s->epilogue == SWAN_EPI_GATED_ADD ? check_vector(c, s->N, 1) : NULL;
    check_buf *y = check_new(c, reads ? CHECK_INOUT : CHECK_OUT, format, s->M, s->N, s->pad ? s->pad + 3 : 0);
    if (reads) check_put(c, y, CHECK_RANDOM, 1);
    check_buf *const all[5] = {x, w, bias, gate, y};
    for (int64_t i = 0; i < s->M * s->N; i++)
        if (check_wants(c, i, s->M * s->N, 2000000 / s->K)) element(c, s, all, i / s->N, i % s->N);
    check_work(c, 2.0 * (double)(s->M * s->N * s->K),
               (double)(s->M * s->K + s->M * s->N) * check_size(c) + (double)(s->N * s->K) * (double)swan_dtype_bytes(weights));
    swan_linear_args a = {.x = x->data,
                          .w = w->data,
                          .bias = bias ? bias->data : NULL,
                          .gate = gate ? gate->data : NULL,
                          .y = y->data,
                          .M = s->M,
                          .N = s->N,
                          .K = s->K,
                          .ldx = x->ld,
                          .ldy = y->ld,
                          .epilogue = s->epilogue};
    check_run(c, &a, &a.workspace);
}

void check_linear(check *c)
{
    for (int i = 0, n = 0; !c->bench && i < CHECK_SIZES * 3; i++, n++) {
        shape s = {.M = check_between(c, 1, 40), .N = check_between(c, 1, 70), .K = check_between(c, 1, 90)};
        *(i % 3 == 0 ? &s.M : i % 3 == 1 ? &s.N : &s.K) = check_sizes[i / 3];
        s.epilogue = (swan_epilogue)(n % SWAN_EPI_COUNT);
        s.bias = n / 2 % 3 != 0;
        s.pad = n % 4 == 1 ? 5 : 0;
        s.fill = n % 2 ? CHECK_RANDOM : (check_fill)(n / 2 % CHECK_FILLS);
        one(c, &s);
    }
    for (int e = 0; !c->bench && e < SWAN_EPI_COUNT; e++) {
        for (int fill = 0; fill < CHECK_FILLS; fill++) {
            shape s = {33, 65, 129, 3, (swan_epilogue)e, fill % 2 == 0, (check_fill)fill};
            one(c, &s);
        }
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "linear", &at));) {
        shape s = {check_get(line, "M", 1), check_get(line, "N", 1), check_get(line, "K", 1), 0,
                   (swan_epilogue)check_get(line, "epilogue", 0), true, CHECK_RANDOM};
        s.M = check_rows(c, s.M, (double)s.M * (double)s.N * (double)s.K);
        one(c, &s);
    }
}

/* ---- gelu_mul ---- */

static void gelu_mul_element(check *c, const shape *s, check_buf *const b[3], int64_t m, int64_t n)
{
    const float *x = b[0]->f + m * s->K, *gate = b[1]->f + n * s->K, *up = b[1]->f + (s->N + n) * s->K;
    double g = 0, u = 0, sum_g = 0, sum_u = 0;
    float twin_g = 0, twin_u = 0;
    for (int64_t k = 0; k < s->K; k++) {
        g += (double)x[k] * gate[k];
        u += (double)x[k] * up[k];
        sum_g += fabs((double)x[k] * gate[k]);
        sum_u += fabs((double)x[k] * up[k]);
        twin_g += x[k] * gate[k];
        twin_u += x[k] * up[k];
    }
    double a = epilogue(SWAN_EPI_GELU, g, 0, 0);
    float twin = twin_epilogue(SWAN_EPI_GELU, twin_g, 0, 0);
    if (c->row->format == SWAN_BF16) twin = swan_bf16_to_f32(swan_f32_to_bf16(twin)); /* two products meet in y */
    check_value(c, b[2], m, n, a * u, twin * twin_u, sum_g * fabs(u) + fabs(a) * sum_u);
}

static void gelu_mul_one(check *c, const shape *s)
{
    if (!check_begin(c, "M=%ld N=%ld K=%ld pad=%ld %s", (long)s->M, (long)s->N, (long)s->K, (long)s->pad, check_fill_name(s->fill))) return;
    check_buf *x = check_input(c, c->row->format, s->M, s->K, s->pad, s->fill, 1);
    check_buf *w = check_input(c, SWAN_BF16, 2 * s->N, s->K, 0, CHECK_RANDOM, 1 / sqrt((double)s->K));
    check_buf *y = check_new(c, CHECK_OUT, c->row->format, s->M, s->N, s->pad ? s->pad + 3 : 0);
    check_buf *const all[3] = {x, w, y};
    for (int64_t i = 0; i < s->M * s->N; i++)
        if (check_wants(c, i, s->M * s->N, 1000000 / s->K)) gelu_mul_element(c, s, all, i / s->N, i % s->N);
    check_work(c, 4.0 * (double)(s->M * s->N * s->K), (double)(s->M * s->K + s->M * s->N) * check_size(c) + 4 * (double)(s->N * s->K));
    swan_linear_gelu_mul_args a = {.x = x->data, .w = w->data, .y = y->data, .M = s->M, .N = s->N, .K = s->K, .ldx = x->ld, .ldy = y->ld};
    check_run(c, &a, &a.workspace);
}

void check_linear_gelu_mul(check *c)
{
    for (int i = 0, n = 0; !c->bench && i < CHECK_SIZES * 3; i++, n++) {
        shape s = {.M = check_between(c, 1, 40), .N = check_between(c, 1, 70), .K = check_between(c, 1, 90)};
        *(i % 3 == 0 ? &s.M : i % 3 == 1 ? &s.N : &s.K) = check_sizes[i / 3];
        s.pad = n % 4 == 1 ? 5 : 0;
        s.fill = n % 2 ? CHECK_RANDOM : (check_fill)(n / 2 % CHECK_FILLS);
        gelu_mul_one(c, &s);
    }
    for (int i = 0; !c->bench && i < 6; i++) { /* what the rows for few tokens take: as many rows as UMT5-XXL, strides of 8 */
        shape s = {(const int[]){1, 33, 64, 65, 100, 128}[i], 10240, i % 3 ? 24 : 72, i % 2 ? 8 : 0, SWAN_EPI_NONE, false,
                   i == 2 ? CHECK_OUTLIER : CHECK_RANDOM};
        gelu_mul_one(c, &s);
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "gelu_mul", &at));) {
        shape s = {.M = check_get(line, "M", 1), .N = check_get(line, "N", 1), .K = check_get(line, "K", 1), .fill = CHECK_RANDOM};
        s.M = check_rows(c, s.M, 2 * (double)s.M * (double)s.N * (double)s.K);
        gelu_mul_one(c, &s);
    }
}
