/* What the files of the CUDA backend share with each other and with kernel/device.c. C11, without CUDA headers. */
#ifndef SWAN_KERNEL_CUDA_CUDA_H
#define SWAN_KERNEL_CUDA_CUDA_H

#include "kernel/device.h"

struct CUstream_st;

/* At most `capacity` GPUs; 0 without a driver. */
int swan_cuda_list(swan_device_info *out, int capacity);
swan_status swan_cuda_open(int index, swan_device *out);
void swan_cuda_close(swan_device *d);

/* A cudaError_t as a status, "what: text". Invalid values are SWAN_E_BUG, memory SWAN_E_NOMEM, the rest SWAN_E_DEVICE; a
 * fault is remembered for the process (swan_backend.fault). Clears the runtime's own last error. */
swan_status swan_cuda_status(int error, const char *what);

/* Page-locked host memory, aligned to 256 bytes; free: NULL is fine. */
swan_status swan_cuda_alloc_locked(size_t bytes, void **out);
void swan_cuda_free_locked(void *p);

/* ---- cuBLASLt, loaded at run time ---- */

/* Makes the handle of a GPU; where the library is missing or fails, its launcher declines from then on. */
void swan_cublaslt_open(int index);
void swan_cublaslt_close(int index);
/* linear.bf16 with bf16 activations: a launcher as in launch.h. Declines (801) without a library, for strides that are no
 * multiples of 8 and for addresses that are no multiples of 16. */
int swan_cublaslt_linear_bf16(struct CUstream_st *stream, const swan_linear_bf16_args *a);
size_t swan_cublaslt_linear_bf16_bytes(const swan_linear_bf16_args *a); /* of workspace */

#endif
