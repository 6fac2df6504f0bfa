/* Samplers: which noise levels a video passes through, and what is computed after each call of the model. Host maths
 * only; the tensors are the caller's, on any device. Every step is a short list of linear combinations, so a caller
 * needs one operator:
 *
 *     swan_sched s;
 *     SWAN_TRY(swan_sched_init(&s, &config));
 *     // buffer[b]: one latent-sized tensor for each bit b of swan_sched_buffers(&s); buffer[SAMPLE] starts as noise
 *     for (int i = 0; i < s.steps; i++) {
 *         velocity(buffer[SWAN_SCHED_VELOCITY], buffer[SWAN_SCHED_SAMPLE], s.timestep[i]);
 *         if (swan_sched_needs_noise(&s, i)) draw(buffer[SWAN_SCHED_NOISE]);
 *         swan_sched_update update[SWAN_SCHED_MAX_UPDATES];
 *         int updates = swan_sched_step(&s, i, update);
 *         for (int k = 0; k < updates; k++) combine(&update[k], buffer);
 *         // buffer[swan_sched_x0(&s, i)] is this step's guess of the clean latent: what previews and --dump show
 *     }
 *     // buffer[SAMPLE] is the clean latent
 *
 * combine: target = sum over k of term[k].coefficient * buffer[term[k].source], elementwise, terms in the order
 * given; the target may be one of the sources, so an element's sources are all read before it is written.
 *
 * The noise level sigma runs from 1 (noise) to 0 (video): x = (1 - sigma) * x0 + sigma * noise, and the model returns
 * the velocity v = noise - x0, so x0 = x - sigma * v. With guidance, v is the guided one.
 *
 * Which reference says what (default first; "shift" s moves the levels: sigma = s b / (1 + (s - 1) b)):
 *   SWAN_GRID_DIFFUSERS   b = linspace(1, 0.001, N + 1) without its last; a sigma of 1 becomes 1 - 1e-6; t =
 *                         trunc(1000 sigma). diffusers' WanPipeline with the published Wan2.1 checkpoints
 *                         (UniPCMultistepScheduler, flow sigmas) from release 0.37 on; run in 0.37.0 and 0.42.1.
 *   SWAN_GRID_ORIGINAL    b = linspace(0.999, 0, N + 1) without its last; t = trunc(1000 sigma). Wan2.1's own
 *                         generate.py, and diffusers up to 0.36 (run in 0.33.1 and 0.36.0). With 50 steps and shift
 *                         3, 40 of the timesteps differ from DIFFUSERS, by up to 3, and the sigmas by up to 0.0028.
 *   SWAN_GRID_FASTVIDEO   as ORIGINAL, but 0.999 has already been shifted once: the shift acts twice. What FastVideo
 *                         runs FastWan-QAD with (3 steps, shift 3: t = 999, 857, 599).
 *   SWAN_GRID_FLOW_MATCH  b = linspace(1, sigma_min, N), sigma_min the shifted 0.001; t = 1000 sigma, not truncated.
 *                         What WanPipeline does when given a FlowMatchEulerDiscreteScheduler (0.42.1; here too the
 *                         shift acts twice).
 * Sigmas are rounded to fp32, as every reference does before it uses them; the coefficients below are fp64 functions
 * of those. */
#ifndef SWAN_SCHED_SCHED_H
#define SWAN_SCHED_SCHED_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SWAN_SCHED_MAX_STEPS = 1000, SWAN_SCHED_MAX_UPDATES = 3, SWAN_SCHED_MAX_TERMS = 5 };

typedef enum swan_sampler {
    /* Few steps with fresh noise between them, for models distilled with DMD (Yin et al., "Improved Distribution
     * Matching Distillation", 2024; FastWan). x0 = x - sigma v; x = (1 - sigma') x0 + sigma' noise. Draws noise after
     * all steps but the last. */
    SWAN_SAMPLER_DMD,
    /* UniPC (Zhao et al., 2023) on x0 predictions: order 2, B(h) = e^h - 1 ("bh2"), corrector from the second call
     * on, first and last steps of order 1. Deterministic. For base models, and FastWan-QAD as shipped. */
    SWAN_SAMPLER_UNIPC,
    /* x += (sigma' - sigma) v. Deterministic. */
    SWAN_SAMPLER_EULER
} swan_sampler;

typedef enum swan_sched_grid {
    SWAN_GRID_DEFAULT, /* UniPC: DIFFUSERS; Euler: FLOW_MATCH; DMD has a list of its own and takes no other */
    SWAN_GRID_DIFFUSERS,
    SWAN_GRID_ORIGINAL,
    SWAN_GRID_FASTVIDEO,
    SWAN_GRID_FLOW_MATCH
} swan_sched_grid;

typedef struct swan_sched_config {
    swan_sampler sampler;
    swan_sched_grid grid;
    int steps;    /* 1 .. 1000; 0 with DMD: as many as its list has */
    double shift; /* 0.01 .. 100; 0: 8 for DMD (FastVideo's, whatever the checkpoint's flow_shift says), else 3 */
    /* DMD: the timesteps it was distilled at, falling, in (0, 1000]; NULL: 1000, 757, 522. They go to the model as
     * they are; the sigma of each is that of the nearest of the 1,000 training timesteps shifted by `shift` in fp32.
     * When `steps` is another number than the list has, the list is read as a piecewise linear curve and sampled
     * evenly from its first to its last entry, rounded to integers (2: 1000, 522; 1: 1000; 5: 1000, 879, 757, 640,
     * 522): the model stays at noise levels between those it knows. Borrowed for the call. */
    const double *dmd_timesteps;
    int dmd_timestep_count;
} swan_sched_config;

/* A schedule: plain data, made by init, never changed after. */
typedef struct swan_sched {
    swan_sampler sampler;
    int steps;
    double timestep[SWAN_SCHED_MAX_STEPS];   /* what the model is given in step i */
    double sigma[SWAN_SCHED_MAX_STEPS + 1];  /* noise level of the sample in step i; sigma[steps] = 0 */
} swan_sched;

/* The tensors a step works on, each of the latent's shape, [16, T, Hl, Wl] or any other. */
typedef enum swan_sched_buffer {
    SWAN_SCHED_SAMPLE,   /* x: what the model sees */
    SWAN_SCHED_VELOCITY, /* v: what it answers; read only here */
    SWAN_SCHED_NOISE,    /* fresh standard normal noise; read only here */
    SWAN_SCHED_X0_EVEN,  /* x0 predictions of the even ... */
    SWAN_SCHED_X0_ODD,   /* ... and of the odd steps: UniPC needs two at a time */
    SWAN_SCHED_LAST,     /* UniPC: the corrected sample that the present step starts from */
    SWAN_SCHED_BUFFERS
} swan_sched_buffer;

typedef struct swan_sched_term {
    swan_sched_buffer source;
    double coefficient;
} swan_sched_term;

typedef struct swan_sched_update {
    swan_sched_buffer target;
    int terms;
    swan_sched_term term[SWAN_SCHED_MAX_TERMS];
} swan_sched_update;

/* Fails with SWAN_E_INVALID, naming the setting, the value and the range. */
swan_status swan_sched_init(swan_sched *s, const swan_sched_config *c);

/* What to compute after the model's call of step i, 0 <= i < steps: fills out[] in the order to evaluate, returns how
 * many. Steps go 0, 1, 2, ...: buffers carry values from one to the next. */
int swan_sched_step(const swan_sched *s, int i, swan_sched_update out[SWAN_SCHED_MAX_UPDATES]);

/* Whether step i reads SWAN_SCHED_NOISE. */
bool swan_sched_needs_noise(const swan_sched *s, int i);

/* The buffer that holds x0 of step i once its updates are done (until the next step's). */
swan_sched_buffer swan_sched_x0(const swan_sched *s, int i);

/* Bit b is set when any step touches buffer b. */
unsigned swan_sched_buffers(const swan_sched *s);

/* "dmd", "unipc", "euler"; "default", "diffusers", "original", "fastvideo", "flow-match". NULL for a value out of
 * range. */
const char *swan_sampler_name(swan_sampler sampler);
const char *swan_sched_grid_name(swan_sched_grid grid);

#ifdef __cplusplus
}
#endif
#endif
