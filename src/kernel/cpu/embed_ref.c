/* embed.rows, embed.timestep, embed.patchify, embed.unpatchify: what goes into the network and comes out of it. */
#include <math.h>

#include "base/half.h"
#include "kernel/cpu/cpu.h"

static void rows_task(void *arg, int64_t i, int worker)
{
    (void)worker;
    const swan_embed_rows_args *a = arg;
    int64_t from = a->ids[i] * a->D;
    float *y = (float *)a->y + i * a->D;
    for (int64_t d = 0; d < a->D; d++) {
        switch (a->table_dtype) {
        case SWAN_BF16: y[d] = swan_bf16_to_f32(((const uint16_t *)a->table)[from + d]); break;
        case SWAN_F16: y[d] = swan_f16_to_f32(((const uint16_t *)a->table)[from + d]); break;
        default: y[d] = ((const float *)a->table)[from + d]; break;
        }
    }
}

swan_status swan_embed_rows_ref(swan_stream *stream, const swan_embed_rows_args *a)
{
    if (a->table_dtype != SWAN_F32 && a->table_dtype != SWAN_F16 && a->table_dtype != SWAN_BF16)
        return SWAN_BUG("embed.rows: a table of %s", swan_dtype_name(a->table_dtype));
    swan_embed_rows_args copy = *a;
    return swan_cpu_run(stream, a->n, rows_task, &copy);
}

static void timestep_task(void *arg, int64_t i, int worker)
{
    (void)worker;
    const swan_embed_timestep_args *a = arg;
    int64_t half = a->freq_dim / 2;
    double angle = a->timestep * pow(10000, -(double)i / (double)half);
    a->y[i] = (float)cos(angle);
    a->y[half + i] = (float)sin(angle);
}

swan_status swan_embed_timestep_ref(swan_stream *stream, const swan_embed_timestep_args *a)
{
    swan_embed_timestep_args copy = *a;
    return swan_cpu_run(stream, a->freq_dim / 2, timestep_task, &copy);
}

/* Where element (c, py, px) of raster token `token` stands in a latent [C, T, H, W] under patches of (1, 2, 2). */
static int64_t place(int64_t token, int64_t T, int64_t H, int64_t W, int64_t c, int64_t py, int64_t px)
{
    int64_t j = token % (W / 2), i = token / (W / 2) % (H / 2), t = token / (W / 2) / (H / 2);
    return ((c * T + t) * H + 2 * i + py) * W + 2 * j + px;
}

static void patchify_task(void *arg, int64_t l, int worker)
{
    (void)worker;
    const swan_embed_patchify_args *a = arg;
    float *y = (float *)a->y + l * a->C * 4;
    for (int64_t c = 0; c < a->C; c++)
        for (int64_t py = 0; py < 2; py++)
            for (int64_t px = 0; px < 2; px++)
                y[(c * 2 + py) * 2 + px] = a->latent[place(a->order ? a->order[l] : l, a->T, a->H, a->W, c, py, px)];
}

swan_status swan_embed_patchify_ref(swan_stream *stream, const swan_embed_patchify_args *a)
{
    swan_embed_patchify_args copy = *a;
    return swan_cpu_run(stream, a->T * (a->H / 2) * (a->W / 2), patchify_task, &copy);
}

static void unpatchify_task(void *arg, int64_t l, int worker)
{
    (void)worker;
    const swan_embed_unpatchify_args *a = arg;
    const float *x = (const float *)a->x + l * a->C * 4;
    for (int64_t py = 0; py < 2; py++)
        for (int64_t px = 0; px < 2; px++)
            for (int64_t c = 0; c < a->C; c++)
                a->latent[place(a->order ? a->order[l] : l, a->T, a->H, a->W, c, py, px)] = x[(py * 2 + px) * a->C + c];
}

swan_status swan_embed_unpatchify_ref(swan_stream *stream, const swan_embed_unpatchify_args *a)
{
    swan_embed_unpatchify_args copy = *a;
    return swan_cpu_run(stream, a->T * (a->H / 2) * (a->W / 2), unpatchify_task, &copy);
}
