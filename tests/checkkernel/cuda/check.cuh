/* What the CUDA kernel checks share: device buffers with canaries and poison, random fills, timing, verdicts. */
#ifndef SWAN_TESTS_CHECKKERNEL_CUDA_CHECK_CUH
#define SWAN_TESTS_CHECKKERNEL_CUDA_CHECK_CUH

#include "kernel/cuda/launch.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <functional>
#include <string>
#include <vector>

typedef __nv_bfloat16 bf16;

#define CK(call)                                                                                                     \
    do {                                                                                                             \
        const int e_ = (int)(call);                                                                                  \
        if (e_) {                                                                                                    \
            printf("FATAL %s:%d %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString((cudaError_t)e_));          \
            exit(2);                                                                                                 \
        }                                                                                                            \
    } while (0)

extern int g_checks, g_failures;
extern uint64_t g_seed;
extern std::string g_only;

/* Is a row of this name asked for? (only=TEXT) */
inline bool wanted(const std::string &row) { return row.find(g_only) != std::string::npos; }

/* Device memory between two canaries of 1 KiB, prefilled with NaN (all bits set). */
struct buffer {
    enum { GUARD = 1024 };
    char *base = nullptr;
    size_t bytes = 0;
    explicit buffer(size_t n) : bytes(n)
    {
        CK(cudaMalloc(&base, n + 2 * GUARD));
        CK(cudaMemset(base, 0xA5, n + 2 * GUARD));
        poison();
    }
    buffer(const buffer &) = delete;
    ~buffer() { cudaFree(base); }
    void poison() { CK(cudaMemset(base + GUARD, 0xFF, bytes)); }
    template <typename T> T *at(size_t i = 0) const { return (T *)(base + GUARD) + i; }
    bool intact() const
    {
        std::vector<unsigned char> h(2 * GUARD);
        CK(cudaMemcpy(h.data(), base, GUARD, cudaMemcpyDeviceToHost));
        CK(cudaMemcpy(h.data() + GUARD, base + GUARD + bytes, GUARD, cudaMemcpyDeviceToHost));
        return std::all_of(h.begin(), h.end(), [](unsigned char c) { return c == 0xA5; });
    }
    std::vector<unsigned char> host() const
    {
        std::vector<unsigned char> h(bytes);
        CK(cudaMemcpy(h.data(), base + GUARD, bytes, cudaMemcpyDeviceToHost));
        return h;
    }
};

/* A bf16 matrix [rows, cols] with gaps of `pad` poisoned elements after each row, and poisoned rows after the last.
 */
struct matrix {
    int64_t rows, cols, ld;
    buffer mem;
    matrix(int64_t r, int64_t c, int64_t pad = 0, int64_t after = 0)
        : rows(r), cols(c), ld(c + pad), mem((size_t)((r + after) * (c + pad)) * 2)
    {
    }
    bf16 *p() const { return mem.at<bf16>(); }
};

/* normal(mean, sd); with outliers, every 37th column is 20 times as large. */
void fill(matrix &m, float sd = 1.0f, float mean = 0.0f, bool outliers = false);
void fill_f32(float *p, int64_t n, float sd, float mean);

/* True when the gaps and trailing rows of `m` are still poison and the canaries stand. */
bool margins_intact(const matrix &m);
/* Elements of the matrix itself that are NaN or infinite. */
long count_bad(const matrix &m);
bool same_bits(const buffer &a, const std::vector<unsigned char> &b);

/* Waits for the device; a kernel that does not end within 5 s (wait=S) is a failure, and ends the process at once (code 3). */
void finish(const char *what);

void report(bool ok, const std::string &what, const char *fmt, ...);

/* Median time in ms of `reps` runs, each between two events; f(i) may rotate buffers by i. */
float time_ms(int reps, const std::function<void(int)> &f);

/* Distance of a result to an fp64 reference, with the bound of the house: twice the error of plain accumulation in
 * the row's precision plus one ulp of the output format. worst <= 1 passes. */
struct verdict {
    double worst = 0, rel = 0;
};
/* got, ref (fp64), plain (fp32 before rounding to bf16): [n]; rows of `group` share the plain error (its maximum). */
verdict judge(const std::vector<float> &got, const std::vector<double> &ref, const std::vector<float> &plain,
              size_t group);

void check_attention(bool quick);
void check_conv(bool quick);
void check_linear(bool quick);
void check_norm(bool quick);
void check_vsa(bool quick);
void bench_attention();
void bench_conv();
void bench_linear();
void bench_norm();
void bench_products(); /* of linear: the transformer's, beside cuBLASLt */
void bench_vsa();

#endif
