/* Convolutions of few output channels, for conv_f16_mma.cu. */
#ifndef SWAN_KERNEL_CUDA_CONV_CONV_FEW_CUH
#define SWAN_KERNEL_CUDA_CONV_CONV_FEW_CUH

#include "kernel/cuda/conv/conv_shape.cuh"

#include <cuda_runtime.h>

#define SWAN_CONV_FEW 3 /* output channels at most: nine taps of them are 27 columns */

/* conv3x3; s as conv_f16_mma.cu takes it. */
cudaError_t swan_conv_few(cudaStream_t stream, const conv_shape &s);

#endif
