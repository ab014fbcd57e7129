"""Writer: who answers a conversation, a language model or a workflow. Knows no form of answers."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.graph import Graph
from torchloom.run_options import RunOptions
from torchloom_api.call import read_options
from torchloom_api.exchange import Exchange
from torchloom_api.openai.adapter import adapter_params
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.generation import Generation
from torchloom_api.openai.message import refuse_names
from torchloom_api.openai.model_generation import ModelGeneration, Prompt
from torchloom_api.openai.served_model import pick_writer
from torchloom_api.openai.terms import OWN_TERMS, Terms
from torchloom_api.openai.text_request import to_seed
from torchloom_api.openai.workflow_generation import WorkflowGeneration
from torchloom_api.openai.workflow_input import Talk, to_inputs
from torchloom_api.service import Service


def converse(
    service: Service,
    exchange: Exchange,
    *,
    model: str,
    talk: Talk,
    num_choices: int = 1,
    terms: Terms = OWN_TERMS,
) -> Generation:
    """Make the work that answers a conversation. Raises what its checks raise."""
    writer = pick_writer(service, model)
    if isinstance(writer, Graph):
        return _run(service, exchange, graph=writer, talk=talk, num_choices=num_choices)
    refuse_names(talk.messages, talk.place)
    return write(
        service,
        exchange,
        deployment=writer,
        inputs=[{"messages": talk.messages, **talk.tools}],
        params={**talk.params, **adapter_params(service, writer, model)},
        seed=talk.seed,
        num_choices=num_choices,
        terms=terms,
    )


def write(
    service: Service,
    exchange: Exchange,
    *,
    deployment: Deployment,
    inputs: Sequence[Values],
    params: Values,
    seed: int | None,
    num_choices: int,
    terms: Terms = OWN_TERMS,
) -> ModelGeneration:
    """Make a task for each choice of each prompt. Raises what its checks raise."""
    check = service.checks.of(f"model {deployment.label}", deployment.signature)
    check.check_params(dict(params))
    seeds = [to_seed(seed, choice) for choice in range(num_choices)]
    return ModelGeneration(
        service=service,
        deployment=deployment,
        prompts=[Prompt(each, {**params, **seed}) for each in inputs for seed in seeds],
        num_choices=num_choices,
        options=_within(read_options(service, exchange), terms.timeout_s),
        meter=terms.meter,
    )


def _within(options: RunOptions, timeout_s: float | None) -> RunOptions:
    """Give options whose time is so long at most."""
    given = [each for each in (options.timeout_s, timeout_s) if each is not None]
    return replace(options, timeout_s=min(given, default=None))


def _run(
    service: Service, exchange: Exchange, *, graph: Graph, talk: Talk, num_choices: int
) -> WorkflowGeneration:
    if num_choices > 1:
        message = f"The workflow {graph.name!r} gives one answer: ask for each by itself."
        raise InvalidRequest(message, param="n", code="unsupported_value")
    check = service.checks.of(f"workflow {graph.label}", graph.signature)
    return WorkflowGeneration(
        service=service,
        graph=graph,
        inputs=to_inputs(graph, talk, check),
        options=read_options(service, exchange),
    )
