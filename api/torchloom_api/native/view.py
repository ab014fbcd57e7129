"""How models, workflows and runs look as JSON. Knows no route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from torchloom.code_status import CodeState
from torchloom.errors import TorchLoomError
from torchloom.graph import Graph, ModelCall, Node, WorkflowCall
from torchloom.model_status import ModelStatus
from torchloom.run import Run
from torchloom.signature import Signature
from torchloom.timings import RunTimings
from torchloom_api.errors import Problem
from torchloom_api.failed import Failed


class SignatureView(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken and given, in JSON Schema's words, by name."""

    inputs: Mapping[str, Mapping[str, object]]
    outputs: Mapping[str, Mapping[str, object]]
    params: Mapping[str, Mapping[str, object]]
    required: Sequence[str]
    one_of: Sequence[Sequence[str]]
    is_open: bool

    @classmethod
    def of(cls, signature: Signature) -> SignatureView:
        """Show a signature."""
        return cls(
            inputs=signature.inputs,
            outputs=signature.outputs,
            params=signature.params,
            required=sorted(signature.required),
            one_of=[sorted(group) for group in signature.one_of],
            is_open=signature.is_open,
        )


class CodeView(msgspec.Struct, frozen=True, kw_only=True):
    """How the code of one part of an engine stands.

    `state`: `none` (nothing has asked for code yet), `compiling` (beside the serving), `compiled`,
    or `eager` (for good). `num_compiled`: for how many layouts of inputs there is code; `pending`:
    those that it is being made for; `failures`: why others have none and never will.
    """

    part: str
    state: CodeState
    num_compiled: int
    pending: Sequence[str]
    failures: Sequence[str]


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """One worker of a model. `load_s`: seconds that loading took; `memory_bytes`: what it holds.

    `notes`: what its engine says of itself, such as what it measured and chose. `code`: how each
    part of it that can be compiled stands.
    """

    device: str
    state: str
    pid: int | None
    in_flight: int
    max_tasks: int
    restarts: int
    load_s: float
    memory_bytes: int
    error: str | None
    notes: Sequence[str] = ()
    code: Sequence[CodeView] = ()


class ScalingView(msgspec.Struct, frozen=True, kw_only=True):
    """How many workers each device is to have: `min`, and up to `max` as the load asks for them.

    `wait_s`: how long tasks wait before there is one more; `idle_s`: for how long one has not been
    needed before it goes. `error`: why the last one that the load asked for could not be started.
    """

    min: int
    max: int
    wait_s: float
    idle_s: float
    error: str | None

    @classmethod
    def of(cls, status: ModelStatus) -> ScalingView:
        """Show the bounds of a model version as they stand."""
        policy = status.policy
        return cls(
            min=policy.min,
            max=max(policy.min, policy.max),
            wait_s=policy.wait_s,
            idle_s=policy.idle_s,
            error=status.scaling_error,
        )


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model as it stands. `weight`: its share of the traffic, 0 to 1.

    `shadow_percent`: of how many requests that other versions answer it is given copies.
    `memory_bytes`: what its workers hold of their devices' memory.
    """

    name: str
    version: int
    kind: str | None
    state: str
    weight: float = 0.0
    shadow_percent: float = 0.0
    queue_depth: int = 0
    max_queue: int = 0
    devices: Sequence[str] = ()
    memory_bytes: int = 0
    replicas: Sequence[ReplicaView] = ()
    scaling: ScalingView | None = None
    signature: SignatureView | None = None
    error: Problem | None = None

    @classmethod
    def of(cls, status: ModelStatus) -> ModelView:
        """Show a model version that the core knows."""
        deployment = status.deployment
        return cls(
            name=deployment.name,
            version=deployment.version,
            kind=deployment.kind,
            state=status.state,
            weight=status.weight,
            shadow_percent=status.shadow_percent,
            queue_depth=status.queue_depth,
            max_queue=deployment.queue.max_size,
            devices=[str(device) for device in deployment.devices],
            memory_bytes=status.memory_bytes,
            replicas=[
                msgspec.convert(r, ReplicaView, from_attributes=True) for r in status.replicas
            ],
            scaling=ScalingView.of(status),
            signature=SignatureView.of(deployment.signature),
        )

    @classmethod
    def of_failed(cls, failed: Failed) -> ModelView:
        """Show a registration that does not serve."""
        return cls(
            name=failed.name,
            version=failed.version,
            kind=None,
            state="failed",
            error=to_problem(failed.error),
        )


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node: what it calls (`model`, `workflow` or `template`), and what it waits for.

    `live`: the node whose items it takes while they are written.
    """

    name: str
    call: str
    target: str | None
    needs: Sequence[str]
    is_foreach: bool
    live: str | None

    @classmethod
    def of(cls, node: Node) -> NodeView:
        """Show a node."""
        call, target = _to_call(node)
        return cls(
            name=node.name,
            call=call,
            target=target,
            needs=sorted(node.needs),
            is_foreach=node.foreach is not None,
            live=node.live,
        )


class GraphView(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes, and an edge [from, to] wherever one waits for another."""

    nodes: Sequence[NodeView]
    edges: Sequence[tuple[str, str]]


class WorkflowView(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a workflow. `stream`: the nodes whose chunks a run's stream carries.

    `weight`: its share of the runs, 0 to 1. `shadow_percent`: of how many runs of other versions it
    is given copies.
    """

    name: str
    version: int
    description: str = ""
    state: str = "ready"
    weight: float = 0.0
    shadow_percent: float = 0.0
    signature: SignatureView | None = None
    graph: GraphView | None = None
    models: Sequence[str] = ()
    stream: Sequence[str] = ()
    error: Problem | None = None

    @classmethod
    def of(cls, graph: Graph, weight: float, shadow_percent: float = 0.0) -> WorkflowView:
        """Show a workflow that serves."""
        nodes = [NodeView.of(node) for node in graph.nodes.values()]
        return cls(
            name=graph.name,
            version=graph.version,
            description=graph.description,
            weight=weight,
            shadow_percent=shadow_percent,
            signature=SignatureView.of(graph.signature),
            graph=GraphView(nodes=nodes, edges=sorted(graph.dag.edges)),
            models=sorted(graph.models),
            stream=graph.stream,
        )

    @classmethod
    def of_failed(cls, failed: Failed) -> WorkflowView:
        """Show a registration that does not serve."""
        return cls(
            name=failed.name,
            version=failed.version,
            state="failed",
            error=to_problem(failed.error),
        )


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it stands. `created_at`: seconds since 1970."""

    run: str
    workflow: str
    version: int
    state: str
    created_at: float
    duration_s: float
    is_background: bool
    outputs: Mapping[str, object] | None = None
    error: Problem | None = None
    timings: RunTimings | None = None

    @classmethod
    def of(cls, run: Run, *, is_whole: bool = True) -> RunView:
        """Show a run; in lists without outputs and timings."""
        return cls(
            run=run.id,
            workflow=run.graph.name,
            version=run.graph.version,
            state=run.state.value,
            created_at=run.created_at,
            duration_s=run.duration_s,
            is_background=run.options.is_background,
            outputs=run.outputs if is_whole else None,
            error=to_problem(run.error) if run.error else None,
            timings=run.timings if is_whole else None,
        )


def to_problem(error: TorchLoomError) -> Problem:
    """Show an error as a part of an answer."""
    return Problem.from_error(error, instance=None, request_id="")


def _to_call(node: Node) -> tuple[str, str | None]:
    match node.call:
        case ModelCall(model, version):
            return "model", model if version is None else f"{model}@{version}"
        case WorkflowCall(workflow, version):
            return "workflow", workflow if version is None else f"{workflow}@{version}"
        case _:
            return "template", None
