#include "media/yuv.h"

#include "base/yuv.h"

static void luma_row(uint8_t *dst, const uint8_t *rgb, int width)
{
    for (int x = 0; x < width; x++) dst[x] = swan_yuv_luma(rgb[3 * x], rgb[3 * x + 1], rgb[3 * x + 2]);
}

static void chroma_row(uint8_t *u, uint8_t *v, const uint8_t *upper, const uint8_t *lower, int width)
{
    for (int x = 0; x < width; x += 2) {
        int sum[3], left = x ? 3 * (x - 1) : 0, here = 3 * x, right = 3 * (x + 1);
        for (int c = 0; c < 3; c++)
            sum[c] = swan_yuv_site(upper[left + c] + lower[left + c], upper[here + c] + lower[here + c],
                                   upper[right + c] + lower[right + c]);
        u[x / 2] = swan_yuv_cb(sum[0], sum[1], sum[2]);
        v[x / 2] = swan_yuv_cr(sum[0], sum[1], sum[2]);
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
