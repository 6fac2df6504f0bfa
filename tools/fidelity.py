#!/usr/bin/env python3
"""Compares modes of `swan generate` (precision, attention, sampler, steps, device) with one of them, on the same prompts and seeds.

    python tools/fidelity.py build/release/swan models/tinyworld --a "--exact" --b "--parity-bf16" --b "--steps 10" --n 32 -o OUT

writes OUT/fidelity.md (tables), OUT/fidelity.json (the same and every clip's numbers) and OUT/sheet-I.png a mode b: one row a
prompt, five frames of a, five of b. Prompts are captions of the world of tinyworld, every second one of a pair of object and
colour that training never saw, and its judge scores the clips; --prompts FILE takes others, a line each, and --no-judge leaves
the judge out. A mode that the program refuses is a row with its message. "NAME:: OPTIONS" names a mode in the tables.

Needs Python 3.9 and NumPy, and a C compiler for the judge. Measures: see tools/fidelity_metrics.py and docs/fidelity.md.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "tinyworld")]

import numpy as np  # noqa: E402

import fidelity_metrics as m  # noqa: E402

SOFT = ("colour_stability", "object_stability", "motion_stability")


class Refused(Exception):
    """swan generate failed: its message."""


# ---- clips ----

def zero_gates(model, folder):
    """A copy of a model without gates, by links, that has them, all zero: sparse attention then is its fine branch alone."""
    copy = pathlib.Path(folder) / "zero-gates"
    for path in pathlib.Path(model).resolve().rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(pathlib.Path(model).resolve())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    file = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    raw = file.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8:8 + size]), raw[8 + size:]
    if any("to_gate_compress" in name for name in header):
        sys.exit(f"{model}: has gates already")
    extra = {}
    for name in header:
        found = re.fullmatch(r"(blocks\.\d+\.)attn1\.to_q\.(weight|bias)", name)
        if found:
            extra[f"{found[1]}to_gate_compress.{found[2]}"] = header[name]
    at = len(data)
    for name, like in extra.items():
        count = like["data_offsets"][1] - like["data_offsets"][0]
        header[name] = dict(like, data_offsets=[at, at + count])
        at += count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.unlink()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data + bytes(at - len(data)))
    return str(copy)


def generate(swan, model, flags, prompt, seed, noise):
    """frames u8 [F, H, W, 3], latents and noise f32 [16, T, h, w], seconds of denoising as the program tells them."""
    with tempfile.TemporaryDirectory(prefix="swan-fidelity-") as d:
        command = [swan, "generate", "-m", model, "-o", d + "/clip.mp4", "--seed", str(seed), "--dump", d, *flags]
        if noise is not None:
            np.save(d + "/start.npy", noise)
            command += ["--noise", d + "/start.npy"]
        command += ["--", prompt]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            raise Refused((re.findall(r"^swan: (.*)", done.stderr, re.M) or [done.stderr.strip()[-300:]])[-1])
        frames = np.load(d + "/frames.npy").transpose(0, 2, 3, 1)
        seconds = re.search(r"denoise ([\d.]+)", done.stderr)
        return dict(frames=np.round(frames * 255).astype(np.uint8), latents=np.load(d + "/latents.npy"),
                    noise=np.load(d + "/noise.npy"), seconds=float(seconds[1]) if seconds else np.nan)


class Maker:
    """Makes the clips of a mode; keeps them in a folder, by what they depend on, so that a run can go on where one stopped."""

    def __init__(self, swan, model, keep, jobs):
        self.swan, self.model, self.keep, self.jobs = swan, model, keep, jobs
        self.version = hashlib.sha256(pathlib.Path(swan).read_bytes())
        for path in sorted(pathlib.Path(model).rglob("*")):
            if path.is_file():
                self.version.update(path.read_bytes())

    def clip(self, model, flags, prompt, seed, noise=None):
        """As generate gives it. noise: where to start, None: the mode's own."""
        key = self.version.copy()
        key.update(repr((model == self.model, flags, prompt, seed, noise is None)).encode())
        key.update(b"" if noise is None else noise.tobytes())
        file = self.keep and pathlib.Path(self.keep) / f"{key.hexdigest()[:24]}.npz"
        if file and file.exists():
            with np.load(file) as kept:
                return {**kept}
        clip = generate(self.swan, model, flags, prompt, seed, noise)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}.part")
            with open(part, "wb") as f:
                np.savez(f, **clip)
            part.replace(file)
        return clip

    def each(self, work, prompts):
        """work(k, prompt, seed) of all prompts, in order, some at a time."""
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(lambda k: work(k, *prompts[k]), range(len(prompts))))


# ---- prompts and the judge ----

def world_prompts(judge, w, n, scenes):
    """Captions of the list of scenes: seen and held-out pairs by turns."""
    lists = [judge.prompts(w, (n + 1) // 2, scenes, split, False) for split in (0, 1)]
    return [next(lists[k % 2])[1] for k in range(n)]


class Judge:
    """The world's judge, or none."""

    def __init__(self, folder):
        import judge
        self.judge, self.world = judge, judge.load(folder)

    def __call__(self, clip, prompt):
        j = self.judge
        wanted, asked = j.ask(self.world, prompt)
        v = j.judge(self.world, clip, wanted, asked)
        out = {name: bool(v.right & bit) for name, bit in j.ATTRS.items() if asked & bit}
        if asked & j.JOINT:
            out["joint"] = v.right & j.JOINT == asked & j.JOINT
        return {**out, **{name: getattr(v, name) for name in SOFT}}


# ---- numbers ----

def compare(maker, judge, model, flags, prompts, a_clips):
    """One dict a prompt. All modes start from the noise of mode a: --parity-bf16 would draw another."""
    def one(k, prompt, seed):
        a = a_clips and a_clips[k]
        clip = maker.clip(model, flags, prompt, seed, a["noise"] if a else None)
        frames = clip["frames"]
        out = dict(seconds=float(clip["seconds"]), motion=m.motion(frames), judged=judge(frames, prompt) if judge else {},
                   strip=m.strip(frames))
        if not a:
            return {**clip, **out}
        return dict(out, psnr=m.psnr(a["frames"], frames), ssim=m.ssim(a["frames"], frames),
                    latents=m.relative_l2(a["latents"], clip["latents"]))
    return maker.each(one, prompts)


def shares(clips, name, picks, base=None):
    """Accuracy of an attribute among those that were asked; minus that of base when given."""
    asked = [name in c["judged"] for c in clips]
    right = [c["judged"].get(name, 0) for c in clips]
    if base:
        right = [x - c["judged"].get(name, 0) for x, c in zip(right, base)]
    return m.interval(right, asked, picks)


def summary(clips, base, picks):
    ones = np.ones(len(clips))
    out = {}
    if base is not clips:
        for name in ("psnr", "ssim", "latents"):
            out[name] = m.interval([c[name] for c in clips], ones, picks)
        out["motion_ratio"] = m.interval([c["motion"] for c in clips], [c["motion"] for c in base], picks)
    out["motion"] = m.interval([c["motion"] for c in clips], ones, picks)
    names = sorted({name for c in clips for name in c["judged"]})
    out["judged"] = {name: shares(clips, name, picks) for name in names}
    if base is not clips:
        out["difference"] = {name: shares(clips, name, picks, base) for name in names}
    out["denoise_s"] = float(np.median([c["seconds"] for c in clips]))
    return out


# ---- what is written ----

ORDER = ("joint", "object", "colour", "motion", "speed", "size", "background", "second", "second_colour", "relation")


def label(flags):
    """A mode's name in the tables: what stands before "::", else its options."""
    return flags.split("::")[0].strip() if "::" in flags else f"`{flags or '(defaults)'}`"


def options(o, flags):
    return shlex.split(o.all + " " + flags.split("::")[-1])


def cell(value, digits, scale=1.0, sign=""):
    if value is None:
        return "–"
    v, lo, hi = (f"{scale * x:{sign}.{digits}f}" for x in value)
    return v if lo == hi == v else f"{v} [{lo}, {hi}]"


def tiny(value):
    """A number of any size, with its interval."""
    v, lo, hi = (f"{x:.1e}" if 0 < x < 0.01 else f"{x:.3f}" if x else "0" for x in value)
    return v if lo == hi == v else f"{v} [{lo}, {hi}]"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows]) + "\n"


def report(result):
    """fidelity.md"""
    a, modes = result["a"], result["modes"]
    text = [f"a: {label(a['flags'])}. {result['n']} prompts, seeds {result['first_seed']} and up; {result['machine']}; "
            f"{result['date']}. In brackets 95 % bootstrap intervals over prompts.\n"]
    good = [b for b in modes if "refused" not in b]
    rows = []
    for b in modes:
        if "refused" in b:
            rows.append([label(b["flags"]), "refused: " + b["refused"]] + [""] * 4)
            continue
        rows.append([label(b["flags"]), tiny(b["latents"]), cell(b["psnr"], 1), cell(b["ssim"], 4),
                     cell(b["motion_ratio"], 3), cell(b["difference"].get("joint"), 0, 100, "+")])
    text.append(table(["b", "latents, relative L2", "PSNR, dB", "SSIM", "motion, b / a", "joint, b - a, points"], rows))
    names = [name for name in ORDER if name in a["judged"]]
    if names:
        asked = {name: sum(name in c["judged"] for c in result["clips"]) for name in names}
        head = ["judged, %"] + [f"{name.replace('_', ' ')} ({asked[name]})" for name in names]
        rows = [["a " + label(a["flags"])] + [cell(a["judged"][name], 0, 100) for name in names]]
        for b in good:
            rows.append([label(b["flags"])] + [
                f"{100 * b['judged'][name][0]:.0f} ({cell(b['difference'][name], 0, 100, '+')})" for name in names])
        text.append("A row b: the share, and in parentheses its difference to a. In the head: prompts that tell it.\n\n" + table(head, rows))
        rows = [[label(x["flags"]), cell(x["motion"], 2)] + [cell(x["judged"][name], 3) for name in SOFT] for x in [a, *good]]
        text.append(table(["mode", "motion, levels", "colour stability", "object stability", "motion stability"], rows))
    text.append("Rows of the sheets:\n\n" + "\n".join(f"{k + 1}. {c['prompt']}" for k, c in enumerate(result["clips"])) + "\n")
    return "\n".join(text)


def machine(swan):
    """Names of the devices, without anything else about the machine."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text()) if os.path.exists("/proc/cpuinfo") else None
    listed = subprocess.run([swan, "--list-devices"], capture_output=True, text=True).stdout
    gpus = re.findall(r"^cuda:\d+\s+(.*?)\s{2,}", listed, re.M)
    return ", ".join([f"{cpu[1] if cpu else 'CPU'} ({os.cpu_count()} cores)", *gpus])


def write(out, result, sheets):
    (out / "fidelity.md").write_text(report(result))
    (out / "fidelity.json").write_text(json.dumps(result, indent=1))
    for i, pairs in sheets.items():
        m.png(out / f"sheet-{i + 1}.png", m.sheet(pairs))


def joined(args):
    """--a "--exact" as --a=--exact: argparse takes a value that begins with dashes in no other way."""
    args, out = list(args), []
    while args:
        word = args.pop(0)
        out.append(f"{word}={args.pop(0)}" if word in ("--a", "--b", "--all") and args else word)
    return out


def main(args=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("swan")
    p.add_argument("model")
    p.add_argument("--a", default="--exact", help="options of the mode that is compared with [--exact]")
    p.add_argument("--b", action="append", required=True, help="options of a mode; any number of times")
    p.add_argument("--all", default="", help="options of all modes")
    p.add_argument("--zero-gates", action="store_true", help="modes with --attention vsa: a copy of the model with gates of zero")
    p.add_argument("--n", type=int, default=32, help="prompts [32]")
    p.add_argument("--prompts", help="a file of prompts, one a line")
    p.add_argument("--scenes", type=int, default=4242, help="the list of scenes that the captions are of [4242]")
    p.add_argument("--seed", type=int, default=900, help="seed of the first prompt; the others follow [900]")
    p.add_argument("--no-judge", action="store_true")
    p.add_argument("--jobs", type=int, default=1, help="clips at a time [1]")
    p.add_argument("--keep", help="a folder that keeps the clips, to go on later")
    p.add_argument("-o", "--out", required=True)
    o = p.parse_args(joined(sys.argv[1:] if args is None else args))
    out = pathlib.Path(o.out)
    out.mkdir(parents=True, exist_ok=True)
    swan = str(pathlib.Path(o.swan).resolve())
    with tempfile.TemporaryDirectory(prefix="swan-fidelity-") as folder:
        judge = None if o.no_judge and o.prompts else Judge(folder)
        if o.prompts:
            texts = [line.strip() for line in pathlib.Path(o.prompts).read_text().splitlines() if line.strip()][:o.n]
        else:
            texts = world_prompts(judge.judge, judge.world, o.n, o.scenes)
        prompts = [(text, o.seed + k) for k, text in enumerate(texts)]
        judge = None if o.no_judge else judge
        maker = Maker(swan, o.model, o.keep, o.jobs)
        gated = zero_gates(o.model, folder) if o.zero_gates else o.model
        compare_modes(o, out, maker, judge, gated, prompts)


def compare_modes(o, out, maker, judge, gated, prompts):
    """Makes and compares mode after mode; what is done is written after each."""
    picks = m.draws(len(prompts))
    a_clips = compare(maker, judge, o.model, options(o, o.a), prompts, None)
    result = dict(a=dict(flags=o.a, **summary(a_clips, a_clips, picks)), n=len(prompts), first_seed=o.seed, all_flags=o.all,
                  machine=machine(maker.swan), date=time.strftime("%Y-%m-%d"), modes=[],
                  clips=[dict(prompt=text, seed=seed, judged=c["judged"], motion=c["motion"])
                         for (text, seed), c in zip(prompts, a_clips)])
    sheets = {}
    for i, flags in enumerate(o.b):
        start = time.monotonic()
        row = dict(flags=flags)
        try:
            words = options(o, flags)
            clips = compare(maker, judge, gated if "vsa" in words else o.model, words, prompts, a_clips)
        except Refused as why:
            row["refused"] = str(why)
        else:
            row.update(summary(clips, a_clips, picks))
            row["clips"] = [{k: c[k] for k in ("psnr", "ssim", "latents", "motion", "judged", "seconds")} for c in clips]
            sheets = {i: [(a["strip"], b["strip"]) for a, b in zip(a_clips, clips)]}
        result["modes"].append(row)
        write(out, result, sheets)
        print(f"{flags}: {row.get('refused', '')} {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
    print((out / "fidelity.md").read_text())


if __name__ == "__main__":
    main()
