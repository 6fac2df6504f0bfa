/* Requests to make a video: what is taken, what is refused by which name, and what is echoed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <stdlib.h>

#include "server/api.h"

static const swan_api_model model = {.name = "tiny", .aliases = "swan-1, sora-2", .width = 832, .height = 480, .frames = 81, .fps = 16, .steps = 3,
                                     .shift = 8, .guidance = 1};
static const swan_api_limits limits = {.prompt_max = 10, .pixels_max = 832 * 480 * 81, .steps_max = 50};

/* Creates from JSON; the settings of the job, which the caller drops. */
static json_t *create(const char *text)
{
    swan_job job;
    swan_api_error e;
    json_t *fields = json_loads(text, 0, NULL);
    assert_non_null(fields);
    if (!swan_api_create(fields, &model, &limits, &job, &e)) fail_msg("%s: %s", text, e.message);
    json_decref(fields);
    assert_string_equal(job.model, "tiny");
    json_t *settings = json_loads(job.settings, 0, NULL);
    swan_job_free(&job);
    assert_non_null(settings);
    return settings;
}

static void check_int(const char *text, const char *key, json_int_t value)
{
    json_t *settings = create(text);
    assert_int_equal(json_integer_value(json_object_get(settings, key)), value);
    json_decref(settings);
}

static void defaults(void **state)
{
    (void)state;
    check_int("{\"prompt\":\"fox\"}", "width", 832);
    check_int("{\"prompt\":\"fox\"}", "num_frames", 81);
    check_int("{\"prompt\":\"fox\"}", "fps", 16);
    check_int("{\"prompt\":\"fox\"}", "num_inference_steps", 3);
    check_int("{\"prompt\":\"fox\",\"seed\":null,\"model\":\"sora-2\"}", "num_frames", 81);
    json_t *a = create("{\"prompt\":\"fox\"}"), *b = create("{\"prompt\":\"fox\",\"seed\":-1}");
    assert_int_not_equal(json_integer_value(json_object_get(a, "seed")), json_integer_value(json_object_get(b, "seed"))); /* one in 2^32 */
    json_decref(a);
    json_decref(b);
}

static void values(void **state)
{
    (void)state;
    check_int("{\"prompt\":\"fox\",\"seed\":7}", "seed", 7);
    check_int("{\"prompt\":\"fox\",\"seed\":\"4294967295\"}", "seed", 4294967295);
    check_int("{\"prompt\":\"fox\",\"size\":\"64x48\"}", "height", 48);
    check_int("{\"prompt\":\"fox\",\"width\":64,\"height\":\"48\"}", "width", 64);
    check_int("{\"prompt\":\"fox\",\"num_frames\":10}", "num_frames", 9);
    check_int("{\"prompt\":\"fox\",\"num_frames\":11}", "num_frames", 9);
    check_int("{\"prompt\":\"fox\",\"num_frames\":12}", "num_frames", 13);
    check_int("{\"prompt\":\"fox\",\"seconds\":\"4\"}", "num_frames", 65);
    check_int("{\"prompt\":\"fox\",\"seconds\":5}", "num_frames", 81);
    check_int("{\"prompt\":\"fox\",\"seconds\":2.5,\"fps\":8}", "num_frames", 21);
    check_int("{\"prompt\":\"fox\",\"seconds\":0.01}", "num_frames", 1);
    json_t *s = create("{\"prompt\":\"fox\",\"guidance_scale\":5.5,\"flow_shift\":\"3\",\"negative_prompt\":\"dog\"}");
    assert_true(json_number_value(json_object_get(s, "guidance_scale")) == 5.5);
    assert_true(json_number_value(json_object_get(s, "flow_shift")) == 3);
    assert_string_equal(json_string_value(json_object_get(s, "negative_prompt")), "dog");
    json_decref(s);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *param;
        unsigned status;
    } cases[] = {
        {"{}", "prompt", 400}, {"{\"prompt\":\"  \"}", "prompt", 400}, {"{\"prompt\":7}", "prompt", 400}, {"{\"prompt\":null}", "prompt", 400},
        {"{\"prompt\":\"01234567890\"}", "prompt", 400}, {"{\"prompt\":\"f\",\"model\":\"other\"}", "model", 404},
        {"{\"prompt\":\"f\",\"model\":\"swan\"}", "model", 404}, {"{\"prompt\":\"f\",\"model\":7}", "model", 400},
        {"{\"prompt\":\"f\",\"size\":\"big\"}", "size", 400}, {"{\"prompt\":\"f\",\"size\":\"65x48\"}", "size", 400},
        {"{\"prompt\":\"f\",\"size\":\"1280x720\"}", "size", 400}, {"{\"prompt\":\"f\",\"width\":64}", "height", 400},
        {"{\"prompt\":\"f\",\"width\":64,\"height\":48,\"size\":\"64x48\"}", "size", 400},
        {"{\"prompt\":\"f\",\"width\":\"6x4\",\"height\":48}", "width", 400}, {"{\"prompt\":\"f\",\"width\":64,\"height\":-48}", "height", 400},
        {"{\"prompt\":\"f\",\"num_frames\":0}", "num_frames", 400}, {"{\"prompt\":\"f\",\"num_frames\":1e9}", "num_frames", 400},
        {"{\"prompt\":\"f\",\"num_frames\":[81]}", "num_frames", 400}, {"{\"prompt\":\"f\",\"num_frames\":true}", "num_frames", 400},
        {"{\"prompt\":\"f\",\"num_frames\":97}", "size", 400}, {"{\"prompt\":\"f\",\"seconds\":0}", "seconds", 400},
        {"{\"prompt\":\"f\",\"seconds\":\"nan\"}", "seconds", 400}, {"{\"prompt\":\"f\",\"seconds\":\"-4\"}", "seconds", 400},
        {"{\"prompt\":\"f\",\"seconds\":3600}", "seconds", 400}, {"{\"prompt\":\"f\",\"seconds\":1,\"num_frames\":5}", "seconds", 400},
        {"{\"prompt\":\"f\",\"num_inference_steps\":51}", "num_inference_steps", 400}, {"{\"prompt\":\"f\",\"seed\":-2}", "seed", 400},
        {"{\"prompt\":\"f\",\"seed\":4294967296}", "seed", 400}, {"{\"prompt\":\"f\",\"seed\":1.5}", "seed", 400},
        {"{\"prompt\":\"f\",\"guidance_scale\":-1}", "guidance_scale", 400}, {"{\"prompt\":\"f\",\"flow_shift\":0}", "flow_shift", 400},
        {"{\"prompt\":\"f\",\"fps\":0}", "fps", 400}, {"{\"prompt\":\"f\",\"negative_prompt\":\"01234567890\"}", "negative_prompt", 400},
        {"{\"prompt\":\"f\",\"output\":\"/etc/passwd\"}", "output", 400}, {"{\"prompt\":\"f\",\"noise\":\"/etc/passwd\"}", "noise", 400},
        {"{\"prompt\":\"f\",\"input_reference\":\"x\"}", "input_reference", 400}, {"[]", "", 400}, {"{\"prompt\":\"f\",\"\":1}", "", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        swan_job job;
        swan_api_error e;
        json_t *fields = json_loads(cases[i].body, 0, NULL);
        if (swan_api_create(fields, &model, &limits, &job, &e)) fail_msg("%s was taken", cases[i].body);
        json_decref(fields);
        if (strcmp(e.param, cases[i].param) != 0 || e.status != cases[i].status) fail_msg("%s: %u, %s: %s", cases[i].body, e.status, e.param, e.message);
        json_t *o = swan_api_error_json(&e);
        assert_string_equal(json_string_value(json_object_get(json_object_get(o, "error"), "type")), "invalid_request_error");
        assert_true(e.message[0]);
        json_decref(o);
    }
}

static void characters_not_bytes(void **state)
{
    (void)state;
    swan_job job;
    swan_api_error e;
    json_t *fields = json_pack("{s:s}", "prompt", "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f"); /* ten */
    assert_true(swan_api_create(fields, &model, &limits, &job, &e));
    swan_job_free(&job);
    json_decref(fields);
}

static void remixes(void **state)
{
    (void)state;
    char source_model[] = "tiny", prompt[] = "old", settings[] = "{\"seed\":9,\"width\":64,\"height\":48}";
    swan_job source = {.id = "video_1", .model = source_model, .prompt = prompt, .settings = settings}, job;
    swan_api_error e;
    json_t *fields = json_pack("{s:s}", "prompt", "new");
    assert_true(swan_api_remix(fields, &source, &limits, &job, &e));
    assert_string_equal(job.prompt, "new");
    assert_string_equal(job.settings, settings);
    assert_string_equal(job.remixed_from, "video_1");
    swan_job_free(&job);
    const swan_api_limits lower = {.prompt_max = 10, .pixels_max = 64 * 48 * 8, .steps_max = 50};
    char large[] = "{\"seed\":9,\"width\":64,\"height\":48,\"num_frames\":9}";
    source.settings = large;
    assert_false(swan_api_remix(fields, &source, &lower, &job, &e)); /* the server takes less than it did */
    assert_string_equal(e.param, "size");
    json_object_set_new(fields, "seed", json_integer(1));
    assert_false(swan_api_remix(fields, &source, &limits, &job, &e));
    assert_string_equal(e.param, "seed");
    json_decref(fields);
}

static void objects(void **state)
{
    (void)state;
    char m[] = "tiny", prompt[] = "p", settings[] = "{\"seed\":9,\"width\":64,\"height\":48,\"num_frames\":81,\"fps\":16}";
    swan_job job = {.id = "video_1", .state = SWAN_JOB_IN_PROGRESS, .model = m, .prompt = prompt, .settings = settings};
    swan_api_live live = {.phase = "denoise", .step = 1, .steps = 3, .progress = 40, .remaining_s = 2, .ahead = -1};
    json_t *o = swan_api_video(&job, &live);
    assert_int_equal(json_integer_value(json_object_get(o, "progress")), 40);
    assert_string_equal(json_string_value(json_object_get(o, "seconds")), "5");
    assert_string_equal(json_string_value(json_object_get(o, "size")), "64x48");
    assert_string_equal(json_string_value(json_object_get(o, "phase")), "denoise");
    assert_true(json_is_null(json_object_get(o, "error")));
    assert_int_equal(swan_api_poll_ms(&job, &live), 500);
    json_decref(o);
    job.state = SWAN_JOB_COMPLETED;
    o = swan_api_video(&job, &live);
    assert_int_equal(json_integer_value(json_object_get(o, "progress")), 100);
    assert_int_equal(swan_api_poll_ms(&job, &live), 0);
    json_decref(o);
    json_t *recipe = json_pack("{s:i, s:s}", "num_inference_steps", 4, "sampler", "dmd");
    char *settled = swan_api_settled(settings, recipe);
    assert_non_null(strstr(settled, "\"dmd\""));
    assert_non_null(strstr(settled, "\"seed\":9"));
    free(settled);
    json_decref(recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(values), cmocka_unit_test(refused), cmocka_unit_test(characters_not_bytes),
        cmocka_unit_test(remixes), cmocka_unit_test(objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
