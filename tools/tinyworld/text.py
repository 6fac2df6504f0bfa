"""Prepares the text encoder: its rows are trained to tell what a caption says, before any picture is seen.

    text.py --out STATE --steps 1500      # writes STATE/text.pt, from which `train.py dit` starts; minutes on a CPU

Each attribute of a scene (object, colour, motion, ...) has one learned query that attends to the caption's rows, and a linear
classifier behind it. Only attributes that the caption states count. Queries and classifiers are thrown away: what stays is an
encoder in which the word for the main object's colour can be told from the second object's, so that the transformer's
cross-attention finds it instead of having to teach it through the picture.
"""

import argparse
import ctypes
import os
import random
import sys
import time

import numpy as np
import sentencepiece as spm
import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import model as M
import world
from data import encode_ids

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPIECE = os.path.join(ROOT, "models", "tinyworld", "tokenizer", "spiece.model")

# scene field, classes, bit of swan_world_attr that says the caption states it
HEADS = [("object", 28, 1), ("colour", 10, 2), ("motion", 11, 4), ("speed", 3, 8), ("size", 3, 16), ("background", 16, 32),
         ("second_object", 28, 64), ("second_colour", 10, 128), ("relation", 5, 256)]


class Probe(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.query = nn.Parameter(torch.randn(len(HEADS), d) * d ** -0.5)
        self.heads = nn.ModuleList([nn.Linear(d, n) for _, n, _ in HEADS])

    def forward(self, rows, lengths):
        pad = torch.arange(rows.shape[1])[None] >= lengths[:, None]
        score = (rows @ self.query.T).masked_fill(pad[..., None], -1e9)  # [B, S, heads]
        pooled = torch.einsum("bsh,bsd->hbd", score.softmax(1), rows)
        return [head(pooled[i]) for i, head in enumerate(self.heads)]


def batch(w, sp, seed, first, n, dice):
    """ids i64 [n, MAX_IDS], lengths, classes i64 [n, heads] with -100 where the caption is silent."""
    ids, lengths, classes = np.zeros((n, M.MAX_IDS), np.int64), np.zeros(n, np.int64), np.full((n, len(HEADS)), -100, np.int64)
    buf, stated = ctypes.create_string_buffer(256), ctypes.c_uint()
    for i in range(n):
        scene = w.scene(seed, first + i)
        w.lib.swan_world_caption(ctypes.byref(scene), dice.getrandbits(32), buf, 256, ctypes.byref(stated))
        ids[i], lengths[i] = encode_ids(sp, buf.value.decode())
        for h, (field, _, bit) in enumerate(HEADS):
            if stated.value & bit:
                classes[i, h] = getattr(scene, field)
    return torch.from_numpy(ids), torch.from_numpy(lengths), torch.from_numpy(classes)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", required=True)
    p.add_argument("--build", default="/tmp/tinyworld-build")
    p.add_argument("--steps", type=int, default=1500)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--seed", type=int, default=20261122)
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.manual_seed(args.seed)
    w, sp, dice = world.World(world.build(args.build)), spm.SentencePieceProcessor(model_file=SPIECE), random.Random(args.seed)
    text = M.make_text()
    probe = Probe(M.CONFIG["text"]["d_model"])
    params = [*text.parameters(), *probe.parameters()]
    # Which of two objects is meant is a matter of order, and order is in these few numbers alone: they have to get far.
    bias = [p for n, p in text.named_parameters() if "relative_attention_bias" in n]
    rest = [p for p in params if not any(p is b for b in bias)]
    groups = [{"params": rest, "base": args.lr}, {"params": bias, "base": 20 * args.lr, "weight_decay": 0.0}]
    opt = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01)
    started = time.time()
    for step in range(args.steps):
        ids, lengths, classes = batch(w, sp, args.seed, (1 << 42) + step * args.batch, args.batch, dice)
        s = int(lengths.max())
        out = probe(text(ids[:, :s], lengths), lengths)
        loss = sum(F.cross_entropy(o, classes[:, h], ignore_index=-100) for h, o in enumerate(out) if (classes[:, h] >= 0).any())
        for g in opt.param_groups:
            g["lr"] = g["base"] * min(1.0, (step + 1) / 100) * min(1.0, 0.02 + 2 * (1 - step / args.steps))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        if step % 50 == 0 or step == args.steps - 1:
            right = [((o.argmax(1) == classes[:, h]).sum() / (classes[:, h] >= 0).sum().clamp(min=1)).item() for h, o in enumerate(out)]
            print(f"step {step} s {time.time() - started:.0f} loss {loss.item():.3f} right " +
                  " ".join(f"{HEADS[h][0]} {r:.2f}" for h, r in enumerate(right)), flush=True)
            torch.save(text.state_dict(), os.path.join(args.out, "text.pt"))


if __name__ == "__main__":
    main()
