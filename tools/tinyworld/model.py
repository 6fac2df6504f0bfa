"""tinyworld's networks in PyTorch, with the tensor names of the published layouts.

Wan DiT (Diffusers names), UMT5 encoder (Hugging Face names), TAEHV (its own Sequential indices). Written from the
descriptions of those architectures; sizes from CONFIG.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {
    "dit": dict(layers=7, heads=2, head_dim=128, ffn=1024, freq=256, z=16, text_dim=192, text_len=512),
    "text": dict(vocab=1040, d_model=192, heads=3, d_kv=64, d_ff=384, layers=2, buckets=32, max_distance=128),
    "decoder": (96, 64, 32, 32),
    "encoder": (32, 64, 64),
}
MAX_IDS = 32  # longest caption in training, </s> included


# ---- UMT5 encoder ------------------------------------------------------------------------------------------------

class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        x32 = x.float()
        return x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def bucket_table(n, buckets=32, max_distance=128):
    """[n, n] bucket of (key - query), bidirectional."""
    r = torch.arange(n)[None, :] - torch.arange(n)[:, None]
    half = buckets // 2
    exact = half // 2
    a = r.abs()
    far = exact + (torch.log(a.float().clamp(min=1) / exact) / math.log(max_distance / exact) * (half - exact)).long()
    return (r > 0).long() * half + torch.where(a < exact, a, far.clamp(max=half - 1))


def holder(**children):
    m = nn.Module()
    for k, v in children.items():
        m.add_module(k, v)
    return m


class UMT5(nn.Module):
    def __init__(self, vocab, d_model, heads, d_kv, d_ff, layers, buckets, max_distance):
        super().__init__()
        self.heads, self.d_kv = heads, d_kv
        self.shared = nn.Embedding(vocab, d_model)
        lin = lambda i, o: nn.Linear(i, o, bias=False)
        blocks = []
        for _ in range(layers):
            attn = holder(q=lin(d_model, heads * d_kv), k=lin(d_model, heads * d_kv), v=lin(d_model, heads * d_kv),
                          o=lin(heads * d_kv, d_model), relative_attention_bias=nn.Embedding(buckets, heads))
            ff = holder(wi_0=lin(d_model, d_ff), wi_1=lin(d_model, d_ff), wo=lin(d_ff, d_model))
            blocks.append(holder(layer=nn.ModuleList([holder(layer_norm=RMSNorm(d_model), SelfAttention=attn),
                                                      holder(layer_norm=RMSNorm(d_model), DenseReluDense=ff)])))
        self.encoder = holder(block=nn.ModuleList(blocks), final_layer_norm=RMSNorm(d_model))
        nn.init.normal_(self.shared.weight, std=1.0)
        for b in blocks:
            a, f = b.layer[0].SelfAttention, b.layer[1].DenseReluDense
            nn.init.normal_(a.q.weight, std=(d_model * d_kv) ** -0.5)  # no 1/sqrt(d) in the attention
            for m in (a.k, a.v, a.o, f.wi_0, f.wi_1):
                nn.init.normal_(m.weight, std=d_model ** -0.5)
            nn.init.normal_(f.wo.weight, std=d_ff ** -0.5)
            nn.init.normal_(a.relative_attention_bias.weight, std=0.1)

    def forward(self, ids, lengths):
        """ids [B, S] -> [B, S, d_model]; rows past a length are garbage, keys past it are masked."""
        b, s = ids.shape
        mask = torch.arange(s, device=ids.device)[None] >= lengths[:, None]
        mask = torch.zeros(b, 1, 1, s, device=ids.device).masked_fill(mask[:, None, None], -1e9)
        bucket = bucket_table(s).to(ids.device)
        x = self.shared(ids)
        for blk in self.encoder.block:
            a = blk.layer[0].SelfAttention
            h = blk.layer[0].layer_norm(x)
            q, k, v = (m(h).view(b, s, self.heads, self.d_kv).transpose(1, 2) for m in (a.q, a.k, a.v))
            score = (q @ k.transpose(2, 3)).float() + a.relative_attention_bias(bucket).permute(2, 0, 1) + mask
            y = (score.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(b, s, -1)
            x = x + a.o(y)
            f = blk.layer[1].DenseReluDense
            h = blk.layer[1].layer_norm(x)
            x = x + f.wo(F.gelu(f.wi_0(h), approximate="tanh") * f.wi_1(h))
        return self.encoder.final_layer_norm(x)


# ---- Wan DiT -----------------------------------------------------------------------------------------------------

def rope_table(grid, head_dim, device="cpu"):
    """cos, sin [L, head_dim/2] for raster tokens of a (t, h, w) grid."""
    hw = 2 * (head_dim // 6)
    parts = []
    for axis, (n, d) in enumerate(zip(grid, (head_dim - 2 * hw, hw, hw))):
        f = 10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
        a = torch.arange(n, dtype=torch.float64)[:, None] * f
        shape = [1, 1, 1, d // 2]
        shape[axis] = n
        parts.append(a.view(shape).expand(*grid, d // 2))
    angle = torch.cat(parts, -1).reshape(-1, head_dim // 2)
    return angle.cos().float().to(device), angle.sin().float().to(device)


def rotate(x, cos, sin):
    """x [B, L, H, D], interleaved pairs."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.to_out = nn.ModuleList([nn.Linear(d, d)])
        self.norm_q, self.norm_k = RMSNorm(d), RMSNorm(d)


class Block(nn.Module):
    def __init__(self, d, heads, ffn):
        super().__init__()
        self.d, self.heads = d, heads
        self.attn1, self.attn2 = Attention(d, heads), Attention(d, heads)
        self.norm2 = nn.LayerNorm(d, eps=1e-6)
        self.ffn = holder(net=nn.ModuleList([holder(proj=nn.Linear(d, ffn)), nn.Identity(), nn.Linear(ffn, d)]))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, d) / d ** 0.5)

    def forward(self, x, mod, cos, sin, ctx, bias):
        """x f32 [B, L, D], mod [B, 6, D], ctx [B, S, D], bias f32 [B, 1, 1, S]: 0, log count, or -inf"""
        b, l, d = x.shape
        e = (self.scale_shift_table + mod.float()).unsqueeze(2).unbind(1)
        h = F.layer_norm(x, (d,), eps=1e-6) * (1 + e[1]) + e[0]
        a = self.attn1
        split = lambda t: t.view(b, -1, self.heads, d // self.heads)
        v = split(a.to_v(h))
        q = rotate(split(a.norm_q(a.to_q(h))), cos, sin).to(v.dtype)
        k = rotate(split(a.norm_k(a.to_k(h))), cos, sin).to(v.dtype)
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        x = x + a.to_out[0](y.transpose(1, 2).reshape(b, l, d)).float() * e[2]
        a = self.attn2
        h = self.norm2(x)
        v = split(a.to_v(ctx)).transpose(1, 2)
        q = split(a.norm_q(a.to_q(h)).to(v.dtype)).transpose(1, 2)
        k = split(a.norm_k(a.to_k(ctx)).to(v.dtype)).transpose(1, 2)
        score = (q @ k.transpose(2, 3)).float() * (d // self.heads) ** -0.5 + bias
        y = (score.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(b, l, d)
        x = x + a.to_out[0](y).float()
        h = F.layer_norm(x, (d,), eps=1e-6) * (1 + e[4]) + e[3]
        y = self.ffn.net[2](F.gelu(self.ffn.net[0].proj(h), approximate="tanh"))
        return x + y.float() * e[5]


class WanDiT(nn.Module):
    def __init__(self, layers, heads, head_dim, ffn, freq, z, text_dim, text_len):
        super().__init__()
        d = self.d = heads * head_dim
        self.head_dim, self.freq, self.text_len = head_dim, freq, text_len
        self.patch_embedding = nn.Conv3d(z, d, (1, 2, 2), (1, 2, 2))
        mlp = lambda i: holder(linear_1=nn.Linear(i, d), linear_2=nn.Linear(d, d))
        self.condition_embedder = holder(time_embedder=mlp(freq), time_proj=nn.Linear(d, 6 * d), text_embedder=mlp(text_dim))
        self.blocks = nn.ModuleList([Block(d, heads, ffn) for _ in range(layers)])
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, d) / d ** 0.5)
        self.proj_out = nn.Linear(d, 4 * z)
        for n, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02 if "embedder" in n else p.shape[1] ** -0.5 * 0.7)
            elif n.endswith("bias"):
                nn.init.zeros_(p)
        for blk in self.blocks:
            for m in (blk.attn1.to_out[0], blk.attn2.to_out[0], blk.ffn.net[2]):
                m.weight.data.mul_(1.0 / (2 * layers) ** 0.5)
        nn.init.zeros_(self.proj_out.weight)
        self.open_text()

    @torch.no_grad()
    def open_text(self, small=0.05, push=0.4, sharp=2.0):
        """Lets the words through from the first step. Cross-attention sees 512 rows, of which the 500 behind the prompt are
        equal: started plainly they take 98 % of the attention and of the gradient, and a short training never gets out of
        that (measured on the first checkpoint: 94 to 99.8 % in every block). So the zero row gets a key of its own, a small
        vector that hardly shows in the words' rows but fills the normalised key of the zero row, and queries start turned
        away from it."""
        e = self.condition_embedder.text_embedder
        nn.init.normal_(e.linear_1.weight, std=e.linear_1.in_features ** -0.5)
        nn.init.normal_(e.linear_2.weight, std=2 * e.linear_2.in_features ** -0.5)
        nn.init.normal_(e.linear_2.bias, std=small)
        for blk in self.blocks:
            a = blk.attn2
            key = a.to_k.weight @ e.linear_2.bias
            a.to_q.bias.copy_(-push * key / key.pow(2).mean().sqrt())
            a.norm_q.weight.fill_(sharp)

    def context(self, text, lengths):
        """text [B, S, text_dim]; rows >= length are zeroed. One extra zero row stands for all text_len - n of them.
        Returns ctx [B, S+1, D] and the bias that makes that exact."""
        b, s, _ = text.shape
        pad = torch.arange(s, device=text.device)[None] >= lengths[:, None]
        rows = torch.cat([text.masked_fill(pad[..., None], 0.0), text.new_zeros(b, 1, text.shape[2])], 1)
        e = self.condition_embedder.text_embedder
        ctx = e.linear_2(F.gelu(e.linear_1(rows), approximate="tanh"))
        bias = torch.zeros(b, s + 1, device=text.device)
        bias[:, :s].masked_fill_(pad, -1e9)
        bias[:, s] = torch.log((self.text_len - lengths).float())
        return ctx, bias[:, None, None]

    def forward(self, x, t, ctx, bias):
        """x [B, Z, T, H, W], t [B] in 0..1000 -> velocity of the same shape, f32"""
        b, z, ft, fh, fw = x.shape
        grid = (ft, fh // 2, fw // 2)
        cos, sin = self.rope(grid, x.device)
        half = self.freq // 2
        f = torch.exp(-math.log(10000.0) * torch.arange(half, device=x.device, dtype=torch.float32) / half)
        a = t.float()[:, None] * f
        e = self.condition_embedder
        temb = e.time_embedder.linear_2(F.silu(e.time_embedder.linear_1(torch.cat([a.cos(), a.sin()], -1))))
        mod = e.time_proj(F.silu(temb)).view(b, 6, self.d)
        h = self.patch_embedding(x).flatten(2).transpose(1, 2).float()
        for blk in self.blocks:
            h = blk(h, mod, cos, sin, ctx, bias)
        shift, scale = (self.scale_shift_table + temb.float()[:, None]).chunk(2, 1)
        h = self.proj_out(F.layer_norm(h, (self.d,), eps=1e-6) * (1 + scale) + shift)
        h = h.float().view(b, *grid, 2, 2, z)
        return h.permute(0, 6, 1, 2, 4, 3, 5).reshape(b, z, ft, fh, fw)

    def rope(self, grid, device):
        key = (grid, device)
        if getattr(self, "_rope_key", None) != key:
            self._rope_key, self._rope = key, rope_table(grid, self.head_dim, device)
        return self._rope


# ---- TAEHV -------------------------------------------------------------------------------------------------------

def conv(i, o, **kw):
    return nn.Conv2d(i, o, 3, padding=1, **kw)


class Clamp(nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Sequential(conv(2 * c, c), nn.ReLU(), conv(c, c), nn.ReLU(), conv(c, c))

    def forward(self, x, batch):
        """x [B*T, C, H, W]: each frame sees the one before it, the first sees zeros."""
        n = x.shape[0]
        first = torch.arange(n, device=x.device) % (n // batch) == 0
        past = torch.cat([x[:1], x[:-1]]).masked_fill(first[:, None, None, None], 0.0)
        return F.relu(self.conv(torch.cat([x, past], 1)) + x)


class TGrow(nn.Module):
    def __init__(self, c, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(c, c * stride, 1, bias=False)

    def forward(self, x):
        y = self.conv(x)
        if self.stride > 1:  # spelled out over channels-last memory: one copy and no change of layout
            y = y.permute(0, 2, 3, 1).unflatten(3, (self.stride, -1)).permute(0, 3, 1, 2, 4).flatten(0, 1).permute(0, 3, 1, 2)
        return y


class TPool(nn.Module):
    def __init__(self, c, stride):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(c * stride, c, 1, bias=False)

    def forward(self, x):
        if self.stride > 1:
            x = x.permute(0, 2, 3, 1).unflatten(0, (-1, self.stride)).permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
        return self.conv(x)


def run(seq, x):
    """[B, T, C, H, W] through a list of per-frame and memory layers."""
    batch = x.shape[0]
    x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    for m in seq:
        x = m(x, batch) if isinstance(m, MemBlock) else m(x)
    return x.unflatten(0, (batch, -1))


class TAEHV(nn.Module):
    def __init__(self, z, dec, enc):
        super().__init__()
        a, b, c, d = dec
        up = lambda: nn.Upsample(scale_factor=2)
        self.decoder = nn.Sequential(
            Clamp(), conv(z, a), nn.ReLU(), MemBlock(a), MemBlock(a), MemBlock(a), up(), TGrow(a, 1), conv(a, b, bias=False),
            MemBlock(b), MemBlock(b), MemBlock(b), up(), TGrow(b, 2), conv(b, c, bias=False),
            MemBlock(c), MemBlock(c), MemBlock(c), up(), TGrow(c, 2), conv(c, d, bias=False), nn.ReLU(), conv(d, 3))
        a, b, c = enc
        self.encoder = nn.Sequential(
            conv(3, a), nn.ReLU(), TPool(a, 2), conv(a, a, stride=2, bias=False), MemBlock(a), MemBlock(a), MemBlock(a),
            TPool(a, 2), conv(a, b, stride=2, bias=False), MemBlock(b), MemBlock(b), MemBlock(b),
            TPool(b, 1), conv(b, c, stride=2, bias=False), MemBlock(c), MemBlock(c), MemBlock(c), conv(c, z))
        for m in self.modules():  # keep the signal's size through the depth; blocks start near the identity
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
        for m in self.modules():
            if isinstance(m, MemBlock):
                m.conv[4].weight.data.mul_(0.2)
            elif isinstance(m, (TGrow, TPool)):
                nn.init.kaiming_normal_(m.conv.weight, nonlinearity="linear")
        self.decoder[-1].weight.data.mul_(0.1)
        nn.init.constant_(self.decoder[-1].bias, 0.5)

    def encode(self, x):
        """x [B, F, 3, H, W] in [0, 1], F = 4n+1 -> [B, T, Z, H/8, W/8]; the last frame is repeated up to 4(n+1)."""
        x = torch.cat([x, x[:, -1:].expand(-1, -x.shape[1] % 4, -1, -1, -1)], 1)
        return run(self.encoder, x)

    def decode(self, z):
        """z [B, T, Z, h, w] -> [B, 4T-3, 3, 8h, 8w], not clamped"""
        return run(self.decoder, z)[:, 3:]


def make_dit():
    return WanDiT(**CONFIG["dit"])


def make_text():
    return UMT5(**CONFIG["text"])


def make_ae():
    return TAEHV(CONFIG["dit"]["z"], CONFIG["decoder"], CONFIG["encoder"])
