/* elem.combine, elem.map: element by element, in fp64, one rounding at the end. */
#include <math.h>

#include "base/half.h"
#include "kernel/cpu/cpu.h"

#define CHUNK 4096 /* elements of one task */

static int64_t chunk_end(int64_t chunk, int64_t n) { return (chunk + 1) * CHUNK < n ? (chunk + 1) * CHUNK : n; }

static void combine_task(void *arg, int64_t chunk, int worker)
{
    (void)worker;
    const swan_elem_combine_args *a = arg;
    for (int64_t i = chunk * CHUNK; i < chunk_end(chunk, a->n); i++) {
        double sum = 0;
        for (int k = 0; k < a->terms; k++) sum += a->coefficient[k] * a->x[k][i];
        a->y[i] = a->round_bf16 ? swan_bf16_to_f32(swan_f32_to_bf16((float)sum)) : (float)sum;
    }
}

swan_status swan_elem_combine_ref(swan_stream *stream, const swan_elem_combine_args *a)
{
    if (a->terms < 1 || a->terms > SWAN_COMBINE_MAX) return SWAN_BUG("elem.combine: %d terms", a->terms);
    swan_elem_combine_args copy = *a;
    return swan_cpu_run(stream, (a->n + CHUNK - 1) / CHUNK, combine_task, &copy);
}

static float map(swan_map map, float x)
{
    switch (map) {
    case SWAN_MAP_SILU: return (float)(x / (1 + exp(-(double)x)));
    case SWAN_MAP_CLAMP_TANH3: return (float)(3 * tanh((double)x / 3));
    case SWAN_MAP_ROUND_BF16: return swan_bf16_to_f32(swan_f32_to_bf16(x));
    case SWAN_MAP_COUNT: break;
    }
    return NAN;
}

static void map_task(void *arg, int64_t chunk, int worker)
{
    (void)worker;
    const swan_elem_map_args *a = arg;
    for (int64_t i = chunk * CHUNK; i < chunk_end(chunk, a->n); i++)
        ((float *)a->y)[i] = map(a->map, ((const float *)a->x)[i]);
}

swan_status swan_elem_map_ref(swan_stream *stream, const swan_elem_map_args *a)
{
    swan_elem_map_args copy = *a;
    return swan_cpu_run(stream, (a->n + CHUNK - 1) / CHUNK, map_task, &copy);
}
