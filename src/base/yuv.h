/* RGB to the colours of video: Y'CbCr of ITU-R BT.709, limited range, 8 bits, as the host and the GPUs compute them.
 *
 * Y' = 0.2126 R + 0.7152 G + 0.0722 B, Cb = (B - Y') / 1.8556, Cr = (R - Y') / 1.5748, all for R, G, B in 0..1; then 219 steps
 * above 16 and 224 around 128. In 16-bit fixed point, rounded to nearest: within 0.51 of the real value. Coefficients are
 * times 2^16; the grey ones sum to what makes white 235 and grey 128. C11, C++17 and CUDA. */
#ifndef SWAN_BASE_YUV_H
#define SWAN_BASE_YUV_H

#include <stdint.h>

#ifdef __CUDACC__
#define SWAN_YUV_INLINE static inline __host__ __device__
#else
#define SWAN_YUV_INLINE static inline
#endif

SWAN_YUV_INLINE uint8_t swan_yuv_luma(int r, int g, int b)
{
    return (uint8_t)((11966 * r + 40254 * g + 4064 * b + (33 << 15)) >> 16); /* 16.5 */
}

/* Of the eight weights that swan_yuv_site adds up, channel by channel: three more bits. */
SWAN_YUV_INLINE uint8_t swan_yuv_cb(int r, int g, int b)
{
    return (uint8_t)((-6596 * r + -22189 * g + 28785 * b + (128 << 19) + (1 << 18)) >> 19);
}
SWAN_YUV_INLINE uint8_t swan_yuv_cr(int r, int g, int b)
{
    return (uint8_t)((28784 * r + -26145 * g + -2639 * b + (128 << 19) + (1 << 18)) >> 19);
}

/* One channel of a chroma sample, which is sited left (what H.264 assumes unless told otherwise): the columns 2x - 1, 2x and
 * 2x + 1, weighted 1:2:1, of two rows, here given as their sums (the first column stands in for the one left of it). */
SWAN_YUV_INLINE int swan_yuv_site(int left, int here, int right) { return left + 2 * here + right; }

#endif
