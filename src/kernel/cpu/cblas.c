#include "kernel/cpu/cblas.h"

#ifdef SWAN_WITH_CBLAS
#include <cblas.h>
#include <pthread.h>

static void one_thread(void)
{
#ifdef OPENBLAS_VERSION
    openblas_set_num_threads(1);
#endif
}

void swan_cblas_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, one_thread);
}

void swan_cblas_multiply(const swan_cblas_product *p)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->M, (int)p->N, (int)p->K, 1.0f, p->a, (int)p->lda, p->b,
                (int)p->ldb, 0.0f, p->c, (int)p->ldc);
}
#endif
