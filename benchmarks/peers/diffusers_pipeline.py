"""The peer of the picture benchmark: diffusers' own pipeline on the same folder.

`python -m benchmarks.peers.diffusers_pipeline FOLDER DTYPE DEVICE` reads a JSON line {"count",
"num_steps", "guidance"}, draws the pictures one at a time, each to the bytes of a PNG, and answers
with {"seconds"}.
"""

from __future__ import annotations

import io
import json
import sys
import time

import torch
from diffusers import DiffusionPipeline


def main() -> None:
    """Answer until standard input ends."""
    folder, dtype, device = sys.argv[1:4]
    pipeline = DiffusionPipeline.from_pretrained(
        folder, torch_dtype=getattr(torch, dtype), local_files_only=True
    ).to(device)
    pipeline.set_progress_bar_config(disable=True)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        began = time.perf_counter()
        for seed in range(order["count"]):
            (picture,) = pipeline(
                f"the old mill by the river, {seed}",
                num_inference_steps=order["num_steps"],
                guidance_scale=order["guidance"],
                generator=torch.Generator().manual_seed(seed),
            ).images
            picture.save(io.BytesIO(), format="PNG")
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
