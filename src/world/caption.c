/* Scene to sentence and back. The writer draws form, synonyms and omissions from one 32-bit number. */
#include <string.h>

#include "world/lexicon.h"
#include "world/world.h"

/* ---- writing -------------------------------------------------------------------------------------------------- */

typedef struct writer {
    char *buf;
    size_t n, length; /* length may pass n: counted, not written */
    uint32_t dice;
    unsigned stated;
    const swan_world_scene *scene;
} writer;

static uint32_t roll(writer *w, uint32_t sides) {
    /* xorshift32 (Marsaglia, 2003); never zero, because the start value is not. */
    w->dice ^= w->dice << 13;
    w->dice ^= w->dice >> 17;
    w->dice ^= w->dice << 5;
    return (uint32_t)(((uint64_t)w->dice * sides) >> 32);
}

static void put(writer *w, const char *text) {
    for (; *text; text++, w->length++) {
        if (w->length + 1 < w->n) {
            w->buf[w->length] = *text;
        }
    }
}

/* A word with a space before it, unless it opens the sentence or is a comma. */
static void put_word(writer *w, const char *word) {
    if (w->length > 0 && *word != ',') {
        put(w, " ");
    }
    put(w, word);
}

/* The plain word half of the time, else any of the list. */
static const char *pick(writer *w, const char *const *list) {
    int count = 0;
    while (count < SWAN_WORLD_WORDS_MAX && list[count]) {
        count++;
    }
    return list[roll(w, 2) ? 0 : roll(w, (uint32_t)count)];
}

static void put_noun(writer *w, const char *size, const char *colour, const char *object, bool article) {
    const char *first = size ? size : colour ? colour : object;
    if (article) {
        put_word(w, strchr("aeiou", *first) ? "an" : "a");
    }
    if (size) {
        put_word(w, size);
    }
    if (colour) {
        put_word(w, colour);
    }
    put_word(w, object);
}

static void put_main_noun(writer *w, bool article) {
    const swan_world_scene *s = w->scene;
    const char *size = NULL, *colour = NULL;
    if (s->size != SWAN_WORLD_MEDIUM && roll(w, 100) < 75) {
        size = pick(w, swan_world_size_words[s->size]);
        w->stated |= SWAN_WORLD_ATTR_SIZE;
    }
    if (roll(w, 100) < 96) {
        colour = pick(w, swan_world_colour_words[s->colour]);
        w->stated |= SWAN_WORLD_ATTR_COLOUR;
    }
    w->stated |= SWAN_WORLD_ATTR_OBJECT;
    put_noun(w, size, colour, pick(w, swan_world_object_words[s->object]), article);
}

static void put_second(writer *w) {
    const swan_world_scene *s = w->scene;
    if (s->relation == SWAN_WORLD_ALONE) {
        return;
    }
    const bool side = s->relation == SWAN_WORLD_LEFT_OF || s->relation == SWAN_WORLD_RIGHT_OF;
    const bool vague = side && roll(w, 3) == 0;
    put_word(w, pick(w, swan_world_relation_words[vague ? SWAN_WORLD_ALONE : s->relation]));
    put_noun(w, NULL, pick(w, swan_world_colour_words[s->second_colour]), pick(w, swan_world_object_words[s->second_object]),
             true);
    w->stated |= SWAN_WORLD_ATTR_SECOND | SWAN_WORLD_ATTR_SECOND_COLOUR | (vague ? 0u : SWAN_WORLD_ATTR_RELATION);
}

typedef enum tense { ING, SIMPLE } tense;

static void put_verb(writer *w, tense form) {
    const swan_world_scene *s = w->scene;
    const bool travels = swan_world_way_words[s->motion][0] != NULL;
    if (form == ING && roll(w, 100) < (s->motion == SWAN_WORLD_STILL ? 30u : 2u)) {
        return; /* unsaid */
    }
    const swan_world_verb *list = swan_world_motion_verbs[s->motion];
    int count = 0;
    while (count < SWAN_WORLD_WORDS_MAX && list[count].ing) {
        count++;
    }
    const swan_world_verb *verb = &list[roll(w, (uint32_t)count)];
    if (travels && roll(w, 2)) {
        verb = &swan_world_object_verb[s->object];
    }
    /* Speed is told of motions whose pace shows. */
    const char *speed = NULL;
    const bool paced = s->motion != SWAN_WORLD_STILL && s->motion != SWAN_WORLD_GROW && s->motion != SWAN_WORLD_SHRINK;
    if (paced && roll(w, 100) < (s->speed == SWAN_WORLD_NORMAL ? 10u : 75u)) {
        speed = pick(w, swan_world_speed_words[s->speed]);
        w->stated |= SWAN_WORLD_ATTR_SPEED;
    }
    const bool speed_first = roll(w, 2) != 0;
    w->stated |= SWAN_WORLD_ATTR_MOTION;
    put_word(w, form == ING ? verb->ing : verb->s);
    if (speed && speed_first) {
        put_word(w, speed);
    }
    if (travels) {
        put_word(w, pick(w, swan_world_way_words[s->motion]));
    }
    if (speed && !speed_first) {
        put_word(w, speed);
    }
}

static void put_background(writer *w) {
    w->stated |= SWAN_WORLD_ATTR_BACKGROUND;
    put_word(w, pick(w, swan_world_background_phrases[w->scene->background]));
}

static void write_form(writer *w, uint32_t form) {
    static const char *const opening[] = {"a video of", "a clip of", "an animation of", "a cartoon of"};
    const bool ground = roll(w, 100) < 90;
    switch (form) {
    case 0: /* a red ball rolls slowly to the right over green hills */
        put_main_noun(w, true), put_verb(w, SIMPLE), ground ? put_background(w) : (void)0, put_second(w);
        break;
    case 1: /* over green hills, a red ball rolls to the right */
        put_background(w), put_word(w, ","), put_main_noun(w, true), put_verb(w, SIMPLE), put_second(w);
        break;
    case 2: /* red ball, rolling to the right, over green hills */
        put_main_noun(w, false), put_word(w, ","), put_verb(w, ING), put_word(w, ","), put_second(w), put_background(w);
        break;
    case 3: /* a red ball next to a blue house, rolling to the right over green hills */
        put_main_noun(w, true), put_second(w), put_word(w, ","), put_verb(w, ING), ground ? put_background(w) : (void)0;
        break;
    case 4: /* there is a red ball rolling ... */
        put_word(w, "there is"), put_main_noun(w, true), put_verb(w, ING), put_background(w), put_second(w);
        break;
    case 5:
        put_word(w, opening[roll(w, 4)]), put_main_noun(w, true), put_verb(w, ING), put_background(w), put_second(w);
        break;
    default: /* a red ball rolling to the right over green hills */
        put_main_noun(w, true), put_verb(w, ING), ground ? put_background(w) : (void)0, put_second(w);
        break;
    }
}

int swan_world_caption(const swan_world_scene *scene, uint32_t variant, char *buf, size_t n, unsigned *stated) {
    writer w = {.buf = buf, .n = n, .dice = variant * 2654435761u ^ 0x5bd1e995u, .scene = scene};
    w.dice = w.dice ? w.dice : 1u;
    (void)roll(&w, 2), (void)roll(&w, 2);
    write_form(&w, roll(&w, 10));
    if (n > 0) {
        buf[w.length < n ? w.length : n - 1] = '\0';
    }
    if (stated) {
        *stated = w.stated;
    }
    return (int)w.length;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

enum { TEXT_MAX = 512 };

/* Text as " word word ": lower case, everything but letters a space, so that phrases match at word borders. A word
 * that was used is overwritten with '#'. */
static void normalise(const char *text, char out[TEXT_MAX]) {
    size_t n = 0;
    out[n++] = ' ';
    for (; *text && n + 2 < TEXT_MAX; text++) {
        const char c = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
        if (c >= 'a' && c <= 'z') {
            out[n++] = c;
        } else if (out[n - 1] != ' ') {
            out[n++] = ' ';
        }
    }
    if (out[n - 1] != ' ') {
        out[n++] = ' ';
    }
    out[n] = '\0';
}

/* Position of the phrase as whole words (plural s allowed), or NULL. */
static char *find_phrase(char *text, const char *phrase) {
    const size_t n = strlen(phrase);
    for (char *at = strstr(text, phrase); at; at = strstr(at + 1, phrase)) {
        if (at[-1] == ' ' && (at[n] == ' ' || (at[n] == 's' && at[n + 1] == ' '))) {
            return at;
        }
    }
    return NULL;
}

typedef struct found {
    int row;
    char *at; /* NULL: nothing */
    size_t length;
} found;

/* The longest phrase of a table that occurs in text; of equal ones, the first in the text. */
static found find_longest(char *text, const char *const (*table)[SWAN_WORLD_WORDS_MAX], int rows) {
    found best = {0};
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < SWAN_WORLD_WORDS_MAX && table[r][i]; i++) {
            char *at = find_phrase(text, table[r][i]);
            const size_t n = strlen(table[r][i]);
            if (at && (n > best.length || (n == best.length && at < best.at))) {
                best = (found){r, at, n};
            }
        }
    }
    return best;
}

/* The phrase that starts first; of two at one place, the longer. */
static found find_first(char *text, const char *const (*table)[SWAN_WORLD_WORDS_MAX], int rows) {
    found best = {0};
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < SWAN_WORLD_WORDS_MAX && table[r][i]; i++) {
            char *at = find_phrase(text, table[r][i]);
            const size_t n = strlen(table[r][i]);
            if (at && (!best.at || at < best.at || (at == best.at && n > best.length))) {
                best = (found){r, at, n};
            }
        }
    }
    return best;
}

static void use(const found *f) { memset(f->at, '#', f->length); }

static found find_verb(char *text) {
    found best = {0};
    for (int m = 0; m < SWAN_WORLD_MOTIONS; m++) {
        const bool travels = swan_world_way_words[m][0] != NULL;
        for (int i = 0; i < SWAN_WORLD_WORDS_MAX && swan_world_motion_verbs[m][i].ing; i++) {
            /* "moving" alone tells no direction; "rising" and "falling" do. */
            if (travels && (i < 4 || m == SWAN_WORLD_RIGHT || m == SWAN_WORLD_LEFT)) {
                continue;
            }
            const char *const forms[2] = {swan_world_motion_verbs[m][i].ing, swan_world_motion_verbs[m][i].s};
            for (int k = 0; k < 2; k++) {
                char *at = find_phrase(text, forms[k]);
                if (at && strlen(forms[k]) > best.length) {
                    best = (found){m, at, strlen(forms[k])};
                }
            }
        }
    }
    return best;
}

static unsigned parse_motion(char *text, swan_world_scene *scene) {
    found f = find_verb(text);
    if (!f.at) {
        f = find_longest(text, swan_world_way_words, SWAN_WORLD_MOTIONS);
    }
    if (!f.at) {
        return 0;
    }
    scene->motion = f.row;
    return SWAN_WORLD_ATTR_MOTION;
}

unsigned swan_world_parse(const char *text, swan_world_scene *scene) {
    char words[TEXT_MAX];
    unsigned bits = 0;
    normalise(text, words);
    /* Whole phrases first: the "under" of "under the stars" must not look like a relation. */
    found f = find_longest(words, swan_world_background_phrases, SWAN_WORLD_BACKGROUNDS);
    if (!f.at) {
        f = find_longest(words, swan_world_background_nouns, SWAN_WORLD_BACKGROUNDS);
    }
    if (f.at) {
        scene->background = f.row, bits |= SWAN_WORLD_ATTR_BACKGROUND;
        use(&f);
    }
    /* A second object is a relation, then a noun; without the noun, "above" was about something else. */
    found relation = find_longest(words, swan_world_relation_words, SWAN_WORLD_RELATIONS);
    if (relation.at) {
        char *rest = relation.at + relation.length;
        found noun = find_first(rest, swan_world_object_words, SWAN_WORLD_OBJECTS);
        if (noun.at) {
            scene->second_object = noun.row, bits |= SWAN_WORLD_ATTR_SECOND;
            use(&noun);
            found paint = find_first(rest, swan_world_colour_words, SWAN_WORLD_COLOURS);
            if (paint.at && paint.at < noun.at) {
                scene->second_colour = paint.row, bits |= SWAN_WORLD_ATTR_SECOND_COLOUR;
                use(&paint);
            }
            use(&relation);
            /* "next to" leaves the side open: any non-alone value says that there is a second object. */
            scene->relation = relation.row == SWAN_WORLD_ALONE ? SWAN_WORLD_LEFT_OF : relation.row;
            bits |= relation.row == SWAN_WORLD_ALONE ? 0u : SWAN_WORLD_ATTR_RELATION;
        }
    }
    f = find_first(words, swan_world_object_words, SWAN_WORLD_OBJECTS);
    if (f.at) {
        scene->object = f.row, bits |= SWAN_WORLD_ATTR_OBJECT;
        use(&f);
    }
    f = find_first(words, swan_world_colour_words, SWAN_WORLD_COLOURS);
    if (f.at) {
        scene->colour = f.row, bits |= SWAN_WORLD_ATTR_COLOUR;
    }
    f = find_first(words, swan_world_size_words, SWAN_WORLD_SIZES);
    if (f.at) {
        scene->size = f.row, bits |= SWAN_WORLD_ATTR_SIZE;
    }
    f = find_first(words, swan_world_speed_words, SWAN_WORLD_SPEEDS);
    if (f.at) {
        scene->speed = f.row, bits |= SWAN_WORLD_ATTR_SPEED;
    }
    return bits | parse_motion(words, scene);
}
