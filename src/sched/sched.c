#include "sched/sched.h"

#include <math.h>

#include "sched/unipc.h"

static const char *const sampler_names[] = {"dmd", "unipc", "euler"};
static const char *const grid_names[] = {"default", "diffusers", "original", "fastvideo", "flow-match"};

const char *swan_sampler_name(swan_sampler sampler)
{
    return sampler <= SWAN_SAMPLER_EULER ? sampler_names[sampler] : NULL;
}

const char *swan_sched_grid_name(swan_sched_grid grid)
{
    return grid <= SWAN_GRID_FLOW_MATCH ? grid_names[grid] : NULL;
}

static double shifted(double shift, double b) { return shift * b / (1 + (shift - 1) * b); }

/* In fp32, operation by operation, where a reference computes it so. */
static float shifted_f32(double shift, float b)
{
    float top = (float)shift * b, rest = (float)(shift - 1) * b;
    return top / (1.0f + rest);
}

/* ---- grids: level b and sigma before rounding ---------------------------------------------------------------- */

static double linspace(double first, double last, int intervals, int i)
{
    return intervals ? first + (last - first) / intervals * i : first;
}

static double grid_sigma(swan_sched_grid grid, double shift, int steps, int i)
{
    switch (grid) {
    case SWAN_GRID_ORIGINAL: return shifted(shift, linspace((double)0.999f, 0, steps, i));
    case SWAN_GRID_FASTVIDEO: return shifted(shift, linspace((double)shifted_f32(shift, 0.999f), 0, steps, i));
    case SWAN_GRID_FLOW_MATCH:
        return shifted(shift, linspace(1, (double)shifted_f32(shift, 1.0f / 1000.0f), steps - 1, i));
    case SWAN_GRID_DEFAULT:
    case SWAN_GRID_DIFFUSERS: break;
    }
    return shifted(shift, linspace(1, 1.0 / 1000, steps, i));
}

static void init_grid(swan_sched *s, swan_sched_grid grid, double shift)
{
    for (int i = 0; i < s->steps; i++) {
        double sigma = grid_sigma(grid, shift, s->steps, i);
        if (s->sampler == SWAN_SAMPLER_UNIPC && fabs(sigma - 1) < 1e-6) sigma -= 1e-6; /* it takes ln(1 - sigma) */
        s->sigma[i] = (double)(float)sigma;
        s->timestep[i] = grid == SWAN_GRID_FLOW_MATCH ? (double)((float)sigma * 1000.0f) : trunc(1000 * sigma);
    }
}

/* ---- DMD: a list of timesteps ---------------------------------------------------------------------- */

/* The sigma of the nearest of the 1,000 shifted training timesteps (the first of two equally near). */
static double nearest_sigma(double timestep, double shift)
{
    double best = 0, distance = INFINITY;
    for (int i = 0; i < 1000; i++) {
        float sigma = shifted_f32(shift, (float)(1000 - i) / 1000.0f);
        double d = fabs((double)(sigma * 1000.0f) - timestep);
        if (d < distance) {
            distance = d;
            best = (double)sigma;
        }
    }
    return best;
}

static swan_status init_dmd(swan_sched *s, const swan_sched_config *c, double shift)
{
    static const double published[] = {1000, 757, 522};
    const double *list = c->dmd_timesteps ? c->dmd_timesteps : published;
    int count = c->dmd_timesteps ? c->dmd_timestep_count : 3;
    if (count < 1 || count > SWAN_SCHED_MAX_STEPS)
        return SWAN_FAIL(SWAN_E_INVALID, "dmd timesteps: %d values, wanted 1 to %d", count, SWAN_SCHED_MAX_STEPS);
    for (int k = 0; k < count; k++) {
        if (!(list[k] > 0 && list[k] <= 1000))
            return SWAN_FAIL(SWAN_E_INVALID, "dmd timesteps: %g is not in (0, 1000]", list[k]);
        if (k > 0 && !(list[k] < list[k - 1]))
            return SWAN_FAIL(SWAN_E_INVALID, "dmd timesteps: %g comes after %g, they must fall", list[k], list[k - 1]);
    }
    if (s->steps == 0) s->steps = count;
    for (int i = 0; i < s->steps; i++) {
        double t = list[0];
        if (s->steps == count) {
            t = list[i];
        } else if (i > 0) {
            int at = i * (count - 1) / (s->steps - 1), rest = i * (count - 1) % (s->steps - 1);
            t = list[at];
            if (rest) t = floor(t + (list[at + 1] - t) * rest / (s->steps - 1) + 0.5);
        }
        s->timestep[i] = t;
        s->sigma[i] = nearest_sigma(t, shift);
    }
    return SWAN_OK;
}

/* ---- the interface ------------------------------------------------------------------------------ */

swan_status swan_sched_init(swan_sched *s, const swan_sched_config *c)
{
    if (!swan_sampler_name(c->sampler)) return SWAN_FAIL(SWAN_E_INVALID, "sampler %d is unknown", (int)c->sampler);
    if (!swan_sched_grid_name(c->grid)) return SWAN_FAIL(SWAN_E_INVALID, "sigma grid %d is unknown", (int)c->grid);
    bool dmd = c->sampler == SWAN_SAMPLER_DMD;
    if (dmd && c->grid != SWAN_GRID_DEFAULT)
        return SWAN_FAIL(SWAN_E_INVALID, "the dmd sampler has its own timesteps: the sigma grid %s does not apply",
                         swan_sched_grid_name(c->grid));
    if (c->steps < (dmd ? 0 : 1) || c->steps > SWAN_SCHED_MAX_STEPS)
        return SWAN_FAIL(SWAN_E_INVALID, "steps: %d is not in 1 .. %d", c->steps, SWAN_SCHED_MAX_STEPS);
    double shift = c->shift == 0 ? (dmd ? 8 : 3) : c->shift;
    if (!(shift >= 0.01 && shift <= 100)) return SWAN_FAIL(SWAN_E_INVALID, "shift: %g is not in 0.01 .. 100", c->shift);

    *s = (swan_sched){.sampler = c->sampler, .steps = c->steps};
    if (dmd) {
        SWAN_TRY(init_dmd(s, c, shift));
    } else {
        swan_sched_grid grid = c->grid;
        if (grid == SWAN_GRID_DEFAULT)
            grid = c->sampler == SWAN_SAMPLER_EULER ? SWAN_GRID_FLOW_MATCH : SWAN_GRID_DIFFUSERS;
        init_grid(s, grid, shift);
    }
    for (int i = 0; i < s->steps; i++)
        if (!(s->sigma[i] > s->sigma[i + 1]))
            return SWAN_FAIL(SWAN_E_INVALID, "%d steps with shift %g: noise levels %d and %d are equal; use fewer steps",
                             s->steps, shift, i, i + 1);
    return SWAN_OK;
}

int swan_sched_step(const swan_sched *s, int i, swan_sched_update out[SWAN_SCHED_MAX_UPDATES])
{
    if (s->sampler == SWAN_SAMPLER_UNIPC) return swan_sched_unipc_step(s, i, out);
    double sigma = s->sigma[i], next = s->sigma[i + 1];
    swan_sched_update *x0 = &out[0], *x = &out[1];
    *x0 = (swan_sched_update){SWAN_SCHED_X0_EVEN, 2, {{SWAN_SCHED_SAMPLE, 1}, {SWAN_SCHED_VELOCITY, -sigma}}};
    if (s->sampler == SWAN_SAMPLER_EULER)
        *x = (swan_sched_update){SWAN_SCHED_SAMPLE, 2, {{SWAN_SCHED_SAMPLE, 1}, {SWAN_SCHED_VELOCITY, next - sigma}}};
    else if (next > 0)
        *x = (swan_sched_update){SWAN_SCHED_SAMPLE, 2, {{SWAN_SCHED_X0_EVEN, 1 - next}, {SWAN_SCHED_NOISE, next}}};
    else
        *x = (swan_sched_update){SWAN_SCHED_SAMPLE, 1, {{SWAN_SCHED_X0_EVEN, 1}}};
    return 2;
}

bool swan_sched_needs_noise(const swan_sched *s, int i) { return s->sampler == SWAN_SAMPLER_DMD && i < s->steps - 1; }

swan_sched_buffer swan_sched_x0(const swan_sched *s, int i)
{
    return s->sampler == SWAN_SAMPLER_UNIPC && i % 2 ? SWAN_SCHED_X0_ODD : SWAN_SCHED_X0_EVEN;
}

unsigned swan_sched_buffers(const swan_sched *s)
{
    unsigned used = 0;
    for (int i = 0; i < s->steps; i++) {
        swan_sched_update update[SWAN_SCHED_MAX_UPDATES];
        int updates = swan_sched_step(s, i, update);
        for (int k = 0; k < updates; k++) {
            used |= 1u << update[k].target;
            for (int j = 0; j < update[k].terms; j++) used |= 1u << update[k].term[j].source;
        }
    }
    return used;
}
