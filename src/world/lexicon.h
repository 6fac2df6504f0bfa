/* The words of the world, shared by the writer and the reader of captions. Internal to world. */
#ifndef SWAN_WORLD_LEXICON_H
#define SWAN_WORLD_LEXICON_H

#include "world/world.h"

enum { SWAN_WORLD_WORDS_MAX = 7 };

/* One verb: "rolling", "rolls". */
typedef struct swan_world_verb {
    const char *ing, *s;
} swan_world_verb;

/* Lists end with NULL (or a verb whose `ing` is NULL). The first word of a list is the plain one. */
extern const char *const swan_world_object_words[SWAN_WORLD_OBJECTS][SWAN_WORLD_WORDS_MAX];
extern const char *const swan_world_colour_words[SWAN_WORLD_COLOURS][SWAN_WORLD_WORDS_MAX];
extern const char *const swan_world_size_words[SWAN_WORLD_SIZES][SWAN_WORLD_WORDS_MAX];
extern const char *const swan_world_speed_words[SWAN_WORLD_SPEEDS][SWAN_WORLD_WORDS_MAX];
/* "to the right", "left", ...: only for the four travelling motions. */
extern const char *const swan_world_way_words[SWAN_WORLD_MOTIONS][SWAN_WORLD_WORDS_MAX];
/* How a motion is told; for travel: verbs that any object may do. */
extern const swan_world_verb swan_world_motion_verbs[SWAN_WORLD_MOTIONS][SWAN_WORLD_WORDS_MAX];
/* What this object does when it travels: a car drives. */
extern const swan_world_verb swan_world_object_verb[SWAN_WORLD_OBJECTS];
/* Whole phrases with their preposition, and the noun phrases that tell the background when read. */
extern const char *const swan_world_background_phrases[SWAN_WORLD_BACKGROUNDS][SWAN_WORLD_WORDS_MAX];
extern const char *const swan_world_background_nouns[SWAN_WORLD_BACKGROUNDS][SWAN_WORLD_WORDS_MAX];
extern const char *const swan_world_relation_words[SWAN_WORLD_RELATIONS][SWAN_WORLD_WORDS_MAX];

#endif
