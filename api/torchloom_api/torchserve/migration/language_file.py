"""Language files: archives made for vLLM or TensorRT-LLM, as model files of kind `llm`.

An archive that holds files of the model is unpacked beside its model file. Writes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torchloom_api.torchserve.config import Config
from torchloom_api.torchserve.migration.model_file import ArchiveFacts
from torchloom_api.torchserve.migration.note import Note
from torchloom_models.archive.files import ArchiveFiles
from torchloom_models.archive.llm.language_model import (
    LanguageModel,
    find_language_model,
    to_language_handler,
)
from torchloom_models.archive.unpacking import outline, read_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageKeys:
    """Keys of a model file, and whether they lead to files of the archive, unpacked."""

    keys: Mapping[str, object]
    is_unpacked: bool


def find_language(facts: ArchiveFacts, config: Config) -> LanguageModel | None:
    """Tell what an archive says of the language model that it is; None where it is none.

    Raises InvalidModel and ModelLoadError.
    """
    handler = facts.handler or config.default_service_handler or ""
    if to_language_handler(handler) is None:
        return None
    files = ArchiveFiles.glance(facts.path, handler=handler)
    return find_language_model(files, facts.path)


def to_language_keys(language: LanguageModel, path: Path, *, folder: PurePosixPath) -> LanguageKeys:
    """Write what only models of kind `llm` have. `folder` is where the archive would be unpacked.

    Raises InvalidModel for files that are not there.
    """
    if path.is_dir():
        return LanguageKeys(keys=language.to_fields(path.resolve()), is_unpacked=False)
    with tempfile.TemporaryDirectory() as name:
        laid_out = Path(name).resolve()
        outline(path, laid_out)
        for text, content in read_entries(
            path, lambda each: each == language.chat_template
        ).items():
            (laid_out / text).write_bytes(content)
        fields = language.to_fields(laid_out)
    keys = {key: _lead(value, f"{laid_out}/", f"{folder.name}/") for key, value in fields.items()}
    return LanguageKeys(keys=keys, is_unpacked=keys != fields)


def note_language(language: LanguageModel, *, name: str, subject: str) -> list[Note]:
    """Note how it is asked now, and what of it counts for nothing."""
    names = ", ".join(repr(each) for each in language.names)
    asked = (
        f"is a model of kind `llm`: ask `/v1/chat/completions` and `/v1/completions` for {name!r}, "
        f"which was called {names} below /predictions/{name}."
    )
    messages = [
        asked,
        *(
            f"its adapter {own!r} is asked for by `model: {name}:{here}`."
            for own, here in language.adapter_names.items()
        ),
        *language.notes,
    ]
    return [Note(subject=subject, message=each) for each in messages]


def _lead(value: object, before: str, after: str) -> object:
    """Have words that lead into one folder lead into another."""
    if isinstance(value, str) and value.startswith(before):
        return after + value.removeprefix(before)
    if isinstance(value, dict):
        return {key: _lead(each, before, after) for key, each in value.items()}
    return value
