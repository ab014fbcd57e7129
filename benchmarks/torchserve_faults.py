"""Plays faults on TorchServe and TorchLoom, and tells where what is seen of them differs.

`python -m benchmarks.torchserve_faults --torchserve PATH/bin/torchserve [--output FILE.md]`.
Workers that die, hang, or do not load, queues that are full, models that are removed while they
work, sequences and tokens that run out, and TLS. Both servers are played on at once; what is
compared are lines that no busy machine changes. The exit code is 1 where something differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

from benchmarks.torchserve_settings import SETTINGS, Play, Setting
from benchmarks.torchserve_side import TORCHLOOM, Side
from benchmarks.torchserve_stage import Stage, write_faulty
from benchmarks.torchserve_tls import make_files, properties_of


#: What a scene told, by its title.
Story = dict[str, list[str]]


def play(command: Sequence[str], folder: Path, setting: Setting, plays: Sequence[Play]) -> Story:
    """Start a server, and play scenes on it. One that does not start tells only that."""
    store = folder / "store"
    store.mkdir(parents=True)
    for name, load in setting.at_start.items():
        write_faulty(store, name, load)
    properties, certificate = dict(setting.properties), ""
    if setting.identity:
        files = folder.parents[1] / "identity"
        properties |= properties_of(setting.identity, files)
        certificate = (files / "chain.pem").read_text("ascii")
    side = Side(
        command,
        folder / "server",
        store=store,
        models=[f"{name}.mar" for name in setting.at_start],
        words=setting.words,
        properties=properties,
        scheme="https" if setting.identity else "http",
    )
    told: Story = {title_of(setting, each): [] for each in plays}
    try:
        with side:
            for each in plays:
                told[title_of(setting, each)] += _play(each, Stage(side, store, certificate))
    except RuntimeError:
        for lines in told.values():
            lines.append("the server does not start")
    return told


def _play(each: Play, stage: Stage) -> Iterator[str]:
    """Give a scene's lines; what goes wrong with it is the last."""
    try:
        yield from each(stage)
    except Exception as error:  # noqa: BLE001 - one scene is not to end the others
        yield f"the scene ends: {error!r}"
    finally:
        stage.close()


def title_of(setting: Setting, each: Play) -> str:
    """Name a scene, for a heading."""
    return f"{setting.name}: {(each.__doc__ or each.__name__).removeprefix('Play ')}"


def compare(
    commands: Mapping[str, Sequence[str]], folder: Path, words: Sequence[str]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Play every scene whose title has one of the words; give its title, and what both told."""
    make_files(folder / "identity")
    with ThreadPoolExecutor(len(commands)) as pool:
        for number, setting in enumerate(SETTINGS):
            plays = [
                each
                for each in setting.plays
                if not words or any(word in title_of(setting, each) for word in words)
            ]
            if not plays:
                continue
            at = folder / str(number)
            playing = [
                pool.submit(play, command, at / name, setting, plays)
                for name, command in commands.items()
            ]
            theirs, ours = (each.result() for each in playing)
            sys.stderr.write(f"{setting.name} was played\n")
            yield from ((title, theirs[title], ours[title]) for title in theirs)


def render(found: Sequence[tuple[str, list[str], list[str]]]) -> Iterator[str]:
    """Write how many lines differ, and each of them under its scene."""
    pairs = [(title, list(zip_longest(*both, fillvalue="nothing"))) for title, *both in found]
    number = sum(one != other for _, lines in pairs for one, other in lines)
    total = sum(len(lines) for _, lines in pairs)
    yield f"{number} of {total} lines of {len(found)} scenes differ."
    for title, lines in pairs:
        if any(one != other for one, other in lines):
            yield f"\n### {title}"
        for one, other in lines:
            if one != other:
                yield f"- TorchServe: {one}\n  - TorchLoom: {other}"


def main() -> int:
    """Play, write, and tell whether anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torchserve", required=True, help="PATH/bin/torchserve")
    parser.add_argument("--output", type=Path, help="a Markdown file for what differs")
    parser.add_argument("--only", nargs="*", default=(), help="words of the titles to be played")
    options = parser.parse_args()
    commands = {"TorchServe": (options.torchserve,), "TorchLoom": TORCHLOOM}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as text:
        found = list(compare(commands, Path(text), options.only))
    output = "\n".join(render(found)) + "\n"
    if options.output:
        options.output.write_text(output, "utf-8")
    sys.stdout.write(output)
    return int(any(one != other for _, one, other in found))


if __name__ == "__main__":
    sys.exit(main())
