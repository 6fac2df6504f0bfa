#!/usr/bin/env python3
"""TAEHV's decoder (the architecture of taew2_1) in plain PyTorch with random weights: fp16, channels last, all frames in one pass.

    bench/peers/taehv.py [--size 832x480 --frames 81 --runs 6 --no-compile]

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
        self.conv = nn.Sequential(nn.Conv2d(2 * n, n, 3, padding=1), nn.ReLU(), nn.Conv2d(n, n, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(n, n, 3, padding=1))

    def forward(self, x):
        past = torch.cat((torch.zeros_like(x[:1]), x[:-1]))
        return F.relu(self.conv(torch.cat((x, past), 1)) + x)


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
        layers = [nn.Conv2d(latent, widths[0], 3, padding=1), nn.ReLU()]
        for i in range(3):
            layers += [MemBlock(widths[i]) for _ in range(3)]
            layers += [nn.Upsample(scale_factor=2), Grow(widths[i], grow[i]), nn.Conv2d(widths[i], widths[i + 1], 3, padding=1, bias=False)]
        self.body = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(widths[3], 3, 3, padding=1))

    def forward(self, z):  # [T, 16, H, W]
        return self.body(torch.tanh(z / 3) * 3)[3:].clamp(0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    model = Decoder().cuda().half().to(memory_format=torch.channels_last).requires_grad_(False).eval()
    latent = torch.randn((options.frames - 1) // 4 + 1, 16, height // 8, width // 8, device="cuda").half().to(memory_format=torch.channels_last)
    rows = [("taehv eager", model)] + ([] if options.no_compile else [("taehv compile", torch.compile(model))])
    with torch.inference_mode():
        for name, decode in rows:
            timing.tell(name, timing.measure(lambda: decode(latent), options.runs), frames=options.frames, size=options.size)


if __name__ == "__main__":
    main()
