/* Drawing: signed distances with a one-pixel ramp for edges, painter's order, only inside bounding boxes.
 *
 * Cost at 160x224, 33 frames: the background once, then a copy and one object box per frame. */
#include <math.h>
#include <string.h>

#include "world/shapes.h"
#include "world/world.h"

#define TAU 6.28318530718f

static float clampf(float x, float lo, float hi) { return x < lo ? lo : x > hi ? hi : x; }
static float mixf(float a, float b, float t) { return a + (b - a) * t; }

/* ---- poses ---------------------------------------------------------------------------------------------------- */

typedef struct room {
    float x0, x1, y0, y1; /* where the centre of the main object may be */
} room;

static float radius_of(const swan_world_scene *s) {
    static const float alone[SWAN_WORLD_SIZES] = {0.15f, 0.21f, 0.28f};
    static const float beside[SWAN_WORLD_SIZES] = {0.13f, 0.17f, 0.21f};
    return s->relation == SWAN_WORLD_ALONE ? alone[s->size] : beside[s->size];
}

static const float second_radius = 0.17f, margin = 0.02f;

void swan_world_second_pose(const swan_world_scene *s, float aspect, swan_world_pose *pose) {
    const float edge = second_radius + margin;
    *pose = (swan_world_pose){.x = mixf(0.3f, 0.7f, s->u) * aspect, .y = mixf(0.4f, 0.7f, s->v), .radius = second_radius};
    switch (s->relation) {
    case SWAN_WORLD_LEFT_OF: pose->x = aspect - edge; break;
    case SWAN_WORLD_RIGHT_OF: pose->x = edge; break;
    case SWAN_WORLD_ABOVE: pose->y = 1.0f - edge; break;
    default: pose->y = edge; break;
    }
}

static room free_room(const swan_world_scene *s, float aspect, float radius) {
    const float edge = radius + margin;
    const float taken = 2.0f * (second_radius + margin);
    room r = {edge, aspect - edge, edge, 1.0f - edge};
    switch (s->relation) {
    case SWAN_WORLD_LEFT_OF: r.x1 -= taken; break;
    case SWAN_WORLD_RIGHT_OF: r.x0 += taken; break;
    case SWAN_WORLD_ABOVE: r.y1 -= taken; break;
    case SWAN_WORLD_BELOW: r.y0 += taken; break;
    default: break;
    }
    /* A narrow frame may leave no room: stay on the line in the middle of what there is. */
    if (r.x1 < r.x0) {
        r.x0 = r.x1 = 0.5f * (r.x0 + r.x1);
    }
    if (r.y1 < r.y0) {
        r.y0 = r.y1 = 0.5f * (r.y0 + r.y1);
    }
    return r;
}

static void pose_travel(const swan_world_scene *s, const room *r, float done, swan_world_pose *p) {
    static const float share[SWAN_WORLD_SPEEDS] = {0.45f, 0.75f, 1.0f}; /* of the free room, over the clip */
    const bool sideways = s->motion == SWAN_WORLD_RIGHT || s->motion == SWAN_WORLD_LEFT;
    const float span = (sideways ? r->x1 - r->x0 : r->y1 - r->y0) * share[s->speed];
    const float slack = (sideways ? r->x1 - r->x0 : r->y1 - r->y0) - span;
    const bool forward = s->motion == SWAN_WORLD_RIGHT || s->motion == SWAN_WORLD_DOWN;
    const float at = (sideways ? s->u : s->v) * slack + (forward ? done : 1.0f - done) * span;
    if (sideways) {
        p->x = r->x0 + at;
    } else {
        p->y = r->y0 + at;
    }
    const unsigned traits = swan_world_drawings[s->object].traits;
    if (traits & SWAN_WORLD_ROLLS && sideways) {
        p->angle = (p->x - r->x0) / p->radius;
    }
    if (traits & SWAN_WORLD_POINTS) {
        const float heading[] = {[SWAN_WORLD_RIGHT] = 0.25f, [SWAN_WORLD_LEFT] = -0.25f, [SWAN_WORLD_UP] = 0.0f,
                                 [SWAN_WORLD_DOWN] = 0.5f};
        p->angle = heading[s->motion] * TAU;
    }
}

void swan_world_pose_at(const swan_world_scene *s, float aspect, int frame, int frames, int fps, swan_world_pose *p) {
    static const float hops[SWAN_WORLD_SPEEDS] = {0.75f, 1.25f, 2.0f}; /* per second */
    static const float turns[SWAN_WORLD_SPEEDS] = {0.25f, 0.5f, 0.9f}; /* per second */
    const float done = frames > 1 ? (float)frame / (float)(frames - 1) : 0.0f;
    const float seconds = (float)frame / (float)fps;
    const float turn = turns[s->speed] * seconds;
    const float radius = radius_of(s);
    const room r = free_room(s, aspect, radius);
    *p = (swan_world_pose){.x = mixf(r.x0, r.x1, s->u), .y = mixf(r.y0, r.y1, s->v), .radius = radius};
    p->mirror = s->motion == SWAN_WORLD_LEFT && swan_world_drawings[s->object].traits & SWAN_WORLD_FACES;
    switch (s->motion) {
    case SWAN_WORLD_RIGHT:
    case SWAN_WORLD_LEFT:
    case SWAN_WORLD_UP:
    case SWAN_WORLD_DOWN: pose_travel(s, &r, done, p); break;
    case SWAN_WORLD_BOUNCE:
        p->y = r.y1 - 0.85f * (r.y1 - r.y0) * fabsf(sinf((hops[s->speed] * seconds + s->phase) * 0.5f * TAU));
        break;
    case SWAN_WORLD_SPIN: p->angle = turn * TAU; break;
    case SWAN_WORLD_CIRCLE: {
        const float reach = fminf(0.22f, 0.5f * fminf(r.x1 - r.x0, r.y1 - r.y0));
        p->x = mixf(r.x0 + reach, r.x1 - reach, s->u) + reach * cosf((turn + s->phase) * TAU);
        p->y = mixf(r.y0 + reach, r.y1 - reach, s->v) + reach * sinf((turn + s->phase) * TAU);
        break;
    }
    case SWAN_WORLD_GROW: p->radius *= mixf(0.4f, 1.0f, done); break;
    case SWAN_WORLD_SHRINK: p->radius *= mixf(1.0f, 0.4f, done); break;
    case SWAN_WORLD_WOBBLE: p->angle = 0.4f * sinf((2.0f * turn + s->phase) * TAU); break;
    default: break;
    }
}

/* ---- colours -------------------------------------------------------------------------------------------------- */

static const float palette[SWAN_WORLD_COLOURS][3] = {{222, 45, 42},  {244, 136, 32}, {250, 214, 50},  {52, 168, 72},
                                                     {44, 98, 216},  {142, 70, 194}, {246, 128, 180}, {136, 84, 46},
                                                     {246, 246, 244}, {46, 46, 52}};

void swan_world_colour_rgb(int colour, float rgb[3]) { memcpy(rgb, palette[colour], sizeof palette[0]); }

static void paint_of(int role, int colour, float rgb[3]) {
    static const float fixed[SWAN_WORLD_ROLES][3] = {
        [SWAN_WORLD_PAPER] = {250, 246, 236}, [SWAN_WORLD_INK] = {36, 34, 40},    [SWAN_WORLD_GOLD] = {252, 204, 52},
        [SWAN_WORLD_FIRE] = {248, 120, 40},   [SWAN_WORLD_WOOD] = {122, 80, 48},  [SWAN_WORLD_LEAF] = {70, 160, 70},
        [SWAN_WORLD_STEEL] = {140, 146, 158}, [SWAN_WORLD_GLASS] = {170, 216, 240}};
    const float *main_rgb = palette[colour];
    for (int c = 0; c < 3; c++) {
        switch (role) {
        case SWAN_WORLD_MAIN: rgb[c] = main_rgb[c]; break;
        case SWAN_WORLD_LIGHT: rgb[c] = mixf(main_rgb[c], 255.0f, colour == 8 ? 0.0f : 0.45f); break;
        case SWAN_WORLD_DARK: rgb[c] = main_rgb[c] * (colour == 8 ? 0.8f : 0.66f); break;
        default: rgb[c] = fixed[role][c]; break;
        }
    }
}

static void outline_of(int colour, float rgb[3]) {
    /* Dark lines keep light things apart from light ground; a black thing needs a light line at night. */
    for (int c = 0; c < 3; c++) {
        rgb[c] = colour == 9 ? 150.0f : 0.3f * palette[colour][c];
    }
}

/* ---- objects -------------------------------------------------------------------------------------------------- */

typedef struct part_f {
    int shape, n_points;
    float a[6], rgb[3];
    float cx, cy, reach; /* a circle around the part: skips most of the work */
    float pts[2 * SWAN_WORLD_MAX_POINTS];
} part_f;

static float ellipse_distance(float x, float y, float rx, float ry) {
    if (rx == ry) {
        return sqrtf(x * x + y * y) - rx;
    }
    /* First-order distance: exact on the edge, good within a pixel or two of it, which is all that edges need. */
    const float kx = x / rx, ky = y / ry;
    const float k0 = sqrtf(kx * kx + ky * ky);
    const float gx = kx / rx, gy = ky / ry;
    const float k1 = sqrtf(gx * gx + gy * gy);
    return k1 > 1e-6f ? k0 * (k0 - 1.0f) / k1 : -fminf(rx, ry);
}

static float capsule_distance(float x, float y, const float *a) {
    const float ex = a[2] - a[0], ey = a[3] - a[1];
    const float px = x - a[0], py = y - a[1];
    const float t = clampf((px * ex + py * ey) / (ex * ex + ey * ey + 1e-9f), 0.0f, 1.0f);
    const float dx = px - t * ex, dy = py - t * ey;
    return sqrtf(dx * dx + dy * dy) - a[4];
}

/* Distance to the nearest edge, sign by the crossing number. */
static float polygon_distance(float x, float y, const float *pts, int n) {
    float best = 1e9f;
    bool inside = false;
    for (int i = 0, j = n - 1; i < n; j = i++) {
        const float ax = pts[2 * i], ay = pts[2 * i + 1], bx = pts[2 * j], by = pts[2 * j + 1];
        const float ex = bx - ax, ey = by - ay, px = x - ax, py = y - ay;
        const float t = clampf((px * ex + py * ey) / (ex * ex + ey * ey), 0.0f, 1.0f);
        const float dx = px - t * ex, dy = py - t * ey;
        best = fminf(best, dx * dx + dy * dy);
        if ((ay > y) != (by > y) && x < ex * (y - ay) / ey + ax) {
            inside = !inside;
        }
    }
    return inside ? -sqrtf(best) : sqrtf(best);
}

static float part_distance(const part_f *p, float x, float y) {
    const float *a = p->a;
    switch (p->shape) {
    case SWAN_WORLD_ELLIPSE: return ellipse_distance(x - a[0], y - a[1], a[2], a[3]);
    case SWAN_WORLD_DOME: return fmaxf(ellipse_distance(x - a[0], y - a[1], a[2], a[3]), y - a[1]);
    case SWAN_WORLD_BOX: {
        const float qx = fabsf(x - a[0]) - a[2] + a[4], qy = fabsf(y - a[1]) - a[3] + a[4];
        const float ox = fmaxf(qx, 0.0f), oy = fmaxf(qy, 0.0f);
        return sqrtf(ox * ox + oy * oy) + fminf(fmaxf(qx, qy), 0.0f) - a[4];
    }
    case SWAN_WORLD_CAPSULE: return capsule_distance(x, y, a);
    case SWAN_WORLD_RING: return fabsf(ellipse_distance(x - a[0], y - a[1], a[2], a[2])) - a[3];
    case SWAN_WORLD_CRESCENT:
        return fmaxf(ellipse_distance(x - a[0], y - a[1], a[2], a[2]),
                     -ellipse_distance(x - a[3], y - a[4], a[5], a[5]));
    default: return polygon_distance(x, y, p->pts, p->n_points);
    }
}

static void part_bounds(part_f *p) {
    float x0 = 1e9f, x1 = -1e9f, y0 = 1e9f, y1 = -1e9f;
    const float *a = p->a;
    float rx = a[2], ry = p->shape == SWAN_WORLD_RING || p->shape == SWAN_WORLD_CRESCENT ? a[2] : a[3];
    if (p->shape == SWAN_WORLD_RING) {
        rx = ry = a[2] + a[3];
    }
    switch (p->shape) {
    case SWAN_WORLD_POLYGON:
        for (int i = 0; i < p->n_points; i++) {
            x0 = fminf(x0, p->pts[2 * i]), x1 = fmaxf(x1, p->pts[2 * i]);
            y0 = fminf(y0, p->pts[2 * i + 1]), y1 = fmaxf(y1, p->pts[2 * i + 1]);
        }
        break;
    case SWAN_WORLD_CAPSULE:
        x0 = fminf(a[0], a[2]) - a[4], x1 = fmaxf(a[0], a[2]) + a[4];
        y0 = fminf(a[1], a[3]) - a[4], y1 = fmaxf(a[1], a[3]) + a[4];
        break;
    default: x0 = a[0] - rx, x1 = a[0] + rx, y0 = a[1] - ry, y1 = a[1] + ry; break;
    }
    p->cx = 0.5f * (x0 + x1), p->cy = 0.5f * (y0 + y1);
    p->reach = 0.5f * sqrtf((x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0));
}

static int prepare_parts(int object, int colour, part_f *out) {
    const swan_world_drawing *d = &swan_world_drawings[object];
    for (int i = 0; i < d->n_parts; i++) {
        const swan_world_part *p = &d->part[i];
        out[i].shape = p->shape;
        out[i].n_points = p->n_points;
        for (int k = 0; k < 6; k++) {
            out[i].a[k] = 0.01f * (float)p->a[k];
        }
        for (int k = 0; k < 2 * p->n_points; k++) {
            out[i].pts[k] = 0.01f * (float)p->points[k];
        }
        paint_of(p->role, colour, out[i].rgb);
        part_bounds(&out[i]);
    }
    return d->n_parts;
}

typedef struct brush {
    part_f part[SWAN_WORLD_MAX_PARTS];
    int n;
    float line[3];       /* outline colour */
    float scale, width;  /* pixels per unit; outline in pixels */
} brush;

/* One pixel: outline of the union first, then the parts over it. lx, ly in object units. */
static void blend_pixel(const brush *b, float lx, float ly, uint8_t *px) {
    float cover[SWAN_WORLD_MAX_PARTS];
    float nearest = 1e9f;
    for (int i = 0; i < b->n; i++) {
        const part_f *p = &b->part[i];
        const float far = p->reach + (b->width + 1.0f) / b->scale;
        const float dx = lx - p->cx, dy = ly - p->cy;
        cover[i] = 0.0f;
        if (dx * dx + dy * dy < far * far) {
            const float d = part_distance(p, lx, ly) * b->scale;
            nearest = fminf(nearest, d);
            cover[i] = clampf(0.5f - d, 0.0f, 1.0f);
        }
    }
    const float edge = clampf(0.5f + b->width - nearest, 0.0f, 1.0f);
    if (edge <= 0.0f) {
        return;
    }
    /* Light falls from the upper left. */
    const float light = clampf(1.02f - 0.10f * lx - 0.16f * ly, 0.8f, 1.2f);
    for (int c = 0; c < 3; c++) {
        float value = mixf((float)px[c], b->line[c], edge);
        for (int i = 0; i < b->n; i++) {
            value = mixf(value, fminf(b->part[i].rgb[c] * light, 255.0f), cover[i]);
        }
        px[c] = (uint8_t)(clampf(value, 0.0f, 255.0f) + 0.5f);
    }
}

void swan_world_draw_object(uint8_t *rgb, int width, int height, int object, int colour, const swan_world_pose *pose) {
    brush b = {.scale = pose->radius * (float)height};
    b.width = fmaxf(1.0f, (float)height / 110.0f);
    b.n = prepare_parts(object, colour, b.part);
    outline_of(colour, b.line);
    const float cx = pose->x * (float)height, cy = pose->y * (float)height;
    const float half = b.scale * (pose->angle != 0.0f ? 1.38f : 1.0f) + b.width + 1.5f;
    const int x0 = (int)fmaxf(floorf(cx - half), 0.0f), x1 = (int)fminf(ceilf(cx + half), (float)width);
    const int y0 = (int)fmaxf(floorf(cy - half), 0.0f), y1 = (int)fminf(ceilf(cy + half), (float)height);
    const float co = cosf(pose->angle) / b.scale, si = sinf(pose->angle) / b.scale;
    for (int y = y0; y < y1; y++) {
        for (int x = x0; x < x1; x++) {
            const float dx = (float)x + 0.5f - cx, dy = (float)y + 0.5f - cy;
            const float lx = co * dx + si * dy, ly = co * dy - si * dx;
            blend_pixel(&b, pose->mirror ? -lx : lx, ly, rgb + 3 * ((size_t)y * (size_t)width + (size_t)x));
        }
    }
}

/* ---- the clip ------------------------------------------------------------------------------------------------- */

void swan_world_render(const swan_world_scene *s, int width, int height, int frames, int fps, uint8_t *rgb) {
    const size_t frame_bytes = 3 * (size_t)width * (size_t)height;
    const float aspect = (float)width / (float)height;
    swan_world_pose pose;
    swan_world_render_background(s->background, s->layout, width, height, rgb);
    if (s->relation != SWAN_WORLD_ALONE) {
        swan_world_second_pose(s, aspect, &pose);
        swan_world_draw_object(rgb, width, height, s->second_object, s->second_colour, &pose);
    }
    for (int f = 1; f < frames; f++) {
        memcpy(rgb + (size_t)f * frame_bytes, rgb, frame_bytes);
    }
    for (int f = 0; f < frames; f++) {
        swan_world_pose_at(s, aspect, f, frames, fps, &pose);
        swan_world_draw_object(rgb + (size_t)f * frame_bytes, width, height, s->object, s->colour, &pose);
    }
}
