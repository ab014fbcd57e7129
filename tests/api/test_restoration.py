"""What comes back after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_fakes.documents import ECHO, SAY, STREAM
from api_fakes.double import DoubleReader

from torchloom.errors import InvalidModel, ModelLoadError, NotServing
from torchloom.policy import ReplicaPolicy
from torchloom.traffic import Shadow
from torchloom_api.service import Service, open_service
from torchloom_api.settings import Settings


OUTER = """
name: a_outer
inputs: {value: {type: string}}
nodes: {inner: {workflow: say, inputs: {value: $inputs.value}}}
outputs: {said: $inner.said}
"""


def settings_of(folder: Path) -> Settings:
    """Make settings with a store in a folder."""
    return Settings(store=str(folder / "store"))


def reopen(folder: Path) -> object:
    """Open a service over the same store, as after a restart."""
    return open_service(settings_of(folder), reader=DoubleReader())


async def fill(folder: Path) -> None:
    """Register models, workflows, a split and a number of replicas; then end."""
    async with reopen(folder) as service:
        await service.start([])
        registrar = service.registrar
        await registrar.add_model(ECHO)
        await registrar.add_model(ECHO + "version: 2\n")
        await registrar.scale_model("echo", 2, ReplicaPolicy(min=2, max=3, idle_s=60.0))
        await registrar.add_workflow(SAY)
        await registrar.add_workflow(SAY.replace("version: 1", "version: 2"))
        await registrar.add_workflow(OUTER)
        await registrar.add_workflow(STREAM)
        registrar.set_traffic("models", "echo", {1: 1.0, 2: 3.0})
        registrar.set_traffic("workflows", "say", {1: 9.0, 2: 1.0})


async def test_restores_exactly_what_was_registered(tmp_path: Path) -> None:
    """Models, workflows (whatever they call), splits and replicas come back."""
    await fill(tmp_path)
    async with reopen(tmp_path) as service:
        await service.start([])
        core = service.orchestrator

        assert [s.deployment.label for s in core.models()] == ["echo@1", "echo@2", "streamer@1"]
        assert [g.label for g in core.workflows()] == ["a_outer@1", "say@1", "say@2", "stream@1"]
        assert len(core.model("echo", 2).replicas) == 2
        assert core.model("echo", 2).policy == ReplicaPolicy(min=2, max=3, idle_s=60.0)
        assert core.model("echo", 1).weight == 0.25
        assert core.workflow_weight("say", 1) == 0.9
        service.require_ready()


async def test_restores_a_shadow(tmp_path: Path) -> None:
    """With the weights beside it; what older servers have kept has none."""
    await fill(tmp_path)
    shadow = Shadow(version=2, percent=2.5)
    async with reopen(tmp_path) as service:
        await service.start([])
        service.registrar.set_traffic("models", "echo", {1: 1.0}, shadow)
        service.registrar.set_traffic("workflows", "say", {1: 1.0}, shadow)
    async with reopen(tmp_path) as service:
        await service.start([])
        assert service.orchestrator.model_shadow("echo") == shadow
        assert service.orchestrator.workflow_copies("say", 2) == 2.5
        assert service.orchestrator.model("echo", 1).weight == 1.0
    (tmp_path / "store/model_traffic/echo@0.yaml").write_text('{"weights": {"1": 1.0}}\n')
    async with reopen(tmp_path) as service:
        await service.start([])
        assert service.orchestrator.model_shadow("echo") is None


async def test_restores_bounds_that_older_servers_have_kept(tmp_path: Path) -> None:
    """They said `min` and `max` alone."""
    await fill(tmp_path)
    (tmp_path / "store/replicas/echo@2.yaml").write_text('{"min": 1, "max": 4}\n')
    async with reopen(tmp_path) as service:
        await service.start([])

        assert service.orchestrator.model("echo", 2).policy == ReplicaPolicy(min=1, max=4)


async def test_tells_of_what_no_longer_loads(tmp_path: Path) -> None:
    """A kept model that fails is not served, is told with its reason, and the rest goes on."""
    await fill(tmp_path)
    (tmp_path / "store/models/gone@1.yaml").write_text("name: gone\nfactory: broken")
    (tmp_path / "store/models/worse@1.yaml").write_text("name: worse\nfactroy: echo")
    async with reopen(tmp_path) as service:
        await service.start([])
        failed = {f"{each.name}@{each.version}": each for each in service.registrar.failed}

        assert service.orchestrator.model("echo").state == "ready"
        assert isinstance(failed["gone@1"].error, ModelLoadError)
        assert isinstance(failed["worse@1"].error, InvalidModel)
        assert all(each.is_kept for each in failed.values())
        with pytest.raises(NotServing, match=r"gone@1: .*weights are missing"):
            service.require_ready()


async def test_is_ready_once_a_broken_registration_is_removed(tmp_path: Path) -> None:
    """Removing what does not load mends the server."""
    folder = tmp_path / "store/models"
    folder.mkdir(parents=True)
    (folder / "gone@1.yaml").write_text("name: gone\nfactory: broken")
    async with reopen(tmp_path) as service:
        await service.start([])
        await service.registrar.remove_model("gone", None, grace_s=1.0)

        service.require_ready()
    assert list(folder.iterdir()) == []


async def test_tells_of_a_workflow_whose_model_is_gone(tmp_path: Path) -> None:
    """A kept workflow that calls what is no longer there is told with its faults."""
    await fill(tmp_path)
    for version in (1, 2):
        (tmp_path / f"store/models/echo@{version}.yaml").unlink()
    async with reopen(tmp_path) as service:
        await service.start([])
        failed = {f"{each.name}@{each.version}" for each in service.registrar.failed}

        assert failed == {"a_outer@1", "say@1", "say@2"}
        assert [g.label for g in service.orchestrator.workflows()] == ["stream@1"]


async def test_ignores_what_a_broken_write_left(tmp_path: Path) -> None:
    """Temporary files and files of other names are not registrations."""
    await fill(tmp_path)
    (tmp_path / "store/models/.abc.tmp").write_text("name: ha")
    (tmp_path / "store/models/README").write_text("text")
    (tmp_path / "store/models/..%2f@1.yaml").write_text("name: x")
    async with reopen(tmp_path) as service:
        await service.start([])

        assert len(service.orchestrator.models()) == 3
        assert list(service.registrar.failed) == []


async def test_ends_the_start_for_a_file_that_fails(tmp_path: Path) -> None:
    """A file that the operator names must serve: the error says which model and why."""
    file = tmp_path / "broken.yaml"
    file.write_text("name: broken\nfactory: broken")
    async with reopen(tmp_path) as service:
        with pytest.raises(ModelLoadError, match="weights are missing"):
            await service.start([file])

        assert not service.is_started
        with pytest.raises(NotServing):
            service.require_started()


async def test_loads_models_before_the_workflows_that_call_them(tmp_path: Path) -> None:
    """The order of files on the command line does not matter."""
    say, echo = tmp_path / "say.yaml", tmp_path / "echo.yaml"
    say.write_text(SAY)
    echo.write_text(ECHO)
    async with reopen(tmp_path) as service:
        await service.start([say, echo])

        assert [graph.label for graph in service.orchestrator.workflows()] == ["say@1"]


async def test_lets_a_file_win_over_the_store(tmp_path: Path) -> None:
    """Where file and store differ under one version, the file serves and the other is told."""
    await fill(tmp_path)
    file = tmp_path / "echo.yaml"
    file.write_text(ECHO + "queue: 7\n")
    service: Service
    async with reopen(tmp_path) as service:
        await service.start([file])

        assert service.orchestrator.model("echo", 1).deployment.queue.max_size == 7
        assert [failed.name for failed in service.registrar.failed] == ["echo"]
