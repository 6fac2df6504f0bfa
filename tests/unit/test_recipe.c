/* Which recipe a checkpoint gets: each rule, their order, and flags on top. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "base/cache.h"
#include "base/file.h"
#include "base/status.h"
#include "pipe/recipe.h"
#include "scratch.h"

static swan_recipe choose(const swan_recipe_facts *f)
{
    swan_recipe r;
    if (swan_recipe_choose(f, &r) != SWAN_OK) fail_msg("%s", swan_last_error());
    return r;
}

static void expect(const swan_recipe *r, swan_sampler sampler, int steps, double shift, double guidance)
{
    assert_int_equal(r->sampler, sampler);
    assert_int_equal(r->steps, steps);
    assert_true(r->shift == shift);
    assert_true(r->guidance == guidance);
}

static void expect_attention(const swan_recipe *r, swan_attn_kind kind, double sparsity)
{
    assert_int_equal(r->attention, kind);
    assert_true(r->sparsity == sparsity);
}

/* ---- the rules ---- */

static void base_wan(void **state)
{
    (void)state;
    swan_recipe r = choose(&(swan_recipe_facts){.class_name = "WanPipeline", .width = 1536});
    expect(&r, SWAN_SAMPLER_UNIPC, 50, 3, 5);
    expect_attention(&r, SWAN_ATTN_DENSE, 0);
    assert_string_equal(r.rule, "base Wan");
    r = choose(&(swan_recipe_facts){.class_name = "WanPipeline", .width = 5120, .flow_shift = 5});
    expect(&r, SWAN_SAMPLER_UNIPC, 50, 5, 5); /* the scheduler's own shift */
    r = choose(&(swan_recipe_facts){0});
    expect(&r, SWAN_SAMPLER_UNIPC, 50, 3, 5);
}

static void class_or_gates_mean_dmd(void **state)
{
    (void)state;
    /* a distilled model is run at the shift it was distilled at, whatever the scheduler's file says */
    swan_recipe r = choose(&(swan_recipe_facts){.class_name = "WanDMDPipeline", .width = 1536, .flow_shift = 3});
    expect(&r, SWAN_SAMPLER_DMD, 3, 8, 1);
    expect_attention(&r, SWAN_ATTN_DENSE, 0);
    assert_string_equal(r.rule, "class WanDMDPipeline");
    r = choose(&(swan_recipe_facts){.class_name = "WanDMDPipeline", .width = 1536, .gates = true});
    expect(&r, SWAN_SAMPLER_DMD, 3, 8, 1);
    expect_attention(&r, SWAN_ATTN_VSA, 0.8);
    r = choose(&(swan_recipe_facts){.class_name = "WanPipeline", .width = 1536, .gates = true});
    expect(&r, SWAN_SAMPLER_DMD, 3, 8, 1);
    expect_attention(&r, SWAN_ATTN_VSA, 0.8);
    assert_string_equal(r.rule, "weights with to_gate_compress");
    r = choose(&(swan_recipe_facts){.class_name = "WanPipeline", .width = 5120, .gates = true});
    expect_attention(&r, SWAN_ATTN_VSA, 0.9);
    r = choose(&(swan_recipe_facts){.class_name = "WanDMDPipeline", .width = 5120});
    expect(&r, SWAN_SAMPLER_DMD, 3, 8, 1);
    expect_attention(&r, SWAN_ATTN_DENSE, 0);
}

static void published_ids(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        bool gates;
        swan_sampler sampler;
        int steps;
        double shift, guidance, sparsity;
    } known[] = {
        {"FastWan2.1-T2V-1.3B-Diffusers", true, SWAN_SAMPLER_DMD, 3, 8, 1, 0.8},
        {"FastWan2.1-T2V-14B-480P-Diffusers", true, SWAN_SAMPLER_DMD, 3, 8, 1, 0.9},
        {"FastWan2.1-T2V-14B-Diffusers", true, SWAN_SAMPLER_DMD, 3, 8, 1, 0.9},
        {"FastWan-QAD-1.3B", false, SWAN_SAMPLER_UNIPC, 3, 3, 1, 0},
        {"FastWan-QAD-1.3B-SA2", false, SWAN_SAMPLER_UNIPC, 3, 3, 1, 0},
        {"FastWan-QAD-FP8-1.3B", false, SWAN_SAMPLER_UNIPC, 3, 3, 1, 0},
        {"Wan2.1-T2V-1.3B-Diffusers", false, SWAN_SAMPLER_UNIPC, 50, 3, 5, 0},
        {"Wan2.1-T2V-14B-Diffusers", false, SWAN_SAMPLER_UNIPC, 50, 5, 5, 0},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char directory[128], repository[128], rule[128];
        snprintf(directory, sizeof directory, "/not/there/%s//", known[i].id);
        snprintf(repository, sizeof repository, "FastVideo/%s", known[i].id);
        snprintf(rule, sizeof rule, "published id %s", known[i].id);
        const swan_recipe_facts facts[] = {
            {.directory = directory, .class_name = "WanPipeline", .width = 1536, .gates = known[i].gates},
            {.directory = "/not/there/mine", .name_or_path = repository, .width = 1536, .gates = known[i].gates},
            {.directory = known[i].id, .name_or_path = "somebody/else", .class_name = "WanDMDPipeline", .gates = known[i].gates},
        };
        for (int k = 0; k < 3; k++) {
            swan_recipe r = choose(&facts[k]);
            expect(&r, known[i].sampler, known[i].steps, known[i].shift, known[i].guidance);
            expect_attention(&r, known[i].gates ? SWAN_ATTN_VSA : SWAN_ATTN_DENSE, known[i].sparsity);
            assert_string_equal(r.rule, rule);
        }
    }
    swan_recipe r = choose(&(swan_recipe_facts){.directory = "FastWan-QAD-1.3B"});
    assert_int_equal(r.grid, SWAN_GRID_FASTVIDEO);
    r = choose(&(swan_recipe_facts){.directory = "Wan2.1-T2V-1.3B-Diffusers"});
    assert_int_equal(r.grid, SWAN_GRID_DIFFUSERS);
}

static void nearly_published_ids(void **state)
{
    (void)state;
    static const char *const names[] = {"FastWan-QAD-1.3", "FastWan-QAD-1.3B-new", "fastwan-qad-1.3b", "FastWan-QAD-1.3B/transformer",
                                        "", "/", "///"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        swan_recipe r = choose(&(swan_recipe_facts){.directory = names[i], .class_name = "WanPipeline"});
        assert_string_equal(r.rule, "base Wan");
    }
    /* the directory's name goes before the configs' */
    swan_recipe r = choose(&(swan_recipe_facts){.directory = "/m/FastWan-QAD-1.3B", .name_or_path = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"});
    assert_string_equal(r.rule, "published id FastWan-QAD-1.3B");
}

/* A published id says how the model was trained; the weights say what it has. */
static void gates_decide_about_attention(void **state)
{
    (void)state;
    swan_recipe r = choose(&(swan_recipe_facts){.directory = "FastWan2.1-T2V-1.3B-Diffusers", .width = 1536});
    expect(&r, SWAN_SAMPLER_DMD, 3, 8, 1);
    expect_attention(&r, SWAN_ATTN_DENSE, 0);
    r = choose(&(swan_recipe_facts){.directory = "FastWan-QAD-1.3B", .width = 1536, .gates = true});
    expect(&r, SWAN_SAMPLER_UNIPC, 3, 3, 1);
    expect_attention(&r, SWAN_ATTN_VSA, 0.8);
    r = choose(&(swan_recipe_facts){.directory = "Wan2.1-T2V-14B-Diffusers", .width = 5120, .gates = true});
    expect_attention(&r, SWAN_ATTN_VSA, 0.9);
}

/* ---- swan.json ---- */

static swan_status with_json(const char *directory, const char *text, bool gates, swan_recipe *r)
{
    assert_non_null(scratch_write(directory, "swan.json", text, strlen(text)));
    return swan_recipe_choose(&(swan_recipe_facts){.directory = directory, .class_name = "WanDMDPipeline", .width = 1536, .gates = gates}, r);
}

static void swan_json_goes_first(void **state)
{
    swan_recipe r;
    assert_int_equal(with_json(*state, "{\"sampler\": \"unipc\", \"num_inference_steps\": 20, \"flow_shift\": 5, \"guidance_scale\": 4.5,"
                                       " \"width\": 160, \"height\": 224, \"num_frames\": 33, \"fps\": 12}", false, &r), SWAN_OK);
    expect(&r, SWAN_SAMPLER_UNIPC, 20, 5, 4.5);
    assert_int_equal(r.grid, SWAN_GRID_DEFAULT); /* not the grid of another sampler */
    assert_int_equal(r.width, 160);
    assert_int_equal(r.height, 224);
    assert_int_equal(r.frames, 33);
    assert_int_equal(r.fps, 12);
    assert_string_equal(r.rule, "swan.json");
    /* also before a published id */
    char named[300];
    snprintf(named, sizeof named, "%s/FastWan-QAD-1.3B", (const char *)*state);
    assert_int_equal(mkdir(named, 0777), 0);
    assert_non_null(scratch_write(named, "swan.json", "{\"num_inference_steps\": 4}", 26));
    r = choose(&(swan_recipe_facts){.directory = named});
    expect(&r, SWAN_SAMPLER_UNIPC, 4, 3, 1); /* what it does not say stays */
    assert_string_equal(r.rule, "swan.json");
}

/* What swan pull writes says what the published id says, so that a pulled model may be called anything. */
static void pulled_models(void **state)
{
    const swan_published *p;
    for (size_t i = 0; (p = swan_cache_published(i)) != NULL; i++) {
        const char *id = swan_path_name(p->repository);
        const bool gates = strstr(id, "FastWan2.1") != NULL;
        char named[300];
        snprintf(named, sizeof named, "/not/there/%s", id);
        swan_recipe by_name = choose(&(swan_recipe_facts){.directory = named, .gates = gates});
        assert_non_null(scratch_write(*state, "swan.json", p->recipe, strlen(p->recipe)));
        swan_recipe by_file = choose(&(swan_recipe_facts){.directory = *state, .class_name = "WanPipeline", .gates = gates});
        expect(&by_file, by_name.sampler, by_name.steps, by_name.shift, by_name.guidance);
        expect_attention(&by_file, by_name.attention, by_name.sparsity);
        assert_int_equal(by_file.grid, by_name.grid);
        assert_memory_equal(&by_file.width, &by_name.width, 4 * sizeof(int));
        /* under its own name the rule is the name: the file changed nothing */
        snprintf(named, sizeof named, "%s/%s", (const char *)*state, id);
        assert_int_equal(mkdir(named, 0777), 0);
        assert_non_null(scratch_write(named, "swan.json", p->recipe, strlen(p->recipe)));
        by_file = choose(&(swan_recipe_facts){.directory = named, .gates = gates});
        assert_string_equal(by_file.rule, by_name.rule);
    }
}

static void swan_json_and_gates(void **state)
{
    swan_recipe r;
    assert_int_equal(with_json(*state, "{\"vsa_sparsity\": 0.5}", true, &r), SWAN_OK);
    expect_attention(&r, SWAN_ATTN_VSA, 0.5);
    /* dense means all tiles, as the flag does: trained gates are never left out */
    assert_int_equal(with_json(*state, "{\"attention\": \"dense\"}", true, &r), SWAN_OK);
    expect_attention(&r, SWAN_ATTN_VSA, 0);
    /* the transformer in use has no gates (--transformer may have replaced it): nothing sparse is left */
    assert_int_equal(with_json(*state, "{\"attention\": \"vsa\", \"vsa_sparsity\": 0.9}", false, &r), SWAN_OK);
    expect_attention(&r, SWAN_ATTN_DENSE, 0);
}

static void damaged_swan_json(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "swan.json"},
        {"{\"sampler\": \"dmd\"", "swan.json"},
        {"[]", "swan.json"},
        {"{\"sampler\": \"ddim\"}", "sampler: \"ddim\" is not known"},
        {"{\"sampler\": 3}", "sampler"},
        {"{\"sigma_grid\": \"linear\"}", "sigma_grid: \"linear\" is not known"},
        {"{\"attention\": \"sparse\"}", "attention: \"sparse\" is not known"},
        {"{\"num_inference_steps\": 0}", "num_inference_steps"},
        {"{\"num_inference_steps\": 1e9}", "num_inference_steps"},
        {"{\"num_inference_steps\": \"20\"}", "num_inference_steps"},
        {"{\"flow_shift\": -3}", "flow_shift"},
        {"{\"guidance_scale\": 1000}", "guidance_scale"},
        {"{\"vsa_sparsity\": 1.5}", "vsa_sparsity"},
        {"{\"width\": 8}", "width"},
        {"{\"num_frames\": 99999999999}", "num_frames"},
        {"{\"fps\": 0}", "fps"},
        {"{\"fps\": 1, \"fps\": 2}", "swan.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        swan_recipe r;
        if (with_json(*state, cases[i].text, false, &r) != SWAN_E_FORMAT) fail_msg("%s was taken", cases[i].text);
        if (!strstr(swan_last_error(), "swan.json") || !strstr(swan_last_error(), cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", swan_last_error(), cases[i].says);
    }
}

/* ---- flags ---- */


static int open_flags(void **state)
{
    swan_params *p;
    if (swan_params_new(&p) != SWAN_OK) return -1;
    *state = p;
    return 0;
}

static int close_flags(void **state)
{
    swan_params_free(*state);
    return 0;
}

static void set(swan_params *p, const char *key, const char *value)
{
    if (swan_params_set(p, key, value) != SWAN_OK) fail_msg("%s", swan_last_error());
}

static swan_recipe apply(const swan_params *p, const swan_recipe_facts *f)
{
    swan_recipe r = choose(f);
    if (swan_recipe_apply(p, f->gates, &r) != SWAN_OK) fail_msg("%s", swan_last_error());
    return r;
}

static const swan_recipe_facts wan = {.class_name = "WanPipeline", .width = 1536};
static const swan_recipe_facts fastwan = {.class_name = "WanDMDPipeline", .width = 1536, .gates = true};
static const swan_recipe_facts quantized = {.directory = "FastWan-QAD-1.3B", .width = 1536};

static void no_flags_no_change(void **state)
{
    const swan_recipe_facts *const all[] = {&wan, &fastwan, &quantized};
    for (int i = 0; i < 3; i++) {
        swan_recipe before = choose(all[i]), r = apply(*state, all[i]);
        expect(&r, before.sampler, before.steps, before.shift, before.guidance);
        expect_attention(&r, before.attention, before.sparsity);
        assert_string_equal(r.rule, before.rule);
    }
}

static void every_flag(void **state)
{
    set(*state, "num_inference_steps", "7");
    set(*state, "flow_shift", "4");
    set(*state, "guidance_scale", "2");
    set(*state, "vsa_sparsity", "0.25");
    set(*state, "size", "64x48");
    set(*state, "num_frames", "9");
    set(*state, "fps", "30");
    swan_recipe r = apply(*state, &fastwan);
    expect(&r, SWAN_SAMPLER_DMD, 7, 4, 2);
    expect_attention(&r, SWAN_ATTN_VSA, 0.25);
    assert_int_equal(r.width, 64);
    assert_int_equal(r.height, 48);
    assert_int_equal(r.frames, 9);
    assert_int_equal(r.fps, 30);
    assert_string_equal(r.rule, "weights with to_gate_compress, changed by flags");
}

/* Another sampler brings its own steps, shift and grid; flags stay on top of those. */
static void sampler_switch(void **state)
{
    set(*state, "sampler", "dmd");
    swan_recipe r = apply(*state, &quantized); /* as it was trained */
    expect(&r, SWAN_SAMPLER_DMD, 3, 8, 1);
    assert_int_equal(r.grid, SWAN_GRID_DEFAULT);
    r = apply(*state, &wan);
    expect(&r, SWAN_SAMPLER_DMD, 3, 8, 1);
    r = apply(*state, &fastwan); /* it has it already */
    assert_string_equal(r.rule, "weights with to_gate_compress");
    set(*state, "sampler", "euler");
    r = apply(*state, &wan);
    expect(&r, SWAN_SAMPLER_EULER, 50, 3, 5);
    assert_int_equal(r.grid, SWAN_GRID_DEFAULT);
    r = apply(*state, &quantized);
    expect(&r, SWAN_SAMPLER_EULER, 3, 3, 1);
    set(*state, "sampler", "unipc");
    r = apply(*state, &quantized);
    assert_int_equal(r.grid, SWAN_GRID_FASTVIDEO); /* no switch: its own grid stays */
    r = apply(*state, &fastwan);
    expect(&r, SWAN_SAMPLER_UNIPC, 50, 3, 1); /* distilled: guidance is in the weights */
    set(*state, "num_inference_steps", "12");
    set(*state, "flow_shift", "5");
    set(*state, "sigma_grid", "original");
    r = apply(*state, &fastwan);
    expect(&r, SWAN_SAMPLER_UNIPC, 12, 5, 1);
    assert_int_equal(r.grid, SWAN_GRID_ORIGINAL);
}

static void dense_on_a_gated_model(void **state)
{
    set(*state, "attention", "dense");
    swan_recipe r = apply(*state, &fastwan);
    expect_attention(&r, SWAN_ATTN_VSA, 0); /* all tiles; the gates' branch stays */
    r = apply(*state, &wan);
    expect_attention(&r, SWAN_ATTN_DENSE, 0);
    set(*state, "vsa_sparsity", "0");
    r = apply(*state, &fastwan); /* says the same twice */
    expect_attention(&r, SWAN_ATTN_VSA, 0);
    set(*state, "vsa_sparsity", "0.5");
    r = choose(&fastwan);
    assert_int_equal(swan_recipe_apply(*state, true, &r), SWAN_E_INVALID);
    assert_string_equal(swan_last_error(), "attention dense and vsa_sparsity 0.5 contradict each other");
}

static void sparse_on_a_model_without_gates(void **state)
{
    swan_recipe r = choose(&wan);
    set(*state, "vsa_sparsity", "0.5");
    assert_int_equal(swan_recipe_apply(*state, false, &r), SWAN_E_INVALID);
    assert_non_null(strstr(swan_last_error(), "vsa_sparsity: the model has no to_gate_compress weights"));
    set(*state, "vsa_sparsity", "0");
    r = choose(&wan);
    assert_int_equal(swan_recipe_apply(*state, false, &r), SWAN_OK);
    set(*state, "attention", "vsa");
    assert_int_equal(swan_recipe_apply(*state, false, &r), SWAN_E_INVALID);
    assert_non_null(strstr(swan_last_error(), "attention vsa: the model has no to_gate_compress weights"));
}

int main(void)
{
#define SCRATCH(f) cmocka_unit_test_setup_teardown(f, scratch_open, scratch_close)
#define FLAGS(f) cmocka_unit_test_setup_teardown(f, open_flags, close_flags)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_wan),
        cmocka_unit_test(class_or_gates_mean_dmd),
        cmocka_unit_test(published_ids),
        cmocka_unit_test(nearly_published_ids),
        cmocka_unit_test(gates_decide_about_attention),
        SCRATCH(swan_json_goes_first),
        SCRATCH(pulled_models),
        SCRATCH(swan_json_and_gates),
        SCRATCH(damaged_swan_json),
        FLAGS(no_flags_no_change),
        FLAGS(every_flag),
        FLAGS(sampler_switch),
        FLAGS(dense_on_a_gated_model),
        FLAGS(sparse_on_a_model_without_gates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
