/* What a clip shows, measured without any network: the ground is one of the world's fixed drawings, what differs from it
 * is segmented and tracked, and shapes and colours are compared with the renderer's own drawings. */
#ifndef SWAN_WORLD_JUDGE_H
#define SWAN_WORLD_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "world/world.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How sure each finding is and what it rests on; all in [0, 1] unless said. */
typedef struct swan_world_verdict {
    swan_world_scene seen;    /* what the clip shows, as the judge reads it; phase, u and v are not measured */
    unsigned right;           /* swan_world_attr bits, out of those asked for, that agree with the wanted scene */
    float ground_error;       /* mean absolute difference to the found background, sRGB levels 0..255 */
    float shape_overlap;      /* mean overlap of silhouettes (intersection over union) with the found object */
    float colour_stability;   /* share of frames whose own best colour is the clip's */
    float object_stability;   /* share of looked-at frames whose own best object is the clip's */
    float visible;            /* share of frames in which an object was found */
    float motion_stability;   /* share of frames in which it is where the renderer's motion, fitted to the clip, puts it: the
                               * wanted motion if it was asked for, else the one seen */
} swan_world_verdict;

/* A borrowed clip: u8 [frames, height, width, 3], sRGB. */
typedef struct swan_world_clip {
    const uint8_t *rgb;
    int width, height, frames;
} swan_world_clip;

/* Judges a clip against `wanted`, attributes in `asked` (swan_world_attr; from swan_world_parse or swan_world_caption).
 * SPEED is judged for the four directions only. False: no pixels, a side under 32, fewer than 5 frames, or no memory
 * (the module stands alone, so it has no status to return); the verdict is then untouched. */
bool swan_world_judge(const swan_world_clip *clip, const swan_world_scene *wanted, unsigned asked,
                      swan_world_verdict *verdict);

#ifdef __cplusplus
}
#endif
#endif
