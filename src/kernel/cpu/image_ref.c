/* image.from_latent, image.to_rgb8, image.to_i420: between latents, channels-last images and bytes. */
#include "base/yuv.h"
#include "kernel/cpu/cpu.h"

#define CHUNK 4096 /* elements of one task */

static void from_latent_task(void *arg, int64_t row, int worker)
{
    (void)worker;
    const swan_image_from_latent_args *a = arg;
    int64_t t = a->t + row / a->H, y = row % a->H;
    for (int64_t x = 0; x < a->W; x++)
        for (int64_t c = 0; c < a->C; c++)
            ((float *)a->y)[(row * a->W + x) * a->C + c] = a->latent[((c * a->T + t) * a->H + y) * a->W + x];
}

swan_status swan_image_from_latent_ref(swan_stream *stream, const swan_image_from_latent_args *a)
{
    swan_image_from_latent_args copy = *a;
    return swan_cpu_run(stream, a->F * a->H, from_latent_task, &copy);
}

/* The product in fp32 is cut to the same byte as the exact one, for every fp32 in [0, 1]. */
static uint8_t byte_of(float x) { return x >= 1 ? 255 : x > 0 ? (uint8_t)(255.0f * x) : 0; } /* NaN fails both */

static void to_rgb8_task(void *arg, int64_t chunk, int worker)
{
    (void)worker;
    const swan_image_to_rgb8_args *a = arg;
    for (int64_t i = chunk * CHUNK; i < a->n && i < (chunk + 1) * CHUNK; i++) a->rgb[i] = byte_of(((const float *)a->x)[i]);
}

swan_status swan_image_to_rgb8_ref(swan_stream *stream, const swan_image_to_rgb8_args *a)
{
    swan_image_to_rgb8_args copy = *a;
    return swan_cpu_run(stream, (a->n + CHUNK - 1) / CHUNK, to_rgb8_task, &copy);
}

/* Two rows of pixels. */
static void to_i420_task(void *arg, int64_t pair, int worker)
{
    (void)worker;
    const swan_image_to_i420_args *a = arg;
    const float *x = (const float *)a->x + pair * 2 * a->W * 3;
    uint8_t *luma = a->i420 + pair * 2 * a->W, *cb = a->i420 + a->H * a->W + pair * (a->W / 2), *cr = cb + a->H * a->W / 4;
    int left[3] = {0, 0, 0};
    for (int64_t col = 0; col < a->W; col += 2) {
        int here[3] = {0, 0, 0}, right[3] = {0, 0, 0};
        for (int64_t row = 0; row < 2; row++) {
            const float *p = x + (row * a->W + col) * 3;
            uint8_t *y = luma + row * a->W + col;
            y[0] = swan_yuv_luma(byte_of(p[0]), byte_of(p[1]), byte_of(p[2]));
            y[1] = swan_yuv_luma(byte_of(p[3]), byte_of(p[4]), byte_of(p[5]));
            for (int c = 0; c < 3; c++) here[c] += byte_of(p[c]), right[c] += byte_of(p[3 + c]);
        }
        int sum[3];
        for (int c = 0; c < 3; c++) {
            sum[c] = swan_yuv_site(col ? left[c] : here[c], here[c], right[c]);
            left[c] = right[c];
        }
        cb[col / 2] = swan_yuv_cb(sum[0], sum[1], sum[2]);
        cr[col / 2] = swan_yuv_cr(sum[0], sum[1], sum[2]);
    }
}

swan_status swan_image_to_i420_ref(swan_stream *stream, const swan_image_to_i420_args *a)
{
    swan_image_to_i420_args copy = *a;
    return swan_cpu_run(stream, a->H / 2, to_i420_task, &copy);
}
