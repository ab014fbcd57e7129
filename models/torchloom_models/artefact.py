"""Artefact: where compiled code is kept, and when it may be used again. Compiles nothing.

Compiled code is a folder named by the digest of all that it depends on. It is written under another
name and moved into place at once, so that a reader sees all of it or nothing. The store is the
operator's: what lies there is native code, and is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from filelock import FileLock

from torchloom_models.machine import COMMON, fact_of, facts_of, find_differences


#: The file of an artefact that says what it is; the time of its last change is the last use.
ABOUT = "about.json"

#: An artefact's name: the part of the engine, and the digest of all that it depends on.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}-[0-9a-f]{32}", re.ASCII)

#: A folder that was being filled is left behind by a process that was killed; after this long,
#: nobody fills it any more.
_MAX_MAKING_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactKey:
    """What compiled code depends on besides module and shapes.

    `model` is a digest of the model's configuration (see `weights.digest_of_folder`), `part` the
    name of the function inside the engine ("decode"). `name` is the model's own, for people: code
    does not depend on it.
    """

    model: str
    dtype: str
    device: str
    part: str = "forward"
    name: str = ""


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an artefact says of itself: its key, and the facts of the machine that it was made for.

    `threads`: how many a worker must have to use it; None where that does not matter.
    """

    model: str
    dtype: str
    device: str
    part: str
    name: str
    facts: dict[str, str]
    threads: int | None = None


class Artefact(msgspec.Struct, frozen=True, kw_only=True):
    """One artefact that is kept. `used_at` is in seconds since 1970, `bytes` the size on disk."""

    name: str
    folder: Path
    about: About
    bytes: int
    used_at: float

    @property
    def differences(self) -> list[str]:
        """Say why this machine cannot use it; empty where it can."""
        if not self.about.facts:
            return ["it does not say what it was made for"]
        return find_differences(self.about.facts)


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
    versions = [f"{name} {fact_of(name)}" for name in names]
    return digest_of_text(*versions, *(fact_of(name) for name in COMMON[-3:]))


class ArtefactStore:
    """A folder of artefacts, each in a folder of its own. Several processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        #: What was asked for here, by name: the seconds that making it took; None: it was there.
        self.taken: dict[str, float | None] = {}

    def find(self, digest: str) -> Path | None:
        """Give the artefact's folder, which counts as a use, or None where there is none."""
        folder = self.root / digest
        if not folder.is_dir():
            return None
        with contextlib.suppress(OSError):
            os.utime(folder / ABOUT)
        self.taken.setdefault(digest, None)
        return folder

    @contextlib.contextmanager
    def lock(self, digest: str) -> Iterator[None]:
        """Keep other processes from making the same artefact meanwhile; waits for them."""
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f"{digest}.lock"):
            yield

    @contextlib.contextmanager
    def making(
        self,
        digest: str,
        key: ArtefactKey,
        *,
        needs: Sequence[str] = COMMON,
        threads: int | None = None,
    ) -> Iterator[Path]:
        """Give an empty folder to fill; it becomes the artefact unless the block raises.

        `needs` names the facts (see `machine.py`) that must be the same where it is used.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{digest}.", dir=self.root))
        started = time.perf_counter()
        try:
            yield folder
            write_about(folder, _about(key, facts_of(needs), threads))
            os.replace(folder, self.root / digest)  # noqa: PTH105 - atomic, and says so
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.taken[digest] = time.perf_counter() - started

    def forget(self, digest: str) -> None:
        """Remove an artefact that turned out to be unusable."""
        self.taken.pop(digest, None)
        shutil.rmtree(self.root / digest, ignore_errors=True)

    def artefacts(self) -> list[Artefact]:
        """List what is kept, the last used first."""
        if not self.root.is_dir():
            return []
        folders = [path for path in self.root.iterdir() if NAME.fullmatch(path.name)]
        kept = [_describe(folder) for folder in folders if folder.is_dir()]
        return sorted(kept, key=lambda artefact: artefact.used_at, reverse=True)

    def prune(self, *, unused_s: float | None = None, now: float | None = None) -> list[Artefact]:
        """Remove what this machine cannot use, and what was not used for `unused_s` seconds.

        Gives what it has removed. What builds that were killed have left behind goes as well.
        """
        now = time.time() if now is None else now
        removed = [
            artefact
            for artefact in self.artefacts()
            if artefact.differences or (unused_s is not None and now - artefact.used_at > unused_s)
        ]
        for artefact in removed:
            with self.lock(artefact.name):
                self.forget(artefact.name)
        self._remove_leftovers(now)
        return removed

    def _remove_leftovers(self, now: float) -> None:
        if not self.root.is_dir():
            return
        for path in self.root.glob(".*"):
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > _MAX_MAKING_S:
                    shutil.rmtree(path)


def write_about(folder: Path, about: About) -> None:
    """Write what an artefact says of itself."""
    text = msgspec.json.format(msgspec.json.encode(about), indent=2)
    (folder / ABOUT).write_bytes(text + b"\n")


def _about(key: ArtefactKey, facts: dict[str, str], threads: int | None) -> About:
    return About(
        model=key.model,
        dtype=key.dtype,
        device=key.device,
        part=key.part,
        name=key.name,
        facts=facts,
        threads=threads,
    )


def _describe(folder: Path) -> Artefact:
    part = folder.name.rpartition("-")[0]
    about = About(model="", dtype="", device="", part=part, name="", facts={})
    with contextlib.suppress(OSError, msgspec.DecodeError):
        about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
    stats = [path.stat() for path in folder.iterdir() if path.is_file()]
    used_at = [path.stat().st_mtime for path in [folder / ABOUT, folder] if path.exists()]
    return Artefact(
        name=folder.name,
        folder=folder,
        about=about,
        bytes=sum(stat.st_size for stat in stats),
        used_at=used_at[0] if used_at else 0.0,
    )
