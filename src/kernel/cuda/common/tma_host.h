/* Host side of TMA: the encoder of tensor maps, and the map of a row-major bf16 matrix. The driver's entry point is looked up through
 * the runtime, so that nothing links against libcuda and the program starts without a driver. */
#ifndef SWAN_KERNEL_CUDA_COMMON_TMA_HOST_H
#define SWAN_KERNEL_CUDA_COMMON_TMA_HOST_H

#include <cuda.h>
#include <cuda_runtime.h>
#include <stdint.h>

typedef CUresult (*swan_tma_encode_fn)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                                       const cuuint64_t *, const cuuint32_t *, const cuuint32_t *,
                                       CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                                       CUtensorMapFloatOOBfill);

static inline cudaError_t swan_tma_encoder(swan_tma_encode_fn *out)
{
    static swan_tma_encode_fn encode; /* same value whichever thread stores it */
    if (!encode) {
        void *fn = nullptr;
        cudaDriverEntryPointQueryResult found;
        cudaError_t e =
            cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &fn, 12000, cudaEnableDefault, &found);
        if (e != cudaSuccess) return e;
        if (found != cudaDriverEntryPointSuccess || !fn) return cudaErrorNotSupported;
        encode = (swan_tma_encode_fn)fn;
    }
    *out = encode;
    return cudaSuccess;
}

/* Matrix bf16 [rows, cols], `ld` elements from row to row; boxes of box_rows x 64 columns, 128-byte swizzle, reads
 * outside are zero and writes outside are dropped. Needs: base aligned to 16 B, ld a multiple of 8, box_rows <= 256.
 */
static inline cudaError_t swan_tma_map_bf16(CUtensorMap *map, const void *base, uint64_t rows, uint64_t cols,
                                            uint64_t ld, uint32_t box_rows)
{
    swan_tma_encode_fn encode;
    const cudaError_t e = swan_tma_encoder(&encode);
    if (e) return e;
    const cuuint64_t dims[2] = {cols, rows};
    const cuuint64_t strides[1] = {ld * 2};
    const cuuint32_t box[2] = {64, box_rows};
    const cuuint32_t one[2] = {1, 1};
    CUresult r = encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, (void *)(uintptr_t)base, dims, strides, box, one,
                        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return r == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

#endif
