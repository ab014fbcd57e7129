"""PipelineFolder: what is missing or broken is told by the component's name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_pipeline import draw, edit_json, open_tiny

from torchloom.errors import ModelLoadError
from torchloom_models.diffusion.folder import PipelineFolder


WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(stable_diffusion: Path, tmp_path: Path) -> Path:
    """Give a copy of the tiny pipeline that may be broken."""
    return Path(shutil.copytree(stable_diffusion, tmp_path / "pipeline"))


def _cut(folder: Path) -> None:
    file = folder / "unet" / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])


def _pickle(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")


def _drop_tensor(folder: Path) -> None:
    file = folder / "vae" / WEIGHTS
    tensors = load_file(file)
    del tensors["decoder.conv_out.weight"]
    save_file(tensors, file)


def _shard(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"conv_in.weight": "part-1-of-1.safetensors"}}
    (folder / "unet" / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: shutil.rmtree(f / "unet"), "Component 'unet' of the StableDiffusionPipeline"),
        (lambda f: shutil.rmtree(f / "vae"), "Component 'vae'"),
        (lambda f: shutil.rmtree(f / "text_encoder"), "Component 'text_encoder'"),
        (lambda f: shutil.rmtree(f / "tokenizer"), "Component 'tokenizer'"),
        (lambda f: shutil.rmtree(f / "scheduler"), "scheduler"),
        (lambda f: (f / "unet" / "config.json").unlink(), "has no config.json"),
        (lambda f: (f / "unet" / "config.json").write_text("{"), "cannot be read as JSON"),
        (_cut, "A download or a copy was cut short"),
        (_pickle, "holds weights only as pickles"),
        (_drop_tensor, "Component 'vae'"),
        (_drop_tensor, "1 of its weights are missing, 'decoder.conv_out.weight' among them"),
        (_shard, "lacks part-1-of-1.safetensors, which its index names"),
        (lambda f: edit_json(f / "model_index.json", vae=None), "does not name it"),
        (lambda f: edit_json(f / "model_index.json", vae=["evil", "Vae"]), "it is a evil.Vae"),
        (
            lambda f: edit_json(f / "model_index.json", unet=["diffusers", "UNet1DModel"]),
            "served are: UNet2DConditionModel",
        ),
        (lambda f: edit_json(f / "unet" / "config.json", in_channels=9), "Component 'unet'"),
        (
            lambda f: edit_json(f / "model_index.json", _class_name="KandinskyPipeline"),
            "not served",
        ),
        (lambda f: edit_json(f / "model_index.json", _class_name=None), "names no pipeline class"),
        (lambda f: (f / "model_index.json").write_text("[]"), "names no pipeline class"),
        (lambda f: (f / "model_index.json").unlink(), "is no pipeline"),
    ],
)
def test_says_which_component_is_broken(
    folder: Path, damage: Callable[[Path], object], says: str
) -> None:
    """A model that cannot be whole does not start, and says where to look."""
    damage(folder)

    with pytest.raises(ModelLoadError) as caught:
        open_tiny(folder)
    assert says in caught.value.message


def test_names_the_nearest_pipeline(folder: Path) -> None:
    """A class that is not served is told beside the nearest that is."""
    edit_json(folder / "model_index.json", _class_name="StableDiffusionUpscalePipeline")

    with pytest.raises(ModelLoadError, match="Did you mean 'StableDiffusion"):
        open_tiny(folder)


def test_runs_no_code_of_the_folder(folder: Path) -> None:
    """A pipeline's own Python is not looked at, whatever its index says."""
    (folder / "pipeline.py").write_text("raise SystemExit('it ran')")
    (folder / "unet" / "modeling.py").write_text("raise SystemExit('it ran')")
    edit_json(folder / "model_index.json", unet=["modeling", "UNet2DConditionModel"])

    with pytest.raises(ModelLoadError, match=r"it is a modeling\.UNet2DConditionModel"):
        open_tiny(folder)


def test_reads_the_dtype_of_the_largest_tensor(stable_diffusion: Path) -> None:
    """`dtype: auto` goes by what fills the file."""
    assert PipelineFolder(stable_diffusion).stored_dtype("unet") == torch.float32


def test_knows_optional_components_that_are_not_there(stable_diffusion: Path) -> None:
    """The index writes null twice for a safety checker that was left out."""
    folder = PipelineFolder(stable_diffusion)

    assert folder.has("unet")
    assert not folder.has("safety_checker")
    assert folder.scheduler_class == "DDIMScheduler"


def test_takes_weights_that_come_as_a_variant_alone(folder: Path) -> None:
    """A folder that was saved with `variant="fp16"` needs no renaming."""
    for name in ("unet", "vae", "text_encoder"):
        for file in (folder / name).glob("*.safetensors"):
            file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))

    assert draw(open_tiny(folder), num_steps=1).counts == {"steps": 1}
