"""Registering and removing, against the real core and a real folder."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from api_fakes.documents import ECHO, SAY, STREAM

from torchloom.errors import (
    Conflict,
    InvalidInput,
    InvalidWorkflow,
    ModelLoadError,
    NotServing,
    UnknownModel,
    UnknownWorkflow,
)
from torchloom.policy import ReplicaPolicy
from torchloom_api.service import Service


#: What STREAM brings along.
BRINGS = "models: {streamer: {factory: streamer}}"

BROKEN = "name: broken\nfactory: broken"
BRINGS_BROKEN = """
name: bringer
inputs: {}
nodes: {a: {model: echo}, b: {model: broken}}
outputs: {}
models: {echo: {factory: echo}, broken: {factory: broken}}
"""


def files(service: Service) -> list[str]:
    """List what lies in the store."""
    folder = service.settings.store_folder
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestModels:
    """Models."""

    async def test_keeps_a_model_that_serves(self, service: Service) -> None:
        """The text lies in the store as it was written, once the model serves."""
        deployment, is_new = await service.registrar.add_model(ECHO)

        assert (deployment.label, is_new) == ("echo@1", True)
        assert files(service) == ["models/echo@1.yaml"]
        assert (service.settings.store_folder / "models/echo@1.yaml").read_text() == ECHO

    async def test_changes_nothing_the_second_time(self, service: Service) -> None:
        """The same content again is no error, and not new."""
        await service.registrar.add_model(ECHO)
        _, is_new = await service.registrar.add_model(ECHO)

        assert not is_new

    async def test_registers_once_for_two_at_the_same_time(self, service: Service) -> None:
        """Of two equal registrations side by side, one is new, and both end when it serves."""
        results = await asyncio.gather(*(service.registrar.add_model(ECHO) for _ in range(2)))

        assert sorted(is_new for _, is_new in results) == [False, True]
        assert service.orchestrator.model("echo").state == "ready"

    async def test_refuses_other_content_under_the_same_version(self, service: Service) -> None:
        """A version never changes what it is; the old one goes on and stays in the store."""
        await service.registrar.add_model(ECHO)
        with pytest.raises(Conflict):
            await service.registrar.add_model(ECHO + "queue: 5\n")

        assert service.orchestrator.model("echo").deployment.queue.max_size == 1000
        assert (service.settings.store_folder / "models/echo@1.yaml").read_text() == ECHO
        assert list(service.registrar.failed) == []

    async def test_remembers_why_a_model_does_not_load(self, service: Service) -> None:
        """A model that does not load leaves nothing behind but its reason."""
        with pytest.raises(ModelLoadError):
            await service.registrar.add_model(BROKEN)
        failed = service.registrar.failed.find("models", "broken", None)

        assert failed is not None
        assert "the weights are missing" in failed.error.message
        assert not failed.is_kept
        assert files(service) == []
        with pytest.raises(UnknownModel):
            service.orchestrator.model("broken")

    async def test_takes_a_model_back_that_cannot_be_kept(self, service: Service) -> None:
        """Where the store refuses, the model does not serve either."""
        with pytest.raises(InvalidInput, match="cannot be a name"):
            await service.registrar.add_model("name: _hidden\nfactory: echo")
        with pytest.raises(UnknownModel):
            service.orchestrator.model("_hidden")

    async def test_does_not_keep_the_operators_files(
        self, service: Service, tmp_path: Path
    ) -> None:
        """What a file gives is served, and comes back only with the file."""
        await service.registrar.add_model(ECHO, file=tmp_path / "echo.yaml")

        assert service.orchestrator.model("echo").state == "ready"
        assert files(service) == []

    async def test_removes_a_model_for_good(self, service: Service) -> None:
        """A removed model neither serves nor comes back, nor do its replicas and split."""
        await service.registrar.add_model(ECHO)
        await service.registrar.scale_model("echo", 1, ReplicaPolicy(min=2, max=2))
        service.registrar.set_traffic("models", "echo", {1: 1.0})
        await service.registrar.remove_model("echo", None, grace_s=1.0)

        assert files(service) == []
        with pytest.raises(UnknownModel):
            service.orchestrator.model("echo")

    async def test_removes_one_version_and_leaves_the_other(self, service: Service) -> None:
        """Versions go one by one."""
        await service.registrar.add_model(ECHO)
        await service.registrar.add_model(ECHO + "version: 2\n")
        await service.registrar.remove_model("echo", 1, grace_s=1.0)

        assert files(service) == ["models/echo@2.yaml"]
        assert service.orchestrator.model("echo").deployment.version == 2

    async def test_does_not_remove_a_model_that_is_needed(self, service: Service) -> None:
        """A model that a workflow calls stays, in service and in the store."""
        await service.registrar.add_model(ECHO)
        await service.registrar.add_workflow(SAY)
        with pytest.raises(Conflict, match="say@1"):
            await service.registrar.remove_model("echo", None, grace_s=1.0)

        assert "models/echo@1.yaml" in files(service)

    async def test_scales_for_good(self, service: Service) -> None:
        """A changed number of replicas serves and is kept."""
        await service.registrar.add_model(ECHO)
        await service.registrar.scale_model("echo", 1, ReplicaPolicy(min=3, max=4))

        assert len(service.orchestrator.model("echo").replicas) == 3
        assert "replicas/echo@1.yaml" in files(service)

    async def test_registers_nothing_while_draining(self, service: Service) -> None:
        """A server that is about to end takes in nothing new."""
        await service.orchestrator.drain(1.0)
        with pytest.raises(NotServing):
            await service.registrar.add_model(ECHO)
        with pytest.raises(NotServing):
            await service.registrar.add_workflow(STREAM)


class TestWorkflows:
    """Workflows."""

    async def test_brings_its_models_along(self, service: Service) -> None:
        """Models in the file serve with the workflow and go with it; its text alone is kept."""
        graph, is_new = await service.registrar.add_workflow(STREAM)

        assert (graph.label, is_new) == ("stream@1", True)
        assert service.orchestrator.model("streamer").state == "ready"
        assert files(service) == ["workflows/stream@1.yaml"]

        await service.registrar.remove_workflow("stream", None, grace_s=1.0)

        assert files(service) == []
        with pytest.raises(UnknownModel):
            service.orchestrator.model("streamer")

    async def test_shares_a_model_that_two_bring_along(self, service: Service) -> None:
        """A model goes with the last workflow that brought it."""
        await service.registrar.add_workflow(STREAM)
        await service.registrar.add_workflow(STREAM.replace("name: stream\n", "name: other\n"))
        await service.registrar.remove_workflow("stream", None, grace_s=1.0)

        assert service.orchestrator.model("streamer").state == "ready"

        await service.registrar.remove_workflow("other", None, grace_s=1.0)
        with pytest.raises(UnknownModel):
            service.orchestrator.model("streamer")

    async def test_stays_where_another_calls_a_model_that_it_brought(
        self, service: Service
    ) -> None:
        """Nothing is removed, whichever of its models is missed; with the other one both go."""
        both = "models: {streamer: {factory: streamer}, echo: {factory: echo}}"
        await service.registrar.add_workflow(STREAM.replace(BRINGS, both))
        await service.registrar.add_workflow(SAY)
        with pytest.raises(Conflict, match="Model 'echo' is used by 'say@1'"):
            await service.registrar.remove_workflow("stream", None, grace_s=1.0)
        states = {each.deployment.name: each.state for each in service.orchestrator.models()}
        await service.registrar.remove_workflow("say", None, grace_s=1.0)
        await service.registrar.remove_workflow("stream", None, grace_s=1.0)

        assert states == {"streamer": "ready", "echo": "ready"}
        assert service.orchestrator.models() == []

    async def test_goes_without_a_model_that_is_called_meanwhile(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its other models go, and nothing of it is remembered."""
        both = "models: {echo: {factory: echo}, streamer: {factory: streamer}}"
        await service.registrar.add_workflow(STREAM.replace(BRINGS, both))
        monkeypatch.setattr(service.registrar, "_refuse_if_missed", lambda _: None)
        await service.registrar.add_workflow(SAY)
        await service.registrar.remove_workflow("stream", None, grace_s=1.0)

        assert [each.deployment.name for each in service.orchestrator.models()] == ["echo"]
        assert [graph.label for graph in service.orchestrator.workflows()] == ["say@1"]
        assert service.registrar._brought == {}

    async def test_removes_a_model_that_was_entrusted_to_it(self, service: Service) -> None:
        """As if it had brought it along; one that is gone already is not missed."""
        await service.registrar.add_model("name: streamer\nfactory: streamer")
        await service.registrar.add_workflow(STREAM)
        service.registrar.entrust("stream@1", ["streamer@1", "gone@1"])
        await service.registrar.remove_workflow("stream", None, grace_s=1.0)

        with pytest.raises(UnknownModel):
            service.orchestrator.model("streamer")

    async def test_leaves_a_model_that_was_registered_by_itself(self, service: Service) -> None:
        """A model that was there before stays when the workflow that also has it goes."""
        await service.registrar.add_model("name: streamer\nfactory: streamer")
        await service.registrar.add_workflow(STREAM)
        await service.registrar.remove_workflow("stream", None, grace_s=1.0)

        assert service.orchestrator.model("streamer").state == "ready"

    async def test_leaves_nothing_behind_where_a_model_fails(self, service: Service) -> None:
        """One model that does not load takes the workflow and its other models with it."""
        with pytest.raises(ModelLoadError, match="weights are missing"):
            await service.registrar.add_workflow(BRINGS_BROKEN)

        assert service.orchestrator.models() == []
        assert service.orchestrator.workflows() == []
        assert files(service) == []
        assert service.registrar.failed.find("workflows", "bringer", 1) is not None

    async def test_leaves_nothing_behind_where_the_store_fails(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk undoes the registration whole."""

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(service.registrar._store, "put", refuse)
        with pytest.raises(OSError, match="No space"):
            await service.registrar.add_workflow(STREAM)

        assert service.orchestrator.models() == []
        assert service.orchestrator.workflows() == []

    async def test_keeps_the_old_version_where_the_new_one_fails(self, service: Service) -> None:
        """A failed version leaves the one before it in service."""
        await service.registrar.add_workflow(STREAM)
        bad = STREAM.replace("name: stream\n", "name: stream\nversion: 2\n").replace(
            "streamer: {factory: streamer}", "streamer: {version: 2, factory: broken}"
        )
        with pytest.raises(ModelLoadError):
            await service.registrar.add_workflow(bad)

        assert [graph.label for graph in service.orchestrator.workflows()] == ["stream@1"]
        assert service.orchestrator.model("streamer").deployment.version == 1

    async def test_changes_nothing_the_second_time(self, service: Service) -> None:
        """The same text again is no error; another one under the version is a conflict."""
        await service.registrar.add_workflow(STREAM)
        _, is_new = await service.registrar.add_workflow(STREAM)

        assert not is_new
        with pytest.raises(Conflict):
            await service.registrar.add_workflow(STREAM + "description: other\n")
        assert service.orchestrator.model("streamer").state == "ready"
        assert [graph.label for graph in service.orchestrator.workflows()] == ["stream@1"]

    async def test_refuses_a_text_of_another_name(self, service: Service) -> None:
        """The address and the file must speak of the same workflow."""
        with pytest.raises(InvalidWorkflow, match="of workflow 'stream@1', the address of 'x'"):
            await service.registrar.add_workflow(STREAM, label="x")

        assert service.orchestrator.models() == []

    async def test_registers_nothing_for_a_check(self, service: Service) -> None:
        """A check gives the graph, loads nothing and keeps nothing."""
        draft = service.registrar.check_workflow(BRINGS_BROKEN)

        assert draft.graph.name == "bringer"
        assert service.orchestrator.models() == []
        assert files(service) == []

    async def test_does_not_remove_what_is_not_there(self, service: Service) -> None:
        """Unknown names are the core's errors."""
        with pytest.raises(UnknownWorkflow):
            await service.registrar.remove_workflow("x", None, grace_s=1.0)
        with pytest.raises(UnknownModel):
            await service.registrar.remove_model("x", None, grace_s=1.0)
