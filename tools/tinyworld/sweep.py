"""Scores a model over sampler settings with the world's judge, sampling in PyTorch: hundreds of clips in seconds on a GPU.

    python tools/tinyworld/sweep.py models/tinyworld --settings g4s5n20 g3s5n20 --held-out 256 --seen 64 --json out.json
    python tools/tinyworld/sweep.py models/tinyworld --settings truth ...          # latents of real renders: what the decoder loses
    python tools/tinyworld/sweep.py models/tinyworld --settings g4s5n20@0.8 ...    # real latents, noised to sigma 0.8 and denoised

A setting is gGUIDANCEsSHIFTnSTEPS. Prompts, seeds and noise are those of judge.py engine with the same --seed, so the same clips
but for the arithmetic (bfloat16 on a GPU, fp32 on a CPU).
"""

import argparse
import concurrent.futures
import json
import os
import re
import sys
import time

import numpy as np
import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import judge as J
import sampler
import world
from sample import Pipeline

FIRST_SEED = 900
START = time.time()


def autocast(device):
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device != "cpu")


@torch.no_grad()
def latents_of(pipe, clips):
    """clips u8 [B, F, H, W, 3] -> latents [B, 16, 9, 20, 28]"""
    x = torch.from_numpy(clips).to(pipe.device).permute(0, 1, 4, 2, 3).float().div_(255)
    with autocast(pipe.device):
        return pipe.ae.encode(x).float().transpose(1, 2)


@torch.no_grad()
def make(pipe, setting, texts, scenes, noise, w):
    """u8 [B, F, H, W, 3] of one setting"""
    z = None
    if setting == "truth" or "@" in setting:
        z = latents_of(pipe, np.stack([w.render(s) for s in scenes]))
    if setting != "truth":
        m = re.fullmatch(r"g([\d.]+)s([\d.]+)n(\d+)(?:@([\d.]+))?", setting)
        guidance, shift, steps, start = float(m[1]), float(m[2]), int(m[3]), float(m[4] or 1)
        with autocast(pipe.device):
            _, _, cond = pipe.condition(texts)
            uncond = pipe.condition([""] * len(texts))[2]
            velocity = sampler.guided(pipe.dit, *cond, *uncond, guidance)
            x = noise if z is None else (1 - start) * z + start * noise
            z = sampler.unipc(velocity, x, steps, shift, start=start)
    with autocast(pipe.device):
        y = pipe.ae.decode(z.transpose(1, 2)).float().clamp(0, 1)
    return (y * 255).byte().permute(0, 1, 3, 4, 2).cpu().numpy()


def noise_of(k):
    return torch.randn(16, 9, 20, 28, generator=torch.Generator().manual_seed(FIRST_SEED + k))


def score(pipe, w, setting, prompts, batch, pool):
    """Verdict dicts, one a prompt, in order."""
    def one(clip, scene, text):
        wanted, asked = J.ask(w, text)
        v = J.judge(w, clip, wanted, asked)
        return v, asked, wanted

    futures = []
    for i in range(0, len(prompts), batch):
        part = prompts[i:i + batch]
        noise = torch.stack([noise_of(k) for k, _, _ in part]).to(pipe.device)
        clips = make(pipe, setting, [t for _, _, t in part], [s for _, s, _ in part], noise, w)
        futures += [pool.submit(one, c, s, t) for c, (_, s, t) in zip(clips, part)]
        if pipe.device == "cpu":  # every parallel loop of torch waits for its last thread, and the judge would have the cores
            concurrent.futures.wait(futures)
        if i == 0:
            print(f"  {setting}: {len(part)} of {len(prompts)} clips made, {time.time() - START:.1f} s", flush=True)
    return [f.result() for f in futures]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--settings", nargs="+", default=["g4s5n20"])
    p.add_argument("--held-out", type=int, default=256)
    p.add_argument("--seen", type=int, default=64)
    p.add_argument("--seed", type=int, default=4242, help="list of scenes")
    p.add_argument("--alone", action="store_true", help="only scenes of one object")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--build", default=os.path.join(world.ROOT, "build", "tinyworld"))
    p.add_argument("--json", help="every verdict, into this file")
    p.add_argument("--within", type=float, default=1e9, help="seconds after which no further setting is begun")
    a = p.parse_args()
    torch.set_float32_matmul_precision("high")
    if a.device != "cpu":
        torch.set_num_threads(1)  # torch only makes noise here, while the judge has the cores: see score
    w, out = J.load(a.build), []
    pipe = Pipeline(a.model, a.device)
    pool = concurrent.futures.ThreadPoolExecutor(a.jobs)
    for setting in a.settings:
        if time.time() - START > a.within:
            print(setting, "left out: no time", flush=True)
            continue
        for split, name, n in ((world.HELD_OUT, "held-out pairs", a.held_out), (world.TRAIN, "seen pairs", a.seen)):
            prompts = [(k, s, t) for k, (s, t) in enumerate(J.prompts(w, n, a.seed, split, a.alone))]
            if not prompts:
                continue
            table, alone = J.Table(), J.Table()
            for (k, scene, text), (v, asked, wanted) in zip(prompts, score(pipe, w, setting, prompts, a.batch, pool)):
                table.add(v, asked)
                if not asked & J.ATTRS["second"]:
                    alone.add(v, asked)
                fields = [f for f, _ in world.Scene._fields_[:10]]
                out.append(dict(setting=setting, split=name, k=k, text=text, asked=asked, right=v.right,
                                wanted={f: getattr(wanted, f) for f in fields}, seen={f: getattr(v.seen, f) for f in fields},
                                **{n: round(getattr(v, n), 3) for n in J.Verdict.SOFT}))
            table.show(f"{setting}, {name}")
            if 0 < len(alone.joint) < len(table.joint):
                alone.show(f"{setting}, {name}, one object")
        print(f"  {time.time() - START:.1f} s", flush=True)
        if a.json:
            with open(a.json, "w") as f:
                json.dump(out, f)


if __name__ == "__main__":
    main()
