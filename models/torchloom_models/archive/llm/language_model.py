"""LanguageModel: an archive made for vLLM or TensorRT-LLM, as a model of kind `llm`.

TorchServe's handlers for them are not here, and neither engine: TorchLoom's own serves the model.
Reads what the archive says; knows no server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final, Self

from torchloom.errors import InvalidModel
from torchloom_models.archive.files import ArchiveFiles
from torchloom_models.archive.llm.model_place import ModelPlace
from torchloom_models.archive.llm.translation import Translation
from torchloom_models.archive.llm.trt_llm_setting import translate_trt_llm
from torchloom_models.archive.llm.vllm_setting import translate_vllm
from torchloom_models.archive.unpacking import read_entries


#: The built-in handlers whose archives are language models.
VLLM: Final = "vllm_handler"
TRT_LLM: Final = "trt_llm_handler"

_HANDLERS: Final = frozenset({VLLM, TRT_LLM})

#: Keys of the section `handler` that are read; `profile` counts for nothing, and hurts nobody.
_KNOWN: Final = frozenset({"model_path", "vllm_engine_config", "adapters", "chat_template"})

_REVISION: Final = re.compile(r"[A-Za-z0-9][\w-]{0,99}([./][\w-]{1,99}){0,4}")

#: What no name of an adapter may have here; vLLM's may be anything.
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+|^[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """What an archive says of the model that it is.

    `model` is where the weights are, in the archive's words, said under `model_key`. Requests may
    call it by any of `names`, the first of which is shown. `adapters` has the archive's words for
    each source by the name that a model file may give it, `adapter_names` that name for each of the
    archive's own. `fields` are keys of a model file, and `notes` tell what counts for nothing.
    `writes_plainly`: asked on no path of OpenAI's it gives text, as TensorRT-LLM's handler does.
    """

    whose: str
    model: str
    model_key: str
    names: tuple[str, ...]
    revision: str
    download_dir: str | None
    adapters: Mapping[str, str]
    adapter_names: Mapping[str, str]
    chat_template: str | None
    fields: Mapping[str, object]
    notes: tuple[str, ...]
    writes_plainly: bool

    @classmethod
    def read(cls, handler: str, config: Mapping[str, object], *, whose: str) -> Self:
        """Read `model-config.yaml`. Raises InvalidModel, which names the key."""
        reading = Translation(section="handler", whose=whose)
        section = reading.mapping("", config.get("handler"))
        adapters = reading.mapping("adapters", section.get("adapters"))
        names = _name_adapters(reading, adapters)
        said = reading.mapping("vllm_engine_config", section.get("vllm_engine_config"))
        is_vllm = handler == VLLM
        if is_vllm:
            made = translate_vllm(said, num_adapters=len(adapters), whose=whose)
            _note_unknown(reading, section)
        else:
            made = translate_trt_llm(section, whose=whose)
        model, key = _find_model(reading, section, said)
        template = section.get("chat_template")
        directory = said.get("download_dir")
        if directory is not None:
            reading.pass_over(
                "vllm_engine_config.download_dir",
                directory,
                "but for what is there already: the hub's files go where HF_HUB_CACHE says",
            )
        return cls(
            whose=whose,
            model=model,
            model_key=key,
            names=_read_names(reading, said) or (model,),
            revision=_read_revision(reading, said.get("revision") or "main"),
            download_dir=None if directory is None else reading.text("download_dir", directory),
            adapters={names[name]: reading.text(name, path) for name, path in adapters.items()},
            adapter_names=names,
            chat_template=None if template is None else reading.text("chat_template", template),
            fields=made.fields,
            notes=(*made.notes, *reading.notes),
            writes_plainly=not is_vllm,
        )

    def to_fields(self, folder: Path) -> dict[str, object]:
        """Give the keys of a model file, sources included, with the archive's files in `folder`.

        Raises InvalidModel for files that are not there.
        """
        place = ModelPlace(
            folder=folder,
            whose=self.whose,
            revision=self.revision,
            download_dir=None if self.download_dir is None else Path(self.download_dir),
        )
        fields = {**self.fields, "source": place.find(self.model, self.model_key)}
        self._check_weights(str(fields["source"]))
        if self.adapters:
            fields["adapters"] = {
                name: place.find(words, f"handler.adapters.{name}")
                for name, words in self.adapters.items()
            }
        speculation = fields.get("speculation")
        if isinstance(speculation, dict) and "draft" in speculation:
            draft = place.find(str(speculation["draft"]), "vllm_engine_config.speculative_model")
            fields["speculation"] = {**speculation, "draft": draft}
        if self.chat_template is not None:
            fields["chat_template"] = self._read_template(folder, self.chat_template)
        return fields

    def _check_weights(self, source: str) -> None:
        """Refuse a folder that no engine could be opened on, while whoever asks can be told."""
        folder = Path(source)
        if "://" in source or (folder.is_dir() and any(folder.glob("*.safetensors"))):
            return
        message = (
            f"`{self.model_key}: {self.model}` of {self.whose} leads to {source!r}, which holds no "
            "weights as safetensors. Pickled weights and compiled engines are not served: save the "
            "model by `save_pretrained`, or name another by `handler.model_path`."
        )
        raise InvalidModel(message)

    def _read_template(self, folder: Path, words: str) -> str:
        """Give a chat template: a file's text, or what is written where a file would be named."""
        if any(each in words for each in "{}\n"):
            return words
        file = folder / words
        try:
            is_file = file.is_file()
        except OSError:
            is_file = False  # no path has such a name
        if not is_file:
            message = (
                f"`handler.chat_template: {words}` of {self.whose} is neither a file, in the "
                "archive or by its absolute path, nor a template of Jinja's."
            )
            raise InvalidModel(message)
        return file.read_text(encoding="utf-8")


def find_language_model(
    files: ArchiveFiles, source: Path, handler: str | None = None
) -> LanguageModel | None:
    """Tell what an archive says of the language model that it is; None where it is none.

    It is one where its handler is built in; a file of that name in the archive goes first.
    `handler`: in place of the manifest's. Raises InvalidModel and ModelLoadError.
    """
    name = to_language_handler(handler or files.manifest.handler)
    if name is None or _has_module(source, name):
        return None
    language = LanguageModel.read(name, files.config, whose=repr(str(source)))
    manifest = files.manifest
    unused = (manifest.requirements_file, manifest.model_file, manifest.serialized_file)
    notes = [
        f"`{each}` counts for nothing: no code of the archive is run." for each in unused if each
    ]
    return replace(language, notes=(*language.notes, *notes))


def to_language_handler(handler: str) -> str | None:
    """Give the built-in name that a handler's is, if it is that of a language model."""
    file, _, function = handler.partition(":")
    name = PurePosixPath(file).name.removesuffix(".py")
    return name if name in _HANDLERS and not function else None


def _has_module(source: Path, name: str) -> bool:
    files = (f"{name}.py", f"{name}/__init__.py")
    if source.is_dir():
        return any((source / each).is_file() for each in files)
    return bool(read_entries(source, lambda each: each in files))


def _find_model(
    reading: Translation, section: Mapping[str, object], said: Mapping[str, object]
) -> tuple[str, str]:
    """Give the words for where the model is, and the key that has them."""
    for key, value in (
        ("vllm_engine_config.model", said.get("model")),
        ("model_path", section.get("model_path")),
        ("tokenizer_dir", section.get("tokenizer_dir")),
    ):
        if value:
            return reading.text(key, value), f"handler.{key}"
    message = (
        f"{reading.whose} does not say which model it is: write `handler: {{model_path: …}}` into "
        "its model-config.yaml, with a folder in the archive, an absolute path or an id of the hub."
    )
    raise InvalidModel(message)


def _read_revision(reading: Translation, value: object) -> str:
    key = "vllm_engine_config.revision"
    if _REVISION.fullmatch(reading.text(key, value)) is None:
        raise reading.wrong(key, value, "It must be a commit, a tag or a branch.")
    return str(value)


def _read_names(reading: Translation, said: Mapping[str, object]) -> tuple[str, ...]:
    names = said.get("served_model_name")
    listed: Sequence[object] = names if isinstance(names, list) else [names] if names else []
    return tuple(reading.text("vllm_engine_config.served_model_name", each) for each in listed)


def _name_adapters(reading: Translation, adapters: Mapping[str, object]) -> dict[str, str]:
    """Give each adapter a name that a model file may have."""
    names = {name: _NO_NAME.sub("-", name).strip("-") for name in adapters}
    if len(set(names.values())) < len(names) or "" in names.values():
        how = "Two of its names are one here: use letters, digits, '_', '.' and '-'."
        raise reading.wrong("adapters", list(adapters), how)
    return names


def _note_unknown(reading: Translation, section: Mapping[str, object]) -> None:
    for key, value in section.items():
        if key not in _KNOWN and key != "profile" and value is not None:
            reading.pass_over(key, value, "vLLM's handler reads no such key")
