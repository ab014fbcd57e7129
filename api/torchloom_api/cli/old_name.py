"""Old names: TorchServe's commands, and packages that scripts import, as files that lead here.

They are written only when asked for, and only where nobody else has the name, so that TorchServe's
own packages may be installed beside TorchLoom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Final


#: Stands in each file that is written here; a file without it is another's, and left alone.
MARK: Final = "Written by `torchloom alias`, and removed by it."

_SCRIPT: Final = """\
#!{python}
# {mark}
import sys

from torchloom_api.cli.{module} import main

sys.exit(main(sys.argv[1:], {name!r}))
"""

_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "__init__.py": "from torchloom_models.archive.archiver import "
        "ModelArchiver, ModelArchiverConfig  # noqa: F401\n"
        "from torchloom_models.archive.ts import __version__",
        "version.py": "from torchloom_models.archive.ts import __version__",
        "model_archiver.py": "from torchloom_models.archive.archiver import ModelArchiver",
        "model_archiver_config.py": "from torchloom_models.archive.archiver import "
        "ModelArchiverConfig",
        "model_archiver_error.py": "from torchloom_models.archive.archiver import "
        "ModelArchiverError",
    }
)

#: What scripts call in place of the command, with a configuration or their own words.
_PACKAGING: Final = """\
# {mark}
import sys

from torchloom_api.cli.archive import main
from torchloom_models.archive.archiver import ModelArchiver


def generate_model_archive(config=None):
    if config is not None:
        ModelArchiver.generate_model_archive(config)
    elif status := main(sys.argv[1:], "torch-model-archiver"):
        sys.exit(status)


if __name__ == "__main__":
    generate_model_archive()
"""

#: Lets scripts and tests import `ts` as handlers do, and the programs below as parts of it.
_TS: Final = """\
# {mark}
import sys
from pathlib import Path

from torchloom_models.archive import alias

alias.install()
sys.modules["ts"].__path__.append(str(Path(__file__).parent))
"""

#: Makes `python -m ts.NAME` work.
_PROGRAM: Final = """\
# {mark}
import sys

from torchloom_api.cli.{module} import main


def start() -> None:
    if status := main(sys.argv[1:], {name!r}):
        sys.exit(status)


if __name__ == "__main__":
    start()
"""

#: TorchServe's modules that are programs → ours, and what their help calls them.
_PROGRAMS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "llm_launcher": ("llm_launcher", "python -m ts.llm_launcher"),
        "model_server": ("torchserve", "torchserve"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OldName:
    """A name: the package of an index that owns it, and the files that make it lead here."""

    name: str
    owner: str
    files: Mapping[Path, str]
    is_script: bool = False

    @property
    def state(self) -> str:
        """Tell whose the name is: `here`, `free`, or that of whoever has it."""
        others = [file for file in self.files if file.exists() and not _is_ours(file)]
        try:
            return f"{self.owner} {version(self.owner)}"
        except PackageNotFoundError:
            pass
        if others:
            return f"another program: {others[0]}"
        return "here" if all(file.exists() for file in self.files) else "free"

    def install(self) -> str | None:
        """Write its files; gives the reason where the name is another's."""
        if self.state not in ("free", "here"):
            return f"{self.name} belongs to {self.state}. Uninstall that first."
        for file, text in self.files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            if self.is_script:
                file.chmod(0o755)
        return None

    def remove(self) -> bool:
        """Remove those of its files that are ours; tells whether there were any."""
        ours = [file for file in self.files if file.is_file() and _is_ours(file)]
        for file in ours:
            file.unlink()
        folder = next(iter(self.files)).parent
        if ours and not self.is_script:
            _remove_empty(folder)
        return bool(ours)


def old_names(*, scripts: Path, packages: Path, python: str) -> list[OldName]:
    """Give the names, with their files in the folders of an environment."""
    commands = {
        "torchserve": ("torchserve", "torchserve"),
        "torch-model-archiver": ("torch-model-archiver", "archive"),
        "torch-workflow-archiver": ("torch-workflow-archiver", "workflow_archive"),
    }
    names = [
        OldName(
            name=name,
            owner=owner,
            files={
                scripts / name: _SCRIPT.format(python=python, mark=MARK, module=module, name=name)
            },
            is_script=True,
        )
        for name, (owner, module) in commands.items()
    ]
    folder = packages / "model_archiver"
    files = {folder / file: f"# {MARK}\n{line}  # noqa: F401\n" for file, line in _MODULES.items()}
    files[folder / "model_packaging.py"] = _PACKAGING.format(mark=MARK)
    programs = {
        packages / "ts" / f"{file}.py": _PROGRAM.format(mark=MARK, module=module, name=name)
        for file, (module, name) in _PROGRAMS.items()
    }
    package = {packages / "ts" / "__init__.py": _TS.format(mark=MARK), **programs}
    return [
        *names,
        OldName(name="model_archiver", owner="torch-model-archiver", files=files),
        OldName(name="ts", owner="torchserve", files=package),
    ]


def _is_ours(file: Path) -> bool:
    with file.open("rb") as opened:
        return MARK.encode() in opened.read(1000)


def _remove_empty(folder: Path) -> None:
    """Remove a package's folder, with the bytecode that Python left in it, if nothing else is."""
    cache = folder / "__pycache__"
    left = {path for path in folder.iterdir() if path != cache}
    if left:
        return
    if cache.is_dir():
        for file in cache.iterdir():
            file.unlink()
        cache.rmdir()
    folder.rmdir()
