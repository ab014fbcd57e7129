"""Artefact: where compiled code is kept, and when it may be used again. Compiles nothing.

Compiled code is a folder named by the digest of all that it depends on. It is written under another
name and moved into place at once, so that a reader sees all of it or nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactKey:
    """What compiled code depends on besides module and shapes.

    `model` is a digest of the model's configuration (see `weights.digest_of_folder`), `part` the
    name of the function inside the engine ("decode").
    """

    model: str
    dtype: str
    device: str
    part: str = "forward"


def digest_of_text(*parts: str) -> str:
    """Give one short hexadecimal digest of all parts, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def machine_digest(*packages: str) -> str:
    """Give a digest of what native code depends on: libraries, and the processor's instructions.

    `packages` are further ones, whose versions count as well.
    """
    names = ("torch", "transformers", "torchloom", *packages)
    versions = [f"{name} {_version(name)}" for name in names]
    return digest_of_text(*versions, platform.machine(), platform.system(), _processor_features())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _processor_features() -> str:
    """Code is compiled for the very processor: another one may lack its instructions."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()


class ArtefactStore:
    """A folder of artefacts, each in a folder of its own. Several processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, digest: str) -> Path | None:
        """Give the artefact's folder, or None where there is none."""
        folder = self.root / digest
        return folder if folder.is_dir() else None

    @contextlib.contextmanager
    def lock(self, digest: str) -> Iterator[None]:
        """Keep other processes from making the same artefact meanwhile; waits for them."""
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f"{digest}.lock"):
            yield

    @contextlib.contextmanager
    def making(self, digest: str, about: ArtefactKey) -> Iterator[Path]:
        """Give an empty folder to fill; it becomes the artefact unless the block raises."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{digest}.", dir=self.root))
        try:
            yield folder
            _write_json(folder / "about.json", asdict(about))
            os.replace(folder, self.root / digest)  # noqa: PTH105 - atomic, and says so
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def forget(self, digest: str) -> None:
        """Remove an artefact that turned out to be unusable."""
        shutil.rmtree(self.root / digest, ignore_errors=True)


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
