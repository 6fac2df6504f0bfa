/* The tinyworld: a procedural, captioned world of short cartoon clips.
 *
 * One scene is a handful of integers and three nuisance numbers. Everything else follows from it: captions in several
 * sentence forms, the rendered clip, and what a judge may expect to see. The same code makes training data, tests and
 * the measurements of the built-in model, so a caption can never drift from its picture.
 *
 * All functions are pure (no global state, no allocation) except swan_world_judge, which allocates scratch memory. */
#ifndef SWAN_WORLD_WORLD_H
#define SWAN_WORLD_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SWAN_WORLD_OBJECTS = 28,
    SWAN_WORLD_COLOURS = 10,
    SWAN_WORLD_BACKGROUNDS = 16,
    SWAN_WORLD_LAYOUTS = 4, /* every background exists in this many fixed drawings */
    SWAN_WORLD_CAPTION_MAX = 256
};

typedef enum swan_world_motion {
    SWAN_WORLD_STILL,
    SWAN_WORLD_RIGHT,
    SWAN_WORLD_LEFT,
    SWAN_WORLD_UP,
    SWAN_WORLD_DOWN,
    SWAN_WORLD_BOUNCE,
    SWAN_WORLD_SPIN,
    SWAN_WORLD_CIRCLE,
    SWAN_WORLD_GROW,
    SWAN_WORLD_SHRINK,
    SWAN_WORLD_WOBBLE,
    SWAN_WORLD_MOTIONS
} swan_world_motion;

typedef enum swan_world_speed { SWAN_WORLD_SLOW, SWAN_WORLD_NORMAL, SWAN_WORLD_FAST, SWAN_WORLD_SPEEDS } swan_world_speed;
typedef enum swan_world_size { SWAN_WORLD_SMALL, SWAN_WORLD_MEDIUM, SWAN_WORLD_LARGE, SWAN_WORLD_SIZES } swan_world_size;

/* Where the main object is, seen from the second one. */
typedef enum swan_world_relation {
    SWAN_WORLD_ALONE,
    SWAN_WORLD_LEFT_OF,
    SWAN_WORLD_RIGHT_OF,
    SWAN_WORLD_ABOVE,
    SWAN_WORLD_BELOW,
    SWAN_WORLD_RELATIONS
} swan_world_relation;

/* Which attributes a caption states, or a parser found. */
typedef enum swan_world_attr {
    SWAN_WORLD_ATTR_OBJECT = 1,
    SWAN_WORLD_ATTR_COLOUR = 2,
    SWAN_WORLD_ATTR_MOTION = 4,
    SWAN_WORLD_ATTR_SPEED = 8,
    SWAN_WORLD_ATTR_SIZE = 16,
    SWAN_WORLD_ATTR_BACKGROUND = 32,
    SWAN_WORLD_ATTR_SECOND = 64,        /* second object */
    SWAN_WORLD_ATTR_SECOND_COLOUR = 128,
    SWAN_WORLD_ATTR_RELATION = 256      /* an exact side; "next to" leaves it unset */
} swan_world_attr;

typedef struct swan_world_scene {
    int object, colour;               /* index into the name tables */
    int motion, speed, size;          /* swan_world_motion, _speed, _size */
    int background, layout;
    int relation;                     /* swan_world_relation; ALONE: the two fields below mean nothing */
    int second_object, second_colour;
    float u, v;                       /* 0..1: start position inside the free room */
    float phase;                      /* 0..1: of periodic motion */
} swan_world_scene;

/* Which (object, colour) pairs scene_from_index may use. */
typedef enum swan_world_split {
    SWAN_WORLD_TRAIN,    /* no held-out pair anywhere in the scene */
    SWAN_WORLD_HELD_OUT  /* the main object is a held-out pair */
} swan_world_split;

/* Names: one English noun or adjective each. Index out of range: NULL. */
const char *swan_world_object_name(int object);
const char *swan_world_colour_name(int colour);
const char *swan_world_motion_name(int motion);
const char *swan_world_background_name(int background);

/* True for the 28 pairs (one per object) that training never sees. */
bool swan_world_is_held_out(int object, int colour);

/* Scene number `index` of the endless list `seed`; equal arguments give equal scenes everywhere. */
void swan_world_scene_from_index(uint64_t seed, uint64_t index, swan_world_split split, swan_world_scene *scene);

/* Writes one English sentence for the scene; `variant` picks sentence form, synonyms and what is left unsaid.
 * `stated` (may be NULL) receives the swan_world_attr bits that the sentence tells. Returns the length without the
 * final NUL, as snprintf does: a result >= n means the text was cut. */
int swan_world_caption(const swan_world_scene *scene, uint32_t variant, char *buf, size_t n, unsigned *stated);

/* Reads a sentence about this world. Fields whose bit is not in the result keep their input values. Returns
 * swan_world_attr bits; 0 means that nothing was understood. */
unsigned swan_world_parse(const char *text, swan_world_scene *scene);

/* Draws the clip: u8 [frames, height, width, 3], sRGB, raster order. Travel spans the clip, periodic motion runs in
 * seconds (frame / fps). Positions scale with the frame, so any size works; width, height, frames, fps > 0. */
void swan_world_render(const swan_world_scene *scene, int width, int height, int frames, int fps, uint8_t *rgb);

/* The empty background alone: u8 [height, width, 3]. */
void swan_world_render_background(int background, int layout, int width, int height, uint8_t *rgb);

/* Where the main object is at a frame. Units: frame heights for x, y and radius; radians for angle. */
typedef struct swan_world_pose {
    float x, y, radius, angle;
    bool mirror;
} swan_world_pose;
void swan_world_pose_at(const swan_world_scene *scene, float aspect, int frame, int frames, int fps,
                        swan_world_pose *pose);
/* The same for the second object, which never moves. Only for scenes with a relation. */
void swan_world_second_pose(const swan_world_scene *scene, float aspect, swan_world_pose *pose);

/* Blends one object over an existing frame. */
void swan_world_draw_object(uint8_t *rgb, int width, int height, int object, int colour, const swan_world_pose *pose);

/* The object's body colour, sRGB 0..255. */
void swan_world_colour_rgb(int colour, float rgb[3]);

#ifdef __cplusplus
}
#endif
#endif
