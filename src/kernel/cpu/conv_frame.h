/* Frame f of a convolution of several as a convolution of one: what the rows of the host run in turn. */
#ifndef SWAN_KERNEL_CPU_CONV_FRAME_H
#define SWAN_KERNEL_CPU_CONV_FRAME_H

#include "kernel/args.h"

static inline swan_conv_conv3x3_args swan_cpu_conv_frame(const swan_conv_conv3x3_args *a, int64_t f)
{
    swan_conv_conv3x3_args one = *a;
    int64_t pixels = a->H * a->W;
    one.F = 1;
    one.x = (const float *)a->x + f * (a->upsample ? pixels / 4 : pixels) * a->Cx;
    if (a->past) one.past = (const float *)a->past + f * pixels * a->Cp;
    if (a->residual) one.residual = (const float *)a->residual + f * pixels * a->Cout;
    one.y = (float *)a->y + f * pixels * a->Cout;
    return one;
}

#endif
