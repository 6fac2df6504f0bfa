/* Matrix products with their epilogues against fp64 on sampled outputs. products.cu times the large ones. */
#include "check.cuh"

namespace
{

/* The outputs that are compared, and where their references go. */
struct sampled {
    const int2 *at; /* (row, column) */
    int n;
    double *ref;
    float *plain;
};

/* a.y: the old values. */
__global__ void reference(const swan_linear_bf16_args a, const sampled out)
{
    const int i = blockIdx.x * 128 + threadIdx.x;
    if (i >= out.n) return;
    const int64_t m = out.at[i].x, c = out.at[i].y;
    const bf16 *x = (const bf16 *)a.x + m * a.ldx, *w = (const bf16 *)a.w + c * a.K;
    double d = 0;
    float f = 0;
    for (int64_t k = 0; k < a.K; k++) {
        const float u = __bfloat162float(x[k]), v = __bfloat162float(w[k]);
        d += (double)u * v;
        f = fmaf(u, v, f);
    }
    const float bias = a.bias ? a.bias[c] : 0.0f;
    d += bias, f += bias;
    const double o = __bfloat162float(((const bf16 *)a.y)[m * a.ldy + c]);
    switch (a.epilogue) {
    case SWAN_EPI_GELU:
        d = 0.5 * d * (1 + tanh(0.79788456080286535588 * (d + 0.044715 * d * d * d)));
        f = 0.5f * f * (1 + tanhf(0.7978845608f * (f + 0.044715f * f * f * f)));
        break;
    case SWAN_EPI_SILU: d = d / (1 + exp(-d)), f = f / (1 + expf(-f)); break;
    case SWAN_EPI_MUL: d *= o, f *= (float)o; break;
    case SWAN_EPI_ADD: d += o, f += (float)o; break;
    case SWAN_EPI_GATED_ADD: d = o + a.gate[c] * d, f = (float)o + a.gate[c] * f; break;
    default: break;
    }
    out.ref[i] = d, out.plain[i] = f;
}

typedef std::function<int(const swan_linear_bf16_args *)> linear_fn;

struct shape {
    int M, N, K, epi;
    bool bias, outliers;
    size_t workspace = 0; /* bytes */
};

void run_case(const char *name, const linear_fn &f, const shape &c)
{
    const int M = c.M, N = c.N, K = c.K, epi = c.epi;
    matrix x(M, K, 8, 130), w(N, K), y(M, N, 16, 70), y0(M, N, 16, 70);
    buffer workspace(c.workspace);
    buffer b((size_t)N * 4), g((size_t)N * 4);
    fill(x, 1.0f, 0.2f, c.outliers), fill(w, 1.0f / sqrtf((float)K), 0.02f), fill(y0);
    fill_f32(b.at<float>(), N, 0.5f, 0.0f), fill_f32(g.at<float>(), N, 1.0f, 0.0f);
    swan_linear_bf16_args a = {};
    a.x = x.p(), a.w = w.p(), a.bias = c.bias ? b.at<float>() : nullptr, a.gate = g.at<float>(), a.y = y.p();
    a.M = M, a.N = N, a.K = K, a.ldx = x.ld, a.ldy = y.ld, a.epilogue = (swan_epilogue)epi, a.workspace = workspace.at<char>();
    char label[128];
    snprintf(label, sizeof label, "%s M=%d N=%d K=%d epi=%d%s%s", name, M, N, K, epi, c.bias ? " bias" : "",
             c.outliers ? " outliers" : "");
    auto run = [&] {
        y.mem.poison();
        if (epi >= SWAN_EPI_MUL) CK(cudaMemcpy(y.p(), y0.p(), y.mem.bytes, cudaMemcpyDeviceToDevice));
        workspace.poison(); /* what an arena gives is never clean */
        CK(f(&a));
        finish(label);
    };
    run();
    const std::vector<unsigned char> first = y.mem.host();
    const bool margins = margins_intact(y) && workspace.intact();
    const long bad = count_bad(y);
    run();
    const bool repeat = same_bits(y.mem, first);
    std::vector<int2> at;
    const int64_t all = (int64_t)M * N;
    for (int64_t i = 0; i < std::min<int64_t>(all, 8192); i++) {
        const int64_t j = all <= 8192 ? i
                          : i < 1024  ? all - 1 - i
                                      : (int64_t)(((uint64_t)i * 0x9E3779B97F4A7C15ull + g_seed) % (uint64_t)all);
        at.push_back(make_int2((int)(j / N), (int)(j % N)));
    }
    const int n = (int)at.size();
    buffer da(n * sizeof(int2)), dr(n * 8), dp(n * 4);
    CK(cudaMemcpy(da.at<int2>(), at.data(), n * sizeof(int2), cudaMemcpyHostToDevice));
    swan_linear_bf16_args before = a;
    before.y = y0.p();
    reference<<<(n + 127) / 128, 128>>>(before, {da.at<int2>(), n, dr.at<double>(), dp.at<float>()});
    std::vector<double> ref(n);
    std::vector<float> plain(n), got(n);
    CK(cudaMemcpy(ref.data(), dr.at<double>(), n * 8, cudaMemcpyDeviceToHost));
    CK(cudaMemcpy(plain.data(), dp.at<float>(), n * 4, cudaMemcpyDeviceToHost));
    const bf16 *h = (const bf16 *)first.data();
    for (int i = 0; i < n; i++) got[i] = __bfloat162float(h[at[i].x * y.ld + at[i].y]);
    const verdict v = judge(got, ref, plain, n);
    report(v.worst <= 1 && margins && bad == 0 && repeat, label,
           "worst %.3f of bound, rel %.2e, margins %d, bad %ld, repeat %d", v.worst, v.rel, margins, bad, repeat);
}

const struct {
    const char *name;
    linear_fn f;
    bool fast;
} rows[] = {
    {"linear.bf16 naive", [](const swan_linear_bf16_args *a) { return swan_cuda_linear_bf16_naive(0, a, SWAN_BF16); }, false},
    {"linear.bf16 mma", [](const swan_linear_bf16_args *a) { return swan_cuda_linear_bf16_mma(0, a); }, true},
    {"linear.bf16 sm90", [](const swan_linear_bf16_args *a) { return swan_cuda_linear_bf16_sm90(0, a); }, true}};

/* The rows for few rows of x. */
struct skinny_row {
    const char *name;
    int (*run)(cudaStream_t, const swan_linear_bf16_args *);
    size_t (*bytes)(const swan_linear_bf16_args *);
    int most; /* M */
};
const skinny_row skinny_rows[] = {
    {"linear.bf16 skinny", swan_cuda_linear_bf16_skinny, swan_cuda_linear_bf16_skinny_bytes, 128},
    {"linear.bf16 skinny_sm90", swan_cuda_linear_bf16_skinny_sm90, swan_cuda_linear_bf16_skinny_sm90_bytes, 256}};

/* Tails of every size, every epilogue, and the text encoder's matrices. */
void check_skinny(const skinny_row &r, bool quick)
{
    std::vector<shape> cases;
    for (int epi = 0; epi < SWAN_EPI_COUNT; epi++)
        cases.push_back({epi == SWAN_EPI_ADD ? 128 : 33 + epi, 264, 712, epi, epi != SWAN_EPI_MUL, epi == SWAN_EPI_GATED_ADD});
    for (int M : quick ? std::vector<int>{1, 65, 200}
                       : std::vector<int>{1, 7, 31, 32, 63, 64, 65, 96, 97, 127, 128, 129, 200, 255, 256})
        cases.push_back({M, 256, 1000, SWAN_EPI_NONE, true, false});
    for (int K : {8, 56, 64, 72, 256, 320}) cases.push_back({20, 136, K, SWAN_EPI_ADD, false, false});
    if (!quick) {
        for (int N : {8, 120, 128, 136, 9216}) cases.push_back({1, N, 1536, SWAN_EPI_SILU, true, true});
        for (int M : {17, 64, 100, 128, 190}) {
            cases.push_back({M, 4096, 4096, M == 64 ? SWAN_EPI_NONE : SWAN_EPI_ADD, false, false});
            cases.push_back({M, 10240, 4096, M == 64 ? SWAN_EPI_GELU : SWAN_EPI_MUL, false, false});
            cases.push_back({M, 4096, 10240, SWAN_EPI_ADD, false, M == 64});
        }
    }
    for (shape &c : cases) {
        if (c.M > r.most) continue;
        swan_linear_bf16_args a = {};
        a.M = c.M, a.N = c.N, a.K = c.K, a.ldx = a.K, a.ldy = a.N;
        c.workspace = r.bytes(&a);
        run_case(r.name, [&](const swan_linear_bf16_args *args) { return r.run(0, args); }, c);
    }
}

/* What wide_sm90 leaves goes to skinny_sm90, as in the program. */
int run_wide(cudaStream_t s, const swan_linear_bf16_args *a)
{
    const int e = swan_cuda_linear_bf16_wide_sm90(s, a);
    return e == cudaErrorNotSupported ? swan_cuda_linear_bf16_skinny_sm90(s, a) : e;
}
const skinny_row wide_row = {"linear.bf16 wide_sm90", run_wide, swan_cuda_linear_bf16_skinny_sm90_bytes, 128};

void check_wide(bool quick)
{
    auto f = [](const swan_linear_bf16_args *a) { return swan_cuda_linear_bf16_wide_sm90(0, a); };
    const int N[] = {4096, 10240, 12288}; /* clusters for 64 rows, blocks of 80 and of 96 */
    for (int epi = 0; epi < SWAN_EPI_COUNT; epi++)
        for (int M : {33 + epi, 70 + 5 * epi})
            run_case(wide_row.name, f, {M, N[(epi + M) % 3], 712, epi, epi != SWAN_EPI_MUL, epi == SWAN_EPI_GATED_ADD});
    for (int M : quick ? std::vector<int>{1, 65, 128} : std::vector<int>{1, 7, 31, 32, 63, 64, 65, 96, 97, 127, 128})
        for (int n : N) run_case(wide_row.name, f, {M, n, 200, SWAN_EPI_NONE, true, false});
    for (int K : {8, 56, 64, 72, 256, 320}) run_case(wide_row.name, f, {20, N[K / 8 % 3], K, SWAN_EPI_ADD, false, false});
    if (quick) return;
    for (int M : {17, 64, 100, 128}) {
        run_case(wide_row.name, f, {M, 12288, 4096, SWAN_EPI_NONE, false, false});
        run_case(wide_row.name, f, {M, 10240, 4096, M == 64 ? SWAN_EPI_GELU : SWAN_EPI_MUL, false, false});
        run_case(wide_row.name, f, {M, 4096, 4096, SWAN_EPI_ADD, false, false});
        run_case(wide_row.name, f, {M, 4096, 10240, SWAN_EPI_ADD, false, M == 64});
    }
    for (int M : {1, 20, 64, 65, 128}) { /* the pair against two launches */
        const int N = 10240, K = M == 128 ? 4096 : 520;
        matrix x(M, K, 8), w(2 * N, K), y(M, N, 16, 70), z(M, N, 16, 70);
        fill(x), fill(w, 1.0f / sqrtf((float)K), 0.02f);
        swan_linear_bf16_args a = {};
        a.x = x.p(), a.w = w.p(), a.y = y.p(), a.M = M, a.N = N, a.K = K, a.ldx = x.ld, a.ldy = y.ld;
        CK(swan_cuda_linear_gelu_mul_wide_sm90(0, &a));
        finish("pair");
        a.y = z.p(), a.epilogue = SWAN_EPI_GELU;
        CK(swan_cuda_linear_bf16_naive(0, &a, SWAN_BF16));
        a.w = w.p() + (int64_t)N * K, a.epilogue = SWAN_EPI_MUL;
        CK(swan_cuda_linear_bf16_naive(0, &a, SWAN_BF16));
        const auto u = y.mem.host(), v = z.mem.host();
        double num = 0, den = 0;
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                const double p = __bfloat162float(((const bf16 *)u.data())[i * y.ld + j]), q = __bfloat162float(((const bf16 *)v.data())[i * y.ld + j]);
                num += (p - q) * (p - q), den += q * q;
            }
        report(num <= 4e-5 * den && margins_intact(y), "wide pair", "M=%d rel %.2e margins %d", M, sqrt(num / den), margins_intact(y));
    }
}

/* The text encoder with M tokens: its matrices one shape at a time, from 24 places so that they come from memory; all of them
 * as a graph; and that with everything between them. */
struct encoder {
    matrix w{24 * 47104, 4096}, x{256, 4096}, f{256, 10240}, h{256, 4096}, qkv{256, 12288};
    buffer workspace{80 << 20}, weight{4096 * 4}, table{64 * 32 * 4}, ids{64 * 511 * 4}, bias{64 * 511 * 4};
    const skinny_row *row = nullptr;
    encoder()
    {
        fill(w, 0.02f), fill(x), fill(f), fill(h), fill(qkv);
        fill_f32(weight.at<float>(), 4096, 0.1f, 1.0f), fill_f32(table.at<float>(), 64 * 32, 1.0f, 0.0f);
        CK(cudaMemset(ids.at<int32_t>(), 0, ids.bytes));
    }
    void multiply(cudaStream_t s, int64_t at, int M, int N, int K, const matrix &from, const matrix &to, swan_epilogue epi) const
    {
        swan_linear_bf16_args a = {};
        a.x = from.p(), a.w = w.p() + at * 4096, a.y = to.p(), a.workspace = workspace.at<char>();
        a.M = M, a.N = N, a.K = K, a.ldx = K, a.ldy = N, a.epilogue = epi;
        CK(row->run(s, &a));
    }
    void pair(cudaStream_t s, int64_t at, int M) const
    {
        swan_linear_gelu_mul_args a = {};
        a.x = h.p(), a.w = w.p() + at * 4096, a.y = f.p(), a.M = M, a.N = 10240, a.K = 4096, a.ldx = 4096, a.ldy = 10240;
        CK(swan_cuda_linear_gelu_mul_wide_sm90(s, &a));
    }
    void norm(cudaStream_t s, int M) const
    {
        swan_norm_rms_args a = {};
        a.x = x.p(), a.y = h.p(), a.weight = weight.at<float>(), a.eps = 1e-6f;
        a.L = M, a.D = a.ldx = a.ldy = 4096, a.head_dim = 64;
        CK(swan_cuda_norm_rms_vec(s, &a));
    }
    void biases(cudaStream_t s, int M) const
    {
        swan_embed_rows_args e = {};
        e.table = table.at<float>(), e.ids = ids.at<int32_t>(), e.y = bias.at<float>(), e.n = 64 * (2 * M - 1), e.D = 1;
        e.table_dtype = SWAN_F32;
        CK(swan_cuda_embed_rows_naive(s, &e, SWAN_F32));
    }
    void attend(cudaStream_t s, int M) const
    {
        swan_attn_dense_args a = {};
        a.q = qkv.p(), a.k = qkv.p() + 4096, a.v = qkv.p() + 8192, a.out = h.p(), a.rel_bias = bias.at<float>(), a.scale = 1;
        a.Lq = a.Lk = M, a.heads = a.head_dim = 64, a.ldq = a.ldk = a.ldv = 12288, a.ldo = 4096;
        CK(swan_cuda_attn_dense_mma(s, &a));
    }
    void layers(cudaStream_t s, int M, bool all) const
    {
        if (all) biases(s, M);
        for (int layer = 0; layer < 24; layer++) {
            const int64_t at = layer * 47104ll;
            if (all) norm(s, M);
            multiply(s, at, M, 12288, 4096, h, qkv, SWAN_EPI_NONE);
            if (all) attend(s, M);
            multiply(s, at + 12288, M, 4096, 4096, h, x, SWAN_EPI_ADD);
            if (all) norm(s, M);
            if (row == &wide_row) {
                pair(s, at + 16384, M);
            } else {
                multiply(s, at + 16384, M, 10240, 4096, h, f, SWAN_EPI_GELU);
                multiply(s, at + 26624, M, 10240, 4096, h, f, SWAN_EPI_MUL);
            }
            multiply(s, at + 36864, M, 4096, 10240, f, x, SWAN_EPI_ADD);
        }
    }
};

void bench_skinny(encoder &e, cudaStream_t stream, int M)
{
    const int shapes[4][2] = {{4096, 4096}, {12288, 4096}, {10240, 4096}, {4096, 10240}};
    for (auto &s : shapes) {
        const float ms = time_ms(3, [&](int) {
            for (int i = 0; i < 48; i++)
                e.multiply(0, i % 24 * 47104ll, M, s[0], s[1], s[1] > 4096 ? e.f : e.h, s[0] > 10240 ? e.qkv : s[0] > 4096 ? e.f : e.x, SWAN_EPI_NONE);
        }) / 48;
        printf("%s M=%d N=%d K=%d  %7.4f ms  %5.2f TB/s of W\n", e.row->name, M, s[0], s[1], ms, 2.0 * s[0] * s[1] / ms * 1e-9);
    }
    for (bool all : {false, true}) {
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        CK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        e.layers(stream, M, all);
        CK(cudaStreamEndCapture(stream, &graph));
        CK(cudaGraphInstantiate(&exec, graph, 0));
        const float ms = time_ms(9, [&](int) { CK(cudaGraphLaunch(exec, 0)); });
        printf("%s M=%d, 24 layers %s as a graph  %7.3f ms  %5.2f TB/s of W\n", e.row->name, M, all ? "of UMT5" : "of products", ms,
               e.w.mem.bytes / ms * 1e-9);
        cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
    }
}

} // namespace

void check_linear(bool quick)
{
    for (auto &r : rows) {
        if (!wanted(r.name)) continue;
        for (int epi = 0; epi < SWAN_EPI_COUNT; epi++)
            run_case(r.name, r.f, {129, 264, 136, epi, epi != SWAN_EPI_MUL, epi == SWAN_EPI_GATED_ADD});
        for (int M : quick ? std::vector<int>{1, 65, 257}
                           : std::vector<int>{1, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000})
            run_case(r.name, r.f, {M, 256, 192, SWAN_EPI_NONE, true, false});
        for (int K : {8, 56, 64, 72, 256, 320}) run_case(r.name, r.f, {200, 136, K, SWAN_EPI_NONE, false, false});
        if (r.fast) run_case(r.name, r.f, {2057, 392, 72, SWAN_EPI_GATED_ADD, true, true}); /* sm90's wide tiles, halves of them */
        if (!quick && r.fast) {
            for (int epi = 0; epi < SWAN_EPI_COUNT; epi++) /* wide and whole */
                run_case(r.name, r.f, {4103, 520, 136, epi, epi != SWAN_EPI_MUL, epi == SWAN_EPI_GATED_ADD});
            for (int K : {8, 64, 72, 1000}) run_case(r.name, r.f, {2057, 904, K, SWAN_EPI_ADD, true, false});
        }
        if (!quick)
            for (int N : {8, 248, 256, 264, 520, 1536})
                run_case(r.name, r.f, {300, N, 512, SWAN_EPI_GELU, true, true});
        if (!quick && r.fast) {
            run_case(r.name, r.f, {32760, 4608, 1536, SWAN_EPI_NONE, true, false});
            run_case(r.name, r.f, {32760, 8960, 1536, SWAN_EPI_GELU, true, false});
            run_case(r.name, r.f, {32760, 1536, 8960, SWAN_EPI_GATED_ADD, true, true});
            run_case(r.name, r.f, {23296, 1536, 1536, SWAN_EPI_ADD, true, false});
        }
    }
    for (auto &r : skinny_rows)
        if (wanted(r.name)) check_skinny(r, quick);
    if (wanted(wide_row.name)) check_wide(quick);
}

void bench_linear()
{
    const skinny_row *const few[] = {&skinny_rows[0], &skinny_rows[1], &wide_row};
    if (std::any_of(std::begin(few), std::end(few), [](auto *r) { return wanted(r->name); })) {
        encoder e;
        cudaStream_t stream;
        CK(cudaStreamCreate(&stream));
        for (auto *r : few)
            for (int M : {1, 32, 64, 96, 128, 256}) {
                if (!wanted(r->name) || M > r->most) continue;
                e.row = r;
                bench_skinny(e, stream, M);
            }
        cudaStreamDestroy(stream);
    }
    if (std::none_of(std::begin(rows), std::end(rows), [](auto &r) { return r.fast && wanted(r.name); })) return;
    if (wanted("linear.bf16 sm90") || wanted("linear.bf16 mma")) bench_products();
}
