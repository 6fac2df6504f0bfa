/* UniPC in the form of linear combinations. W. Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast
 * Sampling of Diffusion Models", 2023, for x0 predictions m and the path alpha = 1 - sigma; lambda = ln(alpha /
 * sigma) is its time.
 *
 * A step from level 0 to level t, with h = lambda_t - lambda_0 and E = alpha_t * (e^-h - 1), which here is (sigma_t -
 * sigma_0) / sigma_0 exactly:
 *     predictor    x_t = (sigma_t / sigma_0) x - E m_0 - E/2 D                       the last term from order 2 on
 *     corrector    x_t = (sigma_t / sigma_0) x - E m_0 - E (rho_1 D + rho_2 (m_t - m_0))
 *     D = (m_before - m_0) / r,  r = (lambda_before - lambda_0) / h < 0
 * The corrector needs m_t, so it corrects a sample after the model has seen it: the corrected one is only the start
 * of the next step (buffer LAST), never seen by the model. */
#include "sched/unipc.h"

#include <math.h>

/* phi_k(x) = sum over j of x^j / (j + k)! for k = 1, 2, 3: (e^x - 1)/x, (phi_1 - 1)/x, (phi_2 - 1/2)/x, which near 0
 * lose all digits as written. |x| is at most about 20 here. */
static void phi_123(double x, double phi[3])
{
    if (fabs(x) >= 1) {
        phi[0] = expm1(x) / x;
        phi[1] = (phi[0] - 1) / x;
        phi[2] = (phi[1] - 0.5) / x;
        return;
    }
    double sum = 0, factorial_20 = 2432902008176640000.0, coefficient = 1 / factorial_20;
    for (int j = 17; j >= 0; j--) { /* Horner; coefficient = 1 / (j + 3)! */
        sum = sum * x + coefficient;
        coefficient *= j + 3;
    }
    phi[2] = sum;
    phi[1] = 0.5 + x * phi[2];
    phi[0] = 1 + x * phi[1];
}

/* ln of the ratio of signal to noise between two levels, to > from; more exact than a difference of two lambdas. */
static double lambda_between(double sigma_from, double sigma_to)
{
    return log((1 - sigma_to) * sigma_from / ((1 - sigma_from) * sigma_to));
}

/* Of step i: 1 for the first; the last is of order 1 too, but needs no formula (predict). */
static int order_of(int i) { return i == 0 ? 1 : 2; }

static void add(swan_sched_update *u, swan_sched_buffer source, double coefficient)
{
    u->term[u->terms++] = (swan_sched_term){source, coefficient};
}

/* The step that led to i, done again with what the model said at i: LAST becomes the corrected sample at i. Reads x0
 * of i - 1 and i - 2; x0 of i (which will replace that of i - 2) goes in as SAMPLE - sigma VELOCITY. */
static void correct(const swan_sched *s, int i, swan_sched_update *u)
{
    double from = s->sigma[i - 1], to = s->sigma[i], E = (to - from) / from;
    double h = lambda_between(from, to), rho_before = 0, rho_new = 0.5, r = -1;
    if (order_of(i - 1) == 2) {
        double phi[3];
        phi_123(-h, phi);
        double b1 = phi[1] / phi[0], b2 = 2 * phi[2] / phi[0];
        r = -lambda_between(s->sigma[i - 2], from) / h;
        rho_before = (b1 - b2) / (1 - r); /* solves rho_before + rho_new = b1, r rho_before + rho_new = b2 */
        rho_new = b1 - rho_before;
    }
    *u = (swan_sched_update){.target = SWAN_SCHED_LAST};
    add(u, SWAN_SCHED_LAST, to / from);
    add(u, swan_sched_x0(s, i - 1), -E * (1 - rho_before / r - rho_new));
    if (rho_before != 0) add(u, swan_sched_x0(s, i - 2), -E * rho_before / r);
    add(u, SWAN_SCHED_SAMPLE, -E * rho_new);
    add(u, SWAN_SCHED_VELOCITY, E * rho_new * to);
}

static void predict(const swan_sched *s, int i, swan_sched_update *u)
{
    double from = s->sigma[i], to = s->sigma[i + 1], E = (to - from) / from;
    *u = (swan_sched_update){.target = SWAN_SCHED_SAMPLE};
    if (to == 0) { /* the last step lands on x0 itself */
        add(u, swan_sched_x0(s, i), 1);
        return;
    }
    double before = 0; /* 0.5 / r */
    if (order_of(i) == 2) before = -0.5 * lambda_between(from, to) / lambda_between(s->sigma[i - 1], from);
    add(u, SWAN_SCHED_LAST, to / from);
    add(u, swan_sched_x0(s, i), -E * (1 - before));
    if (before != 0) add(u, swan_sched_x0(s, i - 1), -E * before);
}

int swan_sched_unipc_step(const swan_sched *s, int i, swan_sched_update out[SWAN_SCHED_MAX_UPDATES])
{
    int n = 0;
    if (i < s->steps - 1) { /* the last step needs no start: its result does not depend on it */
        if (i == 0) out[n++] = (swan_sched_update){SWAN_SCHED_LAST, 1, {{SWAN_SCHED_SAMPLE, 1}}};
        else correct(s, i, &out[n++]);
    }
    swan_sched_update *x0 = &out[n++];
    *x0 = (swan_sched_update){swan_sched_x0(s, i), 2, {{SWAN_SCHED_SAMPLE, 1}, {SWAN_SCHED_VELOCITY, -s->sigma[i]}}};
    predict(s, i, &out[n++]);
    return n;
}
