/* One description for both convolutions, which the fast rows run with one kernel: output units of `taps` taps over an input
 * with a margin of one pixel. conv3x3: nine taps, one unit for each `Cout`; up2x2: four taps, a unit for each frame made
 * and each of the four places of an output pixel in its 2 x 2. */
#ifndef SWAN_KERNEL_CUDA_CONV_CONV_SHAPE_CUH
#define SWAN_KERNEL_CUDA_CONV_CONV_SHAPE_CUH

#include "kernel/args.h"

struct conv_shape {
    const void *x, *past, *w, *residual;
    const float *bias;
    void *y;
    int64_t F, H, W;      /* of the input */
    int64_t Cx, Cp, Cout; /* Cp: 0 where there is no second input */
    int taps, grow, scale; /* 9, 1, 1 or 4, grow, 2 */
    bool relu;
};

static inline bool conv_extents_invalid(const conv_shape &s)
{
    return s.F < 1 || s.H < 1 || s.W < 1 || s.Cx < 1 || s.Cp < 0 || s.Cout < 1 || s.grow < 1 || s.H > 1 << 14 || s.W > 1 << 14 ||
           s.F > 1 << 16 || s.Cx + s.Cp > 1 << 16 || s.Cout > 1 << 16 || s.grow > 64;
}

/* False: upsampling by reading, or a second input that is all zeros, which fast rows leave to others. */
static inline bool conv_shape_of(const swan_conv_conv3x3_args &a, conv_shape &s)
{
    s = {a.x, a.past, a.w, a.residual, a.bias, a.y, a.F, a.H, a.W, a.Cx, a.Cp, a.Cout, 9, 1, 1, a.relu};
    return !a.upsample && (a.Cp == 0 || a.past);
}

static inline conv_shape conv_shape_of(const swan_conv_up2x2_args &a)
{
    return {a.x, nullptr, a.w, nullptr, nullptr, a.y, a.F, a.H, a.W, a.Cx, 0, a.Cout, 4, (int)a.grow, 2, a.relu};
}

#endif
