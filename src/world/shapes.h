/* The drawings: every object as a list of simple shapes in painter's order. Internal to world. */
#ifndef SWAN_WORLD_SHAPES_H
#define SWAN_WORLD_SHAPES_H

#include <stdint.h>

typedef enum swan_world_shape {
    SWAN_WORLD_ELLIPSE, /* a: centre x, y, radii x, y */
    SWAN_WORLD_DOME,    /* the same, upper half only */
    SWAN_WORLD_BOX,     /* a: centre x, y, half width, half height, corner radius */
    SWAN_WORLD_CAPSULE, /* a: x0, y0, x1, y1, radius */
    SWAN_WORLD_RING,    /* a: centre x, y, radius, half thickness */
    SWAN_WORLD_CRESCENT, /* a: circle x, y, r minus circle x, y, r */
    SWAN_WORLD_POLYGON   /* points: x, y pairs */
} swan_world_shape;

/* What paints a part: a shade of the object's colour, or a fixed colour. */
typedef enum swan_world_role {
    SWAN_WORLD_MAIN,
    SWAN_WORLD_LIGHT,
    SWAN_WORLD_DARK,
    SWAN_WORLD_PAPER,
    SWAN_WORLD_INK,
    SWAN_WORLD_GOLD,
    SWAN_WORLD_FIRE,
    SWAN_WORLD_WOOD,
    SWAN_WORLD_LEAF,
    SWAN_WORLD_STEEL,
    SWAN_WORLD_GLASS,
    SWAN_WORLD_ROLES
} swan_world_role;

enum { SWAN_WORLD_MAX_PARTS = 16, SWAN_WORLD_MAX_POINTS = 26 };

/* Coordinates are hundredths of the object's radius, y down; the object faces right and fits in [-100, 100]. */
typedef struct swan_world_part {
    uint8_t shape, role;
    int8_t a[6];
    uint8_t n_points;
    const int8_t *points;
} swan_world_part;

typedef enum swan_world_trait {
    SWAN_WORLD_FACES = 1, /* looks where it goes: mirrored when it moves left */
    SWAN_WORLD_ROLLS = 2, /* turns as it travels sideways */
    SWAN_WORLD_POINTS = 4 /* its tip turns towards where it goes */
} swan_world_trait;

typedef struct swan_world_drawing {
    uint8_t traits, n_parts;
    swan_world_part part[SWAN_WORLD_MAX_PARTS];
} swan_world_drawing;

extern const swan_world_drawing swan_world_drawings[];

#endif
