/* The 16 backgrounds, each in four fixed layouts. Fixed, so that a judge can tell ground from object by redrawing it. */
#include <math.h>

#include "world/world.h"

typedef struct rgbf {
    float r, g, b;
} rgbf;

typedef struct spot {
    float x, y;      /* frame heights; y down */
    float px;        /* pixels per unit, for edges */
    float aspect;
    float phase;     /* of the layout */
    int layout;
} spot;

static float clamp01(float x) { return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x; }
static rgbf mix3(rgbf a, rgbf b, float t) {
    return (rgbf){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}
/* 1 inside (d < 0), 0 outside, a one-pixel ramp between; d in units. */
static float cover(const spot *s, float d) { return clamp01(0.5f - d * s->px); }

/* A fraction in [0,1) from small integers (integer hash after Wang): where a cloud or star sits. */
static float scatter(unsigned i, unsigned layout, unsigned what) {
    unsigned h = i * 374761393u + layout * 668265263u + what * 2246822519u + 97u;
    h = (h ^ (h >> 13)) * 1274126177u;
    h ^= h >> 16;
    return (float)(h & 0xFFFFu) / 65536.0f;
}

static rgbf plain(const spot *s, rgbf base) {
    /* A soft light from the upper left keeps it from looking like a missing picture. */
    const float light = 1.02f - 0.06f * s->y - 0.03f * (s->x + 0.35f * (float)s->layout) / s->aspect;
    return (rgbf){base.r * light, base.g * light, base.b * light};
}

static rgbf add_clouds(const spot *s, rgbf under, int count, float y0, float y1) {
    for (int i = 0; i < count; i++) {
        const unsigned u = (unsigned)i, l = (unsigned)s->layout;
        const float cx = ((float)i + 0.2f + 0.6f * scatter(u, l, 1)) / (float)count * s->aspect;
        const float cy = y0 + (y1 - y0) * scatter(u, l, 2), r = 0.05f + 0.03f * scatter(u, l, 3);
        float d = 1e9f;
        for (int k = -1; k <= 1; k++) {
            const float dx = s->x - cx - 1.1f * r * (float)k, dy = s->y - cy + (k == 0 ? 0.4f * r : 0.0f);
            d = fminf(d, sqrtf(dx * dx + dy * dy) - r * (k == 0 ? 1.1f : 0.75f));
        }
        d = fmaxf(d, s->y - cy - 0.35f * r);
        under = mix3(under, (rgbf){250, 252, 255}, 0.92f * cover(s, d));
    }
    return under;
}

static rgbf sky(const spot *s, rgbf top, rgbf low, float horizon) { return mix3(top, low, clamp01(s->y / horizon)); }

static rgbf draw_sky(const spot *s) {
    return add_clouds(s, sky(s, (rgbf){96, 172, 240}, (rgbf){196, 228, 250}, 1.0f), 4, 0.12f, 0.85f);
}

static rgbf draw_night(const spot *s) {
    rgbf c = sky(s, (rgbf){14, 18, 52}, (rgbf){44, 48, 104}, 1.0f);
    for (unsigned i = 0; i < 22; i++) {
        const float dx = s->x - s->aspect * scatter(i, (unsigned)s->layout, 4), dy = s->y - scatter(i, (unsigned)s->layout, 5);
        const float r = 0.006f + 0.007f * scatter(i, (unsigned)s->layout, 6);
        if (fabsf(dx) + fabsf(dy) < 0.04f) {
            c = mix3(c, (rgbf){255, 250, 220}, cover(s, sqrtf(dx * dx + dy * dy) - r));
        }
    }
    return c;
}

static rgbf draw_hills(const spot *s) {
    rgbf c = add_clouds(s, sky(s, (rgbf){120, 190, 244}, (rgbf){214, 236, 250}, 0.7f), 2, 0.1f, 0.25f);
    const float far = 0.58f + 0.07f * sinf(4.2f * s->x + s->phase), near = 0.74f + 0.06f * sinf(3.1f * s->x + 2.4f * s->phase + 1.0f);
    c = mix3(c, mix3((rgbf){142, 200, 110}, (rgbf){112, 178, 92}, (s->y - far) * 3.0f), cover(s, far - s->y));
    return mix3(c, mix3((rgbf){104, 176, 76}, (rgbf){70, 140, 58}, clamp01((s->y - near) * 4.0f)), cover(s, near - s->y));
}

static rgbf draw_sea(const spot *s) {
    rgbf c = add_clouds(s, sky(s, (rgbf){140, 204, 246}, (rgbf){226, 242, 250}, 0.5f), 2, 0.1f, 0.28f);
    for (int i = 0; i < 4; i++) {
        const float k = (float)i, crest = 0.52f + 0.12f * k + (0.006f + 0.005f * k) * sinf((22.0f - 3.0f * k) * s->x + s->phase + 2.0f * k);
        const rgbf water = {60.0f - 11.0f * k, 150.0f - 18.0f * k, 206.0f - 16.0f * k};
        c = mix3(c, water, cover(s, crest - s->y));
    }
    return c;
}

static rgbf draw_desert(const spot *s) {
    rgbf c = sky(s, (rgbf){132, 196, 236}, (rgbf){250, 232, 196}, 0.65f);
    const float far = 0.6f + 0.05f * sinf(3.4f * s->x + s->phase), near = 0.76f + 0.05f * sinf(2.6f * s->x + 1.9f * s->phase + 2.0f);
    c = mix3(c, (rgbf){236, 200, 132}, cover(s, far - s->y));
    return mix3(c, mix3((rgbf){226, 180, 108}, (rgbf){204, 152, 84}, clamp01((s->y - near) * 4.0f)), cover(s, near - s->y));
}

static float pine(const spot *s, float cx, float base, float h) {
    const float up = (base - s->y) / h; /* 0 at the foot, 1 at the tip */
    const float tier = up * 3.0f - floorf(up * 3.0f);
    const float half = 0.34f * h * (1.0f - up) * (1.15f - 0.35f * tier);
    return fmaxf(fmaxf(fabsf(s->x - cx) - half, s->y - base), base - h - s->y);
}

static rgbf draw_snow(const spot *s) {
    rgbf c = sky(s, (rgbf){176, 204, 232}, (rgbf){228, 238, 246}, 0.6f);
    const float far = 0.6f + 0.05f * sinf(3.8f * s->x + s->phase), near = 0.76f + 0.05f * sinf(2.9f * s->x + 2.1f * s->phase);
    c = mix3(c, (rgbf){214, 226, 240}, cover(s, far - s->y));
    for (unsigned i = 0; i < 3; i++) {
        const float cx = s->aspect * (0.12f + 0.33f * (float)i + 0.16f * scatter(i, (unsigned)s->layout, 7));
        c = mix3(c, (rgbf){92, 132, 122}, cover(s, pine(s, cx, 0.72f, 0.2f + 0.08f * scatter(i, (unsigned)s->layout, 8))));
    }
    return mix3(c, mix3((rgbf){246, 250, 255}, (rgbf){222, 232, 246}, clamp01((s->y - near) * 4.0f)), cover(s, near - s->y));
}

static rgbf draw_sunset(const spot *s) {
    rgbf c = s->y < 0.4f ? sky(s, (rgbf){98, 70, 140}, (rgbf){232, 112, 104}, 0.4f)
                         : mix3((rgbf){232, 112, 104}, (rgbf){254, 196, 110}, clamp01((s->y - 0.4f) / 0.34f));
    const float dx = s->x - s->aspect * (0.2f + 0.2f * (float)s->layout), dy = s->y - 0.7f;
    c = mix3(c, (rgbf){255, 236, 160}, cover(s, sqrtf(dx * dx + dy * dy) - 0.13f));
    const float ground = 0.76f + 0.03f * sinf(4.0f * s->x + s->phase);
    return mix3(c, (rgbf){74, 48, 82}, cover(s, ground - s->y));
}

static rgbf draw_forest(const spot *s) {
    rgbf c = sky(s, (rgbf){186, 224, 206}, (rgbf){214, 238, 214}, 0.7f);
    for (unsigned i = 0; i < 9; i++) {
        const float cx = s->aspect * ((float)i + 0.5f * scatter(i, (unsigned)s->layout, 9)) / 8.0f;
        const float h = 0.42f + 0.26f * scatter(i, (unsigned)s->layout, 10), shade = 0.85f + 0.3f * scatter(i, (unsigned)s->layout, 11);
        c = mix3(c, (rgbf){52 * shade, 112 * shade, 72 * shade}, cover(s, pine(s, cx, 0.8f, h)));
    }
    const float ground = 0.77f + 0.015f * sinf(6.0f * s->x + s->phase);
    return mix3(c, mix3((rgbf){92, 136, 70}, (rgbf){70, 104, 56}, clamp01((s->y - ground) * 5.0f)), cover(s, ground - s->y));
}

static rgbf draw_room(const spot *s) {
    static const rgbf wall[SWAN_WORLD_LAYOUTS] = {{236, 222, 198}, {206, 220, 228}, {228, 208, 212}, {214, 226, 204}};
    rgbf c = plain(s, wall[s->layout]);
    const float wx = s->aspect * (s->layout % 2 ? 0.26f : 0.74f);
    const float frame = fmaxf(fabsf(s->x - wx) - 0.17f, fabsf(s->y - 0.3f) - 0.19f);
    c = mix3(c, (rgbf){250, 248, 242}, cover(s, frame));
    const float pane = fmaxf(fabsf(fabsf(s->x - wx) - 0.075f) - 0.065f, fabsf(fabsf(s->y - 0.3f) - 0.085f) - 0.075f);
    c = mix3(c, (rgbf){176, 216, 240}, cover(s, pane));
    const float plank = (s->y - 0.76f) * 12.5f;
    const rgbf wood = {186.0f - 8.0f * (float)((int)plank % 2), 136.0f - 8.0f * (float)((int)plank % 2), 90};
    c = mix3(c, wood, cover(s, 0.76f - s->y));
    return mix3(c, (rgbf){246, 240, 230}, cover(s, fabsf(s->y - 0.745f) - 0.014f));
}

static rgbf draw_city(const spot *s) {
    rgbf c = sky(s, (rgbf){150, 186, 222}, (rgbf){232, 226, 222}, 0.8f);
    for (unsigned i = 0; i < 7; i++) {
        const float w = s->aspect / 7.0f, cx = ((float)i + 0.5f) * w;
        const float top = 0.34f + 0.34f * scatter(i, (unsigned)s->layout, 12), shade = 0.85f + 0.3f * scatter(i, (unsigned)s->layout, 13);
        const float d = fmaxf(fabsf(s->x - cx) - 0.46f * w, top - s->y);
        rgbf wall = {116 * shade, 122 * shade, 142 * shade};
        const float gx = fabsf(fmodf(s->x - cx + w, 0.06f) - 0.03f), gy = fabsf(fmodf(s->y - top, 0.075f) - 0.04f);
        if (d < -0.02f) {
            wall = mix3(wall, (rgbf){244, 226, 160}, cover(s, fmaxf(gx - 0.014f, gy - 0.02f)));
        }
        c = mix3(c, wall, cover(s, d));
    }
    c = mix3(c, (rgbf){96, 98, 106}, cover(s, 0.82f - s->y));
    return mix3(c, (rgbf){236, 232, 214}, cover(s, fmaxf(fabsf(s->y - 0.91f) - 0.008f, 0.06f - fmodf(s->x + 0.1f * (float)s->layout, 0.2f))));
}

static rgbf draw_at(int background, const spot *s) {
    static const rgbf base[] = {{250, 250, 250}, {178, 180, 184}, {170, 206, 246}, {250, 204, 220}, {252, 240, 176}, {190, 230, 186}};
    switch (background) {
    case 6: return draw_sky(s);
    case 7: return draw_night(s);
    case 8: return draw_hills(s);
    case 9: return draw_sea(s);
    case 10: return draw_desert(s);
    case 11: return draw_snow(s);
    case 12: return draw_sunset(s);
    case 13: return draw_forest(s);
    case 14: return draw_room(s);
    case 15: return draw_city(s);
    default: return plain(s, base[background]);
    }
}

static uint8_t to_byte(float x) { return (uint8_t)(x < 0.0f ? 0.0f : x > 255.0f ? 255.0f : x + 0.5f); }

void swan_world_render_background(int background, int layout, int width, int height, uint8_t *rgb) {
    spot s = {.px = (float)height, .aspect = (float)width / (float)height, .layout = layout, .phase = 1.7f * (float)layout};
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            s.x = ((float)x + 0.5f) / (float)height, s.y = ((float)y + 0.5f) / (float)height;
            const rgbf c = draw_at(background, &s);
            *rgb++ = to_byte(c.r), *rgb++ = to_byte(c.g), *rgb++ = to_byte(c.b);
        }
    }
}
