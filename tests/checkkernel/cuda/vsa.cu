/* Pooling, coarse attention with selection, and the gated sum, against fp64 on the host. */
#include "check.cuh"

namespace
{

std::vector<int32_t> starts_of(int tiles, int kind)
{
    const int sizes[] = {64, 32, 16, 8, 64, 1, 64};
    std::vector<int32_t> s = {0};
    for (int i = 0; i < tiles; i++) s.push_back(s.back() + (kind ? sizes[i % 7] : 64));
    return s;
}

double val(const std::vector<unsigned char> &h, int64_t i)
{
    return (double)__bfloat162float(((const bf16 *)h.data())[i]);
}

/* What judge() compares. */
struct samples {
    std::vector<double> ref;
    std::vector<float> got, plain;
    void add(double r, float p, double g) { ref.push_back(r), plain.push_back(p), got.push_back((float)g); }
    verdict judged(size_t group) const { return judge(got, ref, plain, group); }
};

int run_pool(bool vec, const swan_vsa_pool_args *a)
{
    return vec ? swan_cuda_vsa_pool_vec(0, a) : swan_cuda_vsa_pool_naive(0, a, SWAN_BF16);
}

void compare_pool(const std::string &label, const matrix &x, const matrix &pooled, const std::vector<int32_t> &start)
{
    const auto hx = x.mem.host(), hq = pooled.mem.host();
    samples s;
    for (int t = 0; t < (int)pooled.rows; t++)
        for (int d = 0; d < (int)x.cols; d++) {
            double sum = 0;
            float f = 0;
            for (int r = start[t]; r < start[t + 1]; r++)
                sum += val(hx, r * x.ld + d), f += (float)val(hx, r * x.ld + d);
            const int n = start[t + 1] - start[t];
            s.add(sum / n, f / (float)n, val(hq, t * pooled.ld + d));
        }
    const verdict w = s.judged((size_t)x.cols);
    report(w.worst <= 1 && margins_intact(pooled), "vsa.pool " + label, "worst %.3f of bound", w.worst);
}

/* Exactly topk distinct tiles, ascending, none of the others scoring more; when all scores are equal, the first topk.
 */
bool list_right(const int32_t *list, int topk, const std::vector<double> &score, bool equal)
{
    std::vector<bool> in_list(score.size(), false);
    double least = 1e300, best_left = -1e300;
    for (int i = 0; i < topk; i++) {
        if (list[i] < 0 || list[i] >= (int)score.size() || (i > 0 && list[i] <= list[i - 1]) ||
            (equal && list[i] != i))
            return false;
        in_list[list[i]] = true;
        least = std::min(least, score[list[i]]);
    }
    for (size_t j = 0; j < score.size(); j++)
        if (!in_list[j]) best_left = std::max(best_left, score[j]);
    return best_left <= least + 2e-6 * (1 + std::fabs(least)); /* 128 fp32 sums: 128 * 2^-24 of the terms, twice */
}

void compare_coarse(const std::string &label, const swan_vsa_coarse_args &c, const matrix &qc, const matrix &kc,
                    const matrix &vc, const matrix &out, bool equal)
{
    const int tiles = (int)c.tiles, topk = (int)c.topk;
    const auto hq = qc.mem.host(), hk = kc.mem.host(), hv = vc.mem.host(), ho = out.mem.host();
    std::vector<int32_t> lists((size_t)c.heads * tiles * topk);
    CK(cudaMemcpy(lists.data(), c.index, lists.size() * 4, cudaMemcpyDeviceToHost));
    samples all;
    bool listed = true;
    for (int h = 0; h < (int)c.heads; h++)
        for (int t = 0; t < tiles; t++) {
            std::vector<double> s(tiles), o(128, 0.0);
            double top = -1e300, sum = 0;
            for (int j = 0; j < tiles; j++) {
                for (int d = 0; d < 128; d++)
                    s[j] += val(hq, t * qc.ld + h * 128 + d) * val(hk, j * kc.ld + h * 128 + d);
                s[j] *= (double)c.scale;
                top = std::max(top, s[j]);
            }
            listed = listed && list_right(lists.data() + ((size_t)h * tiles + t) * topk, topk, s, equal);
            for (int j = 0; j < tiles; j++) {
                const double e = std::exp(s[j] - top);
                sum += e;
                for (int d = 0; d < 128; d++) o[d] += e * val(hv, j * vc.ld + h * 128 + d);
            }
            for (int d = 0; d < 128; d++) all.add(o[d] / sum, (float)(o[d] / sum), val(ho, t * out.ld + h * 128 + d));
        }
    const verdict w = all.judged(128);
    report(w.worst <= 1 && listed && margins_intact(out), "vsa.coarse " + label, "worst %.3f of bound, lists %d",
           w.worst, listed);
}

void compare_combine(const std::string &label, bool vec, const matrix &gate, const matrix &fine0,
                     const matrix &coarse, matrix &fine, const std::vector<int32_t> &start,
                     const int32_t *device_start)
{
    swan_vsa_combine_args a = {};
    a.fine = fine.p(), a.gate = gate.p(), a.coarse = coarse.p(), a.tile_start = device_start;
    a.tiles = coarse.rows, a.D = coarse.cols, a.ld_fine = fine.ld, a.ld_gate = gate.ld;
    CK(cudaMemcpy(fine.p(), fine0.p(), fine.mem.bytes, cudaMemcpyDeviceToDevice));
    CK(vec ? swan_cuda_vsa_combine_vec(0, &a) : swan_cuda_vsa_combine_naive(0, &a, SWAN_BF16));
    finish("vsa.combine");
    const auto hy = fine.mem.host(), hg = gate.mem.host(), hf = fine0.mem.host(), ho = coarse.mem.host();
    samples s;
    for (int t = 0; t < (int)a.tiles; t++)
        for (int r = start[t]; r < start[t + 1]; r++)
            for (int d = 0; d < (int)a.D; d++) {
                const double e = val(hf, r * fine.ld + d) + val(hg, r * gate.ld + d) * val(ho, t * coarse.ld + d);
                s.add(e, (float)e, val(hy, r * fine.ld + d));
            }
    const verdict w = s.judged((size_t)a.D);
    report(w.worst <= 1 && margins_intact(fine) && count_bad(fine) == 0,
           (vec ? "vsa.combine vec " : "vsa.combine naive ") + label, "worst %.3f of bound", w.worst);
}

void run_case(bool fast, int tiles, int heads, int topk, int kind, bool equal)
{
    const int D = heads * 128;
    const std::vector<int32_t> start = starts_of(tiles, kind);
    const int L = start.back();
    matrix x(L, D, 8, 3), k(L, D), v(L, D), gate(L, D, 24), fine(L, D, 8, 2), fine0(L, D, 8, 2);
    matrix qc(tiles, D), kc(tiles, D), vc(tiles, D), out(tiles, D, 0, 2);
    fill(x), fill(k, equal ? 0.0f : 1.0f, 0.25f), fill(v, 1.0f, 0.5f), fill(gate), fill(fine0);
    buffer ds(start.size() * 4), index((size_t)heads * tiles * topk * 4);
    CK(cudaMemcpy(ds.at<int32_t>(), start.data(), start.size() * 4, cudaMemcpyHostToDevice));
    const matrix *in[3] = {&x, &k, &v}, *pooled[3] = {&qc, &kc, &vc};
    for (int i = 0; i < 3; i++) {
        swan_vsa_pool_args p = {};
        p.x = in[i]->p(), p.out = pooled[i]->p(), p.tile_start = ds.at<int32_t>(), p.tiles = tiles, p.D = D,
        p.ldx = in[i]->ld;
        CK(run_pool(fast, &p));
    }
    swan_vsa_coarse_args c = {};
    c.q = qc.p(), c.k = kc.p(), c.v = vc.p(), c.out = out.p(), c.index = index.at<int32_t>(),
    c.scale = 0.08838834764831845f;
    c.tiles = tiles, c.topk = topk, c.heads = heads, c.head_dim = 128;
    CK(fast ? swan_cuda_vsa_coarse_mma(0, &c) : swan_cuda_vsa_coarse_naive(0, &c, SWAN_BF16));
    finish("vsa.pool, vsa.coarse");
    char shape[96];
    snprintf(shape, sizeof shape, "tiles=%d heads=%d topk=%d%s%s", tiles, heads, topk, kind ? " partial" : "",
             equal ? " equal" : "");
    compare_pool((fast ? "vec " : "naive ") + std::string(shape), x, qc, start);
    compare_coarse((fast ? "mma " : "naive ") + std::string(shape), c, qc, kc, vc, out, equal);
    for (bool vec : {false, true}) compare_combine(shape, vec, gate, fine0, out, fine, start, ds.at<int32_t>());
}

} // namespace

void check_vsa(bool quick)
{
    for (bool fast : {false, true}) {
        run_case(fast, 1, 1, 1, 0, false);
        run_case(fast, 7, 2, 3, 1, false);
        run_case(fast, 20, 2, 5, 1, true);
        if (!quick) {
            run_case(fast, 33, 1, 33, 1, false);
            run_case(fast, 364, 2, 73, 0, false);
            run_case(fast, 385, 1, 40, 1, true);
            run_case(fast, 624, 2, 125, 1, false);
            run_case(fast, 700, 1, 100, 1, false);
        }
    }
}

void bench_vsa()
{
    const int cases[][3] = {{23296, 364, 73}, {32760, 624, 125}};
    for (auto &c : cases) {
        const int L = c[0], tiles = c[1], topk = c[2], D = 1536;
        std::vector<int32_t> start(tiles + 1); /* even sizes; the real ones differ, the bytes do not */
        for (int i = 0; i <= tiles; i++) start[i] = (int)((int64_t)L * i / tiles);
        matrix x(L, D), gate(L, D), fine(L, D), qc(tiles, D), kc(tiles, D), vc(tiles, D), out(tiles, D);
        fill(x), fill(gate), fill(fine), fill(qc), fill(kc), fill(vc), fill(out);
        buffer ds(start.size() * 4), index((size_t)12 * tiles * topk * 4);
        CK(cudaMemcpy(ds.at<int32_t>(), start.data(), start.size() * 4, cudaMemcpyHostToDevice));
        swan_vsa_pool_args p = {};
        p.x = x.p(), p.out = qc.p(), p.tile_start = ds.at<int32_t>(), p.tiles = tiles, p.D = D, p.ldx = D;
        swan_vsa_coarse_args a = {};
        a.q = qc.p(), a.k = kc.p(), a.v = vc.p(), a.out = out.p(), a.index = index.at<int32_t>(), a.scale = 0.088388f;
        a.tiles = tiles, a.topk = topk, a.heads = 12, a.head_dim = 128;
        swan_vsa_combine_args m = {};
        m.fine = fine.p(), m.gate = gate.p(), m.coarse = out.p(), m.tile_start = ds.at<int32_t>(), m.tiles = tiles,
        m.D = D, m.ld_fine = m.ld_gate = D;
        const double row = 2.0 * L * D;
        float ms;
        for (bool vec : {false, true}) {
            ms = time_ms(15, [&](int) { CK(run_pool(vec, &p)); });
            printf("%-32s L=%d tiles=%d  %7.4f ms  %5.2f TB/s\n", vec ? "vsa.pool vec" : "vsa.pool naive", L, tiles, ms,
                   row / ms * 1e-9);
        }
        ms = time_ms(9, [&](int) { CK(swan_cuda_vsa_coarse_naive(0, &a, SWAN_BF16)); });
        printf("%-32s L=%d tiles=%d  %7.4f ms\n", "vsa.coarse naive", L, tiles, ms);
        ms = time_ms(15, [&](int) { CK(swan_cuda_vsa_coarse_mma(0, &a)); });
        printf("%-32s L=%d tiles=%d  %7.4f ms\n", "vsa.coarse mma", L, tiles, ms);
        ms = time_ms(15, [&](int) { CK(swan_cuda_vsa_combine_naive(0, &m, SWAN_BF16)); });
        printf("%-32s L=%d tiles=%d  %7.4f ms  %5.2f TB/s\n", "vsa.combine naive", L, tiles, ms, 3 * row / ms * 1e-9);
        ms = time_ms(15, [&](int) { CK(swan_cuda_vsa_combine_vec(0, &m)); });
        printf("%-32s L=%d tiles=%d  %7.4f ms  %5.2f TB/s\n", "vsa.combine vec", L, tiles, ms, 3 * row / ms * 1e-9);
    }
}
