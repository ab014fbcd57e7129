"""The peer of the LLM benchmark: transformers' own `generate` on the same folder.

`python -m benchmarks.peers.transformers_generate FOLDER DTYPE [DEVICE]` reads a JSON line
{"clients", "tokens", "prompt_tokens", "is_batched"} and answers with one: {"seconds"}.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.folders import prompt_of


def main() -> None:
    """Answer until standard input ends."""
    folder, dtype, device = [*sys.argv[1:], "cpu"][:3]
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="sdpa"
    )
    model = model.to(device).eval()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        prompts = [prompt_of(order["prompt_tokens"], seed) for seed in range(order["clients"])]
        batches = [prompts] if order["is_batched"] else [[prompt] for prompt in prompts]
        began = time.perf_counter()
        for batch in batches:
            inputs = tokenizer(batch, return_tensors="pt", padding=True).to(device)
            inputs.pop("token_type_ids", None)
            with torch.inference_mode():
                written = model.generate(
                    **inputs,
                    do_sample=False,
                    min_new_tokens=order["tokens"],
                    max_new_tokens=order["tokens"],
                )
                written.cpu()  # on a GPU, only then is it there
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
