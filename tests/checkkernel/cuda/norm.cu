/* Layer norm and RMS norm against fp64; bandwidth beside a plain copy. */
#include "check.cuh"

namespace
{

typedef std::function<int(const swan_norm_layer_args *)> layer_fn;
typedef std::function<int(const swan_norm_rms_args *)> rms_fn;

std::vector<float> to_host(const float *d, int64_t n)
{
    std::vector<float> h(n);
    CK(cudaMemcpy(h.data(), d, n * 4, cudaMemcpyDeviceToHost));
    return h;
}

/* The tables of a row. add NULL: RMS norm (no mean, no shift, no offset); rope may be NULL. */
struct tables {
    const float *mul, *add, *rope;
    int hd;
};

/* One row of the reference in type T. */
template <typename T> void row_ref(const bf16 *x, int D, const tables &t, std::vector<T> &y)
{
    const T eps = 1e-6f, offset = t.add ? (T)1 : (T)0;
    T mean = 0, var = 0;
    for (int i = 0; i < D && t.add; i++) mean += (T)__bfloat162float(x[i]);
    mean /= (T)D;
    for (int i = 0; i < D; i++) {
        const T d = (T)__bfloat162float(x[i]) - mean;
        var += d * d;
    }
    const T inv = (T)1 / std::sqrt(var / (T)D + eps);
    for (int i = 0; i < D; i++)
        y[i] = ((T)__bfloat162float(x[i]) - mean) * inv * ((T)t.mul[i] + offset) + (t.add ? (T)t.add[i] : (T)0);
    for (int i = 0; t.rope && i < D; i += 2) {
        const T c = t.rope[i % t.hd], s = t.rope[i % t.hd + 1], u = y[i], v = y[i + 1];
        y[i] = u * c - v * s, y[i + 1] = u * s + v * c;
    }
}

struct shape {
    int L, D;
    bool rope;
    float mean, sd;
    bool outliers;
};

/* One of layer and rms is empty. */
void run_case(const char *name, const layer_fn &layer, const rms_fn &rms, const shape &c)
{
    const int L = c.L, D = c.D;
    const int hd = D % 128 == 0 ? 128 : D % 64 == 0 ? 64 : 8;
    matrix x(L, D, 8, 5), y(L, D, 16, 9);
    buffer mul((size_t)D * 4), add((size_t)D * 4), rope((size_t)L * hd * 4);
    fill(x, c.sd, c.mean, c.outliers);
    fill_f32(mul.at<float>(), D, 0.3f, 0.5f), fill_f32(add.at<float>(), D, 0.3f, 0.0f),
        fill_f32(rope.at<float>(), (int64_t)L * hd, 0.7f, 0.0f);
    swan_norm_layer_args a = {};
    a.x = x.p(), a.y = y.p(), a.scale = mul.at<float>(), a.shift = add.at<float>(), a.scale_offset = 1.0f,
    a.eps = 1e-6f;
    a.L = L, a.D = D, a.ldx = x.ld, a.ldy = y.ld;
    swan_norm_rms_args r = {};
    r.x = x.p(), r.y = y.p(), r.weight = mul.at<float>(), r.rope = c.rope ? rope.at<float>() : nullptr, r.eps = 1e-6f;
    r.L = L, r.D = D, r.head_dim = hd, r.ldx = x.ld, r.ldy = y.ld;
    auto run = [&] {
        CK(layer ? layer(&a) : rms(&r));
        finish(name);
    };
    run();
    const std::vector<unsigned char> first = y.mem.host(), in = x.mem.host();
    const bool margins = margins_intact(y);
    const long bad = count_bad(y);
    y.mem.poison();
    run();
    const bool repeat = same_bits(y.mem, first);
    const std::vector<float> hm = to_host(mul.at<float>(), D), ha = to_host(add.at<float>(), D),
                             hr = to_host(rope.at<float>(), (int64_t)L * hd);
    std::vector<double> ref, row64(D);
    std::vector<float> got, plain, row32(D);
    for (int i = 0; i < std::min(L, 200); i++) {
        const int at = L <= 200 ? i : i < 100 ? L - 1 - i : (int)((i * 2654435761ull) % (uint64_t)L);
        const bf16 *xr = (const bf16 *)in.data() + at * x.ld, *yr = (const bf16 *)first.data() + at * y.ld;
        const float *rp = !layer && c.rope ? hr.data() + (int64_t)at * hd : nullptr;
        const tables t = {hm.data(), layer ? ha.data() : nullptr, rp, hd};
        row_ref<double>(xr, D, t, row64);
        row_ref<float>(xr, D, t, row32);
        for (int e = 0; e < D; e++)
            got.push_back(__bfloat162float(yr[e])), ref.push_back(row64[e]), plain.push_back(row32[e]);
    }
    const verdict v = judge(got, ref, plain, D);
    char label[128];
    snprintf(label, sizeof label, "%s L=%d D=%d%s mean=%g%s", name, L, D, c.rope ? " rope" : "", c.mean,
             c.outliers ? " outliers" : "");
    report(v.worst <= 1 && margins && bad == 0 && repeat, label,
           "worst %.3f of bound, rel %.2e, margins %d, bad %ld, repeat %d", v.worst, v.rel, margins, bad, repeat);
}

} // namespace

void check_norm(bool quick)
{
    const layer_fn layers[] = {[](const swan_norm_layer_args *a) { return swan_cuda_norm_layer_naive(0, a, SWAN_BF16); },
                               [](const swan_norm_layer_args *a) { return swan_cuda_norm_layer_vec(0, a); }};
    const rms_fn rmss[] = {[](const swan_norm_rms_args *a) { return swan_cuda_norm_rms_naive(0, a, SWAN_BF16); },
                           [](const swan_norm_rms_args *a) { return swan_cuda_norm_rms_vec(0, a); }};
    const char *ln[] = {"norm.layer naive", "norm.layer vec"}, *rn[] = {"norm.rms naive", "norm.rms vec"};
    for (int k = 0; k < 2; k++)
        for (int L : quick ? std::vector<int>{1, 5} : std::vector<int>{1, 3, 4, 5, 129, 32760})
            for (int D : {8, 64, 256, 264, 1536, 4096, 5120}) {
                if (L > 1000 && D != 1536) continue;
                run_case(ln[k], layers[k], nullptr, {L, D, false, D == 1536 ? 3.0f : 0.0f, 1.0f, D == 264});
                run_case(ln[k], layers[k], nullptr, {L, D, false, 1.0f, 0.0f, false});
                run_case(rn[k], nullptr, rmss[k], {L, D, false, 0.0f, 1.0f, true});
                run_case(rn[k], nullptr, rmss[k], {L, D, true, 0.5f, 1.0f, false});
            }
}

void bench_norm()
{
    const int L = 32760, D = 1536, sets = 3;
    std::vector<matrix *> x, y;
    for (int i = 0; i < sets; i++) {
        x.push_back(new matrix(L, D)), y.push_back(new matrix(L, D));
        fill(*x[i]);
    }
    matrix qkv(L, 3 * D);
    fill(qkv);
    buffer mul(D * 4), add(D * 4), rope((size_t)L * 128 * 4);
    fill_f32(mul.at<float>(), D, 0.3f, 0.5f), fill_f32(add.at<float>(), D, 0.3f, 0.0f),
        fill_f32(rope.at<float>(), (int64_t)L * 128, 0.7f, 0.0f);
    const double io = 4.0 * L * D;
    auto line = [&](const char *name, double bytes, float ms) {
        printf("%-32s L=%d D=%d  %7.4f ms  %5.2f TB/s\n", name, L, D, ms, bytes / ms * 1e-9);
    };
    line("copy (cudaMemcpyAsync)", io, time_ms(30, [&](int i) {
             CK(cudaMemcpyAsync(y[i % sets]->p(), x[i % sets]->p(), (size_t)L * D * 2, cudaMemcpyDeviceToDevice));
         }));
    auto layer = [&](int i) {
        swan_norm_layer_args a = {};
        a.x = x[i % sets]->p(), a.y = y[i % sets]->p(), a.scale = mul.at<float>(), a.shift = add.at<float>(),
        a.scale_offset = 1.0f, a.eps = 1e-6f;
        a.L = L, a.D = D, a.ldx = a.ldy = D;
        return a;
    };
    auto rms = [&](int i, bool packed) {
        swan_norm_rms_args a = {};
        a.x = packed ? qkv.p() + (i & 1) * D : x[i % sets]->p(),
        a.y = packed ? qkv.p() + (i & 1) * D : y[i % sets]->p();
        a.weight = mul.at<float>(), a.rope = rope.at<float>(), a.eps = 1e-6f, a.L = L, a.D = D, a.head_dim = 128,
        a.ldx = a.ldy = packed ? 3 * D : D;
        return a;
    };
    line("norm.layer naive", io, time_ms(20, [&](int i) {
             auto a = layer(i);
             CK(swan_cuda_norm_layer_naive(0, &a, SWAN_BF16));
         }));
    line("norm.layer vec", io, time_ms(30, [&](int i) {
             auto a = layer(i);
             CK(swan_cuda_norm_layer_vec(0, &a));
         }));
    const double with_rope = io + 4.0 * L * 128;
    line("norm.rms+rope naive", with_rope, time_ms(20, [&](int i) {
             auto a = rms(i, false);
             CK(swan_cuda_norm_rms_naive(0, &a, SWAN_BF16));
         }));
    line("norm.rms+rope vec", with_rope, time_ms(30, [&](int i) {
             auto a = rms(i, false);
             CK(swan_cuda_norm_rms_vec(0, &a));
         }));
    line("norm.rms+rope vec, in packed qkv", with_rope, time_ms(30, [&](int i) {
             auto a = rms(i, true);
             CK(swan_cuda_norm_rms_vec(0, &a));
         }));
    for (int i = 0; i < sets; i++) delete x[i], delete y[i];
}
