/* The judge. Order: background → foreground blobs per frame → tracks → object, colour, motion, size, second object. */
#include "world/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    GRID = 24,        /* silhouettes are compared at GRID x GRID */
    CELLS = GRID * GRID,
    LOOKS = 7,        /* frames whose shape is compared */
    TURNS = 16,       /* angles tried */
    DRAW = 64,        /* templates are drawn in DRAW x DRAW */
    MAX_BLOBS = 2,
    FOREGROUND = 56   /* sum of three absolute differences that makes a pixel foreground */
};

typedef struct blob {
    int count; /* pixels; 0: none */
    float x, y;
    int x0, x1, y0, y1; /* half-open */
    int label;
} blob;

typedef struct point {
    float x, y;
} point;

typedef struct track {
    blob *at; /* [frames] */
    float moved;
} track;

typedef struct stage {
    const uint8_t *rgb;
    int width, height, frames;
    uint8_t *ground;  /* [H, W, 3] */
    uint8_t *labels;  /* [F, H, W]: 0 ground, 1.. blobs */
    int *queue;       /* [H * W] */
    blob *blobs;      /* [F, MAX_BLOBS] */
    point *room;      /* [2, F]: a path and another */
} stage;

/* A silhouette in its own box: grid cells in [0, 1] and log(width / height). */
typedef struct shape {
    float cell[CELLS];
    float aspect;
    float area; /* pixels over (radius in pixels)^2; templates only */
} shape;

static const uint8_t *pixel(const stage *s, int f, int y, int x) {
    return s->rgb + 3 * (((size_t)f * (size_t)s->height + (size_t)y) * (size_t)s->width + (size_t)x);
}

static int difference(const uint8_t *a, const uint8_t *b) {
    return abs(a[0] - b[0]) + abs(a[1] - b[1]) + abs(a[2] - b[2]);
}

/* ---- background ----------------------------------------------------------------------------------------------- */

/* Mean capped difference on every fourth pixel of five frames: the cap keeps objects from deciding. */
static float ground_distance(const stage *s) {
    float sum = 0.0f;
    int n = 0;
    for (int k = 0; k < 5; k++) {
        const int f = k * (s->frames - 1) / 4;
        for (int y = 1; y < s->height; y += 4) {
            for (int x = 1; x < s->width; x += 4) {
                const int d = difference(pixel(s, f, y, x), s->ground + 3 * (y * s->width + x));
                sum += (float)(d < 150 ? d : 150), n++;
            }
        }
    }
    return sum / (3.0f * (float)n);
}

static void find_ground(stage *s, swan_world_verdict *v) {
    float best = 1e9f;
    for (int b = 0; b < SWAN_WORLD_BACKGROUNDS; b++) {
        for (int l = 0; l < SWAN_WORLD_LAYOUTS; l++) {
            swan_world_render_background(b, l, s->width, s->height, s->ground);
            const float d = ground_distance(s);
            if (d < best) {
                best = d, v->seen.background = b, v->seen.layout = l;
            }
        }
    }
    v->ground_error = best;
    swan_world_render_background(v->seen.background, v->seen.layout, s->width, s->height, s->ground);
}

/* ---- blobs ---------------------------------------------------------------------------------------------------- */

/* Foreground: a pixel whose 3x3 neighbourhood differs on average, so that noise and thin edge errors do not count. */
static void mark_foreground(const stage *s, int f, uint8_t *mark) {
    for (int y = 0; y < s->height; y++) {
        for (int x = 0; x < s->width; x++) {
            int sum = 0, n = 0;
            for (int yy = y > 0 ? y - 1 : 0; yy <= y + 1 && yy < s->height; yy++) {
                for (int xx = x > 0 ? x - 1 : 0; xx <= x + 1 && xx < s->width; xx++) {
                    sum += difference(pixel(s, f, yy, xx), s->ground + 3 * (yy * s->width + xx)), n++;
                }
            }
            mark[y * s->width + x] = sum > FOREGROUND * n ? 255 : 0;
        }
    }
}

static blob flood(const stage *s, uint8_t *mark, int start, uint8_t label) {
    blob b = {.x0 = s->width, .y0 = s->height, .label = label};
    int head = 0, tail = 0;
    s->queue[tail++] = start, mark[start] = label;
    while (head < tail) {
        const int at = s->queue[head++], x = at % s->width, y = at / s->width;
        b.count++, b.x += (float)x, b.y += (float)y;
        b.x0 = x < b.x0 ? x : b.x0, b.x1 = x >= b.x1 ? x + 1 : b.x1;
        b.y0 = y < b.y0 ? y : b.y0, b.y1 = y >= b.y1 ? y + 1 : b.y1;
        const int next[4] = {x > 0 ? at - 1 : at, x + 1 < s->width ? at + 1 : at, y > 0 ? at - s->width : at,
                             y + 1 < s->height ? at + s->width : at};
        for (int k = 0; k < 4; k++) {
            if (mark[next[k]] == 255) {
                mark[next[k]] = label, s->queue[tail++] = next[k];
            }
        }
    }
    b.x /= (float)b.count, b.y /= (float)b.count;
    return b;
}

/* The two largest blobs of a frame, larger first; less than 0.3 % of the frame is dirt. */
static void find_blobs(const stage *s, int f) {
    const int size = s->width * s->height;
    uint8_t *mark = s->labels + (size_t)f * (size_t)size;
    blob *top = s->blobs + f * MAX_BLOBS;
    uint8_t label = 1;
    mark_foreground(s, f, mark);
    for (int i = 0; i < size; i++) {
        if (mark[i] == 255) {
            const blob b = flood(s, mark, i, label);
            if (b.count * 330 < size) {
                continue; /* its label is used again: no blob of the list has it */
            }
            if (b.count > top[0].count) {
                top[1] = top[0], top[0] = b;
            } else if (b.count > top[1].count) {
                top[1] = b;
            }
            label = label < 250 ? (uint8_t)(label + 1) : label;
        }
    }
}

/* Two tracks by nearest centres; `moved` sums steps and growth. */
static void follow(const stage *s, track t[MAX_BLOBS]) {
    for (int f = 0; f < s->frames; f++) {
        blob a = s->blobs[f * MAX_BLOBS], b = s->blobs[f * MAX_BLOBS + 1];
        if (f > 0 && t[0].at[f - 1].count > 0 && a.count > 0 && b.count > 0) {
            const blob *p = &t[0].at[f - 1];
            if (hypotf(b.x - p->x, b.y - p->y) < hypotf(a.x - p->x, a.y - p->y)) {
                const blob swap = a;
                a = b, b = swap;
            }
        }
        t[0].at[f] = a, t[1].at[f] = b;
        for (int k = 0; f > 0 && k < MAX_BLOBS; k++) {
            const blob *p = &t[k].at[f - 1], *q = &t[k].at[f];
            if (p->count > 0 && q->count > 0) {
                t[k].moved += hypotf(q->x - p->x, q->y - p->y) +
                              fabsf(sqrtf((float)q->count) - sqrtf((float)p->count));
            }
        }
    }
}

/* ---- shapes --------------------------------------------------------------------------------------------------- */

/* Area-samples the box (x0, x1, y0, y1) of a label image into the grid. */
static void sample_shape(const uint8_t *mark, int stride, int label, const int box[4], shape *out) {
    const float w = (float)(box[1] - box[0]), h = (float)(box[3] - box[2]);
    for (int j = 0; j < GRID; j++) {
        for (int i = 0; i < GRID; i++) {
            int hit = 0;
            for (int k = 0; k < 9; k++) {
                const int x = box[0] + (int)(w * ((float)i + ((float)(k % 3) + 0.5f) / 3.0f) / GRID);
                const int y = box[2] + (int)(h * ((float)j + ((float)(k / 3) + 0.5f) / 3.0f) / GRID);
                hit += mark[y * stride + x] == label;
            }
            out->cell[j * GRID + i] = (float)hit / 9.0f;
        }
    }
    out->aspect = logf(w / h);
}

/* Draws an object over black and white; where the two agree, it covers. */
static void draw_template(int object, float angle, bool mirror, shape *out) {
    uint8_t black[DRAW * DRAW * 3], white[DRAW * DRAW * 3], mark[DRAW * DRAW];
    const swan_world_pose pose = {0.5f, 0.5f, 0.34f, angle, mirror};
    memset(black, 0, sizeof black), memset(white, 255, sizeof white);
    swan_world_draw_object(black, DRAW, DRAW, object, 0, &pose);
    swan_world_draw_object(white, DRAW, DRAW, object, 0, &pose);
    int box[4] = {DRAW, 0, DRAW, 0}, count = 0;
    for (int i = 0; i < DRAW * DRAW; i++) {
        mark[i] = difference(black + 3 * i, white + 3 * i) < 380;
        if (mark[i]) {
            const int x = i % DRAW, y = i / DRAW;
            box[0] = x < box[0] ? x : box[0], box[1] = x >= box[1] ? x + 1 : box[1];
            box[2] = y < box[2] ? y : box[2], box[3] = y >= box[3] ? y + 1 : box[3];
            count++;
        }
    }
    sample_shape(mark, DRAW, 1, box, out);
    out->area = (float)count / (0.34f * DRAW * 0.34f * DRAW);
}

static float overlap(const shape *a, const shape *b) {
    float both = 0.0f, any = 1e-6f;
    for (int i = 0; i < CELLS; i++) {
        both += fminf(a->cell[i], b->cell[i]), any += fmaxf(a->cell[i], b->cell[i]);
    }
    return both / any * expf(-1.2f * fabsf(a->aspect - b->aspect));
}

typedef struct look {
    int object, turn;
    bool mirror;
    float score;
} look;

/* Turned templates win only clearly: most things in this world stand upright. */
static look best_look(const shape *seen, const shape *templates) {
    look best = {-1, 0, false, -1.0f};
    for (int o = 0; o < SWAN_WORLD_OBJECTS; o++) {
        for (int k = 0; k < 2 * TURNS; k++) {
            const int turn = k % TURNS;
            const float score = overlap(seen, &templates[o * 2 * TURNS + k]) - (turn ? 0.06f : 0.0f);
            if (score > best.score) {
                best = (look){o, turn, k >= TURNS, score};
            }
        }
    }
    return best;
}

/* ---- colour --------------------------------------------------------------------------------------------------- */

/* Votes of a blob's pixels for the nearest body colour under the light range of the renderer. */
static int blob_colour(const stage *s, int f, const blob *b) {
    /* Body in light and shadow; white stays light, and the tint and outline of black are greys. */
    static const float usual[] = {0.7f, 0.85f, 0.95f, 1.05f, 1.15f}, white[] = {0.8f, 0.85f, 0.9f, 0.95f, 1.0f},
                       black[] = {0.85f, 1.05f, 1.6f, 2.3f, 3.1f};
    float votes[SWAN_WORLD_COLOURS] = {0};
    const uint8_t *mark = s->labels + (size_t)f * (size_t)s->width * (size_t)s->height;
    for (int y = b->y0; y < b->y1; y++) {
        for (int x = b->x0; x < b->x1; x++) {
            if (mark[y * s->width + x] != b->label) {
                continue;
            }
            const uint8_t *p = pixel(s, f, y, x);
            float best = 1e9f;
            int which = 0;
            for (int c = 0; c < SWAN_WORLD_COLOURS; c++) {
                float body[3];
                const float *shade = c == 8 ? white : c == 9 ? black : usual;
                swan_world_colour_rgb(c, body);
                for (int k = 0; k < 5; k++) {
                    float d = 0.0f;
                    for (int i = 0; i < 3; i++) {
                        const float e = fminf(body[i] * shade[k], 255.0f) - (float)p[i];
                        d += e * e;
                    }
                    if (d < best) {
                        best = d, which = c;
                    }
                }
            }
            votes[which] += 1.0f;
        }
    }
    /* Outlines and pupils are dark on everything: black has to win by more than what any drawing shows of it. */
    votes[9] -= 0.25f * (float)b->count;
    int most = 0;
    for (int c = 0; c < SWAN_WORLD_COLOURS; c++) {
        most = votes[c] > votes[most] ? c : most;
    }
    return most;
}

/* ---- one track → object, colour ------------------------------------------------------------------------------- */

typedef struct finding {
    int object, colour;
    float shape_overlap, object_stability, colour_stability, visible, radius;
    float turn[LOOKS]; /* angle of the found object per look, -1 unseen; in turns */
} finding;

static int most_frequent(const int *count, int n) {
    int most = 0;
    for (int i = 1; i < n; i++) {
        most = count[i] > count[most] ? i : most;
    }
    return most;
}

static void read_colours(const stage *s, const track *t, finding *out) {
    int votes[SWAN_WORLD_COLOURS] = {0}, seen = 0;
    for (int f = 0; f < s->frames; f++) {
        if (t->at[f].count > 0) {
            votes[blob_colour(s, f, &t->at[f])]++, seen++;
        }
    }
    out->colour = most_frequent(votes, SWAN_WORLD_COLOURS);
    out->colour_stability = seen ? (float)votes[out->colour] / (float)seen : 0.0f;
    out->visible = (float)seen / (float)s->frames;
}

static void read_track(const stage *s, const track *t, const shape *templates, finding *out) {
    float total[SWAN_WORLD_OBJECTS] = {0};
    int votes[SWAN_WORLD_OBJECTS] = {0}, looks = 0;
    shape seen[LOOKS];
    bool valid[LOOKS] = {false};
    *out = (finding){.object = -1};
    for (int k = 0; k < LOOKS; k++) {
        const int f = k * (s->frames - 1) / (LOOKS - 1);
        const blob *b = &t->at[f];
        out->turn[k] = -1.0f;
        if (b->count == 0) {
            continue;
        }
        const int box[4] = {b->x0, b->x1, b->y0, b->y1};
        sample_shape(s->labels + (size_t)f * (size_t)s->width * (size_t)s->height, s->width, b->label, box, &seen[k]);
        valid[k] = true, looks++;
        votes[best_look(&seen[k], templates).object]++;
        for (int o = 0; o < SWAN_WORLD_OBJECTS; o++) {
            float best = 0.0f;
            for (int i = 0; i < 2 * TURNS; i++) {
                const float score = overlap(&seen[k], &templates[o * 2 * TURNS + i]) - (i % TURNS ? 0.06f : 0.0f);
                best = score > best ? score : best;
            }
            total[o] += best;
        }
    }
    if (looks == 0) {
        return;
    }
    out->object = 0;
    for (int o = 1; o < SWAN_WORLD_OBJECTS; o++) {
        out->object = total[o] > total[out->object] ? o : out->object;
    }
    out->shape_overlap = total[out->object] / (float)looks;
    out->object_stability = (float)votes[out->object] / (float)looks;
    for (int k = 0; k < LOOKS; k++) {
        float best = -1.0f;
        for (int i = 0; valid[k] && i < TURNS; i++) {
            const float score = overlap(&seen[k], &templates[out->object * 2 * TURNS + i]);
            if (score > best) {
                best = score, out->turn[k] = (float)i / TURNS;
            }
        }
    }
    read_colours(s, t, out);
}

/* ---- motion --------------------------------------------------------------------------------------------------- */

typedef struct path {
    float dx, dy, along, range_x, range_y, grown; /* frame heights; grown: ratio of areas, end over start */
    int turns_y;                                  /* changes of vertical direction */
} path;

/* A box centre jumps less than a centroid when a part of the shape is lost. */
static path measure_path(const stage *s, const track *t) {
    path p = {.grown = 1.0f};
    const float unit = 1.0f / (float)s->height;
    float x0 = 1e9f, x1 = -1e9f, y0 = 1e9f, y1 = -1e9f, fx = 0, fy = 0, lx = 0, ly = 0, turn_at = 0;
    int first = -1, last = -1, heading = 0;
    for (int f = 0; f < s->frames; f++) {
        const blob *b = &t->at[f];
        if (b->count == 0) {
            continue;
        }
        const float x = 0.5f * (float)(b->x0 + b->x1) * unit, y = 0.5f * (float)(b->y0 + b->y1) * unit;
        if (first < 0) {
            first = f, fx = x, fy = y, turn_at = y;
        } else {
            p.along += hypotf(x - lx, y - ly);
        }
        if (fabsf(y - turn_at) > 0.05f) { /* a tenth of the usual room: noise does not turn it */
            const int way = y > turn_at ? 1 : -1;
            p.turns_y += heading != 0 && way != heading;
            heading = way, turn_at = y;
        } else if (heading != 0 && (y > turn_at) == (heading > 0)) {
            turn_at = y;
        }
        last = f, lx = x, ly = y;
        x0 = fminf(x0, x), x1 = fmaxf(x1, x), y0 = fminf(y0, y), y1 = fmaxf(y1, y);
    }
    if (first >= 0) {
        p.dx = lx - fx, p.dy = ly - fy, p.range_x = x1 - x0, p.range_y = y1 - y0;
        p.grown = (float)t->at[last].count / (float)t->at[first].count;
    }
    return p;
}

/* Spin goes one way round, wobble goes back and forth, in turns between looks. */
static int read_turning(const finding *found) {
    float sum = 0.0f, sway = 0.0f;
    for (int k = 1; k < LOOKS; k++) {
        if (found->turn[k] >= 0.0f && found->turn[k - 1] >= 0.0f) {
            float d = found->turn[k] - found->turn[k - 1];
            d -= roundf(d);
            sum += d, sway += fabsf(d);
        }
    }
    if (sway < 0.11f) {
        return SWAN_WORLD_STILL;
    }
    return fabsf(sum) > 0.7f * sway && sway > 0.3f ? SWAN_WORLD_SPIN
           : sway > 0.85f                          ? SWAN_WORLD_SPIN
                                                   : SWAN_WORLD_WOBBLE;
}

static int read_motion(const path *p, const finding *found) {
    if (p->grown > 2.0f || p->grown < 0.5f) {
        return p->grown > 1.0f ? SWAN_WORLD_GROW : SWAN_WORLD_SHRINK;
    }
    const float net = hypotf(p->dx, p->dy);
    if (p->range_x < 0.06f && p->range_y < 0.06f) {
        return read_turning(found);
    }
    if (p->range_x < 0.06f && p->turns_y > 0) {
        return SWAN_WORLD_BOUNCE;
    }
    if (p->range_x > 0.08f && p->range_y > 0.08f && fminf(p->range_x, p->range_y) > 0.35f * fmaxf(p->range_x, p->range_y)) {
        return SWAN_WORLD_CIRCLE;
    }
    if (net < 0.06f) {
        return read_turning(found);
    }
    if (fabsf(p->dx) > fabsf(p->dy)) {
        return p->dx > 0 ? SWAN_WORLD_RIGHT : SWAN_WORLD_LEFT;
    }
    return p->dy > 0 ? SWAN_WORLD_DOWN : SWAN_WORLD_UP;
}

/* Share of frames whose point of `got` (NaN: nothing seen) is within 0.04 frame heights of `want`, which is moved and scaled to
 * a third to three times its size to fit by least squares: place, size and pace are free, the form of the path is not. */
static float path_agreement(const point *got, const point *want, int frames) {
    point g = {0, 0}, w = {0, 0};
    float both = 0.0f, own = 1e-12f;
    int seen = 0, near = 0;
    for (int f = 0; f < frames; f++) {
        if (!isnan(got[f].x)) {
            g.x += got[f].x, g.y += got[f].y, w.x += want[f].x, w.y += want[f].y, seen++;
        }
    }
    const float each = 1.0f / (float)(seen ? seen : 1);
    g.x *= each, g.y *= each, w.x *= each, w.y *= each;
    for (int f = 0; f < frames; f++) {
        if (!isnan(got[f].x)) {
            const float x = want[f].x - w.x, y = want[f].y - w.y;
            both += (got[f].x - g.x) * x + (got[f].y - g.y) * y, own += x * x + y * y;
        }
    }
    const float scale = fminf(fmaxf(both / own, 1.0f / 3.0f), 3.0f);
    for (int f = 0; f < frames; f++) {
        const float x = got[f].x - g.x - scale * (want[f].x - w.x), y = got[f].y - g.y - scale * (want[f].y - w.y);
        near += hypotf(x, y) < 0.04f; /* false for a NaN */
    }
    return (float)near / (float)frames;
}

/* Agreement of the track with the renderer's for this motion, at the speed and phase that suit it best: a clip's prompt tells
 * neither of bounces and circles. */
static float motion_stability(const stage *s, const track *t, const swan_world_scene *seen, int motion) {
    const float unit = 1.0f / (float)s->height, aspect = (float)s->width * unit;
    const int phases = motion == SWAN_WORLD_BOUNCE || motion == SWAN_WORLD_CIRCLE ? 32 : 1;
    const int speeds = phases > 1 ? SWAN_WORLD_SPEEDS : 1;
    point *got = s->room, *want = s->room + s->frames;
    float best = 0.0f;
    for (int f = 0; f < s->frames; f++) {
        const blob *b = &t->at[f];
        got[f] = b->count == 0 ? (point){NAN, NAN}
                               : (point){0.5f * (float)(b->x0 + b->x1) * unit, 0.5f * (float)(b->y0 + b->y1) * unit};
    }
    for (int k = 0; k < phases * speeds; k++) {
        swan_world_scene probe = *seen;
        swan_world_pose pose;
        probe.motion = motion, probe.relation = SWAN_WORLD_ALONE, probe.phase = (float)(k % phases) / (float)phases;
        probe.speed = speeds > 1 ? k / phases : seen->speed;
        for (int f = 0; f < s->frames; f++) {
            swan_world_pose_at(&probe, aspect, f, s->frames, 16, &pose);
            want[f] = (point){pose.x, pose.y};
        }
        best = fmaxf(best, path_agreement(got, want, s->frames));
    }
    return best;
}

/* ---- verdict -------------------------------------------------------------------------------------------------- */

/* The size and speed whose own rendering would come closest to what was measured. */
static void read_size_speed(const stage *s, const track *t, const path *p, const shape *templates, swan_world_scene *seen) {
    const float aspect = (float)s->width / (float)s->height;
    float best = 1e9f;
    const shape *upright = &templates[seen->object * 2 * TURNS];
    int largest = 0;
    for (int f = 0; f < s->frames; f++) {
        largest = t->at[f].count > largest ? t->at[f].count : largest;
    }
    const float radius = sqrtf((float)largest / upright->area) / (float)s->height;
    for (int size = 0; size < SWAN_WORLD_SIZES; size++) {
        swan_world_scene probe = *seen;
        swan_world_pose pose;
        probe.size = size, probe.motion = SWAN_WORLD_STILL;
        swan_world_pose_at(&probe, aspect, 0, 2, 1, &pose);
        if (fabsf(logf(pose.radius / radius)) < best) {
            best = fabsf(logf(pose.radius / radius)), seen->size = size;
        }
    }
    best = 1e9f;
    for (int speed = 0; speed < SWAN_WORLD_SPEEDS; speed++) {
        swan_world_scene probe = *seen;
        swan_world_pose a, b;
        probe.speed = speed;
        swan_world_pose_at(&probe, aspect, 0, s->frames, 16, &a);
        swan_world_pose_at(&probe, aspect, s->frames - 1, s->frames, 16, &b);
        const float d = fabsf(hypotf(b.x - a.x, b.y - a.y) - hypotf(p->dx, p->dy));
        if (d < best) {
            best = d, seen->speed = speed;
        }
    }
}

static void read_relation(const blob *a, const blob *b, const swan_world_scene *wanted, swan_world_scene *seen) {
    const bool side = wanted->relation == SWAN_WORLD_LEFT_OF || wanted->relation == SWAN_WORLD_RIGHT_OF;
    if (side) {
        seen->relation = a->x < b->x ? SWAN_WORLD_LEFT_OF : SWAN_WORLD_RIGHT_OF;
    } else {
        seen->relation = a->y < b->y ? SWAN_WORLD_ABOVE : SWAN_WORLD_BELOW;
    }
}

static unsigned agreement(const swan_world_scene *w, const swan_world_scene *s, unsigned asked) {
    unsigned right = 0;
    right |= w->object == s->object ? SWAN_WORLD_ATTR_OBJECT : 0u;
    right |= w->colour == s->colour ? SWAN_WORLD_ATTR_COLOUR : 0u;
    right |= w->motion == s->motion ? SWAN_WORLD_ATTR_MOTION : 0u;
    right |= w->speed == s->speed ? SWAN_WORLD_ATTR_SPEED : 0u;
    right |= w->size == s->size ? SWAN_WORLD_ATTR_SIZE : 0u;
    right |= w->background == s->background ? SWAN_WORLD_ATTR_BACKGROUND : 0u;
    if (s->relation != SWAN_WORLD_ALONE) {
        right |= w->second_object == s->second_object ? SWAN_WORLD_ATTR_SECOND : 0u;
        right |= w->second_colour == s->second_colour ? SWAN_WORLD_ATTR_SECOND_COLOUR : 0u;
        right |= w->relation == s->relation ? SWAN_WORLD_ATTR_RELATION : 0u;
    }
    return right & asked;
}

static void judge_tracks(const stage *s, track t[MAX_BLOBS], const shape *templates, const swan_world_scene *wanted,
                         unsigned asked, swan_world_verdict *v) {
    finding found[MAX_BLOBS];
    for (int k = 0; k < MAX_BLOBS; k++) {
        read_track(s, &t[k], templates, &found[k]);
    }
    /* The main object is the one that moves; if neither does, the one that is the wanted thing. */
    int first = t[1].moved > 1.5f * t[0].moved + 4.0f ? 1 : 0;
    if (t[0].moved < 12.0f && t[1].moved < 12.0f && found[1].object == wanted->object && found[0].object != wanted->object) {
        first = 1;
    }
    const finding *a = &found[first], *b = &found[1 - first];
    if (a->object < 0) {
        v->seen.object = v->seen.colour = v->seen.motion = v->seen.speed = v->seen.size = -1;
        return;
    }
    const path p = measure_path(s, &t[first]);
    v->seen.object = a->object, v->seen.colour = a->colour;
    v->seen.motion = read_motion(&p, a);
    v->shape_overlap = a->shape_overlap, v->object_stability = a->object_stability;
    v->colour_stability = a->colour_stability, v->visible = a->visible;
    if (b->object >= 0 && b->visible > 0.5f) {
        v->seen.second_object = b->object, v->seen.second_colour = b->colour;
        read_relation(&t[first].at[0], &t[1 - first].at[0], wanted, &v->seen);
    }
    read_size_speed(s, &t[first], &p, templates, &v->seen);
    const int motion = asked & SWAN_WORLD_ATTR_MOTION ? wanted->motion : v->seen.motion;
    v->motion_stability = motion_stability(s, &t[first], &v->seen, motion);
}

bool swan_world_judge(const swan_world_clip *clip, const swan_world_scene *wanted, unsigned asked,
                      swan_world_verdict *verdict) {
    const int width = clip->width, height = clip->height, frames = clip->frames;
    if (!clip->rgb || width < 32 || height < 32 || frames < 5) {
        return false;
    }
    const size_t size = (size_t)width * (size_t)height, count = (size_t)frames;
    stage s = {.rgb = clip->rgb, .width = width, .height = height, .frames = frames};
    s.ground = malloc(3 * size), s.labels = malloc(count * size), s.queue = malloc(size * sizeof *s.queue);
    s.blobs = calloc(count * MAX_BLOBS, sizeof *s.blobs), s.room = malloc(2 * count * sizeof *s.room);
    blob *tracks = calloc(count * MAX_BLOBS, sizeof *tracks);
    shape *templates = malloc((size_t)SWAN_WORLD_OBJECTS * 2 * TURNS * sizeof *templates);
    const bool enough = s.ground && s.labels && s.queue && s.blobs && s.room && tracks && templates;
    if (enough) {
        track t[MAX_BLOBS] = {{.at = tracks}, {.at = tracks + count}};
        *verdict = (swan_world_verdict){0};
        for (int i = 0; i < SWAN_WORLD_OBJECTS * 2 * TURNS; i++) {
            draw_template(i / (2 * TURNS), 6.2831853f * (float)(i % TURNS) / TURNS, i % (2 * TURNS) >= TURNS, &templates[i]);
        }
        find_ground(&s, verdict);
        for (int f = 0; f < frames; f++) {
            find_blobs(&s, f);
        }
        follow(&s, t);
        judge_tracks(&s, t, templates, wanted, asked, verdict);
        verdict->right = agreement(wanted, &verdict->seen, asked);
    }
    free(s.ground), free(s.labels), free(s.queue), free(s.blobs), free(s.room), free(tracks), free(templates);
    return enough;
}
