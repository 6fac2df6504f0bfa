"""Trains tinyworld on one GPU, or with --ranks N on N GPUs of one machine. Stages, each resumable, each bounded in seconds:

    train.py ae   --seconds 140 --out STATE [--resume]   # autoencoder, then latents are scaled to unit variance
    train.py decoder --seconds 100 --out STATE           # the decoder alone, latents unchanged
    train.py dit  --seconds 300 --out STATE [--resume]   # text encoder + DiT, flow matching on its latents; from STATE/text.pt
                                                         # (text.py) when it is there
    train.py warm --out STATE                            # compiles the DiT step into the cache and leaves

STATE/ae.pt and ema.pt (F16) are what ships, net.pt (F32) is what training resumes from; logs are JSON lines in STATE/log.jsonl.
"""

import argparse
import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import model as M
import sampler
import world
from data import CAPTIONS, TOKENS, Clips
from export import GUIDANCE, SHIFT
from ranks import Clock, Gradients, Ranks, launch

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPIECE = os.path.join(ROOT, "models", "tinyworld", "tokenizer", "spiece.model")


def log(args, **kv):
    if not args.ranks.first:
        return
    line = json.dumps(kv)
    print(line, flush=True)
    with open(os.path.join(args.out, "log.jsonl"), "a") as f:
        f.write(line + "\n")


def autocast(device):
    return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")


def schedule(args, step, elapsed, warm=100):
    """Warm-up by steps, flat, then linear to 2 % over the last `decay` share of the time."""
    left = max(0.0, 1 - elapsed / args.seconds)
    return min(1.0, (step + 1) / warm) * min(1.0, 0.02 + left / max(args.decay, 1e-6))


# ---- autoencoder -------------------------------------------------------------------------------------------------

def to_float(clips):
    return clips.permute(0, 1, 4, 2, 3).float().div_(255)


def ae_loss(y, x, near):
    """near [B, F, H/8, W/8]: cells around objects, which count three times, as do pixels that change; both: five times"""
    d = (y - x).abs()
    moving = ((x - x.mean(1, keepdim=True)).abs().amax(2, keepdim=True) > 0.06).float()
    near = near.float()[:, :, None].repeat_interleave(8, 3).repeat_interleave(8, 4)
    loss = (d * (1 + 2 * moving + 2 * near)).mean() + 2 * (y - x).pow(2).mean()
    gx = ((y[..., 1:] - y[..., :-1]) - (x[..., 1:] - x[..., :-1])).abs().mean()
    gy = ((y[..., 1:, :] - y[..., :-1, :]) - (x[..., 1:, :] - x[..., :-1, :])).abs().mean()
    gt = ((y[:, 1:] - y[:, :-1]) - (x[:, 1:] - x[:, :-1])).abs().mean()
    return loss + gx + gy + gt


class LatentScale:
    """Slow per-channel mean and variance of the raw latents, without gradient: batch statistics would hide the one
    colour that a small batch has in common, and no scaling would let the encoder outgrow the noise."""

    def __init__(self, z, device, scaled):
        """scaled: an encoder whose latents had zero mean and unit variance before"""
        self.mean, self.square, self.weight = torch.zeros(z, device=device), torch.full((z,), float(scaled), device=device), float(scaled)

    @torch.no_grad()
    def update(self, z, ranks, keep=0.99):
        now = torch.stack([z.mean((0, 1, 3, 4)), z.pow(2).mean((0, 1, 3, 4))])
        ranks.mean(now)
        self.mean = keep * self.mean + (1 - keep) * now[0]
        self.square = keep * self.square + (1 - keep) * now[1]
        self.weight = keep * self.weight + (1 - keep)

    def get(self):
        mean = self.mean / self.weight
        return mean, (self.square / self.weight - mean.pow(2)).clamp(min=1e-6).sqrt()

    def apply(self, z):
        mean, std = self.get()
        return (z - mean[None, None, :, None, None]) / std[None, None, :, None, None]


def save_png(args, name, picture):
    """picture f32 [H, W, 3] in [0, 1]"""
    from PIL import Image
    Image.fromarray((picture * 255).byte().cpu().numpy()).save(os.path.join(args.out, name))


def compile_memory(seq, device):
    """The blocks that hold most of the work; all of one width and shape share what is compiled."""
    if device == "cuda":
        torch._dynamo.config.suppress_errors = True  # slower beats not at all
        for m in seq:
            if isinstance(m, M.MemBlock):
                m.compile(dynamic=False)


def psnr(y, x, where=1.0):
    """of pixels where `where` [B, F, 1, H, W] is 1"""
    d = (y.detach().clamp(0, 1) - x).pow(2).mean(2, keepdim=True) * where
    n = d.numel() if isinstance(where, float) else where.sum()
    return round(-10 * math.log10((d.sum() / n).item() + 1e-10), 2)


def train_ae(args, device, decoder_only=False):
    """decoder_only: on the encoder's latents as they are, so that every trained DiT stays valid."""
    ranks = args.ranks
    start = (1 << 41 if decoder_only else 1 << 40) + args.start
    clips = Clips(args.build, SPIECE, args.seed, start, args.workers, (ranks.rank, ranks.n), args.skip)
    # Still ground teaches little, so windows of many clips beat whole frames until near the end.
    full, small = max(1, args.batch // 3), (args.frames, *args.window)
    clips.start(args.batch, small)
    ranks.join(device)
    torch.manual_seed(args.seed)
    ae = load_ae(args, device) if args.resume or decoder_only else M.make_ae().to(device, memory_format=torch.channels_last)
    params = list((ae.decoder if decoder_only else ae).parameters())
    ranks.copy_first(params)
    torch.manual_seed(args.seed + 1000003 * ranks.rank)
    opt = torch.optim.AdamW(params, lr=args.lr, betas=(0.9, 0.98), weight_decay=1e-3, fused=device == "cuda")
    grads = Gradients(params, ranks)
    scale, clock, step, seen, whole = LatentScale(16, device, args.resume), Clock(ranks, args.began), 0, 0, False
    while (elapsed := clock.at(step)) < args.seconds and step < args.steps:
        if not whole and elapsed > (1 - args.whole) * args.seconds:
            whole = True
            clips.start(full, (args.frames, world.H, world.W))
        raw, _, near = clips.take(device)
        x = to_float(raw)
        lr = args.lr * schedule(args, step, elapsed)
        for g in opt.param_groups:
            g["lr"] = lr
        with autocast(device):
            with torch.set_grad_enabled(not decoder_only):
                z = ae.encode(x).float()
            if not decoder_only:
                scale.update(z.detach(), ranks)
            zn = z if decoder_only else scale.apply(z)
            noise = torch.rand(zn.shape[0], 1, 1, 1, 1, device=device) * args.noise
            y = ae.decode(zn + noise * torch.randn_like(zn)).float()
        # Neighbouring latents should differ little where the picture does: easier for the DiT.
        smooth = (zn[..., 1:] - zn[..., :-1]).abs().mean() + (zn[..., 1:, :] - zn[..., :-1, :]).abs().mean() \
            + (zn[:, 1:] - zn[:, :-1]).abs().mean()
        loss = ae_loss(y, x, near) + args.smooth * smooth + 1e-3 * zn.pow(2).mean()
        grads.clear()
        loss.backward()
        grads.average()
        torch.nn.utils.clip_grad_norm_(params, 2.0)
        opt.step()
        if step % 100 == 0 and ranks.first:
            mark = near.float()[:, :, None].repeat_interleave(8, 3).repeat_interleave(8, 4)
            log(args, stage="decoder" if decoder_only else "ae", step=step, s=round(clock.own(), 1), loss=round(loss.item(), 4),
                smooth=round(smooth.item(), 3), psnr=psnr(y, x), near=psnr(y, x, mark), lr=round(lr, 6))
        step += 1
        seen += x.shape[0] * ranks.n
    if not decoder_only:
        fold_scale(ae, *scale.get())
    apart = ranks.apart(params)
    if ranks.first:
        torch.save({k: v.half() for k, v in ae.state_dict().items()}, os.path.join(args.out, "ae.pt"))
        raw, _, near = (t.to(device) for t in clips.batch(24, (world.F, world.H, world.W)))
        x = to_float(raw)
        with torch.no_grad(), autocast(device):
            z = ae.encode(x).float()
            y = ae.decode(z).float().clamp(0, 1)
        mark = near.float()[:, :, None].repeat_interleave(8, 3).repeat_interleave(8, 4)
        log(args, stage="decoder-end" if decoder_only else "ae-end", steps=step, clips=seen, psnr=psnr(y, x), near=psnr(y, x, mark),
            apart=apart, std=[round(v, 3) for v in z.std((0, 1, 3, 4)).tolist()], max=round(z.abs().max().item(), 2))
        pairs = torch.stack([x, y], 1)[:6, :, [1, 16, 31]].permute(0, 1, 4, 2, 5, 3).reshape(-1, 2 * 160, 3 * 224, 3)
        save_png(args, "ae.png", torch.cat([torch.cat(list(pairs[:3]), 0), torch.cat(list(pairs[3:6]), 0)], 1))
    ranks.leave()
    clips.close()


@torch.no_grad()
def fold_scale(ae, mean, std):
    """Latents leave the encoder with zero mean and unit variance."""
    last = ae.encoder[-1]
    last.weight.div_(std[:, None, None, None])
    last.bias.copy_((last.bias - mean) / std)


# ---- optimizer ---------------------------------------------------------------------------------------------------

def orthogonalise(g, steps=5):
    """Newton-Schulz on a stack of matrices [n, a, b], as Muon does (Jordan et al., 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = g.shape[1] > g.shape[2]
    x = (g.mT if tall else g).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return (x.mT if tall else x).float()


class Muon:
    """Muon for hidden matrices, stacked by shape; update scaled to the RMS that AdamW's would have (Liu et al., 2025)."""

    def __init__(self, params, momentum=0.95, decay=0.02):
        self.groups = {}
        for p in params:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.buf = {k: torch.zeros(len(v), *k, device=v[0].device) for k, v in self.groups.items()}
        self.momentum, self.decay = momentum, decay

    @torch.no_grad()
    def step(self, lr):
        for shape, ps in self.groups.items():
            g = torch.stack([p.grad for p in ps])
            buf = self.buf[shape].lerp_(g, 1 - self.momentum)
            u = orthogonalise(g.lerp(buf, self.momentum)) * (0.2 * max(shape) ** 0.5)
            torch._foreach_mul_(ps, 1 - lr * self.decay)
            torch._foreach_add_(ps, list(u.unbind(0)), alpha=-lr)


# ---- DiT ---------------------------------------------------------------------------------------------------------

class Net(torch.nn.Module):
    """Text encoder and DiT together, with caption dropout."""

    def __init__(self):
        super().__init__()
        self.text, self.dit = M.make_text(), M.make_dit()

    def condition(self, ids, lengths, drop=None):
        """drop [B]: 0 keep, 1 empty prompt (only </s>), 2 no text rows at all"""
        if drop is not None:
            empty = torch.zeros_like(ids)
            empty[:, 0] = 1
            ids = torch.where((drop == 1)[:, None], empty, ids)
            lengths = torch.where(drop == 1, torch.ones_like(lengths), lengths)
        rows = self.text(ids, lengths)
        if drop is not None:
            lengths = torch.where(drop == 2, torch.zeros_like(lengths), lengths)
        return self.dit.context(rows, lengths)


def draw_sigma(n, shift, device):
    """70 %: logit-normal, shifted towards noise, where it is decided what there is; 30 %: uniform, for sharp outlines."""
    u = torch.randn(n, device=device).sigmoid()
    return torch.where(torch.rand(n, device=device) < 0.7, shift * u / (1 + (shift - 1) * u), torch.rand(n, device=device))


def flow_loss(net, z, ids, marks, args, device):
    """Mean squared error of the velocity. Tokens of an object count object_weight times, of a small one more: a fifth of the
    picture is the usual size."""
    n = z.shape[0]
    s = draw_sigma(n, args.shift, device)
    lengths = ids[:, M.MAX_IDS]
    drop = (torch.rand(n, device=device) < 0.12).long() * (1 + (torch.rand(n, device=device) < 0.3).long())
    noise = torch.randn_like(z)
    sv = s[:, None, None, None, None]
    with autocast(device):
        ctx, bias = net.condition(ids[:, :M.MAX_IDS], lengths, drop)
        v = net.dit((1 - sv) * z + sv * noise, 1000 * s, ctx, bias)
    w = marks.float()
    share = w.mean((1, 2, 3), keepdim=True).clamp(min=1e-3)
    w = 1 + (args.object_weight - 1) * w * (0.2 / share).sqrt().clamp(0.7, 2.0)
    w = (w / w.mean())[:, None].repeat_interleave(2, 3).repeat_interleave(2, 4)
    return (w * (v.float() - (noise - z)).pow(2)).mean()


def split_params(net):
    muon, adam = [], []
    for n, p in net.named_parameters():
        hidden = n.startswith("dit.blocks.") and p.ndim == 2
        (muon if hidden else adam).append(p)
    return muon, adam


def compile_blocks(net, device):
    if device == "cuda":
        for b in net.dit.blocks:
            b.compile(dynamic=False)


class Pool:
    """Latents bf16 and captions on the device, growing to `size` clips and then reused."""

    def __init__(self, size, device):
        self.z = torch.empty(size, 16, 9, 20, 28, dtype=torch.bfloat16, device=device)
        self.ids = torch.empty(size, CAPTIONS, M.MAX_IDS + 1, dtype=torch.int64, device=device)
        self.marks = torch.empty(size, *TOKENS, dtype=torch.uint8, device=device)
        self.n, self.size, self.device = 0, size, device

    @torch.no_grad()
    def grow(self, ae, clips):
        """By one batch, until it is full."""
        if self.n < self.size:
            raw, ids, marks = clips.take(self.device)
            n = min(len(raw), self.size - self.n)
            raw, ids, marks = raw[:n], ids[:n], marks[:n]
            with autocast(self.device):
                z = ae.encode(to_float(raw))
            self.z[self.n:self.n + n] = z.transpose(1, 2)
            self.ids[self.n:self.n + n] = ids
            self.marks[self.n:self.n + n] = marks
            self.n += n

    def batch(self, n, length=9):
        """Latents f32 [n, 16, length, 20, 28] from one random start, ids, object tokens"""
        i = torch.randint(0, self.n, (n,), device=self.device)
        c = torch.randint(0, CAPTIONS, (n,), device=self.device)
        t = int(torch.randint(0, 10 - length, ()))
        return self.z[i, :, t:t + length].float(), self.ids[i, c], self.marks[i, t:t + length]


def save_dit(args, net, ema, step):
    names = list(net.state_dict())
    for name, state in ("net.pt", {"net": net.state_dict(), "step": step}), ("ema.pt", {k: v.half() for k, v in zip(names, ema)}):
        path = os.path.join(args.out, name)
        torch.save(state, path + ".part")
        os.replace(path + ".part", path)


def resume(net, args, device):
    """From STATE/net.pt, or from shipped weights where there is none. Returns the steps already done (0: not known)."""
    path = os.path.join(args.out, "net.pt")
    if os.path.exists(path):
        state = torch.load(path, map_location=device)
        net.load_state_dict(state["net"])
        return state["step"]
    from safetensors.torch import load_file
    at = lambda *p: os.path.join(ROOT, "models", "tinyworld", *p)
    net.text.load_state_dict(load_file(at("text_encoder", "model.safetensors")))
    net.dit.load_state_dict(load_file(at("transformer", "diffusion_pytorch_model.safetensors")))
    return 0


def load_ae(args, device):
    """STATE/ae.pt, or the shipped one."""
    ae = M.make_ae().to(device, memory_format=torch.channels_last)
    path = os.path.join(args.out, "ae.pt")
    if os.path.exists(path):
        ae.load_state_dict(torch.load(path, map_location=device))
    else:
        from safetensors.torch import load_file
        ae.load_state_dict(load_file(os.path.join(ROOT, "models", "tinyworld", "taehv", "diffusion_pytorch_model.safetensors")))
        if args.ranks.first:
            torch.save({k: v.half() for k, v in ae.state_dict().items()}, path + ".part")
            os.replace(path + ".part", path)
    return ae


def train_dit(args, device):
    ranks = args.ranks
    clips = Clips(args.build, SPIECE, args.seed, args.start, args.workers, (ranks.rank, ranks.n), args.skip)
    clips.start(args.take)
    ranks.join(device)
    torch.manual_seed(args.seed + args.start)
    torch.set_float32_matmul_precision("high")
    ae = load_ae(args, device)
    compile_memory(ae.encoder, device)
    net = Net().to(device)
    step0 = 0
    prepared = os.path.join(args.out, "text.pt")
    if args.resume:
        step0 = resume(net, args, device)
    elif os.path.exists(prepared):
        net.text.load_state_dict(torch.load(prepared, map_location=device))
    params = list(net.parameters())
    ranks.copy_first(params)
    torch.manual_seed(args.seed + args.start + 1000003 * ranks.rank)
    ema = [p.detach().clone() for p in params]
    compile_blocks(net, device)
    mu, ad = split_params(net)
    muon = Muon(mu)
    words = {id(p) for p in net.text.parameters()}  # already know their captions: they follow slowly
    adam = torch.optim.AdamW([{"params": [p for p in ad if id(p) not in words], "pace": 1.0},
                              {"params": [p for p in ad if id(p) in words], "pace": args.text_pace}],
                             lr=args.lr, betas=(0.9, 0.95), weight_decay=0.01, fused=device == "cuda")
    grads = Gradients(params, ranks)
    pool = Pool(args.pool, device)
    clock, step, mark, total, saved = Clock(ranks, args.began), 0, time.time(), 0.0, 0.0
    while pool.n < min(args.first, args.pool):
        pool.grow(ae, clips)
    log(args, stage="pool", n=pool.n, s=round(clock.own(), 1))
    while (elapsed := clock.at(step)) < args.seconds and step < args.steps:
        f = schedule(args, step, elapsed)
        if step % args.every == 0:
            pool.grow(ae, clips)
        # Short pieces first: what an object looks like is learned there at a fifth of the cost.
        short = elapsed < args.short * args.seconds
        z, ids, marks = pool.batch(args.batch * 4 if short else args.batch, 2 if short else 9)
        grads.clear()
        loss = flow_loss(net, z, ids, marks, args, device)
        loss.backward()
        grads.average()
        for g in adam.param_groups:
            g["lr"] = args.lr * f * g["pace"]
        adam.step()
        muon.step(args.muon_lr * f)
        if ranks.first:
            torch._foreach_lerp_(ema, params, 1 - min(args.ema, (1 + step) / (10 + step)))
        total = total + loss.detach()
        step += 1
        if ranks.first and (step == 1 or step % args.log == 0):
            k = 1 if step == 1 else args.log - (1 if step == args.log else 0)
            log(args, stage="dit", step=step0 + step, s=round(elapsed, 1), loss=round(float(total) / k, 4), pool=pool.n * ranks.n,
                ms=round((time.time() - mark) * 1000 / k, 1), lr=round(args.lr * f, 6))
            mark, total = time.time(), 0.0
            if elapsed - saved > args.save_every:
                save_dit(args, net, ema, step0 + step)
                saved = elapsed
    apart = ranks.apart(params)
    if ranks.first:
        save_dit(args, net, ema, step0 + step)
    log(args, stage="dit-end", steps=step0 + step, samples=step * args.batch * ranks.n, clips=pool.n * ranks.n, ranks=ranks.n,
        apart=apart, s=round(clock.own(), 1))
    ranks.leave()
    clips.close()


def warm(args, device):
    """Fills the compiler's cache while something else uses the GPU."""
    torch.set_float32_matmul_precision("high")
    args.ranks.join(device)
    net, ae = Net().to(device), load_ae(args, device)
    compile_blocks(net, device)
    compile_memory(ae.encoder, device)
    with torch.no_grad(), autocast(device):
        ae.encode(torch.rand(args.take, world.F, 3, world.H, world.W, device=device))
    ids = torch.ones(args.batch, M.MAX_IDS + 1, dtype=torch.int64, device=device)
    for n, length in ((args.batch, 9), (4 * args.batch, 2))[:2 if args.short > 0 else 1]:
        z, marks = torch.randn(n, 16, length, 20, 28, device=device), torch.ones(n, length, 10, 14, device=device)
        flow_loss(net, z, ids[:1].expand(n, -1), marks, args, device).backward()


# ---- pictures ----------------------------------------------------------------------------------------------------

@torch.no_grad()
def sheet(args, device, prompts, steps=20):
    """A PNG of 6 frames per prompt, from the averaged weights, with the recipe that they are shipped with."""
    import numpy as np
    import sentencepiece as spm
    from PIL import Image
    from data import encode_ids
    sp = spm.SentencePieceProcessor(model_file=SPIECE)
    ae, net = M.make_ae().to(device), Net().to(device)
    ae.load_state_dict(torch.load(os.path.join(args.out, "ae.pt"), map_location=device))
    net.load_state_dict(torch.load(os.path.join(args.out, "ema.pt"), map_location=device))
    enc = [encode_ids(sp, p) for p in prompts]
    ids = torch.tensor(np.stack([e[0] for e in enc]), device=device)
    n = torch.tensor([e[1] for e in enc], device=device)
    empty = torch.zeros_like(ids)
    empty[:, 0] = 1
    torch.manual_seed(3)
    with autocast(device):
        c = net.condition(ids, n)
        u = net.condition(empty, torch.ones_like(n))
        x = torch.randn(len(prompts), 16, 9, 20, 28, device=device)
        x = sampler.unipc(sampler.guided(net.dit, *c, *u, GUIDANCE), x, steps, SHIFT)
        y = ae.decode(x.transpose(1, 2)).float().clamp(0, 1)
    y = (y[:, [0, 6, 13, 19, 26, 32]] * 255).byte().permute(0, 3, 1, 4, 2).reshape(len(prompts) * 160, 6 * 224, 3)
    Image.fromarray(y.cpu().numpy()).resize((6 * 168, len(prompts) * 120), Image.LANCZOS).save(os.path.join(args.out, "sheet.png"))


PROMPTS = ["a red ball rolling to the right over green hills", "a big yellow star spinning in the night sky",
           "a blue car driving slowly to the left in the city", "a green fish swimming to the right over the sea",
           "a purple balloon rising up in the sky", "a brown cat walking to the left in a room",
           "an orange rocket flying up at sunset", "a small pink heart bouncing on a white background",
           "a white duck next to a red house in the snow", "a black umbrella falling down in the forest"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("stage", choices=["ae", "decoder", "dit", "warm", "sheet"])
    p.add_argument("--out", required=True)
    p.add_argument("--build", default="/tmp/tinyworld-build")
    p.add_argument("--ranks", type=int, default=1, help="processes, one a GPU")
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--until", type=float, help="end at this time of day, in seconds since 1970, instead")
    p.add_argument("--steps", type=int, default=10**9)
    p.add_argument("--seed", type=int, default=20261122)
    p.add_argument("--start", type=int, default=0, help="first scene index: give each run its own")
    p.add_argument("--skip", type=float, default=0.0, help="share of scenes to leave out that are not hard to draw")
    p.add_argument("--workers", type=int, default=14)
    p.add_argument("--batch", type=int, default=None)
    p.add_argument("--lr", type=float, default=None)
    p.add_argument("--muon-lr", type=float, default=2e-3)
    p.add_argument("--text-pace", type=float, default=0.2, help="learning rate of the text encoder, relative")
    p.add_argument("--decay", type=float, default=0.25)
    p.add_argument("--ema", type=float, default=0.998)
    p.add_argument("--shift", type=float, default=6.0)
    p.add_argument("--object-weight", type=float, default=4.0)
    p.add_argument("--short", type=float, default=0.0, help="share of the time spent on pieces of two latent frames")
    p.add_argument("--noise", type=float, default=0.3)
    p.add_argument("--smooth", type=float, default=0.005)
    p.add_argument("--frames", type=int, default=17)
    p.add_argument("--window", type=int, nargs=2, default=(96, 128))
    p.add_argument("--pool", type=int, default=60000)
    p.add_argument("--first", type=int, default=5000)
    p.add_argument("--take", type=int, default=16)
    p.add_argument("--every", type=int, default=4)
    p.add_argument("--log", type=int, default=100)
    p.add_argument("--resume", action="store_true")
    p.add_argument("--save-every", type=float, default=150, help="seconds between states of the DiT")
    p.add_argument("--whole", type=float, default=0.2, help="share of the autoencoder's time spent on whole frames, at the end")
    args = p.parse_args()
    if args.until and "SECONDS_LEFT" not in os.environ:  # one number for all ranks
        os.environ["SECONDS_LEFT"] = repr(args.until - time.time())
    if args.ranks > 1 and "RANK" not in os.environ:
        sys.exit(launch(args.ranks))
    args.ranks, args.began = Ranks(), None
    if args.until:
        args.seconds = float(os.environ["SECONDS_LEFT"])
        args.began = args.until - args.seconds
    args.batch = args.batch or (18 if args.stage in ("ae", "decoder") else 96)
    args.lr = args.lr or {"ae": 1.5e-3, "decoder": 8e-4}.get(args.stage, 1e-3)
    os.makedirs(args.out, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    if args.stage == "sheet":
        sheet(args, device, PROMPTS)
    elif args.stage == "decoder":
        train_ae(args, device, decoder_only=True)
    else:
        {"ae": train_ae, "dit": train_dit, "warm": warm}[args.stage](args, device)


if __name__ == "__main__":
    main()
