"""Ask the RAG pipeline a question: `python client.py "When does the office open?"`.

Prints the answer as it streams, then its sources. Needs httpx and httpx-sse, and no TorchLoom.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import httpx
from httpx_sse import connect_sse


def ask(url: str, question: str) -> Iterator[tuple[str, dict]]:
    """Start a run and give its events as they come: (type, data). Leaving the loop cancels it."""
    with (
        httpx.Client(base_url=url, timeout=120) as http,
        connect_sse(http, "POST", "/api/workflows/rag/runs", json={"question": question}) as stream,
    ):
        if stream.response.is_error:
            stream.response.read()
            sys.exit(f"{stream.response.status_code}: {stream.response.text}")
        for event in stream.iter_sse():
            if event.data:  # what keeps the connection alive has none
                yield event.event, event.json()


def show(url: str, question: str) -> dict:
    """Print the answer while it is being written, then its sources; give the run's outputs."""
    for kind, data in ask(url, question):
        if kind == "node.chunk":
            print(data["text"], end="", flush=True)
        elif kind == "run.failed":
            sys.exit(f"\nThe run failed: {data['error']['detail']}")
        elif kind == "run.finished":
            print()
            for number, source in enumerate(data["outputs"]["sources"], 1):
                print(
                    f"  [{number}] {source['score']:.2f}  {' '.join(source['text'].split())[:88]}…"
                )
            return data["outputs"]
    sys.exit("\nThe stream ended before the run did.")


def main() -> None:
    """Read the command line and ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="address of the server")
    options = parser.parse_args()
    show(options.url, options.question)


if __name__ == "__main__":
    main()
