/* 16-bit floats, one value at a time: IEEE binary16 ("f16") and bfloat16 as uint16_t codes. Widening is exact; narrowing rounds
 * to nearest, ties to even, keeps subnormals, overflows to infinity and keeps NaN a NaN (quieted, as F16C and CUDA do).
 * No step reads or makes a subnormal fp32 where that would matter, so flush-to-zero modes do not change a result, except that
 * an fp32 subnormal itself may be read as zero by swan_f32_to_f16 (where it rounds to zero anyway). */
#ifndef SWAN_BASE_HALF_H
#define SWAN_BASE_HALF_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline uint32_t swan_f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float swan_f32_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float swan_bf16_to_f32(uint16_t code) { return swan_f32_from_bits((uint32_t)code << 16); }

static inline uint16_t swan_f32_to_bf16(float f)
{
    uint32_t u = swan_f32_bits(f);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16); /* a carry out of the fraction is the next exponent */
}

static inline float swan_f16_to_f32(uint16_t code)
{
    uint32_t sign = (uint32_t)(code & 0x8000u) << 16;
    uint32_t u = (uint32_t)(code & 0x7FFFu) << 13;
    uint32_t exponent = u & 0x0F800000u;
    u += 112u << 23; /* bias 15 to bias 127 */
    if (exponent == 0x0F800000u) {
        u += 112u << 23; /* infinity, NaN */
        if (u & 0x007FFFFFu) u |= 0x00400000u;
    } else if (exponent == 0) {
        /* subnormal: 2^-14 * (1 + fraction) - 2^-14 is exact, and all three are normal (or the result is zero) */
        u = swan_f32_bits(swan_f32_from_bits(u + (1u << 23)) - swan_f32_from_bits(113u << 23));
    }
    return swan_f32_from_bits(sign | u);
}

static inline uint16_t swan_f32_to_f16(float f)
{
    uint32_t u = swan_f32_bits(f);
    uint32_t sign = (u >> 16) & 0x8000u;
    uint32_t a = u & 0x7FFFFFFFu;
    if (a > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | ((a >> 13) & 0x3FFu));
    if (a >= 0x477FF000u)
        return (uint16_t)(sign | 0x7C00u); /* 65,520 is the tie between 65,504 and what would be next */
    if (a < 0x38800000u) {
        /* below 2^-14 the unit is 2^-24, which is the unit of an fp32 in [0.5, 1): the addition rounds for us */
        return (uint16_t)(sign | (swan_f32_bits(swan_f32_from_bits(a) + 0.5f) - 0x3F000000u));
    }
    a += 0xFFFu + ((a >> 13) & 1u);
    return (uint16_t)(sign | ((a - (112u << 23)) >> 13));
}

#ifdef __cplusplus
}
#endif
#endif
