/* The image decoder's convolutions: fast rows against naive ones at the decoder's own sizes, and what a decode takes. */
#include "check.cuh"

#include <cuda_fp16.h>

namespace
{

typedef std::function<int(const swan_conv_conv3x3_args *)> conv_fn;
typedef std::function<int(const swan_conv_up2x2_args *)> up_fn;

__global__ void to_half(half *dst, const bf16 *src, int64_t n)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        dst[i] = __float2half(__bfloat162float(src[i]));
}

/* f16 [n] between canaries. */
struct halves {
    int64_t n;
    buffer mem;
    explicit halves(int64_t count) : n(count), mem((size_t)count * 2) {}
    half *p() const { return mem.at<half>(); }
    void random(float sd)
    {
        matrix m(1, n);
        fill(m, sd);
        to_half<<<2048, 256>>>(p(), m.p(), n);
        CK(cudaDeviceSynchronize());
    }
};

/* The largest |a - b| in units of one f16 step at b plus `floor`, and values that are not finite. */
__global__ void compare(const half *a, const half *b, int64_t n, float floor, float *worst, unsigned long long *bad)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) {
        const float x = __half2float(a[i]), y = __half2float(b[i]);
        if (!isfinite(x) || !isfinite(y)) atomicAdd(bad, 1ull);
        else atomicMax((int *)worst, __float_as_int(fabsf(x - y) / (fabsf(y) * 0x1p-10f + floor)));
    }
}

/* Sums of K products of about 1 / sqrt(K): tensor cores cut each sum of 16 below 2^-22 of partial sums up to 4. */
void expect_close(const std::string &name, const halves &got, const halves &want, int64_t K)
{
    buffer result(16);
    CK(cudaMemset(result.at<char>(), 0, 16));
    compare<<<1024, 256>>>(got.p(), want.p(), got.n, 0x1p-22f * (float)K / 16.0f, result.at<float>(), result.at<unsigned long long>(1));
    const std::vector<unsigned char> h = result.host();
    float worst;
    unsigned long long bad;
    memcpy(&worst, h.data(), 4), memcpy(&bad, h.data() + 8, 8);
    report(worst <= 1.0f && !bad && got.mem.intact(), name, "%.3g steps, %llu not finite, canaries %d", worst, bad, got.mem.intact());
}

struct conv_case {
    int64_t F, H, W, Cx, Cp, Cout;
    bool past_of_x, residual, relu, bias;
};

struct conv_data {
    halves x, past, w, residual, y;
    buffer bias;
    explicit conv_data(const conv_case &c)
        : x((c.F + 1) * c.H * c.W * c.Cx), past(c.Cp && !c.past_of_x ? c.F * c.H * c.W * c.Cp : 1), w(c.Cout * 9 * (c.Cx + c.Cp)),
          residual(c.residual ? c.F * c.H * c.W * c.Cout : 1), y(c.F * c.H * c.W * c.Cout), bias((size_t)c.Cout * 4)
    {
        x.random(1.0f), past.random(1.0f), residual.random(1.0f), w.random(1.0f / sqrtf(9.0f * (float)(c.Cx + c.Cp)));
        fill_f32(bias.at<float>(), c.Cout, 0.5f, 0.0f);
    }
    swan_conv_conv3x3_args args(const conv_case &c) const
    {
        swan_conv_conv3x3_args a = {};
        a.x = x.p() + (c.past_of_x ? c.H * c.W * c.Cx : 0);
        a.past = !c.Cp ? nullptr : c.past_of_x ? x.p() : past.p();
        a.w = w.p(), a.bias = c.bias ? bias.at<float>() : nullptr, a.residual = c.residual ? residual.p() : nullptr, a.y = y.p();
        a.F = c.F, a.H = c.H, a.W = c.W, a.Cx = c.Cx, a.Cp = c.Cp, a.Cout = c.Cout, a.relu = c.relu;
        return a;
    }
};

void check_one(const char *name, const conv_fn &fast, const conv_case &c)
{
    conv_data d(c);
    halves first(d.y.n);
    swan_conv_conv3x3_args a = d.args(c);
    a.y = first.p();
    CK(swan_cuda_conv_conv3x3_naive(0, &a, SWAN_F16));
    a.y = d.y.p();
    const int e = fast(&a);
    char text[160];
    snprintf(text, sizeof text, "%s F=%d %dx%d %d+%d -> %d%s%s%s%s", name, (int)c.F, (int)c.H, (int)c.W, (int)c.Cx, (int)c.Cp, (int)c.Cout,
             c.past_of_x ? " past of x" : "", c.residual ? " residual" : "", c.relu ? " relu" : "", c.bias ? " bias" : "");
    if (e) return report(false, text, "returned %d", e);
    finish(text);
    expect_close(text, d.y, first, 9 * (c.Cx + c.Cp));
    const std::vector<unsigned char> once = d.y.mem.host();
    d.y.mem.poison();
    CK(fast(&a));
    finish(text);
    report(same_bits(d.y.mem, once), text, "a second run differs");
}

struct up_case {
    int64_t F, H, W, Cx, Cout, grow;
    bool relu;
};

void check_up(const char *name, const up_fn &fast, const up_case &c)
{
    halves x(c.F * c.H * c.W * c.Cx), w(c.grow * 16 * c.Cout * c.Cx), y(c.F * c.grow * 4 * c.H * c.W * c.Cout), want(y.n);
    x.random(1.0f), w.random(1.0f / sqrtf(4.0f * (float)c.Cx));
    swan_conv_up2x2_args a = {};
    a.x = x.p(), a.w = w.p(), a.y = want.p();
    a.F = c.F, a.H = c.H, a.W = c.W, a.Cx = c.Cx, a.Cout = c.Cout, a.grow = c.grow, a.relu = c.relu;
    CK(swan_cuda_conv_up2x2_naive(0, &a, SWAN_F16));
    a.y = y.p();
    const int e = fast(&a);
    char text[160];
    snprintf(text, sizeof text, "%s F=%d %dx%d %d -> %d x %d%s", name, (int)c.F, (int)c.H, (int)c.W, (int)c.Cx, (int)c.grow, (int)c.Cout,
             c.relu ? " relu" : "");
    if (e) return report(false, text, "returned %d", e);
    finish(text);
    expect_close(text, y, want, 4 * c.Cx);
    const std::vector<unsigned char> once = y.mem.host();
    y.mem.poison();
    CK(fast(&a));
    finish(text);
    report(same_bits(y.mem, once), text, "a second run differs");
}

struct row {
    const char *name;
    conv_fn conv;
    up_fn up;
};

std::vector<row> rows()
{
    cudaDeviceProp prop;
    CK(cudaGetDeviceProperties(&prop, 0));
    std::vector<row> all = {{"mma", [](const swan_conv_conv3x3_args *a) { return swan_cuda_conv_conv3x3_mma(0, a); },
                             [](const swan_conv_up2x2_args *a) { return swan_cuda_conv_up2x2_mma(0, a); }}};
    if (prop.major == 9)
        all.push_back({"sm90", [](const swan_conv_conv3x3_args *a) { return swan_cuda_conv_conv3x3_sm90(0, a); },
                       [](const swan_conv_up2x2_args *a) { return swan_cuda_conv_up2x2_sm90(0, a); }});
    return all;
}

/* One kind of layer of the decoder: frames it sees in all, and in one call. */
struct layer {
    const char *name;
    int64_t F, H, W, Cx, Cp, Cout, grow; /* grow 0: conv3x3 */
    bool residual;
    int layers;
    int64_t frames;
};

float time_layer(const row &r, const layer &l, double &flop)
{
    if (l.grow) {
        halves x(l.F * l.H * l.W * l.Cx), w(l.grow * 16 * l.Cout * l.Cx), y(l.F * l.grow * 4 * l.H * l.W * l.Cout);
        x.random(1.0f), w.random(1.0f / sqrtf(4.0f * (float)l.Cx));
        swan_conv_up2x2_args a = {};
        a.x = x.p(), a.w = w.p(), a.y = y.p(), a.F = l.F, a.H = l.H, a.W = l.W, a.Cx = l.Cx, a.Cout = l.Cout, a.grow = l.grow, a.relu = true;
        flop = 8.0 * (double)y.n * (double)l.Cx;
        return time_ms(12, [&](int) { CK(r.up(&a)); });
    }
    const conv_case c = {l.F, l.H, l.W, l.Cx, l.Cp, l.Cout, l.Cp > 0, l.residual, true, true};
    conv_data d(c);
    swan_conv_conv3x3_args a = d.args(c);
    flop = 18.0 * (double)d.y.n * (double)(l.Cx + l.Cp);
    return time_ms(12, [&](int) {
        const int e = r.conv(&a);
        CK(e == cudaErrorNotSupported ? swan_cuda_conv_conv3x3_mma(0, &a) : e); /* as rows.c does it */
    });
}

void bench_decode(const row &r, int64_t T, int64_t H, int64_t W)
{
    const layer layers[] = {
        {"in     ", T, H, W, 16, 0, 256, 0, false, 1, T},
        {"256 cat", T, H, W, 256, 256, 256, 0, false, 3, T},
        {"256    ", T, H, W, 256, 0, 256, 0, false, 3, T},
        {"256 +x ", T, H, W, 256, 0, 256, 0, true, 3, T},
        {"256 up ", T, H, W, 256, 0, 128, 1, false, 1, T},
        {"128 cat", 11, 2 * H, 2 * W, 128, 128, 128, 0, false, 3, T},
        {"128    ", 11, 2 * H, 2 * W, 128, 0, 128, 0, false, 3, T},
        {"128 +x ", 11, 2 * H, 2 * W, 128, 0, 128, 0, true, 3, T},
        {"128 up ", 11, 2 * H, 2 * W, 128, 0, 64, 2, false, 1, T},
        {"64 cat ", 8, 4 * H, 4 * W, 64, 64, 64, 0, false, 3, 2 * T},
        {"64     ", 8, 4 * H, 4 * W, 64, 0, 64, 0, false, 3, 2 * T},
        {"64 +x  ", 8, 4 * H, 4 * W, 64, 0, 64, 0, true, 3, 2 * T},
        {"64 up  ", 4, 4 * H, 4 * W, 64, 0, 64, 2, false, 1, 2 * T - 1},
        {"out    ", 8, 8 * H, 8 * W, 64, 0, 3, 0, false, 1, 4 * T - 3},
    };
    double sum = 0, all = 0;
    printf("TAEHV, %s: %d x %d x %d\n", r.name, (int)(4 * T - 3), (int)(8 * H), (int)(8 * W));
    for (const layer &l : layers) {
        double flop;
        const float ms = time_layer(r, l, flop);
        const double total = ms * l.layers * (double)l.frames / (double)l.F;
        sum += total;
        all += flop * l.layers * (double)l.frames / (double)l.F;
        printf("  %s %2d x %4d x %4d  %8.3f ms  %6.1f TFLOPS  in all %7.3f ms\n", l.name, (int)l.F, (int)l.H, (int)l.W, ms, flop / ms * 1e-9, total);
        fflush(stdout);
    }
    printf("  sum %.2f ms, %.2f TFLOP, %.1f TFLOPS\n", sum, all * 1e-12, all / sum * 1e-9);
}

} // namespace

/* A sanitizer takes minutes for what is larger than this, in products for each tap. */
static bool small(int64_t pixels, int64_t in, int64_t out) { return pixels * in * out <= 200000000; }

void check_conv(bool quick)
{
    for (const row &r : rows()) {
        for (const conv_case &c : std::vector<conv_case>{
                 {1, 16, 16, 64, 0, 64, false, false, false, false},
                 {1, 16, 16, 64, 0, 128, false, false, false, false},
                 {1, 32, 8, 64, 0, 64, false, false, true, true},
                 {2, 17, 33, 64, 64, 64, true, false, true, true},
                 {3, 9, 7, 128, 0, 64, false, true, true, true},
                 {2, 33, 24, 128, 64, 128, false, true, false, true},
                 {1, 1, 1, 64, 0, 64, false, true, true, false},
                 {2, 60, 104, 256, 256, 256, true, false, true, true},
                 {3, 130, 200, 128, 128, 64, true, true, true, true},
                 {4, 130, 200, 64, 0, 64, false, true, true, true},
                 {2, 40, 50, 192, 0, 192, false, true, true, true},
             })
            if (!quick || small(c.F * c.H * c.W, c.Cx + c.Cp, c.Cout)) check_one(r.name, r.conv, c);
        if (r.name == std::string("mma"))
            for (const conv_case &c : std::vector<conv_case>{{2, 20, 30, 16, 0, 256, false, false, true, true},
                                                             {2, 17, 35, 64, 0, 3, false, false, false, true},
                                                             {1, 33, 40, 72, 24, 8, false, true, true, true},
                                                             {2, 9, 21, 40, 40, 100, true, true, true, true},
                                                             {1, 18, 18, 128, 0, 5, false, true, false, false},
                                                             {3, 50, 70, 64, 0, 3, false, true, true, true},
                                                             {1, 18, 18, 72, 64, 1, false, false, true, true},
                                                             {2, 3, 40, 8, 0, 2, false, false, false, true}})
                check_one(r.name, r.conv, c);
        for (const up_case &c : std::vector<up_case>{
                 {1, 16, 16, 64, 64, 1, false}, {2, 17, 33, 64, 64, 2, true}, {1, 9, 40, 128, 64, 2, false}, {2, 30, 52, 256, 128, 1, false},
                 {1, 1, 1, 64, 128, 3, true}, {2, 33, 15, 64, 192, 1, true},
                 {3, 100, 130, 128, 64, 2, true}, {3, 100, 130, 64, 64, 2, true}, {2, 70, 90, 256, 192, 1, false}})
            if (!quick || small(c.F * c.H * c.W, c.Cx, c.Cout)) check_up(r.name, r.up, c);
        if (quick) continue;
        for (const conv_case &c : std::vector<conv_case>{
                 {3, 60, 104, 256, 0, 256, false, true, true, true}, {3, 120, 208, 128, 128, 128, true, false, true, true},
                 {2, 112, 208, 128, 0, 128, false, true, true, true}, {5, 240, 416, 64, 64, 64, true, false, true, true},
                 {4, 224, 416, 64, 0, 64, false, true, true, true}, {9, 240, 416, 64, 0, 64, false, false, true, true}})
            check_one(r.name, r.conv, c);
        for (const up_case &c : std::vector<up_case>{{3, 60, 104, 256, 128, 1, false}, {3, 120, 208, 128, 64, 2, false}, {3, 240, 416, 64, 64, 2, true}})
            check_up(r.name, r.up, c);
    }
}

void bench_conv()
{
    for (const row &r : rows()) {
        bench_decode(r, 21, 60, 104);
        bench_decode(r, 16, 56, 104);
    }
}
