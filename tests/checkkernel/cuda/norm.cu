/* Layer norm and RMS norm, also with means over tiles, against fp64; bandwidth beside a plain copy. */
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

/* ---- with means ---- */

/* Where the tiles of a T x H x W grid of tokens begin, and where the last one ends. */
std::vector<int32_t> grid_starts(int T, int H, int W)
{
    std::vector<int32_t> start = {0};
    for (int t = 0; t < T; t += 4)
        for (int h = 0; h < H; h += 4)
            for (int w = 0; w < W; w += 4)
                start.push_back(start.back() + std::min(4, T - t) * std::min(4, H - h) * std::min(4, W - w));
    return start;
}

std::vector<int32_t> ragged_starts(int tiles)
{
    const int sizes[] = {64, 1, 33, 3, 16, 6, 65, 8};
    std::vector<int32_t> start = {0};
    for (int i = 0; i < tiles; i++) start.push_back(start.back() + sizes[i % 8]);
    return start;
}

/* Columns of a packed matrix [L, 4 D]: which = 0, 1, ... is normalised in place, the others stay. */
struct packed {
    matrix all, before, mean;
    buffer weight, rope, start;
    swan_norm_rms_args a = {};
    packed(const std::vector<int32_t> &s, int D, int hd)
        : all(s.back(), 4 * D, 8, 3), before(s.back(), 4 * D, 8, 3), mean((int64_t)s.size() - 1, D), weight((size_t)D * 4),
          rope((size_t)s.back() * hd * 4), start(s.size() * 4)
    {
        fill(before, 1.0f, 0.3f);
        fill_f32(weight.at<float>(), D, 0.3f, 0.5f), fill_f32(rope.at<float>(), (int64_t)s.back() * hd, 0.7f, 0.0f);
        CK(cudaMemcpy(start.at<int32_t>(), s.data(), s.size() * 4, cudaMemcpyHostToDevice));
        a.weight = weight.at<float>(), a.rope = rope.at<float>(), a.eps = 1e-6f, a.L = s.back(), a.D = D, a.head_dim = hd;
        a.ldx = a.ldy = all.ld, a.tile_start = start.at<int32_t>(), a.mean = mean.p(), a.tiles = (int64_t)s.size() - 1;
        use(1);
        reset();
    }
    void use(int which) { a.x = a.y = all.p() + which * a.D; }
    void reset()
    {
        CK(cudaMemcpy(all.mem.at<char>(), before.mem.at<char>(), all.mem.bytes, cudaMemcpyDeviceToDevice));
        mean.mem.poison();
    }
};

/* The norm, and what a reading of its result adds. */
int rms_then_pool(const swan_norm_rms_args *a)
{
    swan_norm_rms_args norm = *a;
    norm.mean = nullptr;
    swan_vsa_pool_args p = {};
    p.x = a->y, p.out = a->mean, p.tile_start = a->tile_start, p.tiles = a->tiles, p.D = a->D, p.ldx = a->ldy;
    const int e = swan_cuda_norm_rms_vec(0, &norm);
    return e ? e : swan_cuda_vsa_pool_vec(0, &p);
}

/* Rows of the norm and the means of what it left, of some tiles; the rest of the matrix untouched; a second run alike; of vec, the
 * bits of the norm and then vsa.pool. */
void run_means(const char *name, const rms_fn &rms, const std::vector<int32_t> &start, int D, int hd, bool twin)
{
    const int tiles = (int)start.size() - 1, L = start.back();
    packed m(start, D, hd);
    auto run = [&](const rms_fn &f) {
        m.reset();
        CK(f(&m.a));
        finish(name);
        return std::make_pair(m.all.mem.host(), m.mean.mem.host());
    };
    const auto got = run(rms), again = run(rms);
    const bool margins = margins_intact(m.all) && margins_intact(m.mean), repeat = got == again;
    const long bad = count_bad(m.all) + count_bad(m.mean);
    const auto two = twin ? run(rms_then_pool) : got;
    const auto in = m.before.mem.host();
    const int64_t ld = m.all.ld;
    const bf16 *x = (const bf16 *)in.data(), *y = (const bf16 *)got.first.data(), *means = (const bf16 *)got.second.data();
    bool others = true;
    for (int64_t r = 0; r < L; r++)
        others = others && !memcmp(x + r * ld, y + r * ld, D * 2) && !memcmp(x + r * ld + 2 * D, y + r * ld + 2 * D, D * 4);
    const std::vector<float> hm = to_host(m.weight.at<float>(), D), hr = to_host(m.rope.at<float>(), (int64_t)L * hd);
    std::vector<double> ref, mean_ref, row64(D);
    std::vector<float> norm, plain, mean_got, mean_plain, row32(D);
    for (int i = 0; i < std::min(tiles, 40); i++) {
        const int t = tiles <= 40 ? i : i < 15 ? i : i < 30 ? tiles - 1 - (i - 15) : (int)((i * 2654435761ull) % (uint64_t)tiles);
        const int64_t at = start[t];
        const tables tab = {hm.data(), nullptr, hr.data() + at * hd, hd};
        row_ref<double>(x + at * ld + D, D, tab, row64);
        row_ref<float>(x + at * ld + D, D, tab, row32);
        for (int e = 0; e < D; e++) {
            norm.push_back(__bfloat162float(y[at * ld + D + e])), ref.push_back(row64[e]), plain.push_back(row32[e]);
            double sum = 0;
            float f = 0;
            for (int64_t r = start[t]; r < start[t + 1]; r++) {
                const float v = __bfloat162float(y[r * ld + D + e]);
                sum += v, f += v;
            }
            const int n = start[t + 1] - start[t];
            mean_got.push_back(__bfloat162float(means[(int64_t)t * D + e])), mean_ref.push_back(sum / n), mean_plain.push_back(f / (float)n);
        }
    }
    const verdict v = judge(norm, ref, plain, D), w = judge(mean_got, mean_ref, mean_plain, D);
    char label[128];
    snprintf(label, sizeof label, "%s means L=%d tiles=%d D=%d head_dim=%d", name, L, tiles, D, hd);
    report(v.worst <= 1 && w.worst <= 1 && margins && bad == 0 && repeat && others && two == got, label,
           "worst %.3f of bound, of means %.3f, margins %d, bad %ld, repeat %d, others %d, as norm then pool %d", v.worst, w.worst, margins,
           bad, repeat, others, two == got);
}

void check_means(bool quick, const char *const (&names)[2], const rms_fn (&rows)[2])
{
    const int widths[][2] = {{8, 8}, {256, 128}, {264, 8}, {264, 24}, {1536, 128}, {2048, 64}, {5120, 128}};
    for (int k = 0; k < 2; k++) {
        for (auto &w : widths) {
            run_means(names[k], rows[k], ragged_starts(quick ? 5 : 21), w[0], w[1], k == 1);
            if (!quick) run_means(names[k], rows[k], grid_starts(9, 10, 13), w[0], w[1], k == 1);
        }
        std::vector<int32_t> single;
        for (int i = 0; i <= 70; i++) single.push_back(i);
        run_means(names[k], rows[k], single, 1536, 128, k == 1);
        if (quick) continue;
        run_means(names[k], rows[k], grid_starts(21, 30, 52), 1536, 128, k == 1);
        run_means(names[k], rows[k], grid_starts(16, 28, 52), 1536, 128, k == 1);
    }
}

/* Of a layer with VSA: q and k normalised and pooled, v pooled; in place in a packed qkv and gate. */
void bench_means(int T, int H, int W, int D)
{
    const std::vector<int32_t> start = grid_starts(T, H, W);
    const int L = start.back(), tiles = (int)start.size() - 1;
    packed m(start, D, 128);
    const double norm = 4.0 * L * D + 4.0 * L * 128, pool = 2.0 * L * D;
    auto line = [&](const char *name, double bytes, const std::function<void(int)> &f) {
        const float ms = time_ms(30, f);
        printf("%-40s L=%d tiles=%d D=%d  %7.4f ms  %5.2f TB/s\n", name, L, tiles, D, ms, bytes / ms * 1e-9);
    };
    swan_vsa_pool_args v = {};
    v.x = m.all.p() + 2 * D, v.out = m.mean.p(), v.tile_start = m.a.tile_start, v.tiles = tiles, v.D = D, v.ldx = m.all.ld;
    for (int round = 0; round < 2; round++) { /* twice: the difference is the noise */
        line("norm.rms+rope vec", norm, [&](int i) {
            m.use(i & 1);
            swan_norm_rms_args a = m.a;
            a.mean = nullptr;
            CK(swan_cuda_norm_rms_vec(0, &a));
        });
        line("norm.rms+rope vec, then vsa.pool vec", norm + pool, [&](int i) {
            m.use(i & 1);
            CK(rms_then_pool(&m.a));
        });
        line("norm.rms+rope+means vec", norm, [&](int i) {
            m.use(i & 1);
            CK(swan_cuda_norm_rms_vec(0, &m.a));
        });
        for (bool fused : {false, true})
            line(fused ? "q, k, v of a layer, means by the norm" : "q, k, v of a layer, pooled", 2 * norm + (fused ? 1 : 3) * pool, [&](int) {
                for (int which = 0; which < 2; which++) {
                    m.use(which);
                    CK(fused ? swan_cuda_norm_rms_vec(0, &m.a) : rms_then_pool(&m.a));
                }
                CK(swan_cuda_vsa_pool_vec(0, &v));
            });
    }
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
    check_means(quick, rn, rmss);
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
    bench_means(21, 30, 52, D);
    bench_means(16, 28, 52, D);
    bench_means(21, 30, 52, 5120);
}
