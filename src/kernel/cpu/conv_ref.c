/* conv.conv3x3: one image row a task, one dot product in fp64 over the nine taps and all input channels at a time. */
#include "kernel/cpu/cpu.h"

/* Input pixel (iy, ix) of the enlarged image, which is inside it, times its tap's weights [Cx + Cp]. */
static double tap(const swan_conv_conv3x3_args *a, int64_t iy, int64_t ix, const float *w)
{
    int64_t pixel = a->upsample ? iy / 2 * (a->W / 2) + ix / 2 : iy * a->W + ix;
    const float *x = (const float *)a->x + pixel * a->Cx;
    double sum = 0;
    for (int64_t c = 0; c < a->Cx; c++) sum += (double)x[c] * w[c];
    if (!a->past) return sum;
    const float *past = (const float *)a->past + pixel * a->Cp;
    for (int64_t c = 0; c < a->Cp; c++) sum += (double)past[c] * w[a->Cx + c];
    return sum;
}

static void task(void *arg, int64_t oy, int worker)
{
    (void)worker;
    const swan_conv_conv3x3_args *a = arg;
    int64_t Cin = a->Cx + a->Cp;
    for (int64_t ox = 0; ox < a->W; ox++) {
        for (int64_t n = 0; n < a->Cout; n++) {
            int64_t at = (oy * a->W + ox) * a->Cout + n;
            double sum = a->bias ? a->bias[n] : 0;
            for (int64_t ky = 0; ky < 3; ky++) {
                for (int64_t kx = 0; kx < 3; kx++) {
                    int64_t iy = oy + ky - 1, ix = ox + kx - 1;
                    if (iy < 0 || iy >= a->H || ix < 0 || ix >= a->W) continue;
                    sum += tap(a, iy, ix, a->w + ((n * 3 + ky) * 3 + kx) * Cin);
                }
            }
            if (a->residual) sum += ((const float *)a->residual)[at];
            ((float *)a->y)[at] = (float)(a->relu && sum < 0 ? 0 : sum);
        }
    }
}

swan_status swan_conv_conv3x3_ref(swan_stream *stream, const swan_conv_conv3x3_args *a)
{
    if (a->upsample && (a->past || a->H % 2 || a->W % 2))
        return SWAN_BUG("conv.conv3x3: upsample takes an even size and no past");
    swan_conv_conv3x3_args copy = *a;
    return swan_cpu_run(stream, a->H, task, &copy);
}
