/* image.from_latent, image.to_rgb8: between latents, channels-last images and bytes. */
#include "kernel/cpu/cpu.h"

#define CHUNK 4096 /* elements of one task */

static void from_latent_task(void *arg, int64_t y, int worker)
{
    (void)worker;
    const swan_image_from_latent_args *a = arg;
    for (int64_t x = 0; x < a->W; x++)
        for (int64_t c = 0; c < a->C; c++)
            ((float *)a->y)[(y * a->W + x) * a->C + c] = a->latent[((c * a->T + a->t) * a->H + y) * a->W + x];
}

swan_status swan_image_from_latent_ref(swan_stream *stream, const swan_image_from_latent_args *a)
{
    swan_image_from_latent_args copy = *a;
    return swan_cpu_run(stream, a->H, from_latent_task, &copy);
}

/* The product in fp32 is cut to the same byte as the exact one, for every fp32 in [0, 1]. */
static void to_rgb8_task(void *arg, int64_t chunk, int worker)
{
    (void)worker;
    const swan_image_to_rgb8_args *a = arg;
    for (int64_t i = chunk * CHUNK; i < a->n && i < (chunk + 1) * CHUNK; i++) {
        float x = ((const float *)a->x)[i];
        a->rgb[i] = x >= 1 ? 255 : x > 0 ? (uint8_t)(255.0f * x) : 0; /* NaN fails both */
    }
}

swan_status swan_image_to_rgb8_ref(swan_stream *stream, const swan_image_to_rgb8_args *a)
{
    swan_image_to_rgb8_args copy = *a;
    return swan_cpu_run(stream, (a->n + CHUNK - 1) / CHUNK, to_rgb8_task, &copy);
}
