/* The merged form of a TAEHV decoder: made on the host from the weights of the file, then placed. */
#include "model/taehv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

#define BATCH_BYTES ((int64_t)104 << 20) /* 8 frames of 240x416, 64 channels in F16: about 24 tiles for each processor of an H100 */

/* An allocation in the loader's arena with `from`, f32, in it as format. from NULL or a dry arena: nothing is written. */
static swan_status put(const swan_weight_loader *loader, const char *name, const float *from, swan_dtype format, swan_tensor *to)
{
    to->dtype = format;
    to->name = name;
    size_t bytes = swan_tensor_bytes(to), n = (size_t)swan_tensor_count(to);
    if (!(to->data = swan_arena_alloc(loader->arena, bytes))) return SWAN_E_BUG;
    if (!loader->arena->base) return SWAN_OK;
    uint16_t *half = NULL;
    if (format == SWAN_F16) {
        half = malloc(bytes);
        if (!half) return SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", name);
        float most = 0;
        for (size_t i = 0; i < n; i++) {
            half[i] = swan_f32_to_f16(from[i]);
            most = fmaxf(most, fabsf(from[i]));
        }
        if (!(most < 65520.0f)) {
            free(half);
            return SWAN_FAIL(SWAN_E_UNSUPPORTED, "%s: %s reaches %g, which F16 cannot hold", swan_ckpt_path(loader->ckpt), name, (double)most);
        }
    }
    const void *source = half ? (const void *)half : from;
    swan_status status = SWAN_OK;
    if (loader->device) status = swan_device_copy_now(loader->device, loader->stream, to->data, source, bytes);
    else memcpy(to->data, source, bytes);
    free(half);
    return status;
}

static swan_status put_conv(const swan_weight_loader *loader, const swan_conv *from, swan_dtype format, swan_conv *to)
{
    *to = *from;
    SWAN_TRY(put(loader, from->weight.name, from->weight.data, format, &to->weight));
    return from->bias.ndim ? put(loader, from->bias.name, from->bias.data, SWAN_F32, &to->bias) : SWAN_OK;
}

/* Which of the two small pixels under an output pixel a row (or column) of the 3x3 window falls on, by the pixel's place. */
static int small_pixel(int place, int k) { return place ? k == 2 : k > 0; }

/* up [grow, 2, 2, next, 2, 2, width] += the window's taps over the growth: conv f32 [next, 3, 3, width], grow f32 [grow * width,
 * width]; product f32 [width] is scratch. */
static void merge(const swan_taehv_stage *s, const float *conv, const float *grow, float *product, float *up)
{
    int64_t C = s->width, N = s->next;
    for (int64_t j = 0; j < s->grow; j++)
        for (int64_t n = 0; n < N; n++)
            for (int tap = 0; tap < 9; tap++) {
                const float *taps = conv + (n * 9 + tap) * C;
                memset(product, 0, (size_t)C * sizeof *product);
                for (int64_t k = 0; k < C; k++) {
                    const float *row = grow + (j * C + k) * C;
                    for (int64_t c = 0; c < C; c++) product[c] += taps[k] * row[c];
                }
                for (int place = 0; place < 4; place++) {
                    int at = 2 * small_pixel(place >> 1, tap / 3) + small_pixel(place & 1, tap % 3);
                    float *to = up + (((j * 4 + place) * N + n) * 4 + at) * C;
                    for (int64_t c = 0; c < C; c++) to[c] += product[c];
                }
            }
}

static swan_status put_stage(const swan_weight_loader *loader, const swan_taehv_stage *from, swan_dtype format, swan_taehv_stage *to)
{
    for (int b = 0; b < SWAN_TAEHV_BLOCKS; b++)
        for (int i = 0; i < 3; i++) SWAN_TRY(put_conv(loader, &from->block[b].conv[i], format, &to->block[b].conv[i]));
    to->up = (swan_tensor){.dtype = SWAN_F32, .ndim = 5, .ne = {from->grow, 4, from->next, 4, from->width}};
    const char *name = from->conv.weight.name;
    if (!loader->arena->base) return put(loader, name, NULL, format, &to->up);
    size_t grow_count = (size_t)swan_tensor_count(&from->grow_weight);
    float *up = calloc((size_t)swan_tensor_count(&to->up), sizeof *up), *grow = malloc(grow_count * sizeof *grow),
          *product = malloc((size_t)from->width * sizeof *product);
    swan_status status = up && grow && product ? SWAN_OK : SWAN_FAIL(SWAN_E_NOMEM, "%s: out of memory", name);
    if (!status) status = swan_ckpt_read_f32(&from->grow_weight, grow);
    if (!status) {
        merge(from, from->conv.weight.data, grow, product, up);
        status = put(loader, name, up, format, &to->up);
    }
    free(up);
    free(grow);
    free(product);
    return status;
}

/* m from the plain form on the host. */
static swan_status convert(swan_taehv *m, const swan_taehv *plain, const swan_weight_loader *loader, swan_dtype format)
{
    *m = (swan_taehv){.channels = plain->channels, .format = format, .batch_bytes = BATCH_BYTES};
    SWAN_TRY(put_conv(loader, &plain->in, format, &m->in));
    for (int s = 0; s < SWAN_TAEHV_STAGES; s++) {
        const swan_taehv_stage *from = &plain->stage[s];
        m->stage[s] = (swan_taehv_stage){.width = from->width, .next = from->next, .grow = from->grow};
        SWAN_TRY(put_stage(loader, from, format, &m->stage[s]));
    }
    return put_conv(loader, &plain->out, format, &m->out);
}

swan_status swan_taehv_load_merged(swan_taehv *m, swan_weight_loader *loader, swan_dtype format)
{
    swan_arena dry, host;
    swan_arena_dry(&dry, "decoder");
    swan_taehv plain;
    swan_weight_loader here = *loader;
    here.device = NULL;
    here.arena = &dry;
    here.bf16_matrices = false;
    SWAN_TRY(swan_taehv_load(&plain, &here));
    loader->parameters = here.parameters;
    if (!loader->arena->base) return convert(m, &plain, loader, format);
    SWAN_TRY(swan_arena_reserve(&host, "decoder", dry.peak));
    here.arena = &host;
    swan_status status = swan_taehv_load(&plain, &here);
    if (!status) status = convert(m, &plain, loader, format);
    swan_arena_free(&host);
    return status;
}
