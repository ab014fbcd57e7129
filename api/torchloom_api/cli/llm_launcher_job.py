"""What `torchloom llm-launcher` does: an archive in the model store, and a server over it.

The archive holds nothing but a manifest and its configuration, and is gone with the server. Knows
no options.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import yaml

from torchloom.errors import TorchLoomError
from torchloom_api.cli import torchserve
from torchloom_api.cli.archiver_end import end_archiver
from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.torchserve.pid_file import PidFile
from torchloom_models.archive.archiver import ModelArchiverConfig, write_model_archive
from torchloom_models.archive.files import ArchiveFiles
from torchloom_models.archive.llm.language_model import to_language_handler
from torchloom_models.archive.manifest import PLACE


_CONFIG: Final = "model-config.yaml"

#: How long a request may take, in seconds, as TorchServe's launcher has it.
_RESPONSE_TIMEOUT_S: Final = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is to be served, and how."""

    model_name: str
    model_store: str
    model_id: str
    disable_token_auth: bool
    engine: Literal["vllm", "trt_llm"]
    dtype: str | None
    startup_timeout: int
    vllm_engine_max_num_seqs: int
    vllm_engine_max_model_len: int | None
    vllm_engine_download_dir: str | None
    trt_llm_engine_max_batch_size: int
    trt_llm_engine_kv_cache_free_gpu_memory_fraction: float

    def to_config(self) -> dict[str, object]:
        """Write `model-config.yaml`."""
        config: dict[str, object] = {
            "minWorkers": 1,
            "maxWorkers": 1,
            "batchSize": 1,
            "maxBatchDelay": 100,
            "responseTimeout": _RESPONSE_TIMEOUT_S,
            "startupTimeout": self.startup_timeout,
            "deviceType": "gpu",
            "asyncCommunication": True,
        }
        section: dict[str, object] = {"model_path": _to_place(self.model_id)}
        said = self._to_vllm() if self.engine == "vllm" else self._to_trt_llm()
        return {**config, "handler": {**section, **said}}

    def _to_vllm(self) -> Mapping[str, object]:
        directory = self.vllm_engine_download_dir
        said: dict[str, object] = {
            "max_num_seqs": self.vllm_engine_max_num_seqs,
            "max_model_len": self.vllm_engine_max_model_len,
            "download_dir": None if directory is None else str(Path(directory).resolve()),
            "dtype": self.dtype,
            "served_model_name": self.model_id,
        }
        return {"vllm_engine_config": {key: v for key, v in said.items() if v is not None}}

    def _to_trt_llm(self) -> Mapping[str, object]:
        said = {"max_batch_size": self.trt_llm_engine_max_batch_size, "dtype": self.dtype}
        return {key: value for key, value in said.items() if value is not None}


def launch(wanted: Launch) -> int:
    """Serve until a signal. Gives the exit code."""
    if PidFile.find(os.environ).read() is not None:
        return torchserve.main(_to_words(wanted), "torchserve")  # which says that one is running
    store = Path(wanted.model_store)
    folder = store / wanted.model_name
    if folder.exists() and not _is_ours(folder):
        message = f"{folder} is there already, and is more than this command writes"
        print(f"ERROR - {message}: choose another --model_name.", file=sys.stderr)  # noqa: T201 - as archivers do
        return ExitCode.FAILED
    store.mkdir(parents=True, exist_ok=True)
    with _archive(wanted) as code:
        return code or torchserve.main(_to_words(wanted), "torchserve")


@contextmanager
def _archive(wanted: Launch) -> Iterator[int]:
    """Write the archive, and remove it at the end; gives an exit code that is not 0 on failure."""
    with tempfile.TemporaryDirectory() as beside:
        config = Path(beside) / _CONFIG
        config.write_text(yaml.safe_dump(wanted.to_config(), sort_keys=False))
        made = ModelArchiverConfig(
            model_name=wanted.model_name,
            version="1.0",
            handler=f"{wanted.engine}_handler",
            config_file=str(config),
            export_path=wanted.model_store,
            archive_format="no-archive",
            force=True,
        )
        code = end_archiver(lambda: write_model_archive(made))
    try:
        yield code
    finally:
        if not code:
            _remove(Path(wanted.model_store) / wanted.model_name)


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder holds what this command writes, and nothing else."""
    names = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    if names != {_CONFIG, str(PLACE)}:
        return False
    try:
        handler = ArchiveFiles.glance(folder).manifest.handler
    except TorchLoomError:
        return False
    return to_language_handler(handler) is not None


def _remove(folder: Path) -> None:
    """Remove the two files, and the folders that are empty then: what came meanwhile stays."""
    for file in (folder / _CONFIG, folder / PLACE):
        file.unlink(missing_ok=True)
    for each in ((folder / PLACE).parent, folder):
        if each.is_dir() and not any(each.iterdir()):
            each.rmdir()


def _to_words(wanted: Launch) -> list[str]:
    words = ["--start", "--foreground", "--no-config-snapshots"]
    words += ["--model-store", wanted.model_store, "--models", wanted.model_name]
    return [*words, *(["--disable-token-auth"] if wanted.disable_token_auth else [])]


def _to_place(model_id: str) -> str:
    """Give a folder by its absolute path: where the server works need not be where this does."""
    path = Path(model_id)
    return str(path.resolve()) if path.exists() else model_id
