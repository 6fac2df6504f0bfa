/* The 28 drawings. Own work; order as in scene.c's object names. */
#include "world/shapes.h"

#include <stddef.h>

#include "world/world.h"

#define ELLIPSE(role, x, y, rx, ry) {SWAN_WORLD_ELLIPSE, SWAN_WORLD_##role, {x, y, rx, ry}, 0, NULL}
#define CIRCLE(role, x, y, r) ELLIPSE(role, x, y, r, r)
#define DOME(role, x, y, rx, ry) {SWAN_WORLD_DOME, SWAN_WORLD_##role, {x, y, rx, ry}, 0, NULL}
#define BOX(role, x, y, hx, hy, r) {SWAN_WORLD_BOX, SWAN_WORLD_##role, {x, y, hx, hy, r}, 0, NULL}
#define CAPSULE(role, x0, y0, x1, y1, r) {SWAN_WORLD_CAPSULE, SWAN_WORLD_##role, {x0, y0, x1, y1, r}, 0, NULL}
#define RING(role, x, y, r, t) {SWAN_WORLD_RING, SWAN_WORLD_##role, {x, y, r, t}, 0, NULL}
#define CRESCENT(role, x, y, r, x2, y2, r2) {SWAN_WORLD_CRESCENT, SWAN_WORLD_##role, {x, y, r, x2, y2, r2}, 0, NULL}
#define POLYGON(role, ...)                                                                                             \
    {SWAN_WORLD_POLYGON, SWAN_WORLD_##role, {0}, sizeof((const int8_t[]){__VA_ARGS__}) / 2, (const int8_t[]){__VA_ARGS__}}
#define EYE(x, y, r) CIRCLE(PAPER, x, y, r), CIRCLE(INK, (x) + (r) / 4, y, (r) / 2)

const swan_world_drawing swan_world_drawings[SWAN_WORLD_OBJECTS] = {
    /* ball */ {SWAN_WORLD_ROLLS, 4, {CIRCLE(MAIN, 0, 0, 95), ELLIPSE(LIGHT, 0, 0, 36, 95), ELLIPSE(MAIN, 0, 0, 9, 94),
                                      CIRCLE(PAPER, 0, 0, 16)}},
    /* star */ {0, 1, {POLYGON(MAIN, 0, -92, 26, -30, 93, -24, 42, 20, 58, 85, 0, 50, -58, 85, -42, 20, -93, -24, -26, -30)}},
    /* heart */ {0, 2, {POLYGON(MAIN, 0, -46, 10, -70, 28, -85, 53, -89, 78, -77, 93, -54, 93, -26, 78, 2, 53, 27, 28, 49,
                                10, 70, 0, 90, -10, 70, -28, 49, -53, 27, -78, 2, -93, -26, -93, -54, -78, -77, -53, -89,
                                -28, -85, -10, -70),
                        ELLIPSE(LIGHT, -50, -52, 20, 14)}},
    /* moon */ {0, 1, {CRESCENT(MAIN, 5, 0, 95, 48, -12, 78)}},
    /* house */ {0, 6, {BOX(MAIN, 0, 32, 70, 60, 2), BOX(DARK, 48, -62, 11, 26, 0), POLYGON(DARK, -95, -18, 0, -95, 95, -18),
                        BOX(WOOD, 0, 60, 17, 32, 2), BOX(GLASS, -42, 22, 15, 15, 2), BOX(GLASS, 42, 22, 15, 15, 2)}},
    /* car */ {SWAN_WORLD_FACES, 9, {POLYGON(MAIN, -62, 2, -42, -50, 30, -50, 64, 2), BOX(MAIN, 0, 20, 97, 28, 12),
                                     POLYGON(GLASS, -46, -4, -33, -38, -8, -38, -8, -4), POLYGON(GLASS, 2, -4, 2, -38, 24, -38, 47, -4),
                                     CIRCLE(INK, -53, 48, 25), CIRCLE(INK, 53, 48, 25), CIRCLE(STEEL, -53, 48, 11),
                                     CIRCLE(STEEL, 53, 48, 11), CIRCLE(GOLD, 89, 14, 9)}},
    /* boat */ {SWAN_WORLD_FACES, 5, {CAPSULE(WOOD, 0, 40, 0, -90, 5), POLYGON(LIGHT, 10, -88, 10, 22, 82, 22),
                                      POLYGON(MAIN, -10, -66, -10, 22, -64, 22), POLYGON(MAIN, -97, 34, 97, 34, 62, 86, -66, 86),
                                      BOX(DARK, 0, 39, 92, 6, 2)}},
    /* tree */ {0, 5, {BOX(WOOD, 0, 66, 14, 32, 3), CIRCLE(MAIN, -42, 2, 42), CIRCLE(MAIN, 42, 2, 42), CIRCLE(MAIN, 0, -42, 52),
                       ELLIPSE(MAIN, 0, 14, 50, 36)}},
    /* fish */ {SWAN_WORLD_FACES, 6, {POLYGON(DARK, -42, 0, -97, -50, -82, 0, -97, 50), POLYGON(DARK, -10, -38, 16, -78, 44, -34),
                                      ELLIPSE(MAIN, 18, 0, 76, 50), POLYGON(DARK, 10, 4, -22, 26, -8, -8), EYE(60, -12, 14)}},
    /* cat */ {SWAN_WORLD_FACES, 12, {CAPSULE(MAIN, -58, 20, -86, -48, 9), BOX(DARK, -46, 66, 10, 30, 6), BOX(DARK, 16, 66, 10, 30, 6),
                                      BOX(MAIN, -26, 68, 10, 30, 6), BOX(MAIN, 36, 68, 10, 30, 6), ELLIPSE(MAIN, -8, 28, 60, 34),
                                      POLYGON(MAIN, 26, -34, 28, -84, 54, -52), POLYGON(MAIN, 58, -52, 86, -84, 86, -32),
                                      CIRCLE(MAIN, 56, -20, 36), CIRCLE(FIRE, 88, -10, 6), EYE(66, -28, 10)}},
    /* bird */ {SWAN_WORLD_FACES, 7, {POLYGON(DARK, -38, 6, -97, -16, -92, 26), ELLIPSE(MAIN, 0, 10, 56, 40), CIRCLE(MAIN, 54, -26, 29),
                                      POLYGON(FIRE, 76, -38, 99, -24, 76, -14), POLYGON(LIGHT, 20, 4, -34, 0, -52, -86, -10, -60),
                                      EYE(60, -32, 10)}},
    /* balloon */ {0, 4, {CAPSULE(STEEL, 0, 44, 0, 96, 3), POLYGON(DARK, -12, 50, 12, 50, 0, 32), ELLIPSE(MAIN, 0, -27, 58, 68),
                          ELLIPSE(LIGHT, -22, -52, 13, 22)}},
    /* rocket */ {SWAN_WORLD_POINTS, 8, {POLYGON(FIRE, -22, 60, 0, 99, 22, 60), POLYGON(GOLD, -11, 60, 0, 82, 11, 60),
                                         POLYGON(DARK, -26, 16, -68, 68, -26, 58), POLYGON(DARK, 26, 16, 68, 68, 26, 58),
                                         BOX(MAIN, 0, 8, 33, 54, 12), POLYGON(DARK, -33, -42, 0, -99, 33, -42), CIRCLE(PAPER, 0, -8, 20),
                                         CIRCLE(GLASS, 0, -8, 13)}},
    /* mushroom */ {0, 5, {BOX(PAPER, 0, 52, 27, 42, 12), DOME(MAIN, 0, 20, 95, 98), CIRCLE(PAPER, 0, -42, 18), CIRCLE(PAPER, -52, -8, 15),
                           CIRCLE(PAPER, 50, -10, 16)}},
    /* flower */ {0, 9, {CAPSULE(LEAF, 0, 10, 0, 94, 6), ELLIPSE(LEAF, 28, 64, 24, 10), CIRCLE(MAIN, 0, -68, 29), CIRCLE(MAIN, 38, -46, 29),
                         CIRCLE(MAIN, 38, -2, 29), CIRCLE(MAIN, 0, 20, 29), CIRCLE(MAIN, -38, -2, 29), CIRCLE(MAIN, -38, -46, 29),
                         CIRCLE(GOLD, 0, -24, 26)}},
    /* butterfly */ {0, 8, {CAPSULE(INK, 0, -44, -20, -86, 3), CAPSULE(INK, 0, -44, 20, -86, 3), ELLIPSE(MAIN, -50, -24, 46, 44),
                            ELLIPSE(MAIN, 50, -24, 46, 44), CIRCLE(DARK, -40, 42, 34), CIRCLE(DARK, 40, 42, 34), CIRCLE(LIGHT, -54, -26, 17),
                            CIRCLE(LIGHT, 54, -26, 17)}},
    /* cup */ {0, 4, {RING(MAIN, 54, 0, 32, 9), POLYGON(MAIN, -72, -58, 54, -58, 42, 74, -60, 74), ELLIPSE(LIGHT, -9, -58, 64, 15),
                      BOX(DARK, -9, 22, 55, 11, 0)}},
    /* umbrella */ {0, 5, {CAPSULE(WOOD, 0, 0, 0, 80, 5), CAPSULE(WOOD, 0, 84, 22, 80, 6), DOME(MAIN, 0, 6, 98, 92), DOME(LIGHT, 0, 6, 40, 92),
                           CAPSULE(WOOD, 0, -88, 0, -96, 4)}},
    /* kite */ {0, 6, {CAPSULE(STEEL, 0, 44, 18, 68, 4), CAPSULE(STEEL, 18, 68, -4, 96, 4), POLYGON(MAIN, 0, -98, 64, -24, 0, 56, -64, -24),
                       POLYGON(LIGHT, 0, -92, 58, -24, 0, -24), POLYGON(LIGHT, 0, 48, -58, -24, 0, -24), BOX(FIRE, 10, 76, 12, 6, 3)}},
    /* apple */ {SWAN_WORLD_ROLLS, 6, {CAPSULE(WOOD, 0, -40, 10, -84, 6), ELLIPSE(LEAF, 38, -70, 28, 13), CIRCLE(MAIN, -32, 12, 56),
                                       CIRCLE(MAIN, 32, 12, 56), ELLIPSE(MAIN, 0, 34, 62, 60), ELLIPSE(LIGHT, -44, -6, 13, 20)}},
    /* duck */ {SWAN_WORLD_FACES, 7, {POLYGON(MAIN, -84, 34, -98, -18, -50, 12), ELLIPSE(MAIN, -10, 40, 78, 46), CIRCLE(MAIN, 40, -34, 37),
                                      ELLIPSE(FIRE, 80, -26, 19, 11), ELLIPSE(DARK, -24, 34, 36, 20), EYE(48, -44, 11)}},
    /* robot */ {0, 13, {CAPSULE(STEEL, 0, -80, 0, -92, 3), CIRCLE(FIRE, 0, -90, 8), BOX(STEEL, -26, 84, 12, 14, 3), BOX(STEEL, 26, 84, 12, 14, 3),
                         CAPSULE(STEEL, -62, 10, -84, 42, 9), CAPSULE(STEEL, 62, 10, 84, 42, 9), BOX(MAIN, 0, 30, 58, 44, 8),
                         BOX(MAIN, 0, -50, 44, 30, 10), CIRCLE(GOLD, -18, -54, 11), CIRCLE(GOLD, 18, -54, 11), BOX(INK, 0, -32, 20, 4, 2),
                         BOX(LIGHT, 0, 28, 32, 22, 4), CIRCLE(FIRE, 12, 28, 8)}},
    /* crown */ {0, 8, {POLYGON(MAIN, -90, 62, -92, -46, -44, 4, 0, -76, 44, 4, 92, -46, 90, 62), BOX(DARK, 0, 52, 90, 14, 2), CIRCLE(LIGHT, -90, -52, 9),
                        CIRCLE(LIGHT, 0, -82, 11), CIRCLE(LIGHT, 90, -52, 9), CIRCLE(PAPER, -50, 52, 8), CIRCLE(PAPER, 0, 52, 8),
                        CIRCLE(PAPER, 50, 52, 8)}},
    /* gift */ {0, 5, {RING(LIGHT, -24, -66, 22, 8), RING(LIGHT, 24, -66, 22, 8), BOX(MAIN, 0, 30, 76, 64, 3), BOX(DARK, 0, -30, 86, 17, 3),
                       BOX(LIGHT, 0, 24, 14, 70, 0)}},
    /* plane */ {SWAN_WORLD_FACES, 8, {POLYGON(DARK, -92, -62, -66, -62, -44, -10, -80, -4), POLYGON(DARK, 30, -10, 8, -10, -24, -54, -8, -54),
                                       CAPSULE(MAIN, -70, 4, 70, 4, 26), CIRCLE(GLASS, -22, -4, 8), CIRCLE(GLASS, 4, -4, 8), CIRCLE(GLASS, 30, -4, 8),
                                       POLYGON(GLASS, 62, -16, 80, -16, 92, 0, 62, 0), POLYGON(DARK, 24, 12, -10, 12, -48, 70, -24, 70)}},
    /* ghost */ {0, 8, {CIRCLE(MAIN, -46, 66, 24), CIRCLE(MAIN, 0, 66, 24), CIRCLE(MAIN, 46, 66, 24), DOME(MAIN, 0, -16, 70, 80), BOX(MAIN, 0, 22, 70, 46, 0),
                        ELLIPSE(INK, -24, -22, 11, 17), ELLIPSE(INK, 24, -22, 11, 17), ELLIPSE(INK, 0, 18, 12, 15)}},
    /* bell */ {0, 5, {RING(DARK, 0, -80, 13, 6), CIRCLE(DARK, 0, 78, 18), DOME(MAIN, 0, 6, 56, 82), POLYGON(MAIN, -56, 2, 56, 2, 84, 60, -84, 60),
                       BOX(DARK, 0, 62, 90, 9, 8)}},
    /* turtle */ {SWAN_WORLD_FACES, 9, {BOX(LEAF, -42, 62, 15, 18, 8), BOX(LEAF, 34, 62, 15, 18, 8), CAPSULE(LEAF, -70, 44, -94, 52, 7),
                                        CAPSULE(LEAF, 58, 36, 78, 10, 17), DOME(MAIN, -6, 52, 74, 96), CIRCLE(DARK, -6, -4, 17), CIRCLE(DARK, -42, 26, 13),
                                        CIRCLE(DARK, 28, 26, 13), CIRCLE(INK, 84, 6, 5)}},
};
