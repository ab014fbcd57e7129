"""Snapshots on the disk: when they are written, and what starts from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api_fakes import handlers
from api_fakes.torchserve import MakeMar, Serve, Served

from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.frontend_settings import StartupVersion
from torchloom_api.torchserve.java_properties import read_properties
from torchloom_api.torchserve.snapshot import Snapshot
from torchloom_api.torchserve.snapshot_folder import SnapshotFolder


async def test_writes_what_there_is_at_each_change(
    serve: Serve, make_mar: MakeMar, tmp_path: Path
) -> None:
    """Registered, scaled, chosen and removed; not where nothing was changed."""
    make_mar("noop.mar")
    make_mar("two.mar", version="2.0")
    served = await serve(load_models=("noop.mar",))
    moments = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n) for n in range(10))
    folder = SnapshotFolder(tmp_path / "config", {"load_models": "noop.mar"}, now=moments.__next__)
    catalog = served.frontend.catalog
    catalog.on_change = lambda: folder.write(catalog, served.frontend.absent, "snapshot")

    await served.register("two.mar", batch_size=4)
    await served.management.put("/models/noop/2.0?min_worker=2&synchronous=true")
    await served.management.put("/models/noop/2.0/set-default")
    await served.management.delete("/models/noop/1.0")
    await served.management.get("/models/noop")
    await served.register("none.mar")
    snapshots = [read(path) for path in files_of(tmp_path / "config")]

    assert [list(each.models["noop"]) for each in snapshots] == [
        ["1.0", "2.0"],
        ["1.0", "2.0"],
        ["1.0", "2.0"],
        ["2.0"],
    ]
    last = snapshots[-1].models["noop"]["2.0"]
    assert (last.mar_name, last.min_workers, last.batch_size) == ("two.mar", 2, 4)
    assert last.default_version


async def test_starts_from_a_snapshot(serve: Serve, make_mar: MakeMar) -> None:
    """Names, versions, workers and the default are its own."""
    make_mar("noop.mar")
    make_mar("two.mar", version="2.0")
    served = await serve(
        restored={
            "renamed": {
                "1.0": StartupVersion(file="noop.mar", min_workers=2, max_workers=2),
                "2.0": StartupVersion(file="two.mar", is_default=True, batch_size=4),
            }
        }
    )
    asked = await served.inference.get("/predictions/renamed")
    (first,) = (await served.management.get("/models/renamed/1.0")).json()

    assert asked.json()["model"] == ["renamed", "2.0"]
    assert (first["minWorkers"], len(first["workers"])) == (2, 2)


async def test_names_a_folder_outside_the_store_whole(
    serve: Serve, make_mar: MakeMar, tmp_path: Path
) -> None:
    """So that a restart finds it; archives of the store are named as they lie there."""
    make_mar("noop.mar")
    outside = tmp_path / "outside"
    (outside / "MAR-INF").mkdir(parents=True)
    about = '{"model": {"modelName": "far", "handler": "handler.py"}}'
    (outside / "MAR-INF" / "MANIFEST.json").write_text(about)
    served = await serve(load_models=("noop.mar", str(outside)))
    models = read(_write(served, tmp_path / "config")).models
    said = {name: StartupVersion(file=each["1.0"].mar_name) for name, each in models.items()}

    assert said["far"].file == str(outside)
    assert said["noop"].file == "noop.mar"
    again = await serve(restored={name: {"1.0": each} for name, each in said.items()})
    assert (await again.inference.get("/predictions/far")).json()["model"] == ["far", "1.0"]


async def test_names_an_archive_below_the_store_by_its_path(
    serve: Serve, make_mar: MakeMar, tmp_path: Path
) -> None:
    """A restart finds it, and one whose path is another for who wrote the snapshot."""
    folder = make_mar("noop.mar").parent / "below"
    folder.mkdir()
    make_mar("deep.mar", "deep").rename(folder / "deep.mar")
    served = await serve()
    await served.register("below/deep.mar")
    (model,) = read(_write(served, tmp_path / "config")).models["deep"].values()
    assert model.mar_name == "below/deep.mar"

    said = {"deep": StartupVersion(file=model.mar_name)}
    said["noop"] = StartupVersion(file="/elsewhere/model-store/noop.mar")
    again = await serve(restored={name: {"1.0": each} for name, each in said.items()})
    for name in said:
        assert (await again.inference.get(f"/predictions/{name}")).status_code == 200


async def test_lets_the_archive_say_its_version(serve: Serve, make_mar: MakeMar) -> None:
    """Whatever version a snapshot that was written by hand has for it."""
    make_mar("two.mar", "m", version="2.0")
    restored = {"m": {"1.0": StartupVersion(file="two.mar", is_default=True, batch_size=4)}}
    served = await serve(restored=restored)

    (about,) = (await served.management.get("/models/m")).json()
    assert (about["modelVersion"], about["batchSize"]) == ("2.0", 4)
    assert (await served.inference.get("/ping")).status_code == 200


async def test_does_not_start_without_an_archive_of_it(serve: Serve) -> None:
    """It says which."""
    with pytest.raises(InvalidSettings, match=r"'gone\.mar'"):
        await serve(restored={"m": {"1.0": StartupVersion(file="gone.mar")}})


async def test_lets_the_rest_serve_where_one_model_fails(serve: Serve, make_mar: MakeMar) -> None:
    """The ping tells of it."""
    make_mar("noop.mar")
    make_mar("broken.mar", "broken")
    served = await serve(load_models=("all",))

    assert (await served.inference.get("/predictions/noop")).status_code == 200
    assert (await served.inference.get("/ping")).status_code == 500


async def test_holds_what_does_not_load(serve: Serve, make_mar: MakeMar, tmp_path: Path) -> None:
    """A restart tries it again, as it was ordered; what is no archive has no name to write."""
    make_mar("one.mar", "m")
    make_mar("two.mar", "m", version="2.0")
    make_mar("broken.mar", "broken", version="3.0")
    (tmp_path / "models" / "damaged.mar").write_bytes(b"no archive")
    handlers.failing.add("two.mar")
    restored = {
        "m": {
            "1.0": StartupVersion(file="one.mar"),
            "2.0": StartupVersion(file="two.mar", is_default=True, min_workers=3, batch_size=4),
        }
    }
    first = read(_write(await serve(restored=restored), tmp_path / "first")).models["m"]
    others = _write(await serve(load_models=("broken.mar", "damaged.mar")), tmp_path / "second")

    assert {version: each.default_version for version, each in first.items()} == {
        "1.0": False,
        "2.0": True,
    }
    absent = first["2.0"]
    assert (absent.mar_name, absent.min_workers, absent.batch_size) == ("two.mar", 3, 4)
    assert {name: list(each) for name, each in read(others).models.items()} == {"broken": ["3.0"]}


def _write(served: Served, folder: Path) -> Path:
    """Write a snapshot of a server, and give its file."""
    frontend = served.frontend
    SnapshotFolder(folder, {}).write(frontend.catalog, frontend.absent, "shutdown")
    (file,) = files_of(folder)
    return file


def files_of(folder: Path) -> list[Path]:
    """List snapshots by time."""
    return sorted(folder.iterdir())


def read(path: Path) -> Snapshot:
    """Read one."""
    pairs = {pair.key: pair.value for pair in read_properties(path.read_text("latin-1"))}
    return Snapshot.read(pairs["model_snapshot"])
