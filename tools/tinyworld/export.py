"""Writes trained weights in the published (Diffusers) layout, F16.

    python tools/tinyworld/export.py STATE models/tinyworld
"""

import json
import os
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import model as M

SHIFT, GUIDANCE = 3.0, 3.0
PROMPT = "a big yellow duck swimming slowly to the right over the sea"


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def write_tensors(path, tensors):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})


def main():
    state, out = sys.argv[1:3]
    at = lambda *p: os.path.join(out, *p)
    ema = torch.load(os.path.join(state, "ema.pt"), map_location="cpu")
    ae = torch.load(os.path.join(state, "ae.pt"), map_location="cpu")
    part = lambda prefix: {k[len(prefix):]: v for k, v in ema.items() if k.startswith(prefix)}
    d, t = M.CONFIG["dit"], M.CONFIG["text"]
    write_tensors(at("transformer", "diffusion_pytorch_model.safetensors"), part("dit."))
    write_tensors(at("text_encoder", "model.safetensors"), part("text."))
    write_tensors(at("taehv", "diffusion_pytorch_model.safetensors"), ae)
    write_json(at("model_index.json"), {
        "_class_name": "WanPipeline", "_diffusers_version": "0.35.0",
        "scheduler": ["diffusers", "UniPCMultistepScheduler"], "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"], "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": [None, None]})
    write_json(at("transformer", "config.json"), {
        "_class_name": "WanTransformer3DModel", "num_attention_heads": d["heads"], "attention_head_dim": d["head_dim"],
        "in_channels": d["z"], "out_channels": d["z"], "num_layers": d["layers"], "ffn_dim": d["ffn"],
        "text_dim": d["text_dim"], "freq_dim": d["freq"], "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads",
        "eps": 1e-6, "patch_size": [1, 2, 2], "rope_max_seq_len": 1024, "image_dim": None, "added_kv_proj_dim": None})
    write_json(at("text_encoder", "config.json"), {
        "architectures": ["UMT5EncoderModel"], "model_type": "umt5", "d_model": t["d_model"], "d_kv": t["d_kv"],
        "num_heads": t["heads"], "d_ff": t["d_ff"], "num_layers": t["layers"], "vocab_size": t["vocab"],
        "relative_attention_num_buckets": t["buckets"], "relative_attention_max_distance": t["max_distance"],
        "feed_forward_proj": "gated-gelu", "is_gated_act": True, "dense_act_fn": "gelu_new", "layer_norm_epsilon": 1e-6,
        "dropout_rate": 0.0, "pad_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False})
    write_json(at("tokenizer", "tokenizer_config.json"), {
        "tokenizer_class": "T5Tokenizer", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "extra_ids": 0,
        "model_max_length": d["text_len"]})
    write_json(at("scheduler", "scheduler_config.json"), {
        "_class_name": "UniPCMultistepScheduler", "num_train_timesteps": 1000, "solver_order": 2, "solver_type": "bh2",
        "predict_x0": True, "prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": SHIFT,
        "lower_order_final": True, "final_sigmas_type": "zero"})
    write_json(at("swan.json"), {
        "name": "tinyworld", "sampler": "unipc", "num_inference_steps": 20, "flow_shift": SHIFT, "guidance_scale": GUIDANCE,
        "width": 224, "height": 160, "num_frames": 33, "fps": 16, "taehv": "taehv/diffusion_pytorch_model.safetensors",
        "default_prompt": PROMPT})


if __name__ == "__main__":
    main()
