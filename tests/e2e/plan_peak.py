#!/usr/bin/env python3
"""Does `swan plan` say what a run then takes? On a model of 2.8 GB, the 1.3B transformer in bf16 with arbitrary weights, and on the
built-in one, where what is not ours counts for most: our own bytes must be equal, the process's peak within 5 %.

    tests/e2e/plan_peak.py build/release/swan

The large one needs 3 GB in the temporary directory and 3.5 GB of memory; without them it is skipped (exit status 77). Standard
library only.
"""

import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "parity" / "data" / "wan-tiny"
BUILT_IN = ROOT / "models" / "tinyworld"
TAEHV = ROOT / "tests" / "parity" / "data" / "taehv-tiny.safetensors"
DIM, FFN, LAYERS, HEADS = 1536, 8960, 30, 12
BLOCK = 1 << 20
BOUND = 0.05


def linear(name, n, k):
    return [(name + ".weight", [n, k]), (name + ".bias", [n])]


def transformer(text_dim):
    """(name, shape) of every tensor, Diffusers spelling."""
    c = "condition_embedder."
    out = [("patch_embedding.weight", [DIM, 16, 1, 2, 2]), ("patch_embedding.bias", [DIM]), ("scale_shift_table", [1, 2, DIM])]
    out += linear(c + "time_embedder.linear_1", DIM, 256) + linear(c + "time_embedder.linear_2", DIM, DIM)
    out += linear(c + "time_proj", 6 * DIM, DIM) + linear(c + "text_embedder.linear_1", DIM, text_dim)
    out += linear(c + "text_embedder.linear_2", DIM, DIM) + linear("proj_out", 64, DIM)
    for i in range(LAYERS):
        b = f"blocks.{i}."
        out += [(b + "scale_shift_table", [1, 6, DIM]), (b + "norm2.weight", [DIM]), (b + "norm2.bias", [DIM])]
        for attn in ("attn1", "attn2"):
            for layer in ("to_q", "to_k", "to_v", "to_out.0"):
                out += linear(f"{b}{attn}.{layer}", DIM, DIM)
            out += [(f"{b}{attn}.norm_q.weight", [DIM]), (f"{b}{attn}.norm_k.weight", [DIM])]
        out += linear(b + "ffn.net.0.proj", FFN, DIM) + linear(b + "ffn.net.2", DIM, FFN)
    return out


def write_bf16(path, tensors):
    """Values of about +-0.01: the block's bf16 codes 0x3c20 with random signs, over and over."""
    header, at = {}, 0
    for name, shape in tensors:
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    dice = random.Random(1)
    block = b"".join(b"\x20\x3c" if dice.random() < 0.5 else b"\x20\xbc" for _ in range(BLOCK // 2))
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for start in range(0, at, BLOCK):
            f.write(block[:min(BLOCK, at - start)])


def compare(swan, folder, name, run):
    """True when plan and run agree."""
    plan = json.loads(subprocess.run([swan, "plan", *run, "--json"], check=True, capture_output=True, text=True).stdout)
    out = subprocess.run([swan, "generate", *run, "--json", "-o", str(pathlib.Path(folder) / "x.mp4")], check=True,
                         capture_output=True, text=True).stdout
    done = json.loads(out.strip().splitlines()[-1])
    peak, wanted = done["process_peak_bytes"], plan["peak_bytes"]
    print(f"{name}: session: planned {plan['session_bytes']}, reserved {done['session_bytes']}")
    print(f"{name}: process peak: planned {wanted / 2**20:.1f} MiB, measured {peak / 2**20:.1f} MiB, {(wanted / peak - 1) * 100:+.2f} %")
    return plan["session_bytes"] == done["session_bytes"] and abs(wanted / peak - 1) <= BOUND


def large_model(folder):
    """Its flags."""
    model = pathlib.Path(folder) / "model"
    shutil.copytree(TINY, model)
    for f in (model / "transformer").iterdir():
        f.unlink()
    text_dim = json.loads((TINY / "transformer" / "config.json").read_text())["text_dim"]
    config = {"num_attention_heads": HEADS, "attention_head_dim": DIM // HEADS, "in_channels": 16, "out_channels": 16,
              "num_layers": LAYERS, "ffn_dim": FFN, "text_dim": text_dim, "freq_dim": 256}
    (model / "transformer" / "config.json").write_text(json.dumps(config))
    write_bf16(model / "transformer" / "diffusion_pytorch_model.safetensors", transformer(text_dim))
    return ["a red ball", "-m", str(model), "--taehv", str(TAEHV), "--size", "160x96", "--frames", "9", "--steps", "1",
            "--guidance", "1", "--seed", "1"]


def main():
    swan = sys.argv[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    folder = tempfile.mkdtemp(prefix="swan-peak-")
    try:
        # the settings of ./demo, but for the steps, which take no memory; two cores, for which the plan's constants were measured
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        good = compare(swan, folder, "built-in model", ["a red ball", "-m", str(BUILT_IN), "--device", "cpu", "--steps", "2", "--seed", "4"])
        roomy = shutil.disk_usage(folder).free >= 4 << 30 and memory >= 4 << 30
        if roomy:
            good &= compare(swan, folder, "large model", large_model(folder) + ["--device", "cpu"])
        if not good:
            print("FAIL")
        elif not roomy:
            print("skipped: the large model wants 4 GB of free disk and memory")
        return 1 if not good else 0 if roomy else 77
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
