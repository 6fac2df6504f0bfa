#!/usr/bin/env python3
"""UMT5-XXL's encoder of Hugging Face transformers with random weights, bf16, 512 padded tokens: how the published pipelines encode a prompt.

    bench/peers/umt5.py [--tokens 64] [--runs 6]

Prints a JSON line for 512 padded tokens, and one for the prompt's own length.
"""

import argparse

import torch
import transformers

import timing

PADDED = 512


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=6)
    options = parser.parse_args()
    config = transformers.UMT5Config(vocab_size=256384, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
                                     feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False)
    with torch.device("meta"):
        model = transformers.UMT5EncoderModel(config)
    model = model.to(torch.bfloat16).to_empty(device="cuda").requires_grad_(False).eval()
    for name, p in model.named_parameters():
        p.fill_(1) if "norm" in name else p.normal_(std=0.02)
    for length, name in ((PADDED, f"umt5 eager, {PADDED} padded"), (options.tokens, f"umt5 eager, {options.tokens}")):
        ids = torch.randint(2, 256000, (1, length), device="cuda")
        mask = (torch.arange(length, device="cuda") < options.tokens).long()[None]
        with torch.inference_mode():
            timing.tell(name, timing.measure(lambda: model(ids, attention_mask=mask), options.runs), tokens=options.tokens)


if __name__ == "__main__":
    main()
