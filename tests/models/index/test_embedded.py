"""What is special to an index on disk: its folder, damage, killed builds, other processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from torchloom.errors import InvalidInput, ModelLoadError
from torchloom_models.index import embedded
from torchloom_models.index.condition import parse_filter
from torchloom_models.index.embedded import EmbeddedStore
from torchloom_models.index.generation import file_sizes
from torchloom_models.index.passage import Batch, Facts, Passage
from torchloom_models.index.store import IndexBusy, Location, Query


FACTS = Facts(dimension=4, embedder="minilm")


def store_at(path: Path) -> EmbeddedStore:
    """Open an index of the name handbook."""
    return EmbeddedStore(path, Location(source=str(path), name="handbook"))


def batch(*ids: str) -> Batch:
    """Give one passage an id, all with the same vector."""
    passages = [Passage(id=name, text=f"Text of {name}.") for name in ids]
    return Batch(passages, np.ones((len(ids), 4), np.float32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the folder of an index of 300 passages, closed."""
    path = tmp_path / "handbook.index"
    store = store_at(path)
    store.replace([batch(*(f"p{number}" for number in range(300)))], FACTS)
    store.close()
    return path


def generations(path: Path) -> list[Path]:
    """Give the folders of generations."""
    return sorted(path.glob("generation-*"))


def test_keeps_one_generation_only(path: Path) -> None:
    """A rebuilt index leaves nothing of the old one on disk."""
    before = generations(path)
    store_at(path).replace([batch("new")], FACTS)
    assert len(before) == len(generations(path)) == 1
    assert before != generations(path)


def test_sweeps_away_what_a_killed_build_left(path: Path) -> None:
    """The next build removes half-written generations and drafts do no harm."""
    (path / "generation-dead").mkdir()
    (path / "generation-dead" / "half").write_bytes(b"x" * 100)
    (path / "index.json.draft").write_text("{")
    assert store_at(path).count() == 300
    store_at(path).replace([batch("new")], FACTS)
    assert not (path / "generation-dead").exists()
    assert store_at(path).count() == 1


def test_says_how_to_mend_each_kind_of_damage(path: Path, tmp_path: Path) -> None:
    """Whatever file is missing or cut in half, opening says so; it neither crashes nor answers."""
    files = [file for file in path.rglob("*") if file.is_file() and file.name != ".lock"]
    assert len(files) > 10
    harms: list[Callable[[Path], None]] = [Path.unlink, _halve]
    for file in files:
        for number, harm in enumerate(harms):
            copy = tmp_path / f"copy-{number}-{file.name}-{abs(hash(file))}"
            shutil.copytree(path, copy)
            target = copy / file.relative_to(path)
            if target.stat().st_size > 1:
                harm(target)
                with pytest.raises(
                    ModelLoadError, match=r"torchloom index build FILE --index handbook"
                ):
                    store_at(copy).search([Query(np.ones(4, np.float32), 3)])


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"format": 2}'])
def test_refuses_a_manifest_that_makes_no_sense(path: Path, text: str) -> None:
    """Garbage in index.json is damage."""
    (path / "index.json").write_text(text)
    with pytest.raises(ModelLoadError, match=r"index.json cannot be read"):
        store_at(path).facts()


def test_refuses_a_format_of_the_future(path: Path) -> None:
    """An index of a later version is not read wrongly."""
    manifest = path / "index.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ModelLoadError, match="its format is 2; this version reads 1"):
        store_at(path).facts()


def test_notices_garbage_that_makes_the_library_fail(path: Path) -> None:
    """Bytes of the right number and the wrong kind become a ModelLoadError as well."""
    (segment,) = path.rglob("segment.json")
    segment.write_bytes(b"\xff" * segment.stat().st_size)
    with pytest.raises(ModelLoadError, match="it is damaged"):
        store_at(path).facts()


@pytest.mark.parametrize("name", ["status.dat", "mutable_id_tracker.mappings"])
def test_notices_damage_that_sizes_do_not_show(path: Path, name: str) -> None:
    """Where the library panics, or finds fewer passages than were written, it is damage too."""
    for file in path.rglob(name):
        _halve(file)
    manifest = json.loads((path / "index.json").read_text())
    manifest["files"] = file_sizes(generations(path)[0])
    (path / "index.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelLoadError, match=r"handbook.*it is damaged"):
        store_at(path).facts()


def test_builds_over_a_damaged_index(path: Path) -> None:
    """The remedy in the message works."""
    shutil.rmtree(generations(path)[0])
    with pytest.raises(ModelLoadError):
        store_at(path).facts()
    store = store_at(path)
    assert store.replace([batch("new")], FACTS) == 1
    assert store.ids() == {"new"}
    (path / "index.json").write_text("garbage")
    assert store.replace([batch("newer")], FACTS) == 1
    assert store.ids() == {"newer"}


def test_builds_over_no_foreign_folder(tmp_path: Path) -> None:
    """A folder of documents, named as the source by mistake, stays as it is."""
    (tmp_path / "leave.md").write_text("# Leave")
    with pytest.raises(InvalidInput, match=r"holds other files \(leave.md\)"):
        store_at(tmp_path).replace([batch("a")], FACTS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["leave.md"]


def test_builds_over_no_file(tmp_path: Path) -> None:
    """A file as the source is refused, for reading and for writing."""
    file = tmp_path / "handbook.index"
    file.write_text("x")
    with pytest.raises(InvalidInput, match="is a file"):
        store_at(file).replace([batch("a")], FACTS)
    with pytest.raises(ModelLoadError, match="there is no index"):
        store_at(file).facts()


def test_says_when_it_cannot_write(tmp_path: Path) -> None:
    """A place below a file can never be a folder."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match="cannot be written"):
        store_at(tmp_path / "file" / "index").replace([batch("a")], FACTS)


_PROGRAM = """
    import sys
    import numpy as np
    from pathlib import Path
    from torchloom_models.index.embedded import EmbeddedStore
    from torchloom_models.index.passage import Batch, Facts, Passage
    from torchloom_models.index.store import Location, Query

    path = Path(sys.argv[1])
    store = EmbeddedStore(path, Location(source=str(path)))
"""

_STUCK = """
    def batches():
        yield Batch([Passage(id="half", text="")], np.ones((1, 4), np.float32))
        print("writing", flush=True)
        sys.stdin.read()

    store.replace(batches(), Facts(dimension=4))
"""

_READ = """
    for _ in range(20):
        again = EmbeddedStore(path, Location(source=str(path)))
        assert len(again.search([Query(np.ones(4, np.float32), 5)])[0]) == 5
        again.close()
    print(len(store.ids()))
"""


def start(program: str, path: Path, **options: object) -> subprocess.Popen[str]:
    """Start a Python program on an index."""
    code = textwrap.dedent(_PROGRAM) + textwrap.dedent(program)
    command = [sys.executable, "-c", code, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, **options)  # type: ignore[call-overload, no-any-return]  # a dict of keywords


@pytest.mark.slow
def test_finds_nearly_all_with_a_graph(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large index gets a graph; searches and filters go on finding what they should."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((200, 128))
    vectors = centres[random.integers(0, 200, 20_000)] + random.standard_normal((20_000, 128)) / 2
    passages = [
        Passage(id=f"{n:05}", text="", metadata={"part": n % 50}) for n in range(len(vectors))
    ]
    facts = Facts(dimension=128)
    asked = vectors[:20].astype(np.float32)
    queries = [Query(vector, 10) for vector in asked]
    queries += [Query(vector, 10, parse_filter({"part": 7})) for vector in asked]
    store = store_at(path)
    store.replace([Batch(passages, vectors)], facts)
    exact = store.search(queries)
    monkeypatch.setattr(embedded, "APPROXIMATE_FROM", 1000)
    store.replace([Batch(passages, vectors)], facts)
    graph = store_at(path).search(queries)
    assert [len(matches) for matches in graph] == [10] * 40
    pairs = zip(exact, graph, strict=True)
    shared = [len({m.id for m in one} & {m.id for m in two}) / 10 for one, two in pairs]
    assert sum(shared) / len(shared) > 0.95
    assert any(path.rglob("*links*"))


@pytest.mark.slow
def test_survives_the_kill_of_a_build(path: Path) -> None:
    """Killed in the middle, a build leaves the old index, and its lock is free at once."""
    with start(_STUCK, path) as build:
        assert build.stdout is not None
        assert build.stdout.readline() == "writing\n"
        with pytest.raises(IndexBusy, match="another build of it is going on"):
            store_at(path).replace([batch("a")], FACTS)
        assert store_at(path).count() == 300
        build.send_signal(signal.SIGKILL)
    assert len(generations(path)) == 2
    assert store_at(path).count() == 300
    assert store_at(path).replace([batch("a", "b")], FACTS) == 2
    assert len(generations(path)) == 1


@pytest.mark.slow
def test_serves_several_processes(path: Path) -> None:
    """Any number of processes have the same index open."""
    readers = [start(_READ, path) for _ in range(3)]
    assert [reader.communicate()[0] for reader in readers] == ["300\n"] * 3
    assert [reader.returncode for reader in readers] == [0] * 3


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to write everywhere, for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_opens_an_index_that_it_may_only_read(
    path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only folder is served, and stays as it was; its copy goes when it is closed."""
    temporary = tmp_path_factory.mktemp("temporary")
    temporary.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for folder in path.parents[:-2]:
        folder.chmod(0o755)
    for file in (path, *path.rglob("*")):
        file.chmod(0o555 if file.is_dir() else 0o444)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    with as_nobody():
        store = store_at(path)
        assert len(store.search([Query(np.ones(4, np.float32), 5)])[0]) == 5
        copies = list(temporary.glob("torchloom-index-*"))
        assert copies
        store.close()
        assert not any(copy.exists() for copy in copies)
        with pytest.raises(InvalidInput, match="cannot be written"):
            store.replace([batch("a")], FACTS)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
