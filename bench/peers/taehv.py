#!/usr/bin/env python3
"""TAEHV's decoder (the architecture of taew2_1) in plain PyTorch with random weights: fp16, channels last.

    bench/peers/taehv.py [--size 832x480 --frames 81 --runs 6 --at-a-time 7 --no-compile]

A pass takes --at-a-time latent frames (0: all); MemBlocks keep the last frame for the next.

Prints a JSON line for eager and one for torch.compile: seconds from the latent to clamped RGB on the device.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

import timing


class MemBlock(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(2 * n, n, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(n, n, 3, padding=1),
                                  nn.ReLU(inplace=True), nn.Conv2d(n, n, 3, padding=1))

    def forward(self, x, last):
        past = torch.cat((last, x[:-1]))
        return F.relu_(self.conv(torch.cat((x, past), 1)).add_(x)), x[-1:]


class Grow(nn.Module):
    """One frame into `stride` frames by a 1x1 convolution."""

    def __init__(self, n, stride):
        super().__init__()
        self.conv = nn.Conv2d(n, n * stride, 1, bias=False)

    def forward(self, x):
        return self.conv(x).reshape(-1, x.shape[1], *x.shape[2:])


class Decoder(nn.Module):
    def __init__(self, latent=16, widths=(256, 128, 64, 64), grow=(1, 2, 2)):
        super().__init__()
        layers = [nn.Conv2d(latent, widths[0], 3, padding=1), nn.ReLU(inplace=True)]
        for i in range(3):
            layers += [MemBlock(widths[i]) for _ in range(3)]
            layers += [nn.Upsample(scale_factor=2), Grow(widths[i], grow[i]), nn.Conv2d(widths[i], widths[i + 1], 3, padding=1, bias=False)]
        self.body = nn.ModuleList([*layers, nn.ReLU(inplace=True), nn.Conv2d(widths[3], 3, 3, padding=1)])

    def forward(self, z, memory):  # [T, 16, H, W], the last frame of each MemBlock -> [4 T, 3, 8 H, 8 W], the same
        x, kept = torch.tanh(z / 3) * 3, []
        for layer in self.body:
            if isinstance(layer, MemBlock):
                x, last = layer(x, memory[len(kept)])
                kept.append(last)
            else:
                x = layer(x)
        return x.clamp_(0, 1), kept

    def start(self, z):
        """Zeros for the frame before the first."""
        h, w = z.shape[2:]
        return [z.new_zeros(1, c, h << s, w << s).to(memory_format=torch.channels_last) for s, c in enumerate((256, 128, 64)) for _ in range(3)]


def decode(run, latent, memory, at_a_time):
    frames = []
    for part in latent.split(at_a_time or len(latent)):
        rgb, memory = run(part, memory)
        frames.append(rgb)
    return torch.cat(frames)[3:] if len(frames) > 1 else frames[0][3:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--at-a-time", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    model = Decoder().cuda().half().to(memory_format=torch.channels_last).requires_grad_(False).eval()
    latent = torch.randn((options.frames - 1) // 4 + 1, 16, height // 8, width // 8, device="cuda").half().to(memory_format=torch.channels_last)
    rows = [("taehv eager", model)] + ([] if options.no_compile else [("taehv compile", torch.compile(model))])
    with torch.inference_mode():
        memory = model.start(latent)
        for name, run in rows:
            timing.tell(name, timing.measure(lambda: decode(run, latent, memory, options.at_a_time), options.runs), frames=options.frames,
                        size=options.size, at_a_time=options.at_a_time)


if __name__ == "__main__":
    main()
