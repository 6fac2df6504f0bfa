"""fp32 reference sampler on the CPU: what the engine's --exact mode is compared with.

    python tools/tinyworld/sample.py models/tinyworld "a red ball rolling to the right" -o out.png [--dump DIR]

--dump writes ids, context, noise, latents and frames as .npy, named and shaped as `swan generate --dump` does.
"""

import argparse
import json
import os
import sys

import numpy as np
import sentencepiece as spm
import torch
from safetensors.torch import load_file

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import model as M
import sampler


class Pipeline:
    def __init__(self, path, device="cpu"):
        at = lambda *p: os.path.join(path, *p)
        load = lambda p: {k: v.float() for k, v in load_file(p).items()}
        self.device = device
        self.defaults = json.load(open(at("swan.json")))
        self.sp = spm.SentencePieceProcessor(model_file=at("tokenizer", "spiece.model"))
        self.text, self.dit, self.ae = M.make_text().to(device), M.make_dit().to(device), M.make_ae().to(device)
        self.text.load_state_dict(load(at("text_encoder", "model.safetensors")))
        self.dit.load_state_dict(load(at("transformer", "diffusion_pytorch_model.safetensors")))
        self.ae.load_state_dict(load(at("taehv", "diffusion_pytorch_model.safetensors")))

    def condition(self, prompts):
        """-> ids per prompt, text rows per prompt, (ctx, bias)"""
        ids = [self.sp.encode(p) + [1] for p in prompts]
        n = torch.tensor([len(i) for i in ids], device=self.device)
        padded = torch.tensor([i + [0] * (max(map(len, ids)) - len(i)) for i in ids], device=self.device)
        rows = self.text(padded, n)
        return ids, [r[:k] for r, k in zip(rows, n.tolist())], self.dit.context(rows, n)

    @torch.no_grad()
    def __call__(self, prompts, negative="", steps=None, shift=None, guidance=None, seed=1024, noise=None):
        """-> dict: ids, context, noise [B, 16, 9, 20, 28], latents, frames [B, 33, 3, 160, 224] in [0, 1]"""
        d = self.defaults
        steps, shift = steps or d["num_inference_steps"], shift or d["flow_shift"]
        guidance = d["guidance_scale"] if guidance is None else guidance
        if noise is None:  # video i: seed + i, as the engine counts them
            shape = (1, 16, (d["num_frames"] - 1) // 4 + 1, d["height"] // 8, d["width"] // 8)
            noise = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed + i))
                               for i in range(len(prompts))]).to(self.device)
        ids, rows, cond = self.condition(prompts)
        uncond = self.condition([negative] * len(prompts))[2]
        latents = sampler.unipc(sampler.guided(self.dit, *cond, *uncond, guidance), noise, steps, shift)
        frames = self.ae.decode(latents.transpose(1, 2)).clamp(0, 1)
        return dict(ids=ids, context=rows, noise=noise, latents=latents, frames=frames)


def sheet(frames, path, picks=6, scale=0.75):
    """Contact sheet: one row per clip."""
    from PIL import Image
    b, f, _, h, w = frames.shape
    pick = [round(i * (f - 1) / (picks - 1)) for i in range(picks)]
    a = (frames[:, pick] * 255).byte().permute(0, 3, 1, 4, 2).reshape(b * h, picks * w, 3).cpu().numpy()
    Image.fromarray(a).resize((int(picks * w * scale), int(b * h * scale)), Image.LANCZOS).save(path)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("prompts", nargs="+")
    p.add_argument("-o", default="sheet.png")
    p.add_argument("--dump")
    p.add_argument("--steps", type=int)
    p.add_argument("--shift", type=float)
    p.add_argument("--guidance", type=float)
    p.add_argument("--seed", type=int, default=1024)
    a = p.parse_args()
    out = Pipeline(a.model)(a.prompts, steps=a.steps, shift=a.shift, guidance=a.guidance, seed=a.seed)
    sheet(out["frames"], a.o)
    if a.dump:
        os.makedirs(a.dump, exist_ok=True)
        save = lambda name, x: np.save(os.path.join(a.dump, name + ".npy"), x)
        save("ids", np.array(out["ids"][0], np.int32))
        save("context", out["context"][0].numpy())
        for k in ("noise", "latents", "frames"):
            save(k, out[k][0].numpy())


if __name__ == "__main__":
    main()
