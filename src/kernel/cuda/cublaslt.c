/* linear.bf16 by cuBLASLt, loaded at run time: the row of GPUs that have no faster one, and a ceiling to measure against.
 *
 * Numerics: fp32 products and sums, one rounding at the end. Without bias, y = r and y = y + r are one call; for any other
 * epilogue the library writes the product as f32, in chunks of rows that stay in the L2 cache, and a kernel of ours does the
 * rest: with bf16 output the library takes a bias in bf16 only, and its GELU has no stated accuracy. The same shape always gets
 * the same algorithm: the library's first choice for 16-byte alignment, asked for once and kept, so that a shape met before costs
 * no memory and no search (both are the library's, 20 to 50 us a call).
 *
 * The library's matrices are column-major: our row-major y [M, N] is its [N, M], W [N, K] is its [K, N], transposed. */
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/cuda/cuda.h"
#include "kernel/cuda/launch.h"
#include "kernel/cuda/policy.h"

#define LIBRARY_BYTES ((size_t)32 << 20) /* what NVIDIA advises for Hopper; others need less */
#define CHUNK_BYTES ((size_t)32 << 20)   /* of f32 product: below the L2 of every GPU that this is for, but the A40 */
#define ALIGN ((uintptr_t)256)           /* of the workspace; arenas give less */
#define DEVICES (SWAN_DEVICE_MAX - 1)
#define PLANS 1024 /* shapes kept for a device; a model has some thirty, for each number of rows */

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

/* The shape of a product of the library, which decides everything but the addresses. */
typedef struct shape {
    int64_t M, N, K, ldx, ldy;
    cudaDataType_t type; /* of y */
} shape;

/* The same in the library's words. */
typedef struct plan {
    shape shape;
    cublasLtMatmulDesc_t operation; /* NULL: a free place of the table */
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algorithm;
    bool usable; /* the library has an algorithm for it */
} plan;

/* Written by open and close alone, which one thread calls at a time while nothing runs on the device; the plans by any thread
 * under their lock. A plan does not move, nor change once it is there. */
static struct {
    bool loaded;
    cublasLtHandle_t handle[DEVICES];
    int opened[DEVICES];
    plan *plans[DEVICES]; /* [PLANS], open addressing */
    pthread_mutex_t lock;
#define MEMBER(name) __typeof__(&name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
} lt = {.lock = PTHREAD_MUTEX_INITIALIZER};

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
    lt.plans[index] = calloc(PLANS, sizeof(plan));
    if (!lt.plans[index] || !lt.loaded || lt.cublasLtCreate(&lt.handle[index])) lt.handle[index] = NULL;
}

static void discard(plan *p)
{
    if (p->operation) lt.cublasLtMatmulDescDestroy(p->operation);
    if (p->w) lt.cublasLtMatrixLayoutDestroy(p->w);
    if (p->x) lt.cublasLtMatrixLayoutDestroy(p->x);
    if (p->y) lt.cublasLtMatrixLayoutDestroy(p->y);
    *p = (plan){0};
}

void swan_cublaslt_close(int index)
{
    if (index >= DEVICES || --lt.opened[index]) return;
    for (int i = 0; i < PLANS && lt.plans[index]; i++) discard(&lt.plans[index][i]);
    free(lt.plans[index]);
    lt.plans[index] = NULL;
    if (lt.handle[index]) lt.cublasLtDestroy(lt.handle[index]);
    lt.handle[index] = NULL;
}

/* ---- plans ---- */

/* The library's first choice among its algorithms; false: it has none. */
static bool choose(cublasLtHandle_t handle, plan *p, cublasLtMatmulPreference_t preference)
{
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    const size_t bytes = LIBRARY_BYTES;
    const uint32_t alignment = 16;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    if (lt.cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes))
        return false;
    for (int i = 0; i < 4; i++)
        if (lt.cublasLtMatmulPreferenceSetAttribute(preference, alignments[i], &alignment, sizeof alignment)) return false;
    if (lt.cublasLtMatmulAlgoGetHeuristic(handle, p->operation, p->w, p->x, p->y, p->y, preference, 1, &found, &count) ||
        count != 1)
        return false;
    p->algorithm = found.algo;
    return true;
}

/* False: the library could not even describe it. */
static bool make(cublasLtHandle_t handle, plan *p)
{
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const uint64_t K = (uint64_t)p->shape.K, N = (uint64_t)p->shape.N, M = (uint64_t)p->shape.M;
    cublasLtMatmulPreference_t preference = NULL;
    bool made = !lt.cublasLtMatmulDescCreate(&p->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) &&
                !lt.cublasLtMatmulDescSetAttribute(p->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) &&
                !lt.cublasLtMatrixLayoutCreate(&p->w, CUDA_R_16BF, K, N, p->shape.K) &&
                !lt.cublasLtMatrixLayoutCreate(&p->x, CUDA_R_16BF, K, M, p->shape.ldx) &&
                !lt.cublasLtMatrixLayoutCreate(&p->y, p->shape.type, N, M, p->shape.ldy) &&
                !lt.cublasLtMatmulPreferenceCreate(&preference);
    p->usable = made && choose(handle, p, preference);
    if (preference) lt.cublasLtMatmulPreferenceDestroy(preference);
    return made;
}

static bool same(const shape *a, const shape *b)
{
    return a->M == b->M && a->N == b->N && a->K == b->K && a->ldx == b->ldx && a->ldy == b->ldy && a->type == b->type;
}

static size_t place_of(const shape *s)
{
    uint64_t h = (uint64_t)s->type;
    for (const int64_t *v = &s->M; v <= &s->ldy; v++) h = (h ^ (uint64_t)*v) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(h >> 32) % PLANS;
}

/* The plan of a shape; NULL where the library has none, or the table is full. */
static const plan *plan_of(int index, const shape *wanted)
{
    const plan *found = NULL;
    pthread_mutex_lock(&lt.lock);
    size_t at = place_of(wanted);
    for (int tries = 0; tries < PLANS; tries++, at = (at + 1) % PLANS) {
        plan *p = &lt.plans[index][at];
        if (!p->operation) {
            p->shape = *wanted;
            if (!make(lt.handle[index], p)) {
                discard(p);
                break;
            }
        }
        if (!same(&p->shape, wanted)) continue;
        if (p->usable) found = p;
        break;
    }
    pthread_mutex_unlock(&lt.lock);
    return found;
}

/* ---- products ---- */

typedef struct product {
    int device;
    shape shape;
    const void *x, *w;
    void *y;
    float beta; /* of the old y */
    void *workspace;
} product;

/* Enqueues; cudaErrorNotSupported: nothing was. */
static int multiply(cudaStream_t stream, const product *p)
{
    const float one = 1;
    const plan *known = plan_of(p->device, &p->shape);
    if (!known) return cudaErrorNotSupported;
    cublasStatus_t status = lt.cublasLtMatmul(lt.handle[p->device], known->operation, &one, p->w, known->w, p->x, known->x, &p->beta,
                                              p->y, known->y, p->y, known->y, &known->algorithm, p->workspace, LIBRARY_BYTES, stream);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return cudaErrorNotSupported;
    return status ? cudaErrorUnknown : cudaSuccess;
}

/* The product in f32, then the epilogue, for as many rows at a time as CHUNK_BYTES hold. */
static int in_chunks(cudaStream_t stream, const swan_linear_args *a, product p)
{
    const int64_t rows = (int64_t)(CHUNK_BYTES / sizeof(float)) / a->N / 64 * 64;
    float *r = (float *)((char *)p.workspace + LIBRARY_BYTES);
    p.y = r;
    p.shape.ldy = a->N;
    p.shape.type = CUDA_R_32F;
    p.beta = 0;
    for (int64_t m = 0; m < a->M; m += rows) {
        swan_linear_args part = *a;
        part.M = p.shape.M = a->M - m < rows ? a->M - m : rows;
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
    product p = {.device = index, .x = a->x, .w = a->w, .y = a->y, .beta = a->epilogue == SWAN_EPI_ADD ? 1 : 0,
                 .shape = {.M = a->M, .N = a->N, .K = a->K, .ldx = a->ldx, .ldy = a->ldy, .type = CUDA_R_16BF},
                 .workspace = (void *)(((uintptr_t)a->workspace + ALIGN - 1) / ALIGN * ALIGN)};
    return swan_linear_direct(a) ? multiply(stream, &p) : in_chunks(stream, a, p);
}

size_t swan_cublaslt_linear_bf16_bytes(const swan_linear_bf16_args *a)
{
    if (!lt.loaded) return 0;
    return ALIGN + LIBRARY_BYTES + (swan_linear_direct(a) ? 0 : CHUNK_BYTES);
}
