/* Host side: is any of these addresses not a multiple of 16 bytes? NULL is fine. */
#ifndef SWAN_KERNEL_CUDA_COMMON_ALIGN_CUH
#define SWAN_KERNEL_CUDA_COMMON_ALIGN_CUH

#include <stdint.h>

template <typename... P> static inline bool swan_misaligned(const P *...p) { return ((... | (uintptr_t)p) & 15) != 0; }

#endif
