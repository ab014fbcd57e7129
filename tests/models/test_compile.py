"""Modules that are compiled for each layout they meet, and eager until then."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from torchloom.code_status import CodeStatus
from torchloom.errors import ModelLoadError, TaskFailed
from torchloom_models import compile as compile_layer
from torchloom_models.artefact import ArtefactKey
from torchloom_models.compile import CompiledCallable, CompileSettings
from torchloom_models.compiler import Code, CompileFailed


pytestmark = pytest.mark.slow

KEY = ArtefactKey(model="m", dtype="float32", device="cpu", part="twice")

SMALL, LARGE = torch.ones(2), torch.ones(3)


class Twice(nn.Module):
    """Doubles its argument; raises for five of anything."""

    def forward(self, x: Tensor) -> Tensor:
        """Give 2x."""
        if x.shape == (5,):
            raise ValueError("five")
        return x * 2


class FakeCompiler:
    """A route whose code adds 100 to what eager code gives, so that it shows who answered."""

    def __init__(self, name: str, *, error: str = "") -> None:
        self.name = name
        self.error = error
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.compiled: list[tuple[Hashable, bool]] = []
        self.is_closed = False

    def layout_of(self, arguments: Sequence[Tensor]) -> Hashable:
        """Tell shapes apart."""
        return tuple(tensor.shape for tensor in arguments)

    def compile(self, arguments: Sequence[Tensor], *, is_background: bool) -> Code:
        """Wait until the test lets it go on, then answer or fail."""
        self.may_go_on.wait()
        if self.error or self.is_closed:
            raise CompileFailed(self.error or "closed")
        self.compiled.append((self.layout_of(arguments), is_background))
        for tensor in arguments:
            tensor.fill_(-1)
        return lambda tensors: tensors[0] * 2 + 100

    def close(self) -> None:
        """Let a waiting build end."""
        self.is_closed = True
        self.may_go_on.set()


Make = Callable[..., CompiledCallable]


@pytest.fixture
def ahead() -> FakeCompiler:
    """Give the first route."""
    return FakeCompiler("ahead of time")


@pytest.fixture
def late() -> FakeCompiler:
    """Give the second route."""
    return FakeCompiler("just in time")


@pytest.fixture
def make(
    ahead: FakeCompiler, late: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Make callables around `Twice` whose routes are the fakes."""
    monkeypatch.setattr(compile_layer, "AotCompiler", lambda *_, **__: ahead)
    monkeypatch.setattr(compile_layer, "JitCompiler", lambda *_, **__: late)
    monkeypatch.setattr(compile_layer, "OpenvinoCompiler", lambda *_, **__: ahead)

    def make(backend: str = "auto", device: str = "cpu") -> CompiledCallable:
        key = ArtefactKey(model="m", dtype="float32", device=device, part="twice")
        settings = CompileSettings.from_config(backend)
        return CompiledCallable(Twice(), settings=settings, key=key, folder=tmp_path)

    return make


def silent(what: str, fraction: float | None) -> None:
    """Report nothing."""


def value_of(callable_: CompiledCallable, x: Tensor) -> float:
    """Call it and give the first number: 2 where it ran eagerly, 102 where it was compiled."""
    output = callable_(x)
    assert isinstance(output, Tensor)
    return output[0].item()


def test_is_compiled_after_the_warm_up(make: Make, ahead: FakeCompiler) -> None:
    """Warming up compiles before the first call, and reports how far it is."""
    twice = make()
    reports: list[tuple[str, float | None]] = []

    twice.warm_up([(SMALL,), (LARGE,)], lambda what, fraction: reports.append((what, fraction)))

    assert value_of(twice, SMALL) == 102
    assert ahead.compiled == [(((2,),), False), (((3,),), False)]
    assert reports == [("compiling twice", 0.0), ("compiling twice", 0.5), ("compiled twice", 1.0)]
    assert repr(twice) == "<CompiledCallable twice: ahead of time, 2 compiled, 0 pending>"


def test_serves_eagerly_while_a_new_layout_compiles(make: Make, ahead: FakeCompiler) -> None:
    """A new shape is answered at once, and by compiled code as soon as there is some."""
    twice = make()
    ahead.may_go_on.clear()

    assert [value_of(twice, SMALL), value_of(twice, SMALL)] == [2, 2]
    assert twice.pending == 1
    assert not twice.wait(timeout_s=0)
    assert not twice.is_compiled

    ahead.may_go_on.set()
    assert twice.wait()
    assert value_of(twice, SMALL) == 102
    assert ahead.compiled == [(((2,),), True)]
    twice.close()


def test_says_how_its_code_stands(make: Make, ahead: FakeCompiler, late: FakeCompiler) -> None:
    """Nothing yet, compiling for which layout, compiled, and the reason where one never will be."""
    twice = make()
    assert twice.status() == CodeStatus(part="twice", state="none")

    ahead.may_go_on.clear()
    twice(SMALL)
    twice(torch.ones(3, 4))
    status = twice.status()
    assert (status.state, sorted(status.pending)) == ("compiling", ["float32 2", "float32 3x4"])

    ahead.may_go_on.set()
    twice.wait()
    assert twice.status() == CodeStatus(part="twice", state="compiled", num_compiled=2)

    ahead.error = late.error = "no luck"
    for size in (6, 7):
        twice(torch.ones(size))
    twice.wait()
    twice.close()
    assert twice.status() == CodeStatus(
        part="twice", state="compiled", num_compiled=2, failures=("no luck",)
    )


def test_says_that_it_is_eager_for_good(
    make: Make, ahead: FakeCompiler, late: FakeCompiler
) -> None:
    """Because nothing compiles, with the reason, or because it was asked to be; never OpenVINO."""
    ahead.error = late.error = "no luck"
    twice = make("auto")
    twice.warm_up([(SMALL,)], silent)
    assert twice.status() == CodeStatus(part="twice", state="eager", failures=("no luck",))

    assert make("eager").status() == CodeStatus(part="twice", state="eager")

    other = make("auto", device="openvino:CPU")
    with pytest.raises(TaskFailed):
        other(LARGE)
    assert other.status() == CodeStatus(part="twice", state="none", failures=("no luck",))


def test_compiles_on_memory_of_its_own(make: Make) -> None:
    """What compiling writes never reaches the caller's arguments."""
    twice = make()
    x = torch.ones(2)

    twice(x)
    twice.wait()
    twice.close()

    assert x.tolist() == [1, 1]


def test_takes_the_second_route_where_the_first_fails(
    make: Make, ahead: FakeCompiler, late: FakeCompiler, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be compiled ahead may be compiled just in time; the log says so."""
    ahead.error = "export refused it"
    twice = make("inductor")

    twice.warm_up([(SMALL,)], silent)

    assert value_of(twice, SMALL) == 102
    assert len(late.compiled) == 1
    assert "export refused it; trying just in time" in caplog.text


def test_serves_eagerly_and_says_so_where_nothing_compiles(
    make: Make, ahead: FakeCompiler, late: FakeCompiler, caplog: pytest.LogCaptureFixture
) -> None:
    """With `auto`, a model that does not compile serves all the same."""
    ahead.error = late.error = "no luck"
    twice = make("auto")

    twice.warm_up([(SMALL,)], silent)

    assert value_of(twice, SMALL) == 2
    assert twice.failures == ("no luck",)
    assert twice.pending == 0
    assert "twice runs eagerly: no luck" in caplog.text


def test_does_not_start_where_inductor_was_asked_for_and_fails(
    make: Make, ahead: FakeCompiler, late: FakeCompiler
) -> None:
    """With `inductor`, a model that does not compile is not served."""
    ahead.error = late.error = "no luck"

    with pytest.raises(ModelLoadError, match=r"no luck.*compile: auto"):
        make("inductor").warm_up([(SMALL,)], silent)


def test_goes_on_eagerly_where_a_later_layout_fails(
    make: Make, ahead: FakeCompiler, late: FakeCompiler, caplog: pytest.LogCaptureFixture
) -> None:
    """A shape that does not compile while the model serves is logged, and tried once."""
    ahead.error = late.error = "no luck"
    twice = make("inductor")

    for _ in range(3):
        assert value_of(twice, LARGE) == 2
        twice.wait()
    twice.close()

    assert twice.failures == ("no luck",)
    assert caplog.text.count("runs eagerly for a new layout") == 1


def test_does_not_start_where_the_model_itself_fails() -> None:
    """A model that raises on its example never serves."""
    twice = CompiledCallable(Twice(), settings=CompileSettings(backend="eager"), key=KEY)

    with pytest.raises(ModelLoadError, match=r"warm-up of 'twice' failed: five"):
        twice.warm_up([(torch.ones(5),)], silent)


def test_compiles_nothing_when_told_to_be_eager(make: Make, ahead: FakeCompiler) -> None:
    """`eager` is eager."""
    twice = make("eager")
    twice.warm_up([(SMALL,)], silent)

    assert value_of(twice, SMALL) == 2
    assert ahead.compiled == []
    assert repr(twice) == "<CompiledCallable twice: eager, 0 compiled, 0 pending>"


def test_is_eager_without_a_compiler_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a machine without C++ compiler `auto` serves, and `inductor` does not start."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    twice = CompiledCallable(Twice(), settings=CompileSettings(), key=KEY)
    strict = CompiledCallable(Twice(), settings=CompileSettings(backend="inductor"), key=KEY)

    twice.warm_up([(SMALL,)], silent)

    assert value_of(twice, SMALL) == 2
    assert "twice runs eagerly: there is no C++ compiler" in caplog.text
    with pytest.raises(ModelLoadError, match=r"no C\+\+ compiler"):
        strict.warm_up([(SMALL,)], silent)
    twice.close()
    strict.close()


def test_compiles_just_in_time_on_a_gpu(make: Make, late: FakeCompiler) -> None:
    """Code for CUDA, or any device but a CPU, is made in this process."""
    twice = make("auto", device="meta")  # a device that every machine has
    twice.warm_up([(SMALL,)], silent)

    assert len(late.compiled) == 1


def test_answers_by_openvinos_code_or_not_at_all(make: Make, ahead: FakeCompiler) -> None:
    """On an OpenVINO device a new layout compiles before its first answer, and once."""
    twice = make("auto", device="openvino:CPU")

    assert [value_of(twice, SMALL), value_of(twice, SMALL)] == [102, 102]
    assert ahead.compiled == [(((2,),), False)]
    assert twice.pending == 0


def test_fails_what_openvino_does_not_compile(make: Make, ahead: FakeCompiler) -> None:
    """No other device takes over: neither at the start nor for a later layout, tried once."""
    ahead.error = "no luck"
    twice = make("auto", device="openvino:CPU")

    with pytest.raises(ModelLoadError, match="does not run on openvino:CPU: no luck"):
        twice.warm_up([(SMALL,)], silent)
    with pytest.raises(TaskFailed, match="does not compile for openvino:CPU: no luck"):
        twice(LARGE)
    with pytest.raises(TaskFailed, match="did not compile for these sizes"):
        twice(LARGE)
    assert twice.failures == ("no luck",)


def test_ends_what_compiles_when_it_is_closed(make: Make, ahead: FakeCompiler) -> None:
    """Closing does not wait for a compiler, and is no failure."""
    twice = make()
    ahead.may_go_on.clear()
    twice(SMALL)

    twice.close()

    assert ahead.is_closed
    assert twice.failures == ()


def test_leaves_nothing_behind_where_nothing_is_to_be_kept() -> None:
    """Without a folder, artefacts live as long as the callable."""
    twice = CompiledCallable(Twice(), settings=CompileSettings(), key=KEY)
    folder = twice._temporary
    assert folder is not None
    assert folder.is_dir()

    twice.close()

    assert not folder.exists()


def test_compiles_what_is_asked_for_most_first(make: Make, ahead: FakeCompiler) -> None:
    """While one layout compiles, those that wait are ordered by how often calls asked for them."""
    twice = make()
    ahead.may_go_on.clear()
    twice(SMALL)
    while twice._line._current is None:  # the thread has taken the first
        pass
    for size, times in ((3, 1), (4, 3), (6, 2)):
        for _ in range(times):
            twice(torch.ones(size))
    assert twice.pending == 4

    ahead.may_go_on.set()
    twice.wait()
    twice.close()

    assert [layout for layout, _ in ahead.compiled] == [((2,),), ((4,),), ((6,),), ((3,),)]


def test_compiles_a_bounded_number_of_layouts(
    make: Make,
    ahead: FakeCompiler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Beyond it everything is served, eagerly, and the log says so."""
    monkeypatch.setattr(compile_layer, "MAX_LAYOUTS", 2)
    twice = make()

    for size in (2, 3, 4, 6, 2, 3, 4, 6):
        twice(torch.ones(size))
        twice.wait()

    assert [value_of(twice, torch.ones(size)) for size in (2, 3, 4, 6)] == [102, 102, 2, 2]
    assert len(ahead.compiled) == 2
    assert "whatever else is asked for runs eagerly" in caplog.text
    twice.close()


def test_warms_up_what_earlier_traffic_asked_for(make: Make, ahead: FakeCompiler) -> None:
    """Buckets follow traffic: the next start compiles them before it is ready, most asked first."""
    first = make()
    for size, times in ((3, 1), (4, 3), (6, 2)):
        for _ in range(times):
            first(torch.ones(size))
    first.close()
    ahead.is_closed = False
    ahead.compiled.clear()
    again = make()
    reports: list[str] = []

    again.warm_up([(SMALL,)], lambda what, _: reports.append(what))

    assert [layout for layout, _ in ahead.compiled] == [((2,),), ((4,),), ((6,),), ((3,),)]
    assert not any(is_background for _, is_background in ahead.compiled)
    assert value_of(again, torch.ones(4)) == 102
    assert "compiling twice for earlier traffic" in reports
    again.close()


def test_starts_with_a_note_that_misleads(
    make: Make, ahead: FakeCompiler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the note holds is a wish: one that cannot be met spoils neither start nor serving."""
    first = make("inductor")
    first(LARGE)
    first.close()
    ahead.is_closed = False
    (note,) = tmp_path.glob("demand/*.json")
    note.write_text(note.read_text().replace("float32", "float31"))
    again = make("inductor")

    again.warm_up([(SMALL,)], silent)

    assert [value_of(again, SMALL), value_of(again, LARGE)] == [102, 2]
    assert "not compiled for earlier traffic: there is no dtype 'float31'" in caplog.text
    again.close()


def test_serves_by_a_larger_bucket_while_the_nearest_compiles(
    make: Make, ahead: FakeCompiler
) -> None:
    """The first that is ready is taken; the one that was wanted compiles beside, and takes over."""
    twice = make()
    twice.warm_up([(torch.ones(4),)], silent)
    ahead.may_go_on.clear()
    wanted = [(torch.empty(size, device="meta"),) for size in (2, 3, 4, 6)]

    assert twice.first_ready(iter(wanted)) == 2
    assert twice.pending == 1
    ahead.may_go_on.set()
    twice.wait()
    assert twice.first_ready(iter(wanted)) == 0
    assert twice.first_ready(iter(wanted[3:])) == 0
    assert ahead.compiled[1:] == [(((2,),), True)]
    twice.close()


def test_never_asks_for_a_bucket_where_all_is_eager(make: Make, ahead: FakeCompiler) -> None:
    """Without a compiler the bucket that is wanted is the one to take."""
    twice = make("eager")

    assert twice.first_ready([(SMALL,), (LARGE,)]) == 0
    assert ahead.compiled == []


def test_waits_for_openvinos_code_that_compiles_already(make: Make, ahead: FakeCompiler) -> None:
    """A layout that compiles beside and is then called is not compiled twice."""
    twice = make("auto", device="openvino:CPU")
    twice(LARGE)

    assert twice.first_ready([(SMALL,), (LARGE,)]) == 1
    assert value_of(twice, SMALL) == 102
    assert [layout for layout, _ in ahead.compiled] == [((3,),), ((2,),)]
    twice.close()


def test_holds_a_bounded_number_of_openvinos_layouts(
    make: Make, ahead: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else can answer there: so the code that is asked for least makes room."""
    monkeypatch.setattr(compile_layer, "MAX_LAYOUTS", 2)
    twice = make("auto", device="openvino:CPU")

    for size in (2, 3, 2, 4, 2):
        assert value_of(twice, torch.ones(size)) == 102

    assert [layout for layout, _ in ahead.compiled] == [((2,),), ((3,),), ((4,),)]
    assert len(twice._codes) == 2
    twice.close()


def test_loses_no_answer_while_code_is_swapped_in(
    make_artefacts: Callable[[Path], Path], tmp_path: Path
) -> None:
    """A thread calls without a pause while real code is made: all is right."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval().requires_grad_(requires_grad=False)
    settings = CompileSettings(dynamic=False)
    folder = make_artefacts(tmp_path)
    compiled = CompiledCallable(net, settings=settings, key=KEY, folder=folder)
    x = torch.randn(3, 8)
    expected = net(x)
    may_end = threading.Event()
    num_answers = 0
    wrong: list[Tensor | BaseException] = []

    def hammer() -> None:
        nonlocal num_answers
        while not may_end.is_set():
            try:
                answer = cast("Tensor", compiled(x))
                if not torch.allclose(answer, expected, rtol=1e-5, atol=1e-5):
                    wrong.append(answer)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is a loss
                wrong.append(error)
            num_answers += 1
            may_end.wait(0.002)  # leave the core to the compiler

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        while not compiled.is_compiled and not compiled.failures:
            compiled.wait(timeout_s=1)
        num_eager = num_answers
        while num_answers < num_eager + 20 and thread.is_alive():
            may_end.wait(0.01)
    finally:
        may_end.set()
        thread.join()
        compiled.close()

    assert wrong == []
    assert compiled.failures == ()
    assert compiled.is_compiled
    assert num_eager > 20


def test_reads_settings_from_a_model_file() -> None:
    """A word or a mapping; buckets ascend."""
    assert CompileSettings.from_config("eager") == CompileSettings(backend="eager")
    assert CompileSettings.from_config(
        {"backend": "inductor", "dynamic": False, "buckets": [8, 2]}
    ) == CompileSettings(backend="inductor", dynamic=False, buckets=(2, 8))
    assert CompileSettings.of_model({"compile": "openvino", "weights": "int8"}) == CompileSettings(
        backend="openvino", weights="int8"
    )


def test_compiles_size_by_size_for_an_npu() -> None:
    """Its compiler takes no open sizes; every other device's does."""
    settings = CompileSettings()

    assert settings.on("openvino:CPU") == settings.on("cpu") == settings
    assert not settings.on("openvino:NPU").dynamic
