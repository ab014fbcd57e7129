"""StandIn: what takes the place of a node that failed for good, checked. Knows no other node."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torchloom.document import Document
from torchloom.errors import Fault, nearest
from torchloom.graph import Constant, Fallback, ModelCall
from torchloom.signature import Schema
from torchloom_workflows.call import Target, find_model
from torchloom_workflows.catalog import Catalog
from torchloom_workflows.expression import Names, Parsed, parse_value
from torchloom_workflows.fit import check_value
from torchloom_workflows.setting import to_mapping


@dataclass(slots=True)
class StandIn:
    """The `fallback` of a node: a value, or a model that takes and gives what the node does.

    `document` and `sound` are the node's; `outputs` are the schemas of what one task gives.
    """

    document: Document
    sound: Mapping[str, object]
    target: Target
    outputs: Mapping[str, Schema]
    faults: list[Fault] = field(default_factory=list)

    def read(self, inputs: Collection[str], catalog: Catalog) -> Fallback | None:
        """Read and check it; None where there is none, or none that can be used."""
        if "fallback" not in self.sound:
            return None
        written = to_mapping(to_mapping(self.document.data).get("fallback"))
        if len(written.keys() & {"value", "model"}) != 1:
            message = "A fallback is either a `value` or a `model`."
            self.faults.append(self.document.fault(message, "fallback"))
            return None
        sound = to_mapping(self.sound["fallback"])
        if "model" in sound:
            return self._read_model(frozenset(inputs), catalog)
        return self._read_value() if "value" in sound else None

    def _read_model(self, inputs: frozenset[str], catalog: Catalog) -> Fallback:
        document = self.document.part("fallback", "model")
        spare = find_model(document, catalog, self.faults)
        assert isinstance(spare.call, ModelCall)
        signature = spare.signature
        if signature is not None:
            unknown = [] if signature.is_open else sorted(inputs - signature.inputs.keys())
            problems = [f"takes no input {name!r}" for name in unknown]
            problems += [
                f"needs the input {name!r}" for name in sorted(signature.required - inputs)
            ]
            lacks = self.target.outputs.keys() - spare.outputs.keys()
            if not spare.may_give_more:
                problems += [f"gives no {name!r}" for name in sorted(lacks)]
            for problem in problems:
                message = f"{spare.title} cannot stand in: it {problem}."
                self.faults.append(document.fault(message))
        return Fallback(model=spare.call)

    def _read_value(self) -> Fallback | None:
        document = self.document.part("fallback", "value")
        parsed = parse_value(document, Names())
        if parsed.form != "constant" or not isinstance(parsed.binding, Constant):
            message = "A fallback's value cannot have expressions in it: write it out."
            self.faults.append(document.fault(message))
            return None
        value = to_mapping(parsed.binding.value)
        for name, given in value.items():
            if name in self.outputs:
                one = Parsed(binding=Constant(given), form="constant")
                self.faults += check_value(document.part(name), one, self.outputs[name], name)
            elif not self.target.may_give_more:
                message = f"{self.target.title} gives no {name!r}.{nearest(name, self.outputs)}"
                self.faults.append(document.fault(message, name, at_key=True))
        return Fallback(value=value)
