"""What an archive says of the language model that it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from model_fakes.archives import files_of, write_mar, write_tar

from torchloom.errors import InvalidModel
from torchloom_models.archive.files import ArchiveFiles
from torchloom_models.archive.llm.language_model import (
    LanguageModel,
    find_language_model,
    to_language_handler,
)


#: Writes an archive with files and keys of the manifest; gives what it says of a language model.
Find = Callable[..., LanguageModel | None]

CONFIG = "handler: {model_path: model}\n"


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Make an archive, and look into it."""

    def finding(
        files: dict[str, str] | None = None, *, handler: str = "vllm_handler", **model: object
    ) -> LanguageModel | None:
        config = {"model-config.yaml": CONFIG, **(files or {})}
        path = write_mar(tmp_path / "m.mar", files_of("m", handler, config, **model))
        return find_language_model(ArchiveFiles.glance(path), path)

    return finding


def read(section: object, handler: str = "vllm_handler") -> LanguageModel:
    """Read a section `handler`."""
    return LanguageModel.read(handler, {"handler": section}, whose="'m.mar'")


def save(folder: Path) -> Path:
    """Write what looks like a model."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("")
    return folder


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        ("vllm_handler", "vllm_handler"),
        ("trt_llm_handler", "trt_llm_handler"),
        ("vllm_handler.py", "vllm_handler"),
        ("any/folder/vllm_handler", "vllm_handler"),
        ("vllm_handler:handle", None),
        ("my_vllm_handler", None),
        ("base_handler", None),
        ("", None),
    ],
)
def test_knows_the_built_in_handlers(handler: str, name: str | None) -> None:
    """By their names, as handlers are found: folders count for nothing, a function for much."""
    assert to_language_handler(handler) == name


@pytest.mark.parametrize("name", ["vllm_handler.py", "vllm_handler/__init__.py"])
def test_lets_an_archives_own_file_go_first(find: Find, name: str) -> None:
    """It is a handler like any other then."""
    assert find() is not None
    assert find({name: ""}) is None


def test_lets_an_own_file_go_first_in_every_format(tmp_path: Path) -> None:
    """In a tar and in a folder, too."""
    files = files_of("m", "vllm_handler", {"vllm_handler.py": ""})
    packed = write_tar(tmp_path / "m.tar.gz", files)
    (tmp_path / "m" / "MAR-INF").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "m" / name).write_text(str(text))

    for path in (packed, tmp_path / "m"):
        assert find_language_model(ArchiveFiles.glance(path), path) is None


def test_takes_a_handler_in_place_of_the_manifests(find: Find, tmp_path: Path) -> None:
    """As a registration may name one."""
    assert find(handler="base_handler") is None
    path = tmp_path / "m.mar"

    assert find_language_model(ArchiveFiles.glance(path), path, "vllm_handler") is not None


def test_says_what_of_an_archive_is_not_used(find: Find) -> None:
    """No code of it is run, and nothing is installed for it."""
    language = find({"requirements.txt": "vllm"}, requirementsFile="requirements.txt")

    assert language is not None
    assert language.notes == (
        "`requirements.txt` counts for nothing: no code of the archive is run.",
    )


def test_finds_all_files_in_the_archive(tmp_path: Path) -> None:
    """Weights, adapters, a draft model and a chat template, by paths within it."""
    for name in ("model", "adapters/sql", "draft"):
        save(tmp_path / name)
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    language = read(
        {
            "model_path": "model/",
            "adapters": {"sql": "adapters/sql"},
            "chat_template": "chat.jinja",
            "vllm_engine_config": {"speculative_model": "draft", "num_speculative_tokens": 3},
        }
    )

    assert language.to_fields(tmp_path) == {
        "source": str(tmp_path / "model"),
        "adapters": {"sql": str(tmp_path / "adapters" / "sql")},
        "chat_template": "{{ messages }}",
        "speculation": {"draft": str(tmp_path / "draft"), "tokens": 3},
    }


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ({"model_path": "org/name"}, ("org/name",)),
        ({"model_path": "a", "vllm_engine_config": {"model": "org/name"}}, ("org/name",)),
        ({"model_path": "a", "vllm_engine_config": {"served_model_name": "b"}}, ("b",)),
        ({"model_path": "a", "vllm_engine_config": {"served_model_name": ["b", "c"]}}, ("b", "c")),
    ],
)
def test_tells_its_names(section: dict[str, object], names: tuple[str, ...]) -> None:
    """Those that are served, or else the words for where it is."""
    assert read(section).names == names


def test_names_adapters_as_a_model_file_may(tmp_path: Path) -> None:
    """Those of vLLM may be any text; requests go on saying that."""
    save(tmp_path / "a")
    language = read({"model_path": str(tmp_path / "a"), "adapters": {"org/sql v2": "a", "b": "a"}})

    assert language.adapter_names == {"org/sql v2": "org-sql-v2", "b": "b"}
    assert set(language.to_fields(tmp_path)["adapters"]) == {"org-sql-v2", "b"}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (None, "does not say which model it is"),
        ({}, "does not say which model it is"),
        ("llama", "`handler: 'llama'` of 'm.mar' cannot be"),
        ({"model_path": ["a"]}, "handler.model_path"),
        ({"model_path": "a", "adapters": ["b"]}, "handler.adapters"),
        ({"model_path": "a", "adapters": {"b": 1}}, "handler.b: 1"),
        ({"model_path": "a", "adapters": {"b/c": "x", "b:c": "x"}}, "Two of its names are one"),
        ({"model_path": "a", "adapters": {"東": "x"}}, "handler.adapters"),
        ({"model_path": "a", "vllm_engine_config": "fast"}, "handler.vllm_engine_config"),
        ({"model_path": "a", "vllm_engine_config": {"served_model_name": [1]}}, "served_model"),
        ({"model_path": "a", "vllm_engine_config": {"revision": 1}}, "revision"),
        ({"model_path": "a", "vllm_engine_config": {"revision": "../../x"}}, "revision"),
        ({"model_path": "a", "vllm_engine_config": {"download_dir": 1}}, "download_dir"),
        ({"model_path": "a", "chat_template": 1}, "handler.chat_template"),
    ],
)
def test_names_what_cannot_be(section: object, says: str) -> None:
    """The key, what it says, and the archive."""
    with pytest.raises(InvalidModel) as raised:
        read(section)

    assert says in raised.value.message
    assert "'m.mar'" in raised.value.message


def test_reads_a_template_that_is_written_out(tmp_path: Path) -> None:
    """In place of a file's name."""
    language = read({"model_path": str(save(tmp_path / "a")), "chat_template": "{{ messages }}"})

    assert language.to_fields(tmp_path)["chat_template"] == "{{ messages }}"


@pytest.mark.parametrize("words", ["no.jinja", "x" * 5000, "a\0b"])
def test_refuses_a_template_that_is_none(tmp_path: Path, words: str) -> None:
    """It is no file, and no Jinja."""
    language = read({"model_path": str(save(tmp_path / "a")), "chat_template": words})

    with pytest.raises(InvalidModel, match="neither a file"):
        language.to_fields(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "rank0.engine"])
def test_refuses_weights_that_are_not_served(tmp_path: Path, name: str) -> None:
    """Pickles and compiled engines, while whoever registers can be told."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).write_text("")
    language = read({"tokenizer_dir": "a", "engine_dir": "a"}, "trt_llm_handler")

    with pytest.raises(
        InvalidModel, match=r"`handler.tokenizer_dir: a`.*no weights as safetensors"
    ):
        language.to_fields(tmp_path)


def test_writes_plainly_where_the_handler_does() -> None:
    """TensorRT-LLM's handler answers without a path; vLLM's has no such answer."""
    assert read({"tokenizer_dir": "a"}, "trt_llm_handler").writes_plainly
    assert not read({"model_path": "a"}).writes_plainly


def test_notes_what_counts_for_nothing() -> None:
    """Keys of the section that nothing reads; `profile` is everybody's."""
    section = {"model_path": "a", "profile": True, "max_length": 50}
    directory = {"vllm_engine_config": {"download_dir": "/cache"}}

    assert read(section).notes == (
        "`handler.max_length: 50` counts for nothing: vLLM's handler reads no such key.",
    )
    (note,) = read({"model_path": "a", **directory}).notes
    assert "HF_HUB_CACHE" in note
