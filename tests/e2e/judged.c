/* The built-in model shows what its prompts ask for, as the world's judge sees it, and the same bounds notice when one layer of it
 * does nothing. Fixed prompts and seeds, the model's recipe with fewer steps; run from the repository's root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <swan/swan.h>

#include "../unit/scratch.h"
#include "world/judge.h"

#define MODEL "models/tinyworld"
#define TRANSFORMER MODEL "/transformer/diffusion_pytorch_model.safetensors"
#define STEPS "10" /* of the recipe's 20: half the time, for some points (docs/fidelity.md) that a regression test can do without */

enum { WIDTH = 224, HEIGHT = 160, FRAMES = 33, FIRST_SEED = 1, OBJECT = 0, COLOUR, MOTION, BACKGROUND, ATTRIBUTES, JOINT = ATTRIBUTES };

static const unsigned attribute[ATTRIBUTES] = {SWAN_WORLD_ATTR_OBJECT, SWAN_WORLD_ATTR_COLOUR, SWAN_WORLD_ATTR_MOTION,
                                               SWAN_WORLD_ATTR_BACKGROUND};

/* Each tells object, colour, motion and background; written down before the model was asked for any of them. */
static const char *const prompts[] = {
    "a big red ball rolling to the right over green hills",
    "a big blue fish swimming to the left over the sea",
    "a big yellow star rising in the night sky",
    "a big green car driving to the right in the city",
    "a big orange cat walking to the left in the snow",
    "a big purple balloon rising in the blue sky",
    "a big red apple falling down on a white background",
    "a big yellow duck swimming to the right over the sea",
    "a big brown house growing on a gray background",
    "a big pink heart bouncing on a white background",
    "a big blue boat moving to the left over the sea",
    "a big green turtle walking to the right in the desert",
};
enum { PROMPTS = sizeof prompts / sizeof prompts[0] };

typedef struct score {
    int right[ATTRIBUTES + 1]; /* prompts of which this came out right; the last: all of it */
} score;

/* Measured 2026-11-22: object 12, colour 12, motion 10, background 12, all four 10. Two less pass, so that no clip at the edge of a
 * verdict decides: processors and libraries differ in last bits. Without the feed-forward of one block it was 5, 9, 7, 12 and 4. */
static const score least = {{[OBJECT] = 10, [COLOUR] = 10, [MOTION] = 8, [BACKGROUND] = 10, [JOINT] = 8}};

/* Of the session's encoding thread, so it only copies. */
static void keep_frame(void *user, int index, int width, int height, const uint8_t *rgb)
{
    if (index < FRAMES && width == WIDTH && height == HEIGHT)
        memcpy((uint8_t *)user + (size_t)index * WIDTH * HEIGHT * 3, rgb, (size_t)WIDTH * HEIGHT * 3);
}

static void must(swan_status status)
{
    if (status) fail_msg("%s: %s", swan_status_name(status), swan_last_error());
}

static unsigned judge(const uint8_t *clip, const char *prompt)
{
    const swan_world_clip view = {clip, WIDTH, HEIGHT, FRAMES};
    swan_world_scene wanted = {0};
    swan_world_verdict verdict;
    unsigned told = swan_world_parse(prompt, &wanted), all = 0;
    for (int k = 0; k < ATTRIBUTES; k++) all |= attribute[k];
    if ((told & all) != all) fail_msg("\"%s\" tells %#x, wanted %#x", prompt, told, all);
    assert_true(swan_world_judge(&view, &wanted, all, &verdict));
    return verdict.right;
}

/* Whether the bounds can still be met after this many prompts. */
static bool may_do(const score *s, int prompts_done)
{
    for (int k = 0; k <= ATTRIBUTES; k++)
        if (s->right[k] + PROMPTS - prompts_done < least.right[k]) return false;
    return true;
}

/* Stops where the bounds are out of reach. */
static score make_and_judge(const char *transformer)
{
    uint8_t *clip = calloc(FRAMES, (size_t)WIDTH * HEIGHT * 3);
    swan_params *params;
    swan_engine *engine;
    swan_session *session;
    const swan_callbacks callbacks = {.user = clip, .frame = keep_frame};
    score s = {{0}};
    assert_non_null(clip);
    must(swan_params_new(&params));
    must(swan_params_set(params, "model", MODEL));
    must(swan_params_set(params, "transformer", transformer));
    must(swan_params_set(params, "device", "cpu"));
    must(swan_params_set(params, "num_inference_steps", STEPS));
    must(swan_engine_open(params, NULL, &engine));
    must(swan_session_open(engine, params, &callbacks, &session));
    int done = 0;
    for (int i = 0; i < PROMPTS && may_do(&s, i); i++, done++) {
        memset(clip, 0, (size_t)FRAMES * WIDTH * HEIGHT * 3);
        must(swan_session_generate(session, prompts[i], FIRST_SEED + i, NULL));
        unsigned right = judge(clip, prompts[i]), all = 0;
        for (int k = 0; k < ATTRIBUTES; k++) s.right[k] += (right & attribute[k]) != 0, all |= attribute[k];
        s.right[JOINT] += right == all;
        printf("  %c%c%c%c %s\n", right & attribute[0] ? 'o' : '-', right & attribute[1] ? 'c' : '-', right & attribute[2] ? 'm' : '-',
               right & attribute[3] ? 'b' : '-', prompts[i]);
        fflush(stdout);
    }
    printf("%s: of %d, object %d, colour %d, motion %d, background %d; all four %d\n", transformer, done, s.right[OBJECT],
           s.right[COLOUR], s.right[MOTION], s.right[BACKGROUND], s.right[JOINT]);
    swan_session_close(session);
    swan_engine_close(engine);
    swan_params_free(params);
    free(clip);
    return s;
}

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long end = ftell(f);
    assert_true(end > 8);
    rewind(f);
    uint8_t *data = malloc((size_t)end + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)end, f), (size_t)end);
    data[end] = 0;
    fclose(f);
    *size = (size_t)end;
    return data;
}

/* Makes a tensor of a safetensors file zero: 8 bytes N, N bytes of JSON, then the data at the tensor's "data_offsets":[begin,end]. */
static void clear_tensor(uint8_t *file, size_t size, const char *name)
{
    uint64_t header;
    char key[96];
    memcpy(&header, file, sizeof header);
    assert_true(header < size - 8);
    snprintf(key, sizeof key, "\"%s\"", name);
    char *at = strstr((char *)file + 8, key);
    at = at ? strstr(at, "data_offsets") : NULL;
    at = at ? strchr(at, '[') : NULL;
    if (!at) fail_msg("%s: not found", name);
    uint64_t begin = strtoull(at + 1, &at, 10), end = strtoull(at + 1, NULL, 10);
    assert_true(begin < end && end <= size - 8 - header);
    memset(file + 8 + header + begin, 0, end - begin);
}

static void the_model_shows_what_is_asked(void **state)
{
    (void)state;
    score s = make_and_judge(TRANSFORMER);
    assert_true(may_do(&s, PROMPTS));
}

/* The feed-forward of the middle one of seven blocks adds nothing. */
static void a_broken_layer_is_noticed(void **state)
{
    size_t size;
    uint8_t *file = read_file(TRANSFORMER, &size);
    clear_tensor(file, size, "blocks.3.ffn.net.2.weight");
    clear_tensor(file, size, "blocks.3.ffn.net.2.bias");
    const char *path = scratch_write(*state, "broken.safetensors", file, size);
    assert_non_null(path);
    free(file);
    score s = make_and_judge(path);
    assert_false(may_do(&s, PROMPTS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_shows_what_is_asked),
        cmocka_unit_test_setup_teardown(a_broken_layer_is_noticed, scratch_open, scratch_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
