/* The transformer's matrix products beside cuBLASLt, in alternation: whoever runs first has the cooler card.
 *
 * What cuBLASLt is given: its own fused epilogues (bias in bf16, its GELU; old values as C), the best of its first eight
 * algorithms. It has no gate: it is timed adding the plain product, which is less work than the row does, and followed by a
 * kernel that multiplies by the gate and adds, which is the same work. */
#include "check.cuh"

#include <cublasLt.h>
#include <dlfcn.h>

namespace
{

/* y += gate * r, bf16 [rows, cols]; eight values a thread. */
__global__ void __launch_bounds__(256) add_gated(uint4 *y, const uint4 *r, const float *gate, int64_t n8, int cols8)
{
    for (int64_t i = blockIdx.x * 256ll + threadIdx.x; i < n8; i += gridDim.x * 256ll) {
        uint4 to = y[i], from = r[i];
        const float *g = gate + i % cols8 * 8;
        __nv_bfloat162 *a = (__nv_bfloat162 *)&to;
        const __nv_bfloat162 *b = (const __nv_bfloat162 *)&from;
        for (int j = 0; j < 4; j++) {
            const float2 u = __bfloat1622float2(a[j]), v = __bfloat1622float2(b[j]);
            a[j] = __floats2bfloat162_rn(fmaf(g[2 * j], v.x, u.x), fmaf(g[2 * j + 1], v.y, u.y));
        }
        y[i] = to;
    }
}

/* cuBLASLt, loaded at run time; lib is NULL where it is not there. */
struct library {
    void *lib = nullptr, *workspace = nullptr;
    enum { BYTES = 64 << 20 };
    cublasLtHandle_t handle = nullptr;
#define ALL(X)                                                                                                         \
    X(cublasLtCreate)                                                                                                  \
    X(cublasLtMatmul)                                                                                                  \
    X(cublasLtMatmulDescCreate)                                                                                        \
    X(cublasLtMatmulDescSetAttribute)                                                                                  \
    X(cublasLtMatrixLayoutCreate)                                                                                      \
    X(cublasLtMatmulPreferenceCreate)                                                                                  \
    X(cublasLtMatmulPreferenceSetAttribute)                                                                            \
    X(cublasLtMatmulAlgoGetHeuristic)
#define MEMBER(name) decltype(&::name) name = nullptr;
    ALL(MEMBER)
#undef MEMBER
    library()
    {
        for (const char *n : {"libcublasLt.so.13", "libcublasLt.so", "/usr/local/cuda/lib64/libcublasLt.so.13"})
            if (!lib) lib = dlopen(n, RTLD_NOW);
        if (!lib) {
            printf("cuBLASLt not found: %s\n", dlerror());
            return;
        }
#define FIND(name) name = (decltype(&::name))dlsym(lib, #name);
        ALL(FIND)
#undef FIND
        CK(cublasLtCreate(&handle));
        CK(cudaMalloc(&workspace, BYTES));
    }
};

/* One product as the library runs it: y = x W^T + bias, gelu of that, or that + y. */
struct product {
    library &lt;
    const swan_linear_bf16_args &a;
    cublasLtMatmulDesc_t d;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulHeuristicResult_t found[8];
    int count = 0, best = 0;
    product(library &l, const swan_linear_bf16_args &args, const void *bias16) : lt(l), a(args)
    {
        const size_t bytes = library::BYTES;
        const cublasOperation_t T = CUBLAS_OP_T;
        const cublasLtEpilogue_t e = a.epilogue == SWAN_EPI_GELU ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
        cublasLtMatmulPreference_t pref;
        CK(lt.cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F));
        CK(lt.cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSA, &T, sizeof T));
        CK(lt.cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_EPILOGUE, &e, sizeof e));
        CK(lt.cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias16, sizeof bias16));
        CK(lt.cublasLtMatrixLayoutCreate(&w, CUDA_R_16BF, a.K, a.N, a.K));
        CK(lt.cublasLtMatrixLayoutCreate(&x, CUDA_R_16BF, a.K, a.M, a.ldx));
        CK(lt.cublasLtMatrixLayoutCreate(&y, CUDA_R_16BF, a.N, a.M, a.ldy));
        CK(lt.cublasLtMatmulPreferenceCreate(&pref));
        CK(lt.cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes));
        CK(lt.cublasLtMatmulAlgoGetHeuristic(lt.handle, d, w, x, y, y, pref, 8, found, &count));
        float least = 1e9f;
        for (int i = 0; i < count; i++) {
            const float ms = time_ms(5, [&](int) { run(a.y, a.epilogue >= SWAN_EPI_ADD ? 1.0f : 0.0f, i); });
            if (ms < least) least = ms, best = i;
        }
    }
    void run(void *to, float beta, int which) const
    {
        const float one = 1;
        CK(lt.cublasLtMatmul(lt.handle, d, &one, a.w, w, a.x, x, &beta, to, y, to, y, &found[which].algo, lt.workspace, library::BYTES, 0));
    }
};

/* Median ms of each, run in turn, each time after one launch that is not timed. */
std::vector<float> alternate(const std::vector<std::function<void()>> &f, int rounds, int launches)
{
    std::vector<std::vector<float>> t(f.size());
    cudaEvent_t a, b;
    CK(cudaEventCreate(&a));
    CK(cudaEventCreate(&b));
    for (int r = 0; r < rounds; r++)
        for (size_t i = 0; i < f.size(); i++) {
            const size_t at = (i + (size_t)r) % f.size();
            float ms;
            f[at]();
            CK(cudaEventRecord(a));
            for (int n = 0; n < launches; n++) f[at]();
            CK(cudaEventRecord(b));
            CK(cudaEventSynchronize(b));
            CK(cudaEventElapsedTime(&ms, a, b));
            t[at].push_back(ms / (float)launches);
        }
    cudaEventDestroy(a);
    cudaEventDestroy(b);
    std::vector<float> median;
    for (auto &v : t) {
        std::sort(v.begin(), v.end());
        median.push_back(v[v.size() / 2]);
    }
    return median;
}

struct contender {
    const char *name;
    std::function<void()> run;
};

void compare(library &lt, const char *name, const swan_linear_bf16_args &a, const bf16 *bias16, bf16 *scratch)
{
    const double flop = 2.0 * (double)a.M * (double)a.N * (double)a.K;
    const bool adds = a.epilogue >= SWAN_EPI_ADD;
    std::vector<contender> all;
    if (wanted("linear.bf16 sm90")) all.push_back({"sm90", [&] { CK(swan_cuda_linear_bf16_sm90(0, &a)); }});
    if (wanted("linear.bf16 mma")) all.push_back({"mma", [&] { CK(swan_cuda_linear_bf16_mma(0, &a)); }});
    std::vector<product> p;
    if (lt.lib) {
        p.emplace_back(lt, a, bias16);
        all.push_back({adds ? "cuBLASLt + C, no gate" : "cuBLASLt", [&] { p[0].run(a.y, adds ? 1.0f : 0.0f, p[0].best); }});
        if (a.epilogue == SWAN_EPI_GATED_ADD)
            all.push_back({"cuBLASLt, gate", [&] {
                               p[0].run(scratch, 0.0f, p[0].best);
                               add_gated<<<132 * 8, 256>>>((uint4 *)a.y, (uint4 *)scratch, a.gate, a.M * a.N / 8, (int)a.N / 8);
                           }});
    }
    std::vector<std::function<void()>> f;
    for (auto &c : all) f.push_back(c.run);
    const std::vector<float> ms = alternate(f, 15, flop > 5e11 ? 2 : 4);
    printf("linear.bf16 %-10s M=%d N=%d K=%d, TFLOPS:", name, (int)a.M, (int)a.N, (int)a.K);
    for (size_t i = 0; i < all.size(); i++) printf("  %s %.1f", all[i].name, flop / ms[i] * 1e-9);
    printf("\n");
    fflush(stdout);
}

} // namespace

void bench_products()
{
    const struct {
        const char *name;
        int N, K;
        swan_epilogue epi;
    } shapes[] = {{"QKV", 4608, 1536, SWAN_EPI_NONE},        {"QKV, gate", 6144, 1536, SWAN_EPI_NONE},
                  {"O gated", 1536, 1536, SWAN_EPI_GATED_ADD}, {"FFN1 gelu", 8960, 1536, SWAN_EPI_GELU},
                  {"FFN2 gated", 1536, 8960, SWAN_EPI_GATED_ADD}, {"O plain", 1536, 1536, SWAN_EPI_NONE}};
    library lt;
    for (int M : {32760, 23296}) {
        matrix x(M, 8960), w(8960, 1536), y(M, 8960), scratch(M, 1536), bias16(1, 8960);
        buffer b(8960 * 4), g(8960 * 4);
        fill(x), fill(w, 0.02f), fill(y), fill(bias16);
        fill_f32(b.at<float>(), 8960, 1.0f, 0.0f), fill_f32(g.at<float>(), 8960, 0.1f, 0.0f);
        for (auto &s : shapes) {
            swan_linear_bf16_args a = {};
            a.x = x.p(), a.w = w.p(), a.bias = b.at<float>(), a.gate = g.at<float>(), a.y = y.p();
            a.M = M, a.N = s.N, a.K = s.K, a.ldx = s.K, a.ldy = s.N, a.epilogue = s.epi;
            compare(lt, s.name, a, bias16.p(), scratch.p());
        }
    }
}
