#!/usr/bin/env python3
"""Wan's transformer in plain PyTorch with random weights, bf16: what a user would run instead of ours. Arithmetic as in the published
pipelines: LayerNorm, modulation, RMSNorm and rotation in fp32, everything else in bf16; text keys and values in every step.

    bench/peers/dit.py eager-fa2 eager-cudnn compile-cudnn [--size 832x480 --frames 81 --steps 3 --runs 4 --model wan2.1-1.3b]

Prints a JSON line for each row: seconds of all steps together.
"""

import argparse
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import timing

SIZES = {"wan2.1-1.3b": (12, 8960, 30), "wan2.1-14b": (40, 13824, 40), "tiny": (2, 512, 2)}
HEAD, TEXT_WIDTH, TEXT_ROWS, FREQUENCIES, CHANNELS = 128, 4096, 512, 256, 16
BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "fa2": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH}


def rms_norm(x, weight):
    return F.rms_norm(x.float(), x.shape[-1:], weight.float(), 1e-6).to(x.dtype)


def modulate(x, scale, shift):
    return (F.layer_norm(x.float(), x.shape[-1:], eps=1e-6) * (1 + scale) + shift).to(x.dtype)


def rotate(x, cos, sin):
    """x [1, H, L, 128]; neighbours are a pair."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))

    def forward(self, x, context, rope):
        split = lambda t: t.unflatten(-1, (-1, HEAD)).transpose(1, 2)
        q, k, v = split(rms_norm(self.q(x), self.norm_q)), split(rms_norm(self.k(context), self.norm_k)), split(self.v(context))
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        return self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, dim, ffn):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 6, dim) * 0.02)
        self.attn1, self.attn2, self.norm = Attention(dim), Attention(dim), nn.LayerNorm(dim, 1e-6)
        self.up, self.down = nn.Linear(dim, ffn), nn.Linear(ffn, dim)

    def forward(self, x, context, modulation, rope):
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.table.float() + modulation).unbind(1)
        h = modulate(x, scale1, shift1)
        x = (x.float() + self.attn1(h, h, rope) * gate1).to(x.dtype)
        h = F.layer_norm(x.float(), x.shape[-1:], self.norm.weight.float(), self.norm.bias.float(), 1e-6).to(x.dtype)
        x = x + self.attn2(h, context, None)
        h = modulate(x, scale2, shift2)
        return (x.float() + self.down(F.gelu(self.up(h), approximate="tanh")) * gate2).to(x.dtype)


class Transformer(nn.Module):
    def __init__(self, heads, ffn, layers):
        super().__init__()
        dim = HEAD * heads
        self.patch, self.head = nn.Conv3d(CHANNELS, dim, (1, 2, 2), (1, 2, 2)), nn.Linear(dim, 4 * CHANNELS)
        self.time1, self.time2, self.time_proj = nn.Linear(FREQUENCIES, dim), nn.Linear(dim, dim), nn.Linear(dim, 6 * dim)
        self.text1, self.text2 = nn.Linear(TEXT_WIDTH, dim), nn.Linear(dim, dim)
        self.table = nn.Parameter(torch.randn(1, 2, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, ffn) for _ in range(layers))

    def forward(self, latent, text, timestep, rope):
        t, h, w = latent.shape[2], latent.shape[3] // 2, latent.shape[4] // 2
        x = self.patch(latent).flatten(2).transpose(1, 2)
        angle = timestep * torch.exp(-math.log(10000) * torch.arange(FREQUENCIES // 2, device=x.device) / (FREQUENCIES // 2))
        time = self.time2(F.silu(self.time1(torch.cat((angle.cos(), angle.sin()))[None].to(x.dtype))))
        modulation = self.time_proj(F.silu(time)).float().unflatten(1, (6, -1))
        context = self.text2(F.gelu(self.text1(text), approximate="tanh"))
        for block in self.blocks:
            x = block(x, context, modulation, rope)
        shift, scale = (self.table.float() + time.float()[:, None]).unbind(1)
        x = self.head(modulate(x, scale, shift))
        return x.view(1, t, h, w, 1, 2, 2, CHANNELS).permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(latent.shape)


def rope_table(t, h, w, device):
    """cos and sin [L, 64]: 22 pairs for time, 21 for each direction."""
    axes = []
    for positions, pairs in ((t, 22), (h, 21), (w, 21)):
        axes.append(torch.outer(torch.arange(positions, dtype=torch.float64), 10000.0 ** (-torch.arange(pairs, dtype=torch.float64) / pairs)))
    grid = torch.cat((axes[0][:, None, None].expand(t, h, w, -1), axes[1][None, :, None].expand(t, h, w, -1),
                      axes[2][None, None].expand(t, h, w, -1)), -1).flatten(0, 2)
    return grid.cos().float().to(device), grid.sin().float().to(device)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", help="eager-fa2, eager-cudnn, compile-cudnn, compile-fa2")
    parser.add_argument("--model", default="wan2.1-1.3b", choices=SIZES)
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    T, H, W = (options.frames - 1) // 4 + 1, height // 8, width // 8
    torch.manual_seed(1)
    with torch.device(options.device):
        torch.set_default_dtype(torch.bfloat16)
        model = Transformer(*SIZES[options.model]).requires_grad_(False).eval()
        latent, text = torch.randn(1, CHANNELS, T, H, W), torch.randn(1, TEXT_ROWS, TEXT_WIDTH)
        timesteps = [torch.tensor(1000.0 - 900 * i / options.steps, dtype=torch.float32) for i in range(options.steps)]
        rope = rope_table(T, H // 2, W // 2, options.device)

    last = []

    def denoise():
        x = latent
        for t in timesteps:
            x = x - 0.3 * model(x, text, t, rope)
        last[:] = [x]

    compiled = False
    for row in sorted(options.rows, key=lambda r: r.startswith("compile")):  # a block once compiled stays so
        mode, attention = row.split("-")
        if mode == "compile" and not compiled:
            compiled = True
            for block in model.blocks:
                block.compile()
        with torch.inference_mode(), sdpa_kernel(BACKENDS[attention]):
            times = timing.measure(denoise, options.runs)
        finite = bool(last[0].isfinite().all())
        timing.tell("dit " + row, times, model=options.model, size=options.size, frames=options.frames, steps=options.steps, finite=finite)


if __name__ == "__main__":
    main()
