/* Pooling, coarse attention with selection, and the gated sum, against fp64 on the host. */
#include "check.cuh"

namespace {

std::vector<int32_t> starts_of(int tiles, int kind)
{
    const int sizes[] = {64, 32, 16, 8, 64, 1, 64};
    std::vector<int32_t> s = {0};
    for (int i = 0; i < tiles; i++)
        s.push_back(s.back() + (kind ? sizes[i % 7] : 64));
    return s;
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
        p.x = in[i]->p(), p.out = pooled[i]->p(), p.tile_start = ds.at<int32_t>(), p.tiles = tiles, p.D = D, p.ldx = in[i]->ld;
        CK(swan_cuda_vsa_pool_naive(0, &p));
    }
    swan_vsa_coarse_args c = {};
    c.q = qc.p(), c.k = kc.p(), c.v = vc.p(), c.out = out.p(), c.index = index.at<int32_t>(), c.scale = 0.08838834764831845f;
    c.tiles = tiles, c.topk = topk, c.heads = heads, c.head_dim = 128;
    CK(fast ? swan_cuda_vsa_coarse_mma(0, &c) : swan_cuda_vsa_coarse_naive(0, &c));
    CK(cudaDeviceSynchronize());
    char label[96];
    snprintf(label, sizeof label, "tiles=%d heads=%d topk=%d%s%s", tiles, heads, topk, kind ? " partial" : "", equal ? " equal" : "");

    const auto hx = x.mem.host(), hq = qc.mem.host(), hk = kc.mem.host(), hv = vc.mem.host(), ho = out.mem.host();
    auto val = [](const std::vector<unsigned char> &h, int64_t i) { return (double)__bfloat162float(((const bf16 *)h.data())[i]); };
    std::vector<double> ref;
    std::vector<float> got, plain;
    for (int t = 0; t < tiles; t++)
        for (int d = 0; d < D; d++) {
            double s = 0;
            float f = 0;
            for (int r = start[t]; r < start[t + 1]; r++)
                s += val(hx, r * x.ld + d), f += (float)val(hx, r * x.ld + d);
            const int n = start[t + 1] - start[t];
            ref.push_back(s / n), plain.push_back(f / (float)n), got.push_back((float)val(hq, (int64_t)t * D + d));
        }
    verdict w = judge(got, ref, plain, D);
    report(w.worst <= 1 && margins_intact(qc), std::string("vsa.pool naive ") + label, "worst %.3f of bound", w.worst);

    std::vector<int32_t> hi((size_t)heads * tiles * topk);
    CK(cudaMemcpy(hi.data(), index.at<int32_t>(), hi.size() * 4, cudaMemcpyDeviceToHost));
    ref.clear(), got.clear(), plain.clear();
    bool listed = true;
    for (int h = 0; h < heads; h++)
        for (int t = 0; t < tiles; t++) {
            std::vector<double> s(tiles), o(128, 0.0);
            double top = -1e300, sum = 0;
            for (int j = 0; j < tiles; j++) {
                for (int d = 0; d < 128; d++)
                    s[j] += val(hq, (int64_t)t * D + h * 128 + d) * val(hk, (int64_t)j * D + h * 128 + d);
                s[j] *= (double)c.scale;
                top = std::max(top, s[j]);
            }
            const int32_t *list = hi.data() + ((size_t)h * tiles + t) * topk;
            std::vector<bool> in_list(tiles, false);
            double least = 1e300, best_left = -1e300;
            for (int i = 0; i < topk; i++) {
                listed = listed && list[i] >= 0 && list[i] < tiles && (i == 0 || list[i] > list[i - 1]);
                if (!listed)
                    break;
                in_list[list[i]] = true;
                least = std::min(least, s[list[i]]);
                listed = listed && (!equal || list[i] == i); /* ties go to the lower tile */
            }
            for (int j = 0; j < tiles; j++)
                if (!in_list[j])
                    best_left = std::max(best_left, s[j]);
            listed = listed && best_left <= least + 2e-6 * (1 + std::fabs(least)); /* 128 fp32 sums: 128 * 2^-24 of the terms */
            for (int j = 0; j < tiles; j++) {
                const double e = std::exp(s[j] - top);
                sum += e;
                for (int d = 0; d < 128; d++)
                    o[d] += e * val(hv, (int64_t)j * D + h * 128 + d);
            }
            for (int d = 0; d < 128; d++) {
                ref.push_back(o[d] / sum), plain.push_back((float)(o[d] / sum));
                got.push_back((float)val(ho, (int64_t)t * D + h * 128 + d));
            }
        }
    w = judge(got, ref, plain, 128);
    report(w.worst <= 1 && listed && margins_intact(out), std::string(fast ? "vsa.coarse mma " : "vsa.coarse naive ") + label, "worst %.3f of bound, lists %d", w.worst, listed);

    const auto hg = gate.mem.host(), hf = fine0.mem.host();
    for (int k2 = 0; k2 < 2; k2++) {
        CK(cudaMemcpy(fine.p(), fine0.p(), fine.mem.bytes, cudaMemcpyDeviceToDevice));
        swan_vsa_combine_args a = {};
        a.fine = fine.p(), a.gate = gate.p(), a.coarse = out.p(), a.tile_start = ds.at<int32_t>();
        a.tiles = tiles, a.D = D, a.ld_fine = fine.ld, a.ld_gate = gate.ld;
        CK(k2 ? swan_cuda_vsa_combine_vec(0, &a) : swan_cuda_vsa_combine_naive(0, &a));
        CK(cudaDeviceSynchronize());
        const auto hy = fine.mem.host();
        ref.clear(), got.clear(), plain.clear();
        for (int t = 0; t < tiles; t++)
            for (int r = start[t]; r < start[t + 1]; r++)
                for (int d = 0; d < D; d++) {
                    const double e = val(hf, r * fine.ld + d) + val(hg, r * gate.ld + d) * val(ho, (int64_t)t * D + d);
                    ref.push_back(e), plain.push_back((float)e), got.push_back((float)val(hy, r * fine.ld + d));
                }
        w = judge(got, ref, plain, D);
        report(w.worst <= 1 && margins_intact(fine) && count_bad(fine) == 0, std::string(k2 ? "vsa.combine vec " : "vsa.combine naive ") + label,
               "worst %.3f of bound", w.worst);
    }
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
        for (int i = 0; i <= tiles; i++)
            start[i] = (int)((int64_t)L * i / tiles);
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
        m.fine = fine.p(), m.gate = gate.p(), m.coarse = out.p(), m.tile_start = ds.at<int32_t>(), m.tiles = tiles, m.D = D, m.ld_fine = m.ld_gate = D;
        const double row = 2.0 * L * D;
        float ms = time_ms(15, [&](int) { CK(swan_cuda_vsa_pool_naive(0, &p)); });
        printf("%-32s L=%d tiles=%d  %7.4f ms  %5.2f TB/s\n", "vsa.pool naive", L, tiles, ms, row / ms * 1e-9);
        ms = time_ms(9, [&](int) { CK(swan_cuda_vsa_coarse_naive(0, &a)); });
        printf("%-32s L=%d tiles=%d  %7.4f ms\n", "vsa.coarse naive", L, tiles, ms);
        ms = time_ms(15, [&](int) { CK(swan_cuda_vsa_coarse_mma(0, &a)); });
        printf("%-32s L=%d tiles=%d  %7.4f ms\n", "vsa.coarse mma", L, tiles, ms);
        ms = time_ms(15, [&](int) { CK(swan_cuda_vsa_combine_naive(0, &m)); });
        printf("%-32s L=%d tiles=%d  %7.4f ms  %5.2f TB/s\n", "vsa.combine naive", L, tiles, ms, 3 * row / ms * 1e-9);
        ms = time_ms(15, [&](int) { CK(swan_cuda_vsa_combine_vec(0, &m)); });
        printf("%-32s L=%d tiles=%d  %7.4f ms  %5.2f TB/s\n", "vsa.combine vec", L, tiles, ms, 3 * row / ms * 1e-9);
    }
}
