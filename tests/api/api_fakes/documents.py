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

PAINTER = """
name: painter
kind: diffusion
factory: painter
"""

ENDLESS_WRITER = """
name: endless
kind: llm
factory: endless
"""

#: A workflow that is a model to clients of OpenAI: it cites its own question.
TALK = """
name: talk
inputs:
  question: {type: string, maxLength: 30}
  passages: {default: [{id: p1, text: A passage., score: 0.5, metadata: {title: Page}}]}
  max_tokens: {type: integer, minimum: 1, default: 100}
nodes:
  passages: {model: echo, inputs: {value: $inputs.passages}}
  draft: {model: writer, inputs: {prompt: Draft.}}
  answer:
    model: writer
    inputs: {prompt: $inputs.question}
    params: {max_tokens: $inputs.max_tokens}
outputs: {answer: $answer.text, draft: $draft.text, sources: $passages.value}
stream: [answer]
chat: {question: $messages.content}
models: {echo: {factory: echo}, writer: {kind: llm, factory: writer}}
"""

#: Registers models and workflows from their texts.
Register = Callable[..., Awaitable[None]]
