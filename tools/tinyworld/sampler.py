"""FlowUniPC, order 2, bh2, x0 prediction, lower order at the end (UniPC, Zhao et al. 2023), as Wan2.1 uses it."""

import math

import torch


def sigmas(steps, shift, grid="diffusers"):
    """diffusers: levels from 1 towards 0.001, a sigma of 1 becomes 1 - 1e-6; original (Wan2.1): from 0.999 towards 0."""
    first, last = (1.0, 1e-3) if grid == "diffusers" else (0.999, 0.0)
    base = [first + (last - first) * i / steps for i in range(steps)]
    sig = [shift * b / (1 + (shift - 1) * b) for b in base]
    return [s - 1e-6 if abs(s - 1) < 1e-6 else s for s in sig] + [0.0]


def _lam(s):
    return math.log(max(1 - s, 1e-12)) - math.log(max(s, 1e-12))


def unipc(velocity, x, steps, shift, grid="diffusers", start=1.0):
    """velocity(x, t) with t = trunc(1000 sigma). Returns the clean latents. start below 1: x has that sigma, and only the
    steps below it are made."""
    sig = sigmas(steps, shift, grid)
    if start < 1:
        sig = [start] + [s for s in sig if s < start - 1e-3]
        steps = len(sig) - 1
    m, x_last, last_order = [], None, 0  # m: x0 predictions, newest last
    for i in range(steps):
        s = sig[i]
        v = velocity(x, int(1000 * s))
        m_t = x - s * v
        if i > 0:  # corrector: redo the last step, knowing m_t
            s0, h = sig[i - 1], _lam(s) - _lam(sig[i - 1])
            hh, phi = -h, math.expm1(-h)
            y = (s / s0) * x_last - (1 - s) * phi * m[-1]
            if last_order == 1:
                corr = 0.5 * (m_t - m[-1])
            else:
                rk = (_lam(sig[i - 2]) - _lam(s0)) / h
                b1 = (phi / hh - 1) / phi
                b2 = 2 * ((phi / hh - 1) / hh - 0.5) / phi
                r0 = (b1 - b2) / (1 - rk)  # [[1, 1], [rk, 1]] r = b
                corr = r0 * (m[-2] - m[-1]) / rk + (b1 - r0) * (m_t - m[-1])
            x = y - (1 - s) * phi * corr
        m = (m + [m_t])[-2:]
        order = min(2, steps - i, i + 1)
        t, h = sig[i + 1], _lam(sig[i + 1]) - _lam(s)
        phi = math.expm1(-h)
        x_last, last_order = x, order
        x = (t / s) * x - (1 - t) * phi * m_t
        if order == 2:
            rk = (_lam(sig[i - 1]) - _lam(s)) / h
            x = x - (1 - t) * phi * 0.5 * (m[-2] - m_t) / rk
    return x


def guided(dit, ctx, bias, ctx_u, bias_u, scale):
    """velocity(x, t) with classifier-free guidance; scale <= 1: none."""
    def velocity(x, t):
        tt = torch.full((x.shape[0],), float(t), device=x.device)
        v = dit(x, tt, ctx, bias)
        if scale > 1:
            u = dit(x, tt, ctx_u, bias_u)
            v = u + scale * (v - u)
        return v
    return velocity
