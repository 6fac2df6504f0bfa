#include "media/yuv.h"

/* ITU-R BT.709: Y' = 0.2126 R + 0.7152 G + 0.0722 B, Cb = (B - Y') / 1.8556, Cr = (R - Y') / 1.5748, all for R, G, B
 * in 0..1; then 219 steps above 16 and 224 around 128. Coefficients are times 2^16; the grey ones sum to what makes
 * white 235 and grey 128. */
enum {
    YR = 11966, YG = 40254, YB = 4064,
    UR = -6596, UG = -22189, UB = 28785,
    VR = 28784, VG = -26145, VB = -2639,
};

static void luma_row(uint8_t *dst, const uint8_t *rgb, int width)
{
    for (int x = 0; x < width; x++)
        dst[x] = (uint8_t)((YR * rgb[3 * x] + YG * rgb[3 * x + 1] + YB * rgb[3 * x + 2] + (33 << 15)) >> 16); /* 16.5 */
}

/* Sums of 8 weights: three more bits. */
static uint8_t chroma(int r, int g, int b, const int sum[3])
{
    return (uint8_t)((r * sum[0] + g * sum[1] + b * sum[2] + (128 << 19) + (1 << 18)) >> 19);
}

static void chroma_row(uint8_t *u, uint8_t *v, const uint8_t *upper, const uint8_t *lower, int width)
{
    for (int x = 0; x < width; x += 2) {
        int sum[3], left = x ? 3 * (x - 1) : 0, here = 3 * x, right = 3 * (x + 1);
        for (int c = 0; c < 3; c++)
            sum[c] = upper[left + c] + 2 * upper[here + c] + upper[right + c] + lower[left + c] + 2 * lower[here + c] +
                     lower[right + c];
        u[x / 2] = chroma(UR, UG, UB, sum);
        v[x / 2] = chroma(VR, VG, VB, sum);
    }
}

void swan_yuv420_from_rgb(const swan_yuv420 *dst, const uint8_t *rgb, int width, int height)
{
    size_t row_bytes = (size_t)width * 3;
    for (int y = 0; y < height; y++)
        luma_row(dst->plane[0] + (size_t)y * dst->stride[0], rgb + (size_t)y * row_bytes, width);
    for (int y = 0; y < height / 2; y++)
        chroma_row(dst->plane[1] + (size_t)y * dst->stride[1], dst->plane[2] + (size_t)y * dst->stride[2],
                   rgb + (size_t)(2 * y) * row_bytes, rgb + (size_t)(2 * y + 1) * row_bytes, width);
}
