"""Call: what a node calls, looked up in the catalog. Knows no input and no edge."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torchloom.document import Document
from torchloom.errors import Fault, nearest
from torchloom.graph import Call, ModelCall, TemplateCall, WorkflowCall
from torchloom.signature import Schema, Signature
from torchloom_workflows.catalog import Catalog
from torchloom_workflows.expression import Parsed
from torchloom_workflows.schema import CALL_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a node calls, and what is known of it. `label` names it in messages.

    `signature` and `devices` are None where nothing is known, `call` where there is a fault.
    """

    kind: str = ""
    label: str = "it"
    call: Call | None = None
    signature: Signature | None = None
    devices: Collection[str] | None = None

    @property
    def title(self) -> str:
        """The label, as a sentence begins with it."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def outputs(self) -> Mapping[str, Schema]:
        """The schemas of the outputs that it is known to give."""
        return self.signature.outputs if self.signature else {}

    @property
    def may_give_more(self) -> bool:
        """Tell whether it may give outputs beyond those."""
        return self.signature is None or (self.signature.is_open and self.kind != "template")


def split_reference(text: str) -> tuple[str, int | None]:
    """Split `name@version`."""
    name, _, version = text.partition("@")
    return name, int(version) if version else None


def find_call_key(document: Document) -> tuple[str, list[Fault]]:
    """Give the one key that says what the node calls, or the fault of having none or several."""
    assert isinstance(document.data, dict)
    keys = [key for key in CALL_KEYS if key in document.data]
    if len(keys) == 1:
        return keys[0], []
    if keys:
        written = " and ".join(repr(key) for key in keys)
        return "", [
            document.fault(f"A node calls one thing, and this one has {written}. Keep one.")
        ]
    known = ", ".join(CALL_KEYS)
    return "", [document.fault(f"This node calls nothing. Give it one of: {known}.")]


def find_model(document: Document, catalog: Catalog, faults: list[Fault]) -> Target:
    """Look a model up that the document, a string, names."""
    name, version = split_reference(str(document.data))
    signature = catalog.signature_of(name, version)
    is_known = name in catalog.model_names or name in catalog.inline_names
    if signature is None and not is_known:
        hint = nearest(name, {*catalog.model_names, *catalog.inline_names})
        faults.append(document.fault(f"There is no model {name!r}.{hint}"))
    elif signature is None and name not in catalog.inline_names:
        versions = f"no version {version}" if version else "no version that serves"
        faults.append(document.fault(f"Model {name!r} has {versions}."))
    call = ModelCall(model=name, version=version)
    return Target(
        kind="model",
        label=f"model {name!r}",
        call=call,
        signature=signature,
        devices=catalog.devices_of(name, version),
    )


def find_function(document: Document, catalog: Catalog, faults: list[Fault]) -> Target:
    """Look a function up: it is a model whose name is the function's path."""
    path = str(document.data)
    if not catalog.allows_function(path):
        module = path.partition(":")[0]
        allowed = ", ".join(sorted(catalog.function_modules)) or "none"
        faults.append(
            document.fault(
                f"The module {module!r} is not among those whose functions may be called (these "
                f"are: {allowed}). Whoever runs the server can allow it."
            )
        )
    signature = catalog.signature_of(path, None)
    call = ModelCall(model=path)
    return Target(kind="function", label=f"function {path!r}", call=call, signature=signature)


def find_workflow(
    document: Document, catalog: Catalog, own_name: str, faults: list[Fault]
) -> Target:
    """Look another workflow up. It must not lead back to this one, in any version."""
    name, version = split_reference(str(document.data))
    call = WorkflowCall(workflow=name, version=version)
    label = f"workflow {name!r}"
    if name == own_name:
        faults.append(document.fault(f"Workflow {name!r} calls itself here."))
        return Target(kind="workflow", label=label, call=call)
    graph = catalog.workflow_of(name, version)
    if graph is None:
        is_known = name in catalog.workflow_names
        hint = "" if is_known else nearest(name, set(catalog.workflow_names) - {own_name})
        what = f"Workflow {name!r} has no version {version}" if is_known else f"There is no {label}"
        faults.append(document.fault(f"{what}.{hint}"))
        return Target(kind="workflow", label=label, call=call)
    if own_name in catalog.workflows_below(name, version):
        message = f"Workflow {name!r} calls {own_name!r} in turn, which would never end."
        faults.append(document.fault(message))
    return Target(kind="workflow", label=label, call=call, signature=graph.signature)


def make_template(parsed: Parsed) -> Target:
    """Make the call of a template. It gives its `value`, and if that is a string, it as `text`."""
    is_never_text = parsed.form in ("list", "mapping")
    text: dict[str, Schema] = {} if is_never_text else {"text": {"type": "string"}}
    return Target(
        kind="template",
        label="the template",
        call=TemplateCall(parsed.binding),
        signature=Signature(outputs={**text, "value": {}}, is_open=True),
    )
