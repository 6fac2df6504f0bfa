/* linear.bf16 by cuBLASLt, loaded at run time: the row of GPUs that have no faster one, and a ceiling to measure against.
 *
 * Numerics: fp32 products and sums, one rounding at the end. Without bias, y = r and y = y + r are one call; for any other
 * epilogue the library writes the product as f32, in chunks of rows that stay in the L2 cache, and a kernel of ours does the
 * rest: with bf16 output the library takes a bias in bf16 only, and its GELU has no stated accuracy. The same shape always gets the same algorithm: the library's first choice for 16-byte alignment.
 *
 * The library's matrices are column-major: our row-major y [M, N] is its [N, M], W [N, K] is its [K, N], transposed. */
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <string.h>

#include "kernel/cuda/cuda.h"
#include "kernel/cuda/launch.h"
#include "kernel/cuda/policy.h"

#define LIBRARY_BYTES ((size_t)32 << 20) /* what NVIDIA advises for Hopper; others need less */
#define CHUNK_BYTES ((size_t)32 << 20)   /* of f32 product: below the L2 of every GPU that this is for, but the A40 */
#define ALIGN ((uintptr_t)256)           /* of the workspace; arenas give less */
#define DEVICES (SWAN_DEVICE_MAX - 1)

#define FUNCTIONS(X)                                                                                                   \
    X(cublasLtCreate)                                                                                                  \
    X(cublasLtDestroy)                                                                                                 \
    X(cublasLtMatmul)                                                                                                  \
    X(cublasLtMatmulAlgoGetHeuristic)                                                                                  \
    X(cublasLtMatmulDescCreate)                                                                                        \
    X(cublasLtMatmulDescDestroy)                                                                                       \
    X(cublasLtMatmulDescSetAttribute)                                                                                  \
    X(cublasLtMatrixLayoutCreate)                                                                                      \
    X(cublasLtMatrixLayoutDestroy)                                                                                     \
    X(cublasLtMatmulPreferenceCreate)                                                                                  \
    X(cublasLtMatmulPreferenceDestroy)                                                                                 \
    X(cublasLtMatmulPreferenceSetAttribute)

/* Written by open and close alone, which one thread calls at a time while nothing runs on the device. */
static struct {
    bool loaded;
    cublasLtHandle_t handle[DEVICES];
    int opened[DEVICES];
#define MEMBER(name) __typeof__(&name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
} lt;

static bool load(void)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++) library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) return false;
#define FIND(name)                                                                                                     \
    *(void **)&lt.name = dlsym(library, #name);                                                                        \
    if (!lt.name) return false;
    FUNCTIONS(FIND)
#undef FIND
    return true;
}

void swan_cublaslt_open(int index)
{
    if (index >= DEVICES || lt.opened[index]++) return;
    if (!lt.loaded) lt.loaded = load();
    if (!lt.loaded || lt.cublasLtCreate(&lt.handle[index])) lt.handle[index] = NULL;
}

void swan_cublaslt_close(int index)
{
    if (index >= DEVICES || --lt.opened[index] || !lt.handle[index]) return;
    lt.cublasLtDestroy(lt.handle[index]);
    lt.handle[index] = NULL;
}

/* One product of the library. */
typedef struct product {
    cublasLtHandle_t handle;
    const void *x, *w;
    void *y;
    int64_t M, N, K, ldx, ldy;
    cudaDataType_t type; /* of y */
    float beta; /* of the old y */
    void *workspace;
} product;

/* The same in the library's words. */
typedef struct description {
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
} description;

static bool describe(const product *p, description *d)
{
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const size_t bytes = LIBRARY_BYTES;
    const uint32_t alignment = 16;
    uint64_t K = (uint64_t)p->K, N = (uint64_t)p->N, M = (uint64_t)p->M;
    int count = 0;
    if (lt.cublasLtMatmulDescCreate(&d->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) ||
        lt.cublasLtMatmulDescSetAttribute(d->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) ||
        lt.cublasLtMatrixLayoutCreate(&d->w, CUDA_R_16BF, K, N, p->K) ||
        lt.cublasLtMatrixLayoutCreate(&d->x, CUDA_R_16BF, K, M, p->ldx) ||
        lt.cublasLtMatrixLayoutCreate(&d->y, p->type, N, M, p->ldy) ||
        lt.cublasLtMatmulPreferenceCreate(&d->preference) ||
        lt.cublasLtMatmulPreferenceSetAttribute(d->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                                sizeof bytes))
        return false;
    for (int i = 0; i < 4; i++)
        if (lt.cublasLtMatmulPreferenceSetAttribute(d->preference, alignments[i], &alignment, sizeof alignment)) return false;
    return !lt.cublasLtMatmulAlgoGetHeuristic(p->handle, d->operation, d->w, d->x, d->y, d->y,
                                              d->preference, 1, &d->found, &count) &&
           count == 1;
}

static void discard(description *d)
{
    if (d->operation) lt.cublasLtMatmulDescDestroy(d->operation);
    if (d->w) lt.cublasLtMatrixLayoutDestroy(d->w);
    if (d->x) lt.cublasLtMatrixLayoutDestroy(d->x);
    if (d->y) lt.cublasLtMatrixLayoutDestroy(d->y);
    if (d->preference) lt.cublasLtMatmulPreferenceDestroy(d->preference);
}

/* Enqueues; cudaErrorNotSupported: nothing was. */
static int multiply(cudaStream_t stream, const product *p)
{
    const float one = 1;
    description d = {0};
    cublasStatus_t status = CUBLAS_STATUS_NOT_SUPPORTED;
    if (describe(p, &d))
        status = lt.cublasLtMatmul(p->handle, d.operation, &one, p->w, d.w, p->x, d.x, &p->beta, p->y, d.y, p->y, d.y,
                                   &d.found.algo, p->workspace, LIBRARY_BYTES, stream);
    discard(&d);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return cudaErrorNotSupported;
    return status ? cudaErrorUnknown : cudaSuccess;
}

/* The product in f32, then the epilogue, for as many rows at a time as CHUNK_BYTES hold. */
static int in_chunks(cudaStream_t stream, const swan_linear_args *a, product p)
{
    const int64_t rows = (int64_t)(CHUNK_BYTES / sizeof(float)) / a->N / 64 * 64;
    float *r = (float *)((char *)p.workspace + LIBRARY_BYTES);
    p.y = r;
    p.ldy = a->N;
    p.type = CUDA_R_32F;
    p.beta = 0;
    for (int64_t m = 0; m < a->M; m += rows) {
        swan_linear_args part = *a;
        part.M = p.M = a->M - m < rows ? a->M - m : rows;
        part.y = (char *)a->y + m * a->ldy * 2;
        p.x = (const char *)a->x + m * a->ldx * 2;
        int error = multiply(stream, &p);
        if (error == cudaErrorNotSupported && m) error = cudaErrorUnknown; /* too late to leave it to another row */
        if (!error) error = swan_cuda_linear_epilogue(stream, &part, r);
        if (error) return error;
    }
    return cudaSuccess;
}

int swan_cublaslt_linear_bf16(struct CUstream_st *stream, const swan_linear_bf16_args *a)
{
    int index = 0;
    if (a->M < 1 || a->N < 1 || a->K < 1 || (a->epilogue == SWAN_EPI_GATED_ADD && !a->gate)) return cudaErrorInvalidValue;
    if (cudaGetDevice(&index) || index >= DEVICES || !lt.handle[index] || !a->workspace || a->N > 1 << 16 ||
        a->M > INT32_MAX || a->K > INT32_MAX || ((a->K | a->N | a->ldx | a->ldy) & 7) ||
        (((uintptr_t)a->x | (uintptr_t)a->w | (uintptr_t)a->y) & 15))
        return cudaErrorNotSupported;
    product p = {.handle = lt.handle[index], .x = a->x, .w = a->w, .y = a->y, .M = a->M, .N = a->N, .K = a->K,
                 .ldx = a->ldx, .ldy = a->ldy, .type = CUDA_R_16BF, .beta = a->epilogue == SWAN_EPI_ADD ? 1 : 0,
                 .workspace = (void *)(((uintptr_t)a->workspace + ALIGN - 1) / ALIGN * ALIGN)};
    return swan_linear_direct(a) ? multiply(stream, &p) : in_chunks(stream, a, p);
}

size_t swan_cublaslt_linear_bf16_bytes(const swan_linear_bf16_args *a)
{
    if (!lt.loaded) return 0;
    return ALIGN + LIBRARY_BYTES + (swan_linear_direct(a) ? 0 : CHUNK_BYTES);
}
