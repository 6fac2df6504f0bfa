#include "hub/hash.h"

#include <stdio.h>
#include <string.h>

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t k256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t left(uint32_t x, int n) { return x << n | x >> (32 - n); }
static inline uint32_t right(uint32_t x, int n) { return x >> n | x << (32 - n); }

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void block_sha256(uint32_t *state, const uint8_t *data)
{
    uint32_t w[64], s[8];
    for (int t = 0; t < 16; t++) w[t] = big_endian(data + 4 * t);
    for (int t = 16; t < 64; t++) {
        uint32_t a = right(w[t - 15], 7) ^ right(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t b = right(w[t - 2], 17) ^ right(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = b + w[t - 7] + a + w[t - 16];
    }
    memcpy(s, state, 8 * sizeof *s);
    /* instead of moving eight variables along, their roles move: in step i of eight, s[(k - i) mod 8] plays variable k */
    for (int t = 0; t < 64; t += 8)
        for (int i = 0; i < 8; i++) {
            uint32_t a = s[(8 - i) & 7], b = s[(9 - i) & 7], c = s[(10 - i) & 7], e = s[(12 - i) & 7], f = s[(13 - i) & 7],
                     g = s[(14 - i) & 7], *h = &s[(15 - i) & 7];
            uint32_t t1 = *h + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + ((e & f) ^ (~e & g)) + k256[t + i] + w[t + i];
            s[(11 - i) & 7] += t1;
            *h = t1 + (right(a, 2) ^ right(a, 13) ^ right(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

static void block_sha1(uint32_t *state, const uint8_t *data)
{
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int t = 0; t < 16; t++) w[t] = big_endian(data + 4 * t);
    for (int t = 16; t < 80; t++) w[t] = left(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    for (int t = 0; t < 80; t++) {
        uint32_t f = t < 20 ? ((b & c) | (~b & d)) + 0x5a827999 : t < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                   : t < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = left(a, 5) + f + e + w[t];
        e = d;
        d = c;
        c = left(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void swan_hash_start(swan_hash *h, swan_hash_kind kind, uint64_t total)
{
    static const uint32_t start256[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    static const uint32_t start1[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    *h = (swan_hash){.kind = kind};
    if (kind == SWAN_HASH_SHA256) memcpy(h->state, start256, sizeof start256);
    else memcpy(h->state, start1, sizeof start1);
    if (kind != SWAN_HASH_GIT_BLOB) return;
    char header[32];
    int n = snprintf(header, sizeof header, "blob %llu", (unsigned long long)total);
    swan_hash_add(h, header, (size_t)n + 1); /* with its zero byte */
}

static void take_block(swan_hash *h, const uint8_t *data)
{
    if (h->kind == SWAN_HASH_SHA256) block_sha256(h->state, data);
    else block_sha1(h->state, data);
}

void swan_hash_add(swan_hash *h, const void *data, size_t bytes)
{
    if (h->kind == SWAN_HASH_NONE) return;
    const uint8_t *p = data;
    size_t used = h->bytes % 64;
    h->bytes += bytes;
    if (used) {
        size_t n = bytes < 64 - used ? bytes : 64 - used;
        memcpy(h->block + used, p, n);
        if (used + n < 64) return;
        take_block(h, h->block);
        p += n;
        bytes -= n;
    }
    for (; bytes >= 64; p += 64, bytes -= 64) take_block(h, p);
    if (bytes) memcpy(h->block, p, bytes);
}

void swan_hash_end(swan_hash *h, char text[SWAN_HASH_TEXT])
{
    static const uint8_t padding[64] = {0x80};
    text[0] = 0;
    if (h->kind == SWAN_HASH_NONE) return;
    uint64_t bits = h->bytes * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(bits >> (56 - 8 * i));
    size_t used = h->bytes % 64;
    swan_hash_add(h, padding, used < 56 ? 56 - used : 120 - used);
    swan_hash_add(h, length, 8);
    int words = h->kind == SWAN_HASH_SHA256 ? 8 : 5;
    for (int i = 0; i < words; i++) snprintf(text + 8 * i, 9, "%08x", h->state[i]);
}
