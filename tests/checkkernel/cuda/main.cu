/* Checks and times the CUDA kernels on the GPU at hand. Built with -DSWAN_CUDA=ON, and -DSWAN_CORE_ONLY=ON where there are no
 * other libraries than CUDA:
 *   check_cuda [quick|full|bench|all] [attention] [conv] [linear] [norm] [vsa] [seed=N] [only=TEXT] [wait=S]
 * quick: small shapes (for the sanitizers); full: all checks; bench: timings. only: of attention and linear, rows whose name
 * (attn.dense mma) contains TEXT. seed: of the random operands (1; the bound of attention over few keys with outliers is
 * statistical: one case in some thousand of other seeds exceeds it by a per cent). wait: seconds that a kernel may take (5). Exit
 * code 1 when a check failed. */
#include "check.cuh"

#include <cstdarg>
#include <ctime>
#include <unistd.h>

int g_checks, g_failures;
uint64_t g_seed = 1;
std::string g_only;
static double g_wait = 5;

static __global__ void fill_kernel(bf16 *p, int64_t rows, int64_t cols, int64_t ld, float sd, float mean,
                                   int outliers, uint64_t seed)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < rows * cols;
         i += (int64_t)gridDim.x * blockDim.x) {
        uint64_t z = seed + (uint64_t)i * 0x9E3779B97F4A7C15ull; /* splitmix64 */
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        z ^= z >> 31;
        const float u = ((float)(uint32_t)(z >> 40) + 0.5f) * 0x1p-24f,
                    w = (float)(uint32_t)(z & 0xFFFFFF) * 0x1p-24f;
        float v = mean + sd * sqrtf(-2.0f * logf(u)) * cospif(2.0f * w);
        if (outliers && (i % cols) % 37 == 5) v *= 20.0f;
        p[i / cols * ld + i % cols] = __float2bfloat16(v);
    }
}
static __global__ void widen(float *dst, const bf16 *src, int64_t n)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        dst[i] = __bfloat162float(src[i]);
}
static __global__ void scan(const uint16_t *p, int64_t rows, int64_t cols, int64_t ld, int64_t all,
                            unsigned long long *bad, unsigned long long *dirty)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < all; i += (int64_t)gridDim.x * blockDim.x) {
        const bool inside = i / ld < rows && i % ld < cols;
        if (inside && (p[i] & 0x7F80) == 0x7F80) atomicAdd(bad, 1ull);
        if (!inside && p[i] != 0xFFFF) atomicAdd(dirty, 1ull);
    }
}

void fill(matrix &m, float sd, float mean, bool outliers)
{
    fill_kernel<<<2048, 256>>>(m.p(), m.rows, m.cols, m.ld, sd, mean, outliers, g_seed += 0x51ED270B35A5D1E7ull);
    CK(cudaGetLastError());
}
void fill_f32(float *p, int64_t n, float sd, float mean)
{
    matrix m(1, n);
    fill(m, sd, mean);
    widen<<<256, 256>>>(p, m.p(), n);
    CK(cudaDeviceSynchronize());
}
static void scan_matrix(const matrix &m, unsigned long long (&out)[2])
{
    unsigned long long *d;
    CK(cudaMalloc(&d, 16));
    CK(cudaMemset(d, 0, 16));
    scan<<<1024, 256>>>(m.mem.at<uint16_t>(), m.rows, m.cols, m.ld, (int64_t)(m.mem.bytes / 2), d, d + 1);
    CK(cudaMemcpy(out, d, 16, cudaMemcpyDeviceToHost));
    cudaFree(d);
}
bool margins_intact(const matrix &m)
{
    unsigned long long n[2];
    scan_matrix(m, n);
    return n[1] == 0 && m.mem.intact();
}
long count_bad(const matrix &m)
{
    unsigned long long n[2];
    scan_matrix(m, n);
    return (long)n[0];
}
bool same_bits(const buffer &a, const std::vector<unsigned char> &b) { return a.host() == b; }

void finish(const char *what)
{
    const time_t start = time(nullptr);
    for (;;) {
        const cudaError_t e = cudaStreamQuery(0);
        if (e == cudaSuccess) return;
        if (e != cudaErrorNotReady || difftime(time(nullptr), start) > g_wait + 1) {
            printf("FAIL %s: %s\n", what, e == cudaErrorNotReady ? "does not end" : cudaGetErrorString(e));
            fflush(stdout);
            _exit(3);
        }
        usleep(50);
    }
}

void report(bool ok, const std::string &what, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    g_checks++;
    g_failures += !ok;
    if (!ok || getenv("VERBOSE")) printf("%s %-46s %s\n", ok ? "ok  " : "FAIL", what.c_str(), text);
    fflush(stdout);
}

float time_ms(int reps, const std::function<void(int)> &f)
{
    std::vector<float> t;
    cudaEvent_t a, b;
    CK(cudaEventCreate(&a));
    CK(cudaEventCreate(&b));
    for (int i = 0; i < 3; i++) f(i);
    finish("timed kernel");
    for (int i = 0; i < reps; i++) {
        float ms;
        CK(cudaEventRecord(a));
        f(i);
        CK(cudaEventRecord(b));
        CK(cudaEventSynchronize(b));
        CK(cudaEventElapsedTime(&ms, a, b));
        t.push_back(ms);
    }
    CK(cudaGetLastError());
    cudaEventDestroy(a);
    cudaEventDestroy(b);
    std::sort(t.begin(), t.end());
    return t[t.size() / 2];
}

verdict judge(const std::vector<float> &got, const std::vector<double> &ref, const std::vector<float> &plain,
              size_t group)
{
    verdict v;
    double num = 0, den = 0;
    for (size_t g = 0; g < ref.size(); g += group) {
        double slack = 0;
        for (size_t i = g; i < g + group; i++) slack = std::max(slack, std::fabs(plain[i] - ref[i]));
        for (size_t i = g; i < g + group; i++) {
            const double err = std::fabs(got[i] - ref[i]);
            const double ulp = std::exp2(std::floor(std::log2(std::max(std::fabs(ref[i]), 1e-30))) - 7);
            v.worst = std::isfinite(err) ? std::max(v.worst, err / (2 * slack + ulp)) : 1e30;
            num += err * err;
            den += ref[i] * ref[i];
        }
    }
    v.rel = std::sqrt(num / std::max(den, 1e-300));
    return v;
}

int main(int argc, char **argv)
{
    std::string mode = "all";
    std::vector<std::string> names;
    for (int i = 1; i < argc; i++) {
        const std::string s = argv[i];
        if (s == "quick" || s == "full" || s == "bench" || s == "all") mode = s;
        else if (s.rfind("seed=", 0) == 0) g_seed = strtoull(argv[i] + 5, nullptr, 10);
        else if (s.rfind("only=", 0) == 0) g_only = s.substr(5);
        else if (s.rfind("wait=", 0) == 0) g_wait = atof(argv[i] + 5);
        else names.push_back(s);
    }
    auto wants = [&](const char *n) {
        return names.empty() || std::find(names.begin(), names.end(), n) != names.end();
    };
    cudaDeviceProp prop;
    CK(cudaGetDeviceProperties(&prop, 0));
    printf("%s, sm_%d%d, %d SMs, seed=%llu\n", prop.name, prop.major, prop.minor, prop.multiProcessorCount,
           (unsigned long long)g_seed);
    struct {
        const char *name;
        void (*check)(bool);
        void (*bench)();
    } all[] = {{"attention", check_attention, bench_attention},
               {"conv", check_conv, bench_conv},
               {"linear", check_linear, bench_linear},
               {"norm", check_norm, bench_norm},
               {"vsa", check_vsa, bench_vsa}};
    for (auto &f : all) {
        if (!wants(f.name)) continue;
        const int before = g_failures, had = g_checks;
        if (mode != "bench") {
            f.check(mode == "quick");
            CK(cudaDeviceSynchronize());
            printf("%-10s %d checks, %d failed\n", f.name, g_checks - had, g_failures - before);
            fflush(stdout);
        }
    }
    for (auto &f : all)
        if (wants(f.name) && (mode == "bench" || mode == "all")) f.bench();
    return g_failures ? 1 : 0;
}
