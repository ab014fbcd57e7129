"""The workflow files of the documentation."""

from __future__ import annotations


RAG = """\
name: rag
version: 1
description: Answers a question from the handbook, with its sources.
inputs:
  question: {type: string, minLength: 1, maxLength: 2000}
  top_k: {type: integer, default: 4, minimum: 1, maximum: 20}
nodes:
  query:
    model: minilm
    inputs: {text: "{{ inputs.question }}"}
  passages:
    model: handbook
    inputs: {vector: "{{ query.embedding }}", top_k: "{{ inputs.top_k }}"}
  answer:
    model: llama
    inputs:
      messages:
        - {role: system, content: Answer from the passages alone.}
        - role: user
          content: |
            {% for p in passages.documents %}[{{ loop.index }}] {{ p.text }}
            {% endfor %}Question: {{ inputs.question }}
    params: {max_tokens: 128, temperature: 0}
    timeout_s: 30
    retry: {attempts: 2}
outputs:
  answer: "{{ answer.text }}"
  sources: "{{ passages.documents }}"
stream: answer
chat:
  question: "{{ messages[-1].content }}"
"""

MULTI_IMAGE = """\
name: multi_image
version: 1
inputs:
  idea: {type: string, minLength: 1}
  num_images: {type: integer, default: 4, minimum: 1, maximum: 16}
  seed: {type: integer, default: 0}
nodes:
  prompts:
    model: llama
    inputs: {prompt: "Write {{ inputs.num_images }} picture prompts about: {{ inputs.idea }}"}
    items: lines
  pictures:
    foreach: "{{ prompts.items }}"
    limit: "{{ inputs.num_images }}"
    model: stable_diffusion
    inputs: {prompt: "{{ item }}", seed: "{{ inputs.seed + index }}"}
outputs:
  prompts: "{{ prompts.items }}"
  images: "{{ pictures.image }}"
stream: [prompts, pictures]
"""
