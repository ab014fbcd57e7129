"""Opening: what a model file says reaches the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pipeline import draw, open_on_openvino, open_tiny, pixels_of

from torchloom.device import Device
from torchloom.document import Document
from torchloom.engine import Work
from torchloom.errors import DeviceUnavailable, InvalidInput, InvalidModel, ModelLoadError
from torchloom_models.diffusion.opening import open_engine
from torchloom_models.spec import parse_model


def test_bounds_pixels_and_steps_as_the_model_file_says(stable_diffusion: Path) -> None:
    """`max_pixels` and `max_steps` take the place of four times the own area, and 150."""
    plain = open_tiny(stable_diffusion)
    bounded = open_tiny(stable_diffusion, max_pixels=256, max_steps=3)
    wide = Work(1, {"prompt": "red", "width": 32, "height": 32})
    long = Work(2, {"prompt": "red", "num_steps": 4})

    for work in (wide, long):
        plain.admit(work)
        with pytest.raises(InvalidInput):
            bounded.admit(work)
    with pytest.raises(InvalidInput, match="1024 at most"):
        plain.admit(Work(3, {"prompt": "red", "width": 34, "height": 32}))


def test_keeps_its_own_defaults_within_the_limits(stable_diffusion: Path) -> None:
    """Fewer steps than the model's own are its default; a smaller area still starts."""
    engine = open_tiny(stable_diffusion, max_pixels=100, max_steps=3)

    result = draw(engine, width=8, height=8)

    assert result.counts == {"steps": 3}
    with pytest.raises(InvalidInput, match="draws 100 at most"):
        engine.admit(Work(1, {"prompt": "red"}))


def test_refuses_a_model_that_can_draw_nothing(stable_diffusion: Path) -> None:
    """A limit below the smallest picture, or a bucket that none has, is told at the start."""
    with pytest.raises(ModelLoadError, match="`max_pixels`"):
        open_tiny(stable_diffusion, max_pixels=3)
    with pytest.raises(ModelLoadError, match="multiples of 2"):
        open_tiny(stable_diffusion, compile={"backend": "eager", "buckets": [15]})


def test_warms_up_for_the_sides_that_the_model_file_lists(stable_diffusion: Path) -> None:
    """`compile.buckets` are sides of squares to be ready for."""
    engine = open_tiny(stable_diffusion, compile={"backend": "eager", "buckets": [16, 24]})

    sizes = {size[0][1:] for size in engine._runner._denoiser._sizes}
    assert sizes == {(8, 8), (12, 12)}


@pytest.mark.parametrize(("value", "backend"), [("auto", "eager"), ("inductor", "inductor")])
def test_compiles_on_a_cpu_only_when_told(stable_diffusion: Path, value: str, backend: str) -> None:
    """`auto` is eager on a CPU; a name is kept."""
    engine = open_tiny(stable_diffusion, compile=value, warmup=False)

    assert engine._runner._denoiser.compiled._settings.backend == backend
    states = {status.part: status.state for status in engine.code_status()}
    assert set(states.values()) == {"eager" if backend == "eager" else "none"}
    assert {"denoise", "decode"} < set(states)
    engine.close()


@pytest.mark.slow
def test_draws_in_bfloat16(stable_diffusion: Path) -> None:
    """A smaller dtype draws nearly the same picture."""
    full = draw(open_tiny(stable_diffusion), seed=1, num_steps=3)
    half = draw(open_tiny(stable_diffusion, dtype="bfloat16"), seed=1, num_steps=3)

    correlation = np.corrcoef(pixels_of(full).ravel(), pixels_of(half).ravel())[0, 1]
    assert correlation > 0.95


@pytest.mark.slow
def test_draws_in_bfloat16_by_openvino(stable_diffusion: Path) -> None:
    """OpenVINO calculates in the smaller dtype, and draws nearly the same picture too."""
    pytest.importorskip("openvino")
    full = draw(open_tiny(stable_diffusion, dtype="float32"), seed=1, num_steps=3)
    engine = open_on_openvino(stable_diffusion, dtype="bfloat16")
    half = draw(engine, seed=1, num_steps=3)
    engine.close()

    correlation = np.corrcoef(pixels_of(full).ravel(), pixels_of(half).ravel())[0, 1]
    assert 0.95 < correlation < 1


@pytest.mark.slow
def test_tells_what_compressed_weights_lose(stable_diffusion: Path) -> None:
    """One picture is drawn with either; fewer bits lose more. Without a warm-up it says so."""
    pytest.importorskip("nncf")
    shades = []
    for weights in ("int8", "int4"):
        engine = open_on_openvino(stable_diffusion, weights=weights)
        (note,) = engine.notes
        engine.close()
        assert note.startswith(f"{weights} weights: a picture differs from that of full weights by")
        shades.append(float(note.split(" by ")[1].split()[0]))
    cold = open_on_openvino(stable_diffusion, weights="int4", warmup=False)
    cold.close()

    assert 0 < shades[0] < shades[1] < 64
    assert cold.notes == ("int4 weights: loss not measured, since there is no warm-up",)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("scheduler", [None, "euler_a", "unipc", "dpm++"])
def test_draws_on_a_gpu(stable_diffusion: Path, scheduler: str | None) -> None:
    """Noise comes from the CPU on every device, so that a GPU draws nearly the same picture."""
    config = {"source": str(stable_diffusion), "compile": "eager", "dtype": "float32"}
    engine = open_engine(config, Device("cuda", "0"), lambda *_: None)
    inputs = {"seed": 1, "num_steps": 3, "scheduler": scheduler}

    there, here = draw(engine, **inputs), draw(open_tiny(stable_diffusion), **inputs)

    assert np.abs(pixels_of(there) - pixels_of(here)).mean() < 2


def test_refuses_a_device_that_is_not_there(stable_diffusion: Path) -> None:
    """A device is looked for before anything is loaded."""
    if torch.cuda.device_count() > 9:
        pytest.skip("this machine has ten GPUs")
    with pytest.raises(DeviceUnavailable):
        open_engine({"source": str(stable_diffusion)}, Device("cuda", "9"), lambda *_: None)


def test_reads_a_model_file() -> None:
    """The kind's own keys reach the engine's config; its limits are checked with the rest."""
    data = {
        "name": "sd",
        "kind": "diffusion",
        "source": "sd",
        "max_pictures": 4,
        "max_pixels": 65536,
        "max_steps": 40,
        "params": {"num_steps": 20, "scheduler": "dpm++"},
    }
    deployment = parse_model(Document(data=data), base=Path("/srv"))
    assert deployment.config["max_pictures"] == 4
    assert deployment.config["max_steps"] == 40
    assert deployment.params == {"num_steps": 20, "scheduler": "dpm++"}

    data["params"] = {"steps": 20}
    data["max_pixels"] = 0
    with pytest.raises(InvalidModel) as caught:
        parse_model(Document(data=data), base=Path("/srv"))
    assert [fault.message for fault in caught.value.faults] == [
        "'max_pixels' must be 1 or more, not 0.",
        "Unknown key 'steps'. Did you mean 'num_steps'?",
    ]


def test_measures_which_device_draws_faster(stable_diffusion: Path, openvino_code: Path) -> None:
    """`auto` draws the same few steps on each device, says what came out, and keeps the answer."""
    config = {"source": str(stable_diffusion), "artefacts": str(openvino_code), "dtype": "float32"}
    first = open_engine(config, Device("auto"), lambda *_: None)
    (said,) = first.notes
    assert "cpu" in said
    assert "openvino:CPU" in said
    assert said.endswith(f": {first.device}")
    assert draw(first, seed=1, num_steps=2).outputs["image"]
    first.close()

    second = open_engine(config, Device("auto"), lambda *_: None)

    assert second.device == first.device
    assert "earlier start" in second.notes[0]
