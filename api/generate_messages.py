"""Makes the Python code of the `.proto` files: `python api/generate_messages.py`.

A developer's tool: it needs grpcio-tools. What it makes is kept in the repository, so that
installing needs no compiler.
"""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Final


PROTO: Final = Path(__file__).parent / "torchloom_api" / "grpc" / "proto"

#: Generated code puts its types into the pool that all packages share; ours has its own.
_SHARED: Final = (
    "from google.protobuf import descriptor_pool as _descriptor_pool",
    "_descriptor_pool.Default()",
)
_OWN: Final = ("from torchloom_api.grpc.pool import POOL as _POOL", "_POOL")

#: Generated code takes the code of other files for modules of its own.
_IMPORT: Final = re.compile(r"^import (\w+_pb2) as", re.MULTILINE)
_FROM: Final = r"from torchloom_api.grpc.proto import \1 as"


def generate(folder: Path) -> list[Path]:
    """Write the code of every `.proto` file into a folder; give the files. Raises RuntimeError."""
    from grpc_tools import protoc  # noqa: PLC0415 - a tool that users do not have

    sources = sorted(PROTO.glob("*.proto"))
    known = str(files("grpc_tools") / "_proto")
    code = protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            f"-I{known}",
            f"--python_out={folder}",
            f"--pyi_out={folder}",
            *(str(source) for source in sources),
        ]
    )
    if code != 0:
        message = f"protoc ended with {code}."
        raise RuntimeError(message)
    made = [folder / f"{source.stem}_pb2.py" for source in sources]
    made += [file.with_suffix(".pyi") for file in made]
    for file in made:
        text = _IMPORT.sub(_FROM, file.read_text())
        for shared, own in zip(_SHARED, _OWN, strict=True):
            text = text.replace(shared, own)
        file.write_text(text)
    return made


if __name__ == "__main__":
    for each in generate(PROTO):
        sys.stdout.write(f"{each}\n")
