/* 16-bit floats against their definition in fp64: every code, every tie, and the neighbours of every tie. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/half.h"

typedef struct format {
    int exponent_bits, fraction_bits;
    float (*widen)(uint16_t);
    uint16_t (*narrow)(float);
} format;

static const format f16 = {5, 10, swan_f16_to_f32, swan_f32_to_f16};
static const format bf16 = {8, 7, swan_bf16_to_f32, swan_f32_to_bf16};

/* What a finite non-negative code means, by the definition of the format. */
static double meaning(const format *f, uint32_t code)
{
    int bias = (1 << (f->exponent_bits - 1)) - 1;
    int exponent = (int)(code >> f->fraction_bits);
    double fraction = (double)(code & ((1u << f->fraction_bits) - 1));
    if (exponent == 0) return ldexp(fraction, 1 - bias - f->fraction_bits);
    return ldexp(fraction + ldexp(1, f->fraction_bits), exponent - bias - f->fraction_bits);
}

static uint32_t infinity_of(const format *f) { return ((1u << f->exponent_bits) - 1) << f->fraction_bits; }

static void check_codes(const format *f)
{
    uint32_t inf = infinity_of(f);
    for (uint32_t code = 0; code < 65536; code++) {
        uint32_t magnitude = code & 0x7FFFu;
        float wide = f->widen((uint16_t)code);
        assert_int_equal(signbit(wide) != 0, code >> 15);
        if (magnitude > inf) {
            assert_true(isnan(wide));
            uint16_t back = f->narrow(wide);
            assert_true((back & 0x7FFFu) > inf);
            assert_int_equal(back >> 15, code >> 15);
            continue;
        }
        if (magnitude == inf) {
            assert_true(isinf(wide));
        } else {
            double want = meaning(f, magnitude);
            assert_true((double)fabsf(wide) == want);
        }
        assert_int_equal(f->narrow(wide), code);
    }
}

static void check_ties(const format *f)
{
    uint32_t inf = infinity_of(f);
    for (uint32_t code = 0; code < inf; code++) {
        /* the largest finite code's neighbour is the value infinity's code would have if it were finite */
        float tie = (float)((meaning(f, code) + meaning(f, code + 1)) / 2);
        uint32_t even = code & 1 ? code + 1 : code;
        float below = nextafterf(tie, -INFINITY), above = nextafterf(tie, INFINITY);
        for (uint32_t sign = 0; sign < 2; sign++) {
            float s = sign ? -1.0f : 1.0f;
            assert_int_equal(f->narrow(s * tie), even | sign << 15);
            assert_int_equal(f->narrow(s * below), code | sign << 15);
            assert_int_equal(f->narrow(s * above), (code + 1) | sign << 15);
        }
    }
}

static void f16_codes(void **state)
{
    (void)state;
    check_codes(&f16);
}

static void f16_ties(void **state)
{
    (void)state;
    check_ties(&f16);
}

static void bf16_codes(void **state)
{
    (void)state;
    check_codes(&bf16);
}

static void bf16_ties(void **state)
{
    (void)state;
    check_ties(&bf16);
}

static void extremes(void **state)
{
    (void)state;
    assert_int_equal(swan_f32_to_f16(3.0e38f), 0x7C00);
    assert_int_equal(swan_f32_to_f16(-INFINITY), 0xFC00);
    assert_int_equal(swan_f32_to_f16(1e-45f), 0);
    assert_int_equal(swan_f32_to_f16(-1e-45f), 0x8000);
    assert_int_equal(swan_f32_to_bf16(3.4028235e38f), 0x7F80);
    assert_int_equal(swan_f32_to_bf16(-3.4028235e38f), 0xFF80);
    /* NaNs whose upper bits are all zero, or all ones, must not turn into infinity or zero */
    assert_int_equal(swan_f32_to_bf16(swan_f32_from_bits(0x7F800001u)), 0x7FC0);
    assert_int_equal(swan_f32_to_f16(swan_f32_from_bits(0xFF800001u)), 0xFE00);
    assert_int_equal(swan_f32_to_bf16(swan_f32_from_bits(0x7FFFFFFFu)), 0x7FFF);
    assert_int_equal(swan_f32_to_f16(swan_f32_from_bits(0x7FFFFFFFu)), 0x7FFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_codes), cmocka_unit_test(f16_ties), cmocka_unit_test(bf16_codes),
        cmocka_unit_test(bf16_ties), cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
