"""Draw pictures of an idea: `python client.py "a night full of stars"`.

Prints the prompts while they are written, and saves each picture the moment that it arrives. Needs
httpx and httpx-sse, and no TorchLoom.
"""

from __future__ import annotations

import argparse
import base64
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from httpx_sse import connect_sse


def draw(url: str, inputs: dict) -> Iterator[tuple[str, dict]]:
    """Start a run and give its events as they come: (type, data). Leaving the loop cancels it."""
    with (
        httpx.Client(base_url=url, timeout=300) as http,
        connect_sse(http, "POST", "/api/workflows/multi_image/runs", json=inputs) as stream,
    ):
        if stream.response.is_error:
            stream.response.read()
            sys.exit(f"{stream.response.status_code}: {stream.response.text}")
        for event in stream.iter_sse():
            if event.data:  # what keeps the connection alive has none
                yield event.event, event.json()


def show(url: str, inputs: dict, folder: Path) -> list[Path]:
    """Print prompts and pictures as they arrive; give the files in the order of the prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[int, Path] = {}
    began = time.monotonic()
    for kind, data in draw(url, inputs):
        if kind == "node.item" and data["node"] == "prompts":
            print(
                f"  {time.monotonic() - began:5.2f} s  prompt  {data['index'] + 1}: {data['item']}"
            )
        elif kind == "node.item" and data["node"] == "pictures":
            file = folder / f"picture-{data['index'] + 1}.png"
            file.write_bytes(base64.b64decode(data["outputs"]["image"]))
            files[data["index"]] = file
            print(f"  {time.monotonic() - began:5.2f} s  picture {data['index'] + 1}: {file}")
        elif kind == "run.failed":
            sys.exit(f"The run failed: {data['error']['detail']}")
        elif kind == "run.finished":
            return [files[index] for index in sorted(files)]
    sys.exit("The stream ended before the run did.")


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("idea")
    parser.add_argument("--pictures", type=int, default=4, help="how many, 1 to 8")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pictures")
    parser.add_argument(
        "--folder", type=Path, default=Path("pictures"), help="where they are saved"
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="address of the server")
    options = parser.parse_args()
    inputs = {"idea": options.idea, "num_images": options.pictures, "seed": options.seed}
    show(options.url, inputs, options.folder)


if __name__ == "__main__":
    main()
