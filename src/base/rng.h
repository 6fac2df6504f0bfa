/* Random numbers: MT19937 drawn the way PyTorch's generator on the CPU draws them, so that a seed means the same
 * noise here and there. Uniforms are bit-equal to torch.rand; normals are the correctly rounded Box-Muller values of
 * the same uniforms (PyTorch's are its vector library's, within 5e-7 of these); the bf16 drawing is bit-equal to what
 * PyTorch did up to version 2.11. Sources: M. Matsumoto, T. Nishimura, "Mersenne Twister", 1998; PyTorch's documented
 * behaviour, checked against versions 2.11 and 2.15. */
#ifndef SWAN_BASE_RNG_H
#define SWAN_BASE_RNG_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One stream. Plain data: copying it forks the stream. Not for two threads at once. */
typedef struct swan_rng {
    uint32_t state[624];
    int next;            /* words of state already used; 624: make new ones */
    bool has_normal;     /* the second value of the last pair drawn by a call for fewer than 16 normals */
    double normal;
} swan_rng;

/* As torch.Generator().manual_seed(seed): only the low 32 bits of the seed count. Forgets the kept second value. */
void swan_rng_seed(swan_rng *rng, uint64_t seed);
uint32_t swan_rng_u32(swan_rng *rng);

/* torch.rand(n): f32 [n] in [0, 1), 24 random bits each. */
void swan_rng_uniform_f32(swan_rng *rng, float *dst, size_t n);

/* torch.randn(n): f32 [n]. PyTorch has three ways, all kept: n >= 16 draws n uniforms and turns each block of 16 into
 * 16 normals (values j and j + 8 of a block are a pair); when 16 does not divide n, the last 16 values are then drawn
 * anew; n < 16 draws pairs in double and keeps an unused second value for the next such call. So one call for n is
 * not two calls for n / 2. */
void swan_rng_normal_f32(swan_rng *rng, float *dst, size_t n);

/* The second half of that for n a multiple of 16: uniforms f32 [16 * blocks] to normals in place. Blocks know nothing of each
 * other, so threads can share the work: uniforms first, then this, is swan_rng_normal_f32. */
void swan_rng_normal_blocks(float *x, size_t blocks);

/* torch.randn(n, dtype=torch.bfloat16) of PyTorch up to 2.11, widened: f32 [n]. Coarse (8 random bits a value, |x| <
 * 3.4), because every intermediate is a bf16. The reference pipelines drew such noise, so it exists for comparing
 * with them and for nothing else; newer PyTorch (2.15 checked) draws as in fp32 and rounds, which for n a multiple of
 * 16 is swan_rng_normal_f32 rounded. */
void swan_rng_normal_bf16_as_f32(swan_rng *rng, float *dst, size_t n);

/* A seed nobody chose, 0 .. 2^32 - 1 (all that the generator can tell apart), from the operating system. */
swan_status swan_rng_random_seed(uint64_t *seed);

#ifdef __cplusplus
}
#endif
#endif
