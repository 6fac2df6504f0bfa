/* exp, sigmoid, gelu and tanh over vectors of floats, each within about 1 ulp of the exact value over the whole
 * range, subnormal results among them. Polynomials are minimax fits (Remez) of ours. Empty without the flags that
 * kernel/cpu/simd.h wants. */
#ifndef SWAN_KERNEL_CPU_SIMD_MATH_H
#define SWAN_KERNEL_CPU_SIMD_MATH_H

#include "kernel/cpu/simd.h"

#ifdef VF_LANES

/* exp(x) = result * 2^n, result in [0.7, 1.42]. NaN stays NaN; x is held to [-150, 128], which is past 0 and
 * infinity. */
SWAN_INLINE vf vf_exp_parts(vf x, vf *n)
{
    x = vf_min(vf_set1(128.0f), vf_max(vf_set1(-150.0f), x));
    *n = vf_round(vf_mul(x, vf_set1(1.44269504f)));
    /* ln 2 in two parts, the first with 9 bits: n * first is exact */
    vf r = vf_fnma(*n, vf_set1(0.693359375f), x);
    r = vf_fnma(*n, vf_set1(-2.12194442e-4f), r);
    /* e^r = 1 + r + r^2 q(r) on [-ln2 / 2, ln2 / 2], relative error 3.1e-9 before rounding */
    vf q = vf_fma(vf_set1(0.0013814643f), r, vf_set1(0.00836871006f));
    q = vf_fma(q, r, vf_set1(0.0416683853f));
    q = vf_fma(q, r, vf_set1(0.166665211f));
    q = vf_fma(q, r, vf_set1(0.49999994f));
    return vf_add(vf_fma(vf_mul(r, r), q, r), vf_set1(1.0f));
}

SWAN_INLINE vf vf_exp(vf x)
{
    vf n, p = vf_exp_parts(x, &n);
    return vf_ldexp(p, n);
}

/* r * sigmoid(u + low), |low| << |u|. Where u is negative the power of two is applied last, so that a subnormal
 * result is rounded only once; low enters as a factor 1 + low of the exponential. */
SWAN_INLINE vf vf_times_sigmoid(vf r, vf u, vf low)
{
    vf n, magnitude = vf_abs(u), one = vf_set1(1.0f);
    vf p = vf_exp_parts(vf_sub(vf_zero(), magnitude), &n);
    vf_mask is_negative = vf_less(u, vf_zero());
    vf delta = vf_select(is_negative, low, vf_sub(vf_zero(), low)); /* change of -|u| */
    p = vf_fma(p, delta, p);
    vf below = vf_add(one, vf_ldexp(p, n));
    vf above = vf_select(is_negative, vf_mul(r, p), r);
    return vf_ldexp(vf_div(above, below), vf_select(is_negative, n, vf_zero()));
}

SWAN_INLINE vf vf_silu(vf r) { return vf_times_sigmoid(r, r, vf_zero()); }

/* gelu_tanh(r) = r * sigmoid(2 sqrt(2 / pi) (r + 0.044715 r^3)). The argument reaches -100 before the result is 0,
 * where one rounding of it would be 50 ulp of the result: it is carried as a sum of two floats. */
SWAN_INLINE vf vf_gelu(vf r)
{
    const vf a = vf_set1(1.5957692f), a_low = vf_set1(-4.534068e-8f);
    const vf b = vf_set1(0.071354814f), b_low = vf_set1(2.3988325e-9f);
    vf x = vf_min(vf_set1(20.0f), vf_max(vf_set1(-20.0f), r)); /* sigmoid is 0 or 1 beyond */
    vf square = vf_mul(x, x), square_low = vf_fms(x, x, square);
    vf p = vf_mul(b, square), p_low = vf_fma(b_low, square, vf_fma(b, square_low, vf_fms(b, square, p)));
    vf s = vf_add(a, p), back = vf_sub(s, a);
    vf s_low = vf_add(vf_sub(a, vf_sub(s, back)), vf_sub(p, back));
    s_low = vf_add(s_low, vf_add(p_low, a_low));
    vf u = vf_mul(x, s);
    return vf_times_sigmoid(r, u, vf_fma(x, s_low, vf_fms(x, s, u)));
}

/* tanh(x): x + x^3 p(x^2) below 0.625 (fit to 1.7e-10), 1 - 2 / (e^2x + 1) above. */
SWAN_INLINE vf vf_tanh(vf x)
{
    vf magnitude = vf_abs(x), z = vf_mul(x, x), one = vf_set1(1.0f);
    vf p = vf_fma(vf_set1(0.00212275097f), z, vf_set1(-0.00815628562f));
    p = vf_fma(p, z, vf_set1(0.0216926076f));
    p = vf_fma(p, z, vf_set1(-0.0539453775f));
    p = vf_fma(p, z, vf_set1(0.133331954f));
    p = vf_fma(p, z, vf_set1(-0.333333313f));
    vf small = vf_fma(vf_mul(z, p), x, x);
    vf large = vf_sub(one, vf_div(vf_set1(2.0f), vf_add(vf_exp(vf_add(magnitude, magnitude)), one)));
    return vf_select(vf_less(magnitude, vf_set1(0.625f)), small, vf_copysign(large, x));
}

#endif
#endif
