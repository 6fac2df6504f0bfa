/* Host side of launches.
 *
 * swan_start: a launch that may begin while the kernel before it in the stream ends (programmatic dependent launch, on
 * compute capability 9 and 12). Every thread of such a kernel executes swan_grid_wait() before it reads anything that a kernel
 * of the stream has written, and before its first write. cluster: blocks to a cluster, along x. EARLY false: it begins when the
 * kernel before it has ended. */
#ifndef SWAN_KERNEL_CUDA_COMMON_START_CUH
#define SWAN_KERNEL_CUDA_COMMON_START_CUH

#include <cuda_runtime.h>

template <bool EARLY = true, typename P>
static cudaError_t swan_start(void (*kernel)(P), dim3 grid, unsigned threads, size_t smem, cudaStream_t stream, const P &p,
                              unsigned cluster = 1)
{
    int dev = 0, major = 0;
    cudaError_t e;
    if ((e = cudaGetDevice(&dev)) || (e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, dev))) return e;
    if (smem > 48 << 10 && (e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)smem))) return e;
    cudaLaunchConfig_t cfg = {};
    cudaLaunchAttribute attr[2];
    cfg.gridDim = grid;
    cfg.blockDim = dim3(threads);
    cfg.dynamicSmemBytes = smem;
    cfg.stream = stream;
    attr[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attr[0].val.programmaticStreamSerializationAllowed = 1;
    cfg.attrs = attr;
    cfg.numAttrs = EARLY && (major == 9 || major == 12); /* others run what was compiled for sm_80, where nothing waits */
    if (cluster > 1) {
        attr[cfg.numAttrs].id = cudaLaunchAttributeClusterDimension;
        attr[cfg.numAttrs].val.clusterDim.x = cluster;
        attr[cfg.numAttrs].val.clusterDim.y = attr[cfg.numAttrs].val.clusterDim.z = 1;
        cfg.numAttrs++;
    }
    return cudaLaunchKernelEx(&cfg, kernel, p);
}

/* How many multiprocessors the current device has. */
static inline cudaError_t swan_multiprocessors(int *count)
{
    int dev = 0;
    const cudaError_t e = cudaGetDevice(&dev);
    return e ? e : cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, dev);
}

/* Clusters of `size` blocks; a block is a producer and two consumer warpgroups: 384 threads. sm_90. */
template <typename P>
static cudaError_t swan_start_clusters(void (*kernel)(P), int clusters, int size, size_t smem, cudaStream_t stream, const P &p)
{
    return swan_start<false>(kernel, dim3((unsigned)(clusters * size)), 384, smem, stream, p, (unsigned)size);
}

#endif
