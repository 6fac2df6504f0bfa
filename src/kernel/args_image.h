/* What the slots of images compute: convolutions and the ways between latents, frames and bytes. Part of kernel/args.h, which says
 * what holds for all arguments. C11 and C++17. */
#ifndef SWAN_KERNEL_ARGS_IMAGE_H
#define SWAN_KERNEL_ARGS_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

/* 3x3 convolution of F frames, stride 1, zero padding 1, channels last.
 * Input channels are the Cx of x [F, H, W, Cx] followed by the Cp of past [F, H, W, Cp] (past NULL with Cp > 0: zeros, the frame
 * before the first). past may overlap x: the same frames, one earlier.
 * upsample: x is [F, H/2, W/2, Cx] and is read as its nearest-neighbour x2 enlargement (past is not allowed then).
 * w [Cout, 3, 3, Cx + Cp], f16 in tables of F16 and f32 in others; y [F, H, W, Cout] = relu?(conv + bias + residual). residual may
 * be x; y is none of them. */
typedef struct swan_conv_conv3x3_args {
    const void *x, *past;
    const void *w;
    const float *bias;    /* [Cout] or NULL */
    const void *residual; /* [F, H, W, Cout] or NULL */
    void *y;
    int64_t F, H, W, Cx, Cp, Cout;
    bool upsample, relu;
    void *workspace;
} swan_conv_conv3x3_args;

/* Growth of each frame into `grow` frames (1x1), nearest-neighbour x2 enlargement and a 3x3 convolution with zero padding 1,
 * neither with bias, as one: the pixels under a 3x3 window of the enlargement are 2x2 of x, which four depends on the place
 * (p, q) of the output pixel in its 2x2, and the weights that share a pixel were added up beforehand (exact in real
 * arithmetic). x [F, H, W, Cx], y [F * grow, 2 H, 2 W, Cout], w as for conv3x3 [grow, 2, 2, Cout, 2, 2, Cx]:
 * y[f grow + j, 2h + p, 2w + q, n] = relu?(sum over a, b, c of w[j, p, q, n, a, b, c] x[f, h + p - 1 + a, w + q - 1 + b, c]).
 * y is not x. */
typedef struct swan_conv_up2x2_args {
    const void *x, *w;
    void *y;
    int64_t F, H, W, Cx, Cout, grow;
    bool relu;
} swan_conv_up2x2_args;

/* latent f32 [C, T, H, W], frames t .. t + F - 1 -> y [F, H, W, C] channels last. */
typedef struct swan_image_from_latent_args {
    const float *latent;
    void *y;
    int64_t C, T, H, W, t, F;
} swan_image_from_latent_args;

/* x [H, W, 3] -> rgb u8 [H, W, 3] = trunc(255 * clamp(x, 0, 1)); NaN becomes 0. */
typedef struct swan_image_to_rgb8_args {
    const void *x;
    uint8_t *rgb;
    int64_t n; /* H * W * 3 */
} swan_image_to_rgb8_args;

/* x [H, W, 3] -> the bytes that to_rgb8 makes of it, as BT.709 limited-range planes (base/yuv.h): u8 Y [H, W], then Cb and Cr
 * [H / 2, W / 2] behind it. H and W even. */
typedef struct swan_image_to_i420_args {
    const void *x;
    uint8_t *i420; /* H * W * 3 / 2 */
    int64_t H, W;
} swan_image_to_i420_args;

#endif
