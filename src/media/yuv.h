/* RGB to the colours of video: Y'CbCr BT.709, limited range, 4:2:0 with chroma sited left (what H.264 assumes unless
 * told otherwise). */
#ifndef SWAN_MEDIA_YUV_H
#define SWAN_MEDIA_YUV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Three planes with the bytes from one row to the next: Y [H, W], Cb and Cr [H/2, W/2]. */
typedef struct swan_yuv420 {
    uint8_t *plane[3];
    size_t stride[3];
} swan_yuv420;

/* rgb u8 [H, W, 3], width and height even. Rounded to nearest from 16-bit fixed point: within 0.51 of the real value.
 * Chroma is the average of two rows, weighted 1:2:1 over the columns 2x - 1, 2x, 2x + 1 (the first column stands in
 * for the one left of it). */
void swan_yuv420_from_rgb(const swan_yuv420 *dst, const uint8_t *rgb, int width, int height);

#ifdef __cplusplus
}
#endif
#endif
