#!/usr/bin/env python3
"""Writes a model directory in the published (Diffusers) layout with random weights: any dimensions, any of the spellings,
types and shardings that are found in the wild. For tests, and to try things without downloading anything.

    tools/make_checkpoint.py /tmp/tiny --preset tiny-vsa
    tools/make_checkpoint.py /tmp/big --preset 1.3b --dtype BF16 --shards 2

Weights depend on the seed and on each tensor's Diffusers name alone, so that the same model in another spelling, type or
number of shards holds the same values (rounded to the type). Needs numpy; writes in pieces of a few MiB.
"""
import argparse
import json
import math
import pathlib
import shutil
import struct
import sys
import zlib

import numpy as np

PIECE = 1 << 20  # elements made and written at once
BYTES = {"F32": 4, "F16": 2, "BF16": 2}

PRESETS = {
    "tiny": dict(heads=2, layers=2, ffn=512, text_dim=64, umt5_layers=2, umt5_heads=2, umt5_kv=32, umt5_ff=128,
                 widths=[32, 16, 8, 8]),
    "tiny-vsa": dict(heads=2, layers=2, ffn=512, text_dim=64, umt5_layers=2, umt5_heads=2, umt5_kv=32, umt5_ff=128,
                     widths=[32, 16, 8, 8], gates=True, pipeline="WanDMDPipeline", flow_shift=8.0),
    # the real transformer and decoder; the text encoder has the real width but is short, so that all is about 3 GB in BF16
    "1.3b": dict(heads=12, layers=30, ffn=8960, text_dim=4096, umt5_layers=2, umt5_heads=64, umt5_kv=64, umt5_ff=1024,
                 widths=[256, 128, 64, 64]),
}


# ---- what a model consists of: (name, shape, kind, standard deviation) ----

def linear(name, n, k, gain=1.0):
    return [(name + ".weight", (n, k), "weight", gain / math.sqrt(k)), (name + ".bias", (n,), "weight", 0.02)]


def dit_tensors(a):
    d, text, ffn = a.heads * a.head_dim, a.text_dim, a.ffn
    yield "patch_embedding.weight", (d, a.in_channels, 1, 2, 2), "weight", 1 / math.sqrt(a.in_channels * 4)
    yield "patch_embedding.bias", (d,), "weight", 0.02
    yield from linear("condition_embedder.time_embedder.linear_1", d, a.freq_dim)
    yield from linear("condition_embedder.time_embedder.linear_2", d, d)
    yield from linear("condition_embedder.time_proj", 6 * d, d, 0.3)
    yield from linear("condition_embedder.text_embedder.linear_1", d, text)
    yield from linear("condition_embedder.text_embedder.linear_2", d, d)
    for i in range(a.layers):
        b = f"blocks.{i}."
        yield b + "scale_shift_table", (1, 6, d), "weight", 0.1
        for attn in ("attn1", "attn2"):
            for name in ("to_q", "to_k", "to_v", "to_out.0"):
                yield from linear(f"{b}{attn}.{name}", d, d)
            yield f"{b}{attn}.norm_q.weight", (d,), "norm", 0.1
            yield f"{b}{attn}.norm_k.weight", (d,), "norm", 0.1
        if a.gates:
            yield from linear(b + "to_gate_compress", d, d)
        yield b + "norm2.weight", (d,), "norm", 0.1
        yield b + "norm2.bias", (d,), "weight", 0.02
        yield from linear(b + "ffn.net.0.proj", ffn, d)
        yield from linear(b + "ffn.net.2", d, ffn)
    yield "scale_shift_table", (1, 2, d), "weight", 0.1
    yield from linear("proj_out", a.out_channels * 4, d)


def umt5_tensors(a):
    d, inner, ff = a.text_dim, a.umt5_heads * a.umt5_kv, a.umt5_ff
    yield "shared.weight", (a.vocab, d), "weight", 1.0
    for i in range(a.umt5_layers):
        attn, mlp = f"encoder.block.{i}.layer.0.", f"encoder.block.{i}.layer.1."
        yield attn + "layer_norm.weight", (d,), "norm", 0.1
        # T5 does not divide scores by sqrt(d_kv): its queries are that much smaller
        yield attn + "SelfAttention.q.weight", (inner, d), "weight", 1 / math.sqrt(d * a.umt5_kv)
        yield attn + "SelfAttention.k.weight", (inner, d), "weight", 1 / math.sqrt(d)
        yield attn + "SelfAttention.v.weight", (inner, d), "weight", 1 / math.sqrt(d)
        yield attn + "SelfAttention.o.weight", (d, inner), "weight", 1 / math.sqrt(inner)
        yield attn + "SelfAttention.relative_attention_bias.weight", (32, a.umt5_heads), "weight", 0.5
        yield mlp + "layer_norm.weight", (d,), "norm", 0.1
        yield mlp + "DenseReluDense.wi_0.weight", (ff, d), "weight", 1 / math.sqrt(d)
        yield mlp + "DenseReluDense.wi_1.weight", (ff, d), "weight", 1 / math.sqrt(d)
        yield mlp + "DenseReluDense.wo.weight", (d, ff), "weight", 1 / math.sqrt(ff)
    yield "encoder.final_layer_norm.weight", (d,), "norm", 0.1


def taehv_tensors(a):
    def conv(i, n, k, size=3, gain=1.4, bias=None):
        yield f"decoder.{i}.weight", (n, k, size, size), "weight", gain / math.sqrt(k * size * size)
        if bias is not None:
            yield f"decoder.{i}.bias", (n,), "weight", bias

    w = a.widths
    yield from conv(1, w[0], a.in_channels, bias=0.02)
    for stage, first in enumerate((3, 9, 15)):
        c = w[stage]
        for i in range(first, first + 3):
            yield from conv(f"{i}.conv.0", c, 2 * c, bias=0.02)
            yield from conv(f"{i}.conv.2", c, c, bias=0.02)
            yield from conv(f"{i}.conv.4", c, c, gain=0.5, bias=0.02)
        yield from conv(f"{first + 4}.conv", c if stage == 0 else 2 * c, c, size=1)
        yield from conv(first + 5, w[stage + 1], c)
    yield "decoder.22.weight", (3, w[3], 3, 3), "weight", 0.3 / math.sqrt(w[3] * 9)
    yield "decoder.22.bias", (3,), "half", 0.05


# ---- spellings of the transformer's names ----

ORIGINAL = [("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
            ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
            ("condition_embedder.time_proj", "time_projection.1"),
            ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
            ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
            (".scale_shift_table", ".modulation"), ("scale_shift_table", "head.modulation"), ("proj_out", "head.head"),
            (".attn1.to_out.0", ".self_attn.o"), (".attn2.to_out.0", ".cross_attn.o"),
            (".attn1.to_", ".self_attn."), (".attn2.to_", ".cross_attn."),
            (".attn1.", ".self_attn."), (".attn2.", ".cross_attn."),
            (".norm2.", ".norm3."), (".ffn.net.0.proj", ".ffn.0"), (".ffn.net.2", ".ffn.2")]
FASTVIDEO = [("patch_embedding.", "patch_embedding.proj."),
             ("time_embedder.linear_1", "time_embedder.mlp.fc_in"), ("time_embedder.linear_2", "time_embedder.mlp.fc_out"),
             ("condition_embedder.time_proj", "condition_embedder.time_modulation.linear"),
             ("text_embedder.linear_1", "text_embedder.fc_in"), ("text_embedder.linear_2", "text_embedder.fc_out"),
             (".attn1.to_out.0", ".to_out"), (".attn2.to_out.0", ".attn2.to_out"), (".attn1.", "."),
             (".norm2.", ".self_attn_residual_norm.norm."),
             (".ffn.net.0.proj", ".ffn.fc_in"), (".ffn.net.2", ".ffn.fc_out")]


def spell(name, naming):
    """A Diffusers name of the transformer in another spelling: the first rule that applies."""
    for old, new in {"diffusers": [], "original": ORIGINAL, "fastvideo": FASTVIDEO}[naming]:
        if old in name:
            return name.replace(old, new)
    return name


# ---- writing ----

def to_bytes(x, dtype):
    if dtype == "F32":
        return x.tobytes()
    if dtype == "F16":
        return x.astype(np.float16).tobytes()
    u = x.view(np.uint32)  # BF16, to nearest even; no NaN comes here
    v = u >> 16
    v &= 1
    v += u
    v += 0x7FFF
    return v.view(np.uint16)[1::2].tobytes()


def write_values(f, seed, tensor, dtype):
    name, shape, kind, scale = tensor
    rng = np.random.Generator(np.random.SFC64([seed, zlib.crc32(name.encode())]))
    offset = np.float32({"weight": 0.0, "norm": 1.0, "half": 0.5}[kind])
    left = math.prod(shape)
    while left:
        n = min(left, PIECE)
        x = rng.random(n, dtype=np.float32)  # uniform: four times as fast as normal, and as good here
        x *= np.float32(scale * math.sqrt(12))
        x += offset - np.float32(scale * math.sqrt(3))
        f.write(to_bytes(x, dtype))
        left -= n


def write_safetensors(path, tensors, names, dtype, seed):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for tensor, name in zip(tensors, names):
        end = at + math.prod(tensor[1]) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor[1]), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            write_values(f, seed, tensor, dtype)


def split(tensors, dtype, shards):
    """Cuts the list into runs of about equal bytes, none empty."""
    sizes = [math.prod(t[1]) * BYTES[dtype] for t in tensors]
    runs, total, done = [[] for _ in range(shards)], sum(sizes), 0
    for i, (tensor, size) in enumerate(zip(tensors, sizes)):
        shard = min(shards - 1, done * shards // total)
        shard = max(shard, shards - (len(tensors) - i))  # leave one for each that is to come
        runs[shard].append(tensor)
        done += size
    return [r for r in runs if r]


def write_component(folder, stem, tensors, dtype, seed, shards=1, naming="diffusers"):
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]:
        old.unlink()  # a set of another number of shards beside the new one would be ambiguous
    runs = split(tensors, dtype, shards)
    weight_map, total = {}, 0
    for i, run in enumerate(runs):
        file = f"{stem}.safetensors" if shards == 1 else f"{stem}-{i + 1:05}-of-{len(runs):05}.safetensors"
        names = [spell(t[0], naming) for t in run]
        write_safetensors(folder / file, run, names, dtype, seed)
        weight_map.update((name, file) for name in names)
        total += sum(math.prod(t[1]) * BYTES[dtype] for t in run)
    if shards > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        write_json(folder / f"{stem}.safetensors.index.json", index)
    print(f"{folder.name}: {len(tensors)} tensors, {total:,} bytes of {dtype} in {len(runs)} file(s)")


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


# ---- configs ----

def write_configs(a, out):
    write_json(out / "model_index.json", {
        "_class_name": a.pipeline, "_diffusers_version": "0.33.0",
        "scheduler": ["diffusers", "UniPCMultistepScheduler"], "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"], "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": [None, None]})
    write_json(out / "transformer/config.json", {
        "_class_name": "WanTransformer3DModel", "_diffusers_version": "0.33.0", "added_kv_proj_dim": None,
        "attention_head_dim": a.head_dim, "cross_attn_norm": True, "eps": 1e-06, "ffn_dim": a.ffn, "freq_dim": a.freq_dim,
        "image_dim": None, "in_channels": a.in_channels, "num_attention_heads": a.heads, "num_layers": a.layers,
        "out_channels": a.out_channels, "patch_size": [1, 2, 2], "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 1024, "text_dim": a.text_dim})
    write_json(out / "text_encoder/config.json", {
        "architectures": ["UMT5EncoderModel"], "d_ff": a.umt5_ff, "d_kv": a.umt5_kv, "d_model": a.text_dim,
        "dense_act_fn": "gelu_new", "dropout_rate": 0.0, "eos_token_id": 1, "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": True, "is_gated_act": True, "layer_norm_epsilon": 1e-06, "model_type": "umt5",
        "num_heads": a.umt5_heads, "num_layers": a.umt5_layers, "pad_token_id": 0,
        "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32, "vocab_size": a.vocab})
    write_json(out / "scheduler/scheduler_config.json", {
        "_class_name": "UniPCMultistepScheduler", "final_sigmas_type": "zero", "flow_shift": a.flow_shift,
        "lower_order_final": True, "num_train_timesteps": 1000, "predict_x0": True, "prediction_type": "flow_prediction",
        "solver_order": 2, "solver_type": "bh2", "use_flow_sigmas": True})


def count_pieces(path):
    """The number of pieces in a SentencePiece model: occurrences of field 1 at the top level of the protobuf."""
    data, at, pieces = path.read_bytes(), 0, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 != 2:
            sys.exit(f"{path}: not a SentencePiece model")
        pieces += tag >> 3 == 1
        length = varint()  # moves at before it is added to
        at += length
    return pieces


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path, help="directory to write")
    p.add_argument("--preset", choices=PRESETS, default="tiny")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--force", action="store_true", help="write into a directory that is not empty; checkpoints in its parts are replaced")
    p.add_argument("--parts", default="transformer,text_encoder,taehv", help="which weights to write (all)")
    p.add_argument("--pipeline", help="_class_name: WanPipeline (default) or WanDMDPipeline")
    p.add_argument("--flow-shift", type=float)
    for name, what in (("heads", "attention heads"), ("layers", "blocks"), ("ffn", "FFN width"),
                       ("text-dim", "width of the text encoder"), ("umt5-layers", ""), ("umt5-heads", ""), ("umt5-kv", ""),
                       ("umt5-ff", "")):
        p.add_argument("--" + name, type=int, help=what)
    p.add_argument("--head-dim", type=int, default=128)
    p.add_argument("--freq-dim", type=int, default=256)
    p.add_argument("--in-channels", type=int, default=16)
    p.add_argument("--out-channels", type=int, default=16)
    p.add_argument("--gates", action=argparse.BooleanOptionalAction, default=None, help="blocks.N.to_gate_compress")
    p.add_argument("--widths", type=lambda s: [int(x) for x in s.split(",")], help="of the decoder: 256,128,64,64")
    p.add_argument("--dtype", choices=BYTES, default="F32")
    p.add_argument("--text-dtype", choices=BYTES, help="the same unless given")
    p.add_argument("--taehv-dtype", choices=BYTES, help="the same unless given")
    p.add_argument("--naming", choices=("diffusers", "original", "fastvideo"), default="diffusers",
                   help="spelling of the transformer's tensors")
    p.add_argument("--shards", type=int, default=1, help="files of the transformer")
    p.add_argument("--text-shards", type=int, default=1, help="files of the text encoder")
    p.add_argument("--spiece", type=pathlib.Path, help="spiece.model to copy (default: tinyworld's)")
    p.add_argument("--vocab", type=int, help="rows of the embedding (default: the pieces of spiece.model)")
    a = p.parse_args()
    for key, value in dict(dict(gates=False, pipeline="WanPipeline", flow_shift=3.0), **PRESETS[a.preset]).items():
        if getattr(a, key) is None:
            setattr(a, key, value)
    if len(a.widths) != 4:
        p.error("--widths wants four numbers")
    if not set(a.parts.split(",")) <= {"transformer", "text_encoder", "taehv"}:
        p.error("--parts knows transformer, text_encoder and taehv")
    if a.shards < 1 or a.text_shards < 1:
        p.error("--shards wants a number >= 1")
    usual = pathlib.Path(__file__).resolve().parent.parent / "models/tinyworld/tokenizer/spiece.model"
    if a.spiece is None and usual.exists():
        a.spiece = usual
    if a.vocab is None:
        a.vocab = count_pieces(a.spiece) if a.spiece else 512
    if a.out.exists() and any(a.out.iterdir()) and not a.force:
        p.error(f"{a.out} is not empty (--force writes over what is there)")
    return a


def main():
    a = parse()
    parts = a.parts.split(",")
    write_configs(a, a.out)
    if a.spiece:
        (a.out / "tokenizer").mkdir(exist_ok=True)
        shutil.copyfile(a.spiece, a.out / "tokenizer/spiece.model")
    if "transformer" in parts:
        write_component(a.out / "transformer", "diffusion_pytorch_model", list(dit_tensors(a)), a.dtype, a.seed, a.shards,
                        a.naming)
    if "text_encoder" in parts:
        write_component(a.out / "text_encoder", "model", list(umt5_tensors(a)), a.text_dtype or a.dtype, a.seed,
                        a.text_shards)
    if "taehv" in parts:
        write_component(a.out / "taehv", "taew2_1", list(taehv_tensors(a)), a.taehv_dtype or a.dtype, a.seed)


if __name__ == "__main__":
    main()
