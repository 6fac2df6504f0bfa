/* Scenes: names, the deterministic list, and the held-out pairs. */
#include "world/world.h"

static const char *const object_names[SWAN_WORLD_OBJECTS] = {
    "ball",     "star",   "heart",     "moon", "house",    "car",  "boat",  "tree", "fish",  "cat",
    "bird",     "balloon", "rocket",   "mushroom", "flower", "butterfly", "cup", "umbrella", "kite", "apple",
    "duck",     "robot",  "crown",     "gift", "plane",    "ghost", "bell", "turtle"};
static const char *const colour_names[SWAN_WORLD_COLOURS] = {"red",  "orange", "yellow", "green", "blue",
                                                             "purple", "pink", "brown",  "white", "black"};
static const char *const motion_names[SWAN_WORLD_MOTIONS] = {"still",  "right",  "left", "up",     "down",  "bounce",
                                                             "spin", "circle", "grow", "shrink", "wobble"};
static const char *const background_names[SWAN_WORLD_BACKGROUNDS] = {
    "white", "gray", "blue", "pink",   "yellow", "green",  "sky",  "night",
    "hills", "sea",  "desert", "snow", "sunset", "forest", "room", "city"};

static const char *pick_name(const char *const *names, int count, int i) {
    return i >= 0 && i < count ? names[i] : NULL;
}

const char *swan_world_object_name(int object) { return pick_name(object_names, SWAN_WORLD_OBJECTS, object); }
const char *swan_world_colour_name(int colour) { return pick_name(colour_names, SWAN_WORLD_COLOURS, colour); }
const char *swan_world_motion_name(int motion) { return pick_name(motion_names, SWAN_WORLD_MOTIONS, motion); }
const char *swan_world_background_name(int background) {
    return pick_name(background_names, SWAN_WORLD_BACKGROUNDS, background);
}

/* 7 is invertible modulo 10, so every object has exactly one held-out colour and the colours share them evenly. */
bool swan_world_is_held_out(int object, int colour) { return (3 * object + 7 * colour + 5) % 10 == 0; }

/* SplitMix64 (Steele, Lea and Flood, 2014): any seed is a good seed and the state is one word. */
static uint64_t next_u64(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static int draw_below(uint64_t *state, int n) { return (int)((next_u64(state) >> 33) % (uint64_t)n); }
static float draw_unit(uint64_t *state) { return (float)(next_u64(state) >> 40) * (1.0f / 16777216.0f); }

static int draw_motion(uint64_t *state) {
    /* In percent. Directions come most often: they are what a viewer checks first. */
    static const int weight[SWAN_WORLD_MOTIONS] = {7, 14, 14, 14, 14, 8, 8, 7, 5, 5, 4};
    int roll = draw_below(state, 100);
    int motion = 0;
    while (roll >= weight[motion]) {
        roll -= weight[motion++];
    }
    return motion;
}

static int draw_colour(uint64_t *state, int object, bool held_out) {
    int colour = draw_below(state, SWAN_WORLD_COLOURS);
    while (swan_world_is_held_out(object, colour) != held_out) {
        colour = (colour + 1 + draw_below(state, SWAN_WORLD_COLOURS - 1)) % SWAN_WORLD_COLOURS;
    }
    return colour;
}

void swan_world_scene_from_index(uint64_t seed, uint64_t index, swan_world_split split, swan_world_scene *scene) {
    uint64_t state = seed * 0xD1342543DE82EF95ull ^ index;
    state = next_u64(&state) ^ ((uint64_t)split << 62);
    *scene = (swan_world_scene){0};
    scene->object = draw_below(&state, SWAN_WORLD_OBJECTS);
    scene->colour = draw_colour(&state, scene->object, split == SWAN_WORLD_HELD_OUT);
    scene->motion = draw_motion(&state);
    scene->speed = draw_below(&state, SWAN_WORLD_SPEEDS);
    scene->size = draw_below(&state, SWAN_WORLD_SIZES);
    scene->background = draw_below(&state, SWAN_WORLD_BACKGROUNDS);
    scene->layout = draw_below(&state, SWAN_WORLD_LAYOUTS);
    if (draw_below(&state, 100) < 22) {
        scene->relation = 1 + draw_below(&state, SWAN_WORLD_RELATIONS - 1);
        scene->second_object = (scene->object + 1 + draw_below(&state, SWAN_WORLD_OBJECTS - 1)) % SWAN_WORLD_OBJECTS;
        scene->second_colour = draw_colour(&state, scene->second_object, false);
    }
    scene->u = draw_unit(&state);
    scene->v = draw_unit(&state);
    scene->phase = draw_unit(&state);
}
