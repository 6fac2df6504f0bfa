"""Scores clips with the world's judge.

    python tools/tinyworld/judge.py ceiling [--n 256] [--blur 0] [--noise 0]   # the judge on real renders
    python tools/tinyworld/judge.py engine build/release/swan models/tinyworld --n 32 --alone   # the model in the engine
    python tools/tinyworld/judge.py frames FRAMES.npy "the prompt"             # one clip from `swan generate --dump`
"""

import argparse
import concurrent.futures
import ctypes as C
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import world

ATTRS = dict(object=1, colour=2, motion=4, speed=8, size=16, background=32, second=64, second_colour=128, relation=256)
JOINT = 1 | 2 | 4 | 32  # object, colour, motion, background: those of them that the prompt tells
TRAVEL = (1, 2, 3, 4)


class Clip(C.Structure):
    _fields_ = [("rgb", C.c_void_p), ("width", C.c_int), ("height", C.c_int), ("frames", C.c_int)]


class Verdict(C.Structure):
    SOFT = ("ground_error", "shape_overlap", "colour_stability", "object_stability", "visible", "motion_stability")
    _fields_ = [("seen", world.Scene), ("right", C.c_uint)] + [(n, C.c_float) for n in SOFT]


def load(build_dir):
    os.makedirs(build_dir, exist_ok=True)
    so = os.path.join(build_dir, "libtinyjudge.so")
    src = [os.path.join(world.ROOT, "src", "world", s + ".c") for s in world.SOURCES + ["judge"]]
    subprocess.check_call(["gcc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-fPIC", "-shared", "-I" + world.ROOT + "/src", *src, "-o", so, "-lm"])
    lib = world.World(so)
    lib.lib.swan_world_judge.argtypes = [C.POINTER(Clip), C.POINTER(world.Scene), C.c_uint, C.POINTER(Verdict)]
    lib.lib.swan_world_judge.restype = C.c_bool
    return lib


def judge(w, clip, wanted, asked):
    """clip u8 [F, H, W, 3]"""
    clip = np.ascontiguousarray(clip)
    v = Verdict()
    f, h, wd, _ = clip.shape
    if not w.lib.swan_world_judge(C.byref(Clip(clip.ctypes.data, wd, h, f)), C.byref(wanted), asked, C.byref(v)):
        raise RuntimeError("judge failed")
    return v


def ask(w, text):
    """Wanted scene and attribute bits of a prompt; SPEED only where it is judged."""
    bits, scene = w.parse(text)
    if scene.motion not in TRAVEL or not bits & ATTRS["motion"]:
        bits &= ~ATTRS["speed"]
    return scene, bits


def degrade(clip, blur, noise, rng):
    x = clip.astype(np.float32)
    if blur:
        import torch
        import torch.nn.functional as F
        r = int(3 * blur + 0.5)
        k = np.exp(-0.5 * (np.arange(-r, r + 1) / blur) ** 2)
        k = torch.tensor(k / k.sum(), dtype=torch.float32)
        t = torch.from_numpy(x).permute(0, 3, 1, 2).reshape(-1, 1, *clip.shape[1:3])
        t = F.conv2d(F.pad(t, (r, r, 0, 0), mode="replicate"), k.view(1, 1, 1, -1))
        t = F.conv2d(F.pad(t, (0, 0, r, r), mode="replicate"), k.view(1, 1, -1, 1))
        x = t.reshape(clip.shape[0], 3, *clip.shape[1:3]).permute(0, 2, 3, 1).numpy()
    return np.clip(x + noise * rng.standard_normal(x.shape), 0, 255).astype(np.uint8)


class Table:
    def __init__(self):
        self.right, self.asked, self.joint, self.soft = {k: 0 for k in ATTRS}, {k: 0 for k in ATTRS}, [], []

    def add(self, v, asked):
        for k, bit in ATTRS.items():
            self.asked[k] += bool(asked & bit)
            self.right[k] += bool(v.right & bit)
        self.joint.append(v.right & JOINT == asked & JOINT)
        self.soft.append([getattr(v, n) for n in Verdict.SOFT])

    def show(self, title):
        cells = [f"{k} {100 * self.right[k] / n:.1f}% ({n})" for k, n in self.asked.items() if n]
        soft = np.mean(self.soft, 0)
        print(f"{title}: joint {100 * np.mean(self.joint):.1f}% ({len(self.joint)}); " + ", ".join(cells))
        print("  " + ", ".join(f"{n.replace('_', ' ')} {x:.3f}" for n, x in zip(Verdict.SOFT, soft)), flush=True)


def prompts(w, n, seed, split, alone):
    i = 0
    while n > 0:
        s = w.scene(seed, i, split)
        if not (alone and s.relation):
            yield s, w.caption(s, i * 7919 + 3)
            n -= 1
        i += 1


def generate(swan, model, flags, prompt, seed, gpu=None):
    env = os.environ if gpu is None else dict(os.environ, CUDA_VISIBLE_DEVICES=gpu)
    with tempfile.TemporaryDirectory() as d:
        done = subprocess.run([swan, "generate", prompt, "-m", model, "-o", d + "/clip.mp4", "--seed", str(seed), "--dump", d, *flags],
                              capture_output=True, text=True, env=env)
        if done.returncode:
            raise RuntimeError(f"{swan}: {done.returncode}: {done.stderr[-400:]}")
        return (np.load(d + "/frames.npy").transpose(0, 2, 3, 1) * 255).astype(np.uint8)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["ceiling", "engine", "frames"])
    p.add_argument("args", nargs="*")
    p.add_argument("--build", default=os.path.join(world.ROOT, "build", "tinyworld"))
    p.add_argument("--n", type=int, default=256, help="clips, half of them held-out pairs")
    p.add_argument("--only", choices=["held-out", "seen"], help="all of them pairs of this kind")
    p.add_argument("--blur", type=float, default=0)
    p.add_argument("--noise", type=float, default=0)
    p.add_argument("--seed", type=int, default=4242, help="list of scenes")
    p.add_argument("--alone", action="store_true", help="only scenes of one object")
    p.add_argument("--flags", default="", help="more options for swan generate, as one word")
    p.add_argument("--jobs", type=int, default=1, help="clips at a time")
    p.add_argument("--gpus", type=lambda s: s.split(","), default=[None], help="numbers of GPUs that the clips take in turns")
    p.add_argument("--within", type=float, default=1e9, help="seconds after which no further clip is begun")
    p.add_argument("-v", action="store_true")
    a = p.parse_args()
    w = load(a.build)
    if a.what == "frames":
        frames = np.load(a.args[0])
        scene, asked = ask(w, a.args[1])
        table = Table()
        table.add(judge(w, (frames.transpose(0, 2, 3, 1) * 255).astype(np.uint8), scene, asked), asked)
        table.show(a.args[1])
        return
    started = time.time()
    for split, name in ((world.HELD_OUT, "held-out pairs"), (world.TRAIN, "seen pairs")):
        if a.only and not name.startswith(a.only):
            continue
        n, table = a.n if a.only else a.n // 2, Table()

        def one(k, scene, text):
            if time.time() - started > a.within:
                return None
            clip = (generate(*a.args, a.flags.split(), text, 900 + k, a.gpus[k % len(a.gpus)]) if a.what == "engine"
                    else degrade(w.render(scene), a.blur, a.noise, np.random.default_rng(k)))
            wanted, asked = ask(w, text)
            return text, wanted, asked, judge(w, clip, wanted, asked)

        with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
            verdicts = list(pool.map(lambda x: one(*x), ((k, *x) for k, x in enumerate(prompts(w, n, a.seed, split, a.alone)))))
        for text, wanted, asked, v in filter(None, verdicts):
            table.add(v, asked)
            if a.v and v.right & 63 != asked & 63:
                miss = [f"{key}: {getattr(wanted, key)} seen {getattr(v.seen, key)}" for key, bit in ATTRS.items()
                        if asked & bit & 63 and not v.right & bit]
                print("   ", text, "|", "; ".join(miss))
        if table.joint:
            table.show(name)


if __name__ == "__main__":
    main()
