"""Models and workflows, in the language of the DoubleReader."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


ALL = frozenset({"inference", "management", "metrics"})

ECHO = """
name: echo
factory: echo
"""

SAY = """
name: say
version: 1
description: Says it back.
inputs:
  value: {type: string, minLength: 1, maxLength: 100}
  times: {type: integer, default: 1, minimum: 1}
nodes:
  first: {model: echo, inputs: {value: $inputs.value}}
  second: {model: echo, inputs: {value: $first.value}}
outputs: {said: $second.value}
stream: [second]
"""

STREAM = """
name: stream
inputs: {count: {type: integer, default: 3}}
nodes: {words: {model: streamer, inputs: {count: $inputs.count}}}
outputs: {text: $words.text}
stream: [words]
models: {streamer: {factory: streamer}}
"""

ENDLESS = """
name: endless
inputs: {}
nodes: {forever: {model: endless, inputs: {}}}
outputs: {text: $forever.text}
stream: [forever]
models: {endless: {factory: endless}}
"""

WRITER = """
name: writer
kind: llm
factory: writer
"""

EMBEDDER = """
name: vectors
kind: embedder
factory: embedder
"""

ENDLESS_WRITER = """
name: endless
kind: llm
factory: endless
"""

#: Registers models and workflows from their texts.
Register = Callable[..., Awaitable[None]]
