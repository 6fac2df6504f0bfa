#include "base/rng.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

#include "base/half.h"

enum { WORDS = 624, SHIFT = 397, BLOCK = 16, PAIR = BLOCK / 2 };

static const double two_pi = 6.283185307179586476925;

void swan_rng_seed(swan_rng *rng, uint64_t seed)
{
    rng->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < WORDS; i++) {
        uint32_t before = rng->state[i - 1];
        rng->state[i] = 1812433253u * (before ^ (before >> 30)) + i;
    }
    rng->next = WORDS;
    rng->has_normal = false;
    rng->normal = 0;
}

static inline uint32_t twist(uint32_t high, uint32_t low, uint32_t far)
{
    uint32_t y = (high & 0x80000000u) | (low & 0x7FFFFFFFu);
    return far ^ (y >> 1) ^ ((0u - (low & 1u)) & 0x9908B0DFu);
}

static void renew(swan_rng *rng)
{
    uint32_t *s = rng->state;
    for (int i = 0; i < WORDS - SHIFT; i++) s[i] = twist(s[i], s[i + 1], s[i + SHIFT]);
    for (int i = WORDS - SHIFT; i < WORDS - 1; i++) s[i] = twist(s[i], s[i + 1], s[i + SHIFT - WORDS]);
    s[WORDS - 1] = twist(s[WORDS - 1], s[0], s[SHIFT - 1]);
    rng->next = 0;
}

static inline uint32_t temper(uint32_t y)
{
    y ^= y >> 11;
    y ^= (y << 7) & 0x9D2C5680u;
    y ^= (y << 15) & 0xEFC60000u;
    return y ^ (y >> 18);
}

uint32_t swan_rng_u32(swan_rng *rng)
{
    if (rng->next == WORDS) renew(rng);
    return temper(rng->state[rng->next++]);
}

void swan_rng_uniform_f32(swan_rng *rng, float *dst, size_t n)
{
    while (n) { /* as many as the state holds: a loop without branches */
        if (rng->next == WORDS) renew(rng);
        size_t left = (size_t)(WORDS - rng->next), count = n < left ? n : left;
        const uint32_t *from = rng->state + rng->next;
        for (size_t i = 0; i < count; i++) dst[i] = (float)(int32_t)(temper(from[i]) & 0xFFFFFFu) * 0x1p-24f;
        rng->next += (int)count;
        dst += count;
        n -= count;
    }
}

/* 53 random bits in [0, 1); the first word drawn is the high one. */
static double uniform_f64(swan_rng *rng)
{
    uint64_t high = swan_rng_u32(rng), low = swan_rng_u32(rng);
    return (double)(((high << 32) | low) & (((uint64_t)1 << 53) - 1)) * 0x1p-53;
}

/* One normal of the n < 16 way. */
static double normal_f64(swan_rng *rng)
{
    if (rng->has_normal) {
        rng->has_normal = false;
        return rng->normal + 0.0; /* PyTorch adds a mean of 0, which makes -0 a +0: here and below */
    }
    double u1 = uniform_f64(rng), u2 = uniform_f64(rng);
    double radius = sqrt(-2.0 * log1p(-u2)), theta = two_pi * u1;
    rng->normal = radius * sin(theta);
    rng->has_normal = true;
    return radius * cos(theta) + 0.0;
}

static inline double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The functions below have no branches, so that the compiler makes vectors of them: a video's noise is two million values. Their
 * error is a few units of a double, which rounding to f32 hides. */

/* ln x for normal x > 0: x = 2^k f, f in [sqrt(1/2), sqrt 2); ln f = 2 artanh((f - 1) / (f + 1)) by its series. */
static inline double ln(double x)
{
    const uint64_t one = UINT64_C(0x3FF0000000000000), half = UINT64_C(0x3FE6A09E00000000); /* 1, sqrt(1/2) */
    uint64_t bits = to_bits(x) + (one - half);
    double k = from_bits(bits >> 52 | UINT64_C(0x4330000000000000)) - (0x1p52 + 1023);
    double f = from_bits((bits & UINT64_C(0x000FFFFFFFFFFFFF)) + half);
    double s = (f - 1) / (f + 1), z = s * s, p = 1.0 / 21;
    p = 1.0 / 19 + z * p;
    p = 1.0 / 17 + z * p;
    p = 1.0 / 15 + z * p;
    p = 1.0 / 13 + z * p;
    p = 1.0 / 11 + z * p;
    p = 1.0 / 9 + z * p;
    p = 1.0 / 7 + z * p;
    p = 1.0 / 5 + z * p;
    p = 1.0 / 3 + z * p;
    return k * 0.693147180559945309417 + (2 * s + 2 * s * z * p);
}

/* Sine and cosine of 0 <= t <= 2 pi: the nearest multiple of pi / 2 is taken off (in two parts: 33 bits, and the rest), Taylor
 * series up to 17 and 16 for what is left, and the quadrant swaps them and sets the signs. */
static inline void sin_cos(double t, double *sine, double *cosine)
{
    double n = t * 0.636619772367581343076 + 0x1.8p52;
    uint64_t q = to_bits(n);
    n -= 0x1.8p52;
    double r = t - n * 0x1.921fb544p0 - n * 0x1.0b4611a626331p-34, z = r * r;
    double s = -1.0 / 1307674368000 + z / 355687428096000;
    s = 1.0 / 6227020800 + z * s;
    s = -1.0 / 39916800 + z * s;
    s = 1.0 / 362880 + z * s;
    s = -1.0 / 5040 + z * s;
    s = 1.0 / 120 + z * s;
    s = -1.0 / 6 + z * s;
    s = r + r * z * s;
    double c = -1.0 / 87178291200 + z / 20922789888000;
    c = 1.0 / 479001600 + z * c;
    c = -1.0 / 3628800 + z * c;
    c = 1.0 / 40320 + z * c;
    c = -1.0 / 720 + z * c;
    c = 1.0 / 24 + z * c;
    c = 1 - z / 2 + z * z * c;
    uint64_t a = to_bits(s), b = to_bits(c), swap = 0 - (q & 1);
    *sine = from_bits(((a & ~swap) | (b & swap)) ^ (q >> 1 & 1) << 63);
    *cosine = from_bits(((b & ~swap) | (a & swap)) ^ ((q + 1) >> 1 & 1) << 63);
}

/* f32 [16] uniforms to normals in place. The angle is rounded to fp32 as in PyTorch (that moves a value by up to
 * 1e-6); the rest is in double, because fp32 functions with an error of their own could be two units away from
 * PyTorch's. */
static void normal_block(float x[BLOCK])
{
    double radius[PAIR], sine[PAIR], cosine[PAIR];
    for (int j = 0; j < PAIR; j++) radius[j] = sqrt(-2.0 * ln(1.0 - (double)x[j]));
    for (int j = 0; j < PAIR; j++) sin_cos((double)((float)two_pi * x[j + PAIR]), &sine[j], &cosine[j]);
    for (int j = 0; j < PAIR; j++) {
        x[j] = (float)(radius[j] * cosine[j]) + 0.0f;
        x[j + PAIR] = (float)(radius[j] * sine[j]) + 0.0f;
    }
}

void swan_rng_normal_blocks(float *x, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) normal_block(x + i * BLOCK);
}

void swan_rng_normal_f32(swan_rng *rng, float *dst, size_t n)
{
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++) dst[i] = (float)normal_f64(rng);
        return;
    }
    swan_rng_uniform_f32(rng, dst, n);
    swan_rng_normal_blocks(dst, n / BLOCK);
    if (n % BLOCK) {
        swan_rng_uniform_f32(rng, dst + n - BLOCK, BLOCK);
        normal_block(dst + n - BLOCK);
    }
}

static float round_bf16(double x) { return swan_bf16_to_f32(swan_f32_to_bf16((float)x)); }

/* A bf16 uniform has 256 values: everything that depends on one of them is a table. */
typedef struct coarse_tables {
    float radius[256], cosine[256], sine[256];
} coarse_tables;

static void coarse_fill(coarse_tables *t)
{
    for (int i = 0; i < 256; i++) {
        float u = (float)i / 256.0f;
        t->radius[i] = round_bf16(sqrtf(-2.0f * round_bf16(logf(1.0f - u))));
        float theta = round_bf16(two_pi * (double)u);
        t->cosine[i] = round_bf16(cosf(theta));
        t->sine[i] = round_bf16(sinf(theta));
    }
}

/* f32 [16] draws 0..255 to normals in place. */
static void coarse_block(const coarse_tables *t, float x[BLOCK])
{
    for (int j = 0; j < PAIR; j++) {
        float radius = t->radius[(int)x[j]];
        int angle = (int)x[j + PAIR];
        x[j] = round_bf16(radius * t->cosine[angle]) + 0.0f;
        x[j + PAIR] = round_bf16(radius * t->sine[angle]) + 0.0f;
    }
}

static void coarse_draw(swan_rng *rng, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) dst[i] = (float)(swan_rng_u32(rng) & 0xFFu);
}

void swan_rng_normal_bf16_as_f32(swan_rng *rng, float *dst, size_t n)
{
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++) dst[i] = round_bf16(normal_f64(rng));
        return;
    }
    coarse_tables tables;
    coarse_fill(&tables);
    coarse_draw(rng, dst, n);
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK) coarse_block(&tables, dst + i);
    if (n % BLOCK) {
        coarse_draw(rng, dst + n - BLOCK, BLOCK);
        coarse_block(&tables, dst + n - BLOCK);
    }
}

swan_status swan_rng_random_seed(uint64_t *seed)
{
    uint32_t word;
    ssize_t got;
    do got = getrandom(&word, sizeof word, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof word) return SWAN_FAIL(SWAN_E_IO, "the system gave no random seed: %s", strerror(errno));
    *seed = word;
    return SWAN_OK;
}
