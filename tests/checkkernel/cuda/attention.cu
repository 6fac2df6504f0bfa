/* Dense and block-sparse attention against fp64 on sampled rows. */
#include "check.cuh"

namespace
{

/* One (row, head) a block. Keys: 0..Lk-1, or the rows of the listed tiles. Writes the fp64 result and that of plain
 * fp32 accumulation with P rounded to bf16 where the row says so. scratch: double and float [samples, slots]. */
struct ref_params {
    const bf16 *q, *k, *v;
    const float *key_bias;
    const int32_t *start, *index, *tile_of;
    int64_t ldq, ldk, ldv;
    int Lk, H, tiles, topk, slots, round_p;
    float scale;
    const int2 *samples;
    double *s64, *ref;
    float *s32, *plain;
};

__device__ int key_at(const ref_params &p, int row, int head, int j)
{
    if (!p.start) return j < p.Lk ? j : -1;
    const int t = p.index[((int64_t)head * p.tiles + p.tile_of[row]) * p.topk + j / 64];
    return p.start[t] + j % 64 < p.start[t + 1] ? p.start[t] + j % 64 : -1;
}

__global__ void __launch_bounds__(256) reference(const ref_params p)
{
    __shared__ double red[256];
    const int row = p.samples[blockIdx.x].x, head = p.samples[blockIdx.x].y, t = threadIdx.x;
    double *s = p.s64 + (int64_t)blockIdx.x * p.slots;
    float *f = p.s32 + (int64_t)blockIdx.x * p.slots;
    const bf16 *q = p.q + row * p.ldq + head * 128;
    double top = -INFINITY;
    for (int j = t; j < p.slots; j += 256) {
        const int key = key_at(p, row, head, j);
        double d = -INFINITY;
        float g = -INFINITY;
        if (key >= 0) {
            const bf16 *k = p.k + key * p.ldk + head * 128;
            d = 0, g = 0;
            for (int c = 0; c < 128; c++) {
                d += (double)__bfloat162float(q[c]) * (double)__bfloat162float(k[c]);
                g = fmaf(__bfloat162float(q[c]), __bfloat162float(k[c]), g);
            }
            const float b = p.key_bias ? p.key_bias[key] : 0.0f;
            d = d * (double)p.scale + b;
            g = g * p.scale + b;
        }
        s[j] = d, f[j] = g;
        top = fmax(top, d);
    }
    red[t] = top;
    __syncthreads();
    for (int i = 0; i < 256; i++) top = fmax(top, red[i]);
    __syncthreads();
    if (t < 128) {
        double l = 0, o = 0;
        float lf = 0, of = 0;
        for (int j = 0; j < p.slots; j++) {
            const int key = key_at(p, row, head, j);
            if (key < 0) continue;
            const double v = (double)__bfloat162float(p.v[key * p.ldv + head * 128 + t]);
            const double e = exp(s[j] - top);
            const float ef = expf(f[j] - (float)top);
            l += e, o += e * v;
            lf += ef;
            of = fmaf(p.round_p ? __bfloat162float(__float2bfloat16(ef)) : ef, (float)v, of);
        }
        p.ref[blockIdx.x * 128 + t] = o / l;
        p.plain[blockIdx.x * 128 + t] = of / lf;
    }
}

template <typename T> T *device_copy(const std::vector<T> &h)
{
    T *d;
    CK(cudaMalloc(&d, std::max<size_t>(h.size(), 1) * sizeof(T)));
    CK(cudaMemcpy(d, h.data(), h.size() * sizeof(T), cudaMemcpyHostToDevice));
    return d;
}

struct tiling {
    std::vector<int32_t> start, tile_of, index;
    int tiles, topk;
};

/* Tiles of a T x H x W token grid, and random lists. */
tiling make_tiling(int T, int Hh, int W, int heads, int topk)
{
    tiling g;
    int at = 0;
    g.start.push_back(0);
    for (int t = 0; t < T; t += 4)
        for (int h = 0; h < Hh; h += 4)
            for (int w = 0; w < W; w += 4) {
                at += std::min(4, T - t) * std::min(4, Hh - h) * std::min(4, W - w);
                while ((int)g.tile_of.size() < at) g.tile_of.push_back((int)g.start.size() - 1);
                g.start.push_back(at);
            }
    g.tiles = (int)g.start.size() - 1;
    g.topk = std::min(topk, g.tiles);
    std::vector<int32_t> order(g.tiles);
    uint64_t z = g_seed;
    for (int i = 0; i < heads * g.tiles; i++) {
        for (int j = 0; j < g.tiles; j++) order[j] = j;
        for (int j = 0; j < g.topk; j++) {
            z = z * 6364136223846793005ull + 1442695040888963407ull;
            std::swap(order[j], order[j + (int)((z >> 33) % (uint64_t)(g.tiles - j))]);
        }
        std::sort(order.begin(), order.begin() + g.topk);
        g.index.insert(g.index.end(), order.begin(), order.begin() + g.topk);
    }
    return g;
}

struct shape {
    int Lq, Lk, H;
    float k_sd, v_mean;
    bool bias, outliers;
};

typedef std::function<int(const swan_attn_dense_args *)> dense_fn;
typedef std::function<int(const swan_attn_block_sparse_args *)> sparse_fn;

/* Up to 384 (row, head) pairs of `got` (host, row stride ld) against the reference: the first and last rows, then a
 * spread. */
verdict compare(ref_params p, int Lq, const bf16 *got, int64_t ld)
{
    std::vector<int2> samples;
    const int64_t all = (int64_t)Lq * p.H, want = 384;
    for (int64_t i = 0; i < std::min(all, want); i++) {
        int64_t at = i;
        if (all > want)
            at = i < 64    ? i * p.H
                 : i < 128 ? all - 1 - (i - 64) * p.H
                           : (i * 2654435761ll + (int64_t)(g_seed % 1000003)) % all;
        samples.push_back(make_int2((int)(at / p.H), (int)(at % p.H)));
    }
    const size_t n = samples.size();
    buffer at(n * sizeof(int2)), s64(n * p.slots * 8), s32(n * p.slots * 4), ref(n * 128 * 8), plain(n * 128 * 4);
    CK(cudaMemcpy(at.at<int2>(), samples.data(), n * sizeof(int2), cudaMemcpyHostToDevice));
    p.samples = at.at<int2>(), p.s64 = s64.at<double>(), p.ref = ref.at<double>();
    p.s32 = s32.at<float>(), p.plain = plain.at<float>();
    reference<<<(unsigned)n, 256>>>(p);
    CK(cudaDeviceSynchronize());
    std::vector<double> r(n * 128);
    std::vector<float> pl(n * 128), values(n * 128);
    CK(cudaMemcpy(r.data(), ref.at<double>(), r.size() * 8, cudaMemcpyDeviceToHost));
    CK(cudaMemcpy(pl.data(), plain.at<float>(), pl.size() * 4, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < n; i++)
        for (int e = 0; e < 128; e++)
            values[i * 128 + e] = __bfloat162float(got[samples[i].x * ld + samples[i].y * 128 + e]);
    return judge(values, r, pl, 128);
}

/* The same call with VSA's sum in it, and that sum in a pass of its own over what the call without it gave: equal bits. */
void run_gated(const std::string &label, swan_attn_block_sparse_args b, const sparse_fn &sparse, matrix &out)
{
    matrix gate(b.L, b.heads * 128, 40, 70), coarse(b.tiles, b.heads * 128), apart(b.L, b.heads * 128);
    fill(gate), fill(coarse);
    CK(cudaMemcpy2D(apart.p(), apart.ld * 2, out.p(), out.ld * 2, out.cols * 2, b.L, cudaMemcpyDeviceToDevice));
    swan_vsa_combine_args c = {apart.p(), gate.p(), coarse.p(), b.tile_start, b.tiles, apart.cols, apart.ld, gate.ld};
    CK(swan_cuda_vsa_combine_vec(0, &c));
    out.mem.poison();
    b.gate = gate.p(), b.coarse = coarse.p(), b.ld_gate = gate.ld;
    CK(sparse(&b));
    finish(label.c_str());
    const std::vector<unsigned char> got = out.mem.host(), want = apart.mem.host();
    long other = 0;
    for (int64_t i = 0; i < b.L; i++) other += memcmp(&got[i * out.ld * 2], &want[i * apart.ld * 2], apart.cols * 2) != 0;
    const bool margins = margins_intact(out);
    report(other == 0 && margins, label + " gate", "rows that differ %ld, margins %d", other, margins);
}

/* Runs one case twice and compares. tiles NULL: dense. */
void run_case(const std::string &name, const shape &c, const tiling *g, const dense_fn &dense,
              const sparse_fn &sparse, bool round_p)
{
    matrix q(c.Lq, c.H * 128, 24, 3), k(c.Lk, c.H * 128, 8, 5), v(c.Lk, c.H * 128, 16, 200),
        out(c.Lq, c.H * 128, 8, 130);
    buffer bias((size_t)c.Lk * 4);
    fill(q, 1.0f), fill(k, c.k_sd, 0.0f, c.outliers), fill(v, 1.0f, c.v_mean);
    fill_f32(bias.at<float>(), c.Lk, 1.0f, 0.0f);
    int32_t *start = g ? device_copy(g->start) : nullptr, *index = g ? device_copy(g->index) : nullptr;
    int32_t *tile_of = g ? device_copy(g->tile_of) : nullptr;
    swan_attn_dense_args d = {};
    d.q = q.p(), d.k = k.p(), d.v = v.p(), d.out = out.p();
    d.key_bias = c.bias ? bias.at<float>() : nullptr;
    d.scale = 0.08838834764831845f;
    d.Lq = c.Lq, d.Lk = c.Lk, d.heads = c.H, d.head_dim = 128, d.ldq = q.ld, d.ldk = k.ld, d.ldv = v.ld,
    d.ldo = out.ld;
    swan_attn_block_sparse_args b = {};
    if (g) {
        b.q = q.p(), b.k = k.p(), b.v = v.p(), b.out = out.p();
        b.tile_start = start, b.index = index, b.scale = d.scale;
        b.L = c.Lq, b.tiles = g->tiles, b.topk = g->topk, b.heads = c.H, b.head_dim = 128;
        b.ldq = q.ld, b.ldk = k.ld, b.ldv = v.ld, b.ldo = out.ld;
    }
    char label[128];
    snprintf(label, sizeof label, "%s Lq=%d Lk=%d H=%d%s%s sd=%g%s", name.c_str(), c.Lq, c.Lk, c.H,
             c.bias ? " bias" : "", c.outliers ? " outliers" : "", c.k_sd, g ? " tiles" : "");
    auto run = [&] {
        CK(g ? sparse(&b) : dense(&d));
        finish(label);
    };
    run();
    const std::vector<unsigned char> first = out.mem.host();
    const bool margins = margins_intact(out);
    const long bad = count_bad(out);
    out.mem.poison();
    run();
    const bool repeat = same_bits(out.mem, first);

    ref_params p = {};
    p.q = q.p(), p.k = k.p(), p.v = v.p(), p.key_bias = d.key_bias;
    p.start = start, p.index = index, p.tile_of = tile_of;
    p.ldq = q.ld, p.ldk = k.ld, p.ldv = v.ld;
    p.Lk = c.Lk, p.H = c.H, p.tiles = (int)b.tiles, p.topk = (int)b.topk, p.slots = g ? g->topk * 64 : c.Lk;
    p.round_p = round_p, p.scale = d.scale;
    const verdict w = compare(p, c.Lq, (const bf16 *)first.data(), out.ld);
    report(w.worst <= 1 && margins && bad == 0 && repeat, label,
           "worst %.3f of bound, rel %.2e, margins %d, bad %ld, repeat %d", w.worst, w.rel, margins, bad, repeat);
    if (g && round_p) run_gated(label, b, sparse, out);
    cudaFree(start), cudaFree(index), cudaFree(tile_of);
}

/* round_p: fast, with P rounded to bf16. */
struct dense_row {
    std::string name;
    dense_fn f;
    bool round_p;
};
const dense_row dense_rows[] = {
    {"attn.dense naive", [](const swan_attn_dense_args *a) { return swan_cuda_attn_dense_naive(0, a, SWAN_BF16); }, false},
    {"attn.dense mma", [](const swan_attn_dense_args *a) { return swan_cuda_attn_dense_mma(0, a); }, true},
    {"attn.dense mma_small", [](const swan_attn_dense_args *a) { return swan_cuda_attn_dense_mma_small(0, a); }, true},
    {"attn.dense sm90", [](const swan_attn_dense_args *a) { return swan_cuda_attn_dense_sm90(0, a); }, true}};
struct sparse_row {
    std::string name;
    sparse_fn f;
    bool round_p;
};
const sparse_row sparse_rows[] = {
    {"attn.block_sparse naive",
     [](const swan_attn_block_sparse_args *a) { return swan_cuda_attn_block_sparse_naive(0, a, SWAN_BF16); }, false},
    {"attn.block_sparse mma", [](const swan_attn_block_sparse_args *a) { return swan_cuda_attn_block_sparse_mma(0, a); }, true},
    {"attn.block_sparse mma_small",
     [](const swan_attn_block_sparse_args *a) { return swan_cuda_attn_block_sparse_mma_small(0, a); }, true},
    {"attn.block_sparse sm90", [](const swan_attn_block_sparse_args *a) { return swan_cuda_attn_block_sparse_sm90(0, a); },
     true}};

} // namespace

void check_attention(bool quick)
{
    std::vector<int> lengths = {1, 63, 64, 65, 127, 128, 129, 175, 176, 177, 257, 353};
    if (quick) lengths = {1, 65, 129, 177, 400};
    for (auto &f : dense_rows) {
        if (!wanted(f.name)) continue;
        for (int L : lengths) run_case(f.name, {L, L, 2, 1.0f, 0.0f, false, false}, nullptr, f.f, nullptr, f.round_p);
        run_case(f.name, {300, 512, 3, 1.0f, 0.5f, true, false}, nullptr, f.f, nullptr, f.round_p);
        run_case(f.name, {129, 97, 1, 3.0f, 0.0f, true, true}, nullptr, f.f, nullptr, f.round_p);
        for (int Lk : {1, 128, 130, 256, 257, 512}) /* the short form: keys that stay, keys that pass through */
            run_case(f.name, {700, Lk, 3, 1.0f, 0.5f, Lk == 257, false}, nullptr, f.f, nullptr, f.round_p);
        run_case(f.name, {70, 200, 140, 1.0f, 0.5f, true, false}, nullptr, f.f, nullptr, f.round_p); /* more heads than SMs */
        if (!quick) {
            run_case(f.name, {513, 1000, 3, 2.0f, 0.5f, false, true}, nullptr, f.f, nullptr, f.round_p);
            run_case(f.name, {300, 1025, 3, 1.0f, 0.0f, false, false}, nullptr, f.f, nullptr,
                     f.round_p); /* the clustered form, odd tiles */
            run_case(f.name, {2048, 4096, 5, 0.3f, 0.5f, false, false}, nullptr, f.f, nullptr, f.round_p);
        }
        if (quick || !f.round_p) continue;
        run_case(f.name, {23296, 23296, 12, 1.0f, 0.5f, false, false}, nullptr, f.f, nullptr, true);
        run_case(f.name, {32760, 32760, 12, 1.0f, 0.5f, false, false}, nullptr, f.f, nullptr, true);
        for (int Lk : {101, 512, 513})
            run_case(f.name, {32760, Lk, 12, 1.0f, 0.5f, Lk != 512, false}, nullptr, f.f, nullptr, true);
    }
    const int grids[][4] = {{4, 4, 4, 1},   {5, 6, 7, 3},      {1, 1, 1, 1},    {8, 8, 8, 8},
                            {9, 10, 12, 5}, {21, 30, 52, 125}, {16, 28, 52, 73}};
    for (auto &f : sparse_rows)
        for (int i = 0; wanted(f.name) && i < (quick ? 3 : 7); i++) {
            const int H = i >= 5 ? 12 : 2, L = grids[i][0] * grids[i][1] * grids[i][2];
            const tiling g = make_tiling(grids[i][0], grids[i][1], grids[i][2], H, grids[i][3]);
            run_case(f.name, {L, L, H, 1.0f, 0.5f, false, false}, &g, nullptr, f.f, f.round_p);
        }
}

void bench_attention()
{
    for (int L : {23296, 32760}) {
        matrix qkv(L, 3 * 1536), out(L, 1536);
        fill(qkv);
        swan_attn_dense_args d = {};
        d.q = qkv.p(), d.k = qkv.p() + 1536, d.v = qkv.p() + 3072, d.out = out.p(), d.scale = 0.08838834764831845f;
        d.Lq = d.Lk = L, d.heads = 12, d.head_dim = 128, d.ldq = d.ldk = d.ldv = 3 * 1536, d.ldo = 1536;
        const double flop = 4.0 * L * L * 1536;
        auto each_dense = [](const std::function<void(const dense_row &)> &run) {
            for (auto &f : dense_rows)
                if (f.round_p && wanted(f.name)) run(f);
        };
        for (int round = 0; round < 2; round++) /* twice: the difference is the noise */
            each_dense([&](const dense_row &f) {
                const float ms = time_ms(15, [&](int) { CK(f.f(&d)); });
                printf("%-32s L=%d  %7.3f ms  %6.1f TFLOPS\n", f.name.c_str(), L, ms, flop / ms * 1e-9);
            });
        /* Cross-attention: 512 text keys, and about 100 of which the last stands for the padding. */
        matrix kv(512, 2 * 1536);
        buffer bias(512 * 4);
        fill(kv);
        fill_f32(bias.at<float>(), 512, 0.1f, 0.0f);
        for (int Lk : {512, 200, 101}) {
            d.k = kv.p(), d.v = kv.p() + 1536, d.Lk = Lk, d.ldk = d.ldv = 3072,
            d.key_bias = Lk == 512 ? nullptr : bias.at<float>();
            each_dense([&](const dense_row &f) {
                const float ms = time_ms(20, [&](int) { CK(f.f(&d)); });
                printf("%-32s L=%d Lk=%d  %7.3f ms  %6.1f TFLOPS\n", (f.name + " cross").c_str(), L, Lk, ms,
                       4.0 * L * Lk * 1536 / ms * 1e-9);
            });
        }
        const bool big = L == 32760;
        const tiling g = big ? make_tiling(21, 30, 52, 12, 125) : make_tiling(16, 28, 52, 12, 73);
        int32_t *start = device_copy(g.start), *index = device_copy(g.index);
        swan_attn_block_sparse_args b = {};
        b.q = d.q, b.k = qkv.p() + 1536, b.v = qkv.p() + 3072, b.out = out.p(), b.scale = d.scale;
        b.tile_start = start, b.index = index;
        b.L = L, b.tiles = g.tiles, b.topk = g.topk, b.heads = 12, b.head_dim = 128, b.ldq = b.ldk = b.ldv = 3 * 1536,
        b.ldo = 1536;
        const double padded = 4.0 * g.tiles * 64 * g.topk * 64 * 1536;
        matrix gate(L, 1536), coarse(g.tiles, 1536);
        fill(gate), fill(coarse);
        swan_attn_block_sparse_args gated = b;
        gated.gate = gate.p(), gated.coarse = coarse.p(), gated.ld_gate = gate.ld;
        const swan_vsa_combine_args sum = {out.p(), gate.p(), coarse.p(), start, g.tiles, 1536, out.ld, gate.ld};
        for (int i = 0; i < 2; i++)
            for (auto &f : sparse_rows) {
                if (!wanted(f.name) || (i && !f.round_p)) continue;
                const int reps = f.round_p ? 9 : 3;
                const float ms = time_ms(reps, [&](int) { CK(f.f(&b)); }), with = time_ms(reps, [&](int) { CK(f.f(&gated)); });
                const float apart = time_ms(reps, [&](int) {
                    CK(f.f(&b));
                    CK(swan_cuda_vsa_combine_vec(0, &sum));
                });
                printf("%-32s L=%d tiles=%d topk=%d  %7.3f ms  %6.1f TFLOPS padded; with VSA's sum %7.3f, in a pass of its own %7.3f ms\n",
                       f.name.c_str(), L, g.tiles, g.topk, ms, padded / ms * 1e-9, with, apart);
            }
        cudaFree(start), cudaFree(index);
    }
}
