"""Cut texts into passages: one a paragraph, short ones joined, long ones cut at sentence ends.

Knows no files, no index and no model: how long a text is, in characters or in tokens, it is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from semantic_text_splitter import MarkdownSplitter, TextSplitter

from torchloom.errors import InvalidInput


Unit = Literal["characters", "tokens"]

_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE
)
_PARAGRAPH = re.compile(r"\S(?:.|\n(?!\s*\n))*")
_INVISIBLE = re.compile(r"\A(?:\s|<!--.*?-->)*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPolicy:
    """How large passages are, in `unit`.

    Paragraphs are joined, within a section, until there is `min_size` of them: 1 joins none. One
    longer than `max_size` is cut at sentence ends, and each piece starts with up to `overlap` of
    the one before. Raises InvalidInput for sizes that contradict each other.
    """

    max_size: int = 1000
    min_size: int = 1
    overlap: int = 100
    unit: Unit = "characters"

    def __post_init__(self) -> None:
        """Check the sizes against each other."""
        if not 1 <= self.min_size <= self.max_size or not 0 <= self.overlap < self.max_size:
            message = (
                f"chunk: min_size {self.min_size} and overlap {self.overlap} must not be over "
                f"max_size {self.max_size}."
            )
            raise InvalidInput(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A cut piece, and where it stands: its title, the headings over it, its first line from 1."""

    text: str
    title: str = ""
    section: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True)
class _Block:
    """A paragraph, list, table or code block: characters `start` to `end` of the text."""

    start: int
    end: int
    headings: tuple[str, ...] = ()


class Chunker:
    """Cuts Markdown and plain text by a policy. `length` measures a text in the policy's unit."""

    def __init__(self, policy: ChunkPolicy, length: Callable[[str], int] = len) -> None:
        self.policy = policy
        self._length = length

    def cut_markdown(self, text: str) -> Iterator[Chunk]:
        """Cut Markdown. Headings are no passages of their own: `title` and `section` hold them."""
        for start, end, block in self._join(text, _markdown_blocks(text)):
            headings = block.headings
            title, above = (headings[0], headings[1:]) if headings else ("", ())
            section = " > ".join(heading for heading in above if heading)
            for offset, piece in self._cut(text[start:end], self._markdown):
                line = text.count("\n", 0, start + offset) + 1
                yield Chunk(text=piece, title=title, section=section, line=line)

    def cut_plain(self, text: str) -> Iterator[Chunk]:
        """Cut text whose paragraphs are set apart by empty lines."""
        blocks = [_Block(match.start(), match.end()) for match in _PARAGRAPH.finditer(text)]
        for start, end, _ in self._join(text, blocks):
            for offset, piece in self._cut(text[start:end], self._plain):
                yield Chunk(text=piece, line=text.count("\n", 0, start + offset) + 1)

    @cached_property
    def _markdown(self) -> MarkdownSplitter:
        policy = self.policy
        return MarkdownSplitter.from_callback(self._length, policy.max_size, policy.overlap)

    @cached_property
    def _plain(self) -> TextSplitter:
        policy = self.policy
        return TextSplitter.from_callback(self._length, policy.max_size, policy.overlap)

    def _join(self, text: str, blocks: Sequence[_Block]) -> Iterator[tuple[int, int, _Block]]:
        """Give runs of blocks, of one section, that reach `min_size` and keep within `max_size`."""
        run: list[_Block] = []
        for block in blocks:
            if run and not self._has_room(text, run, block):
                yield run[0].start, run[-1].end, run[0]
                run = []
            run.append(block)
        if run:
            yield run[0].start, run[-1].end, run[0]

    def _has_room(self, text: str, run: Sequence[_Block], block: _Block) -> bool:
        start = run[0].start
        return (
            block.headings == run[0].headings
            and self._length(text[start : run[-1].end]) < self.policy.min_size
            and self._length(text[start : block.end]) <= self.policy.max_size
        )

    def _cut(self, text: str, splitter: MarkdownSplitter | TextSplitter) -> list[tuple[int, str]]:
        if self._length(text) <= self.policy.max_size:
            return [(0, text)]
        return [(offset, piece) for offset, piece in splitter.chunk_indices(text) if piece.strip()]


def split_front_matter(text: str) -> tuple[dict[str, object], str]:
    """Take YAML front matter off a Markdown text: give its mapping, and the text.

    As many lines as it had stay, empty, so that line numbers go on being right. What only looks
    like front matter is left alone.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return {}, text
    if not isinstance(data, dict):
        return {}, text
    return data, "\n" * match[0].count("\n") + text[match.end() :]


def _markdown_blocks(text: str) -> list[_Block]:
    """Find the blocks, each with the headings over it: first the title (level 1), then the rest."""
    starts = _line_starts(text)
    headings: dict[int, str] = {}
    blocks = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for place, token in enumerate(tokens):
        if token.level != 0 or token.map is None or token.type == "hr":
            continue
        if token.type == "heading_open":
            level = int(token.tag[1:])
            headings = {key: value for key, value in headings.items() if key < level}
            headings[level] = _heading_text(tokens[place + 1])
            continue
        start, end = starts[token.map[0]], starts[min(token.map[1], len(starts) - 1)]
        body = text[start:end]
        if not _INVISIBLE.match(body):
            path = (headings.get(1, ""), *(headings[key] for key in sorted(headings) if key > 1))
            blocks.append(_Block(start, start + len(body.rstrip()), path))
    return blocks


def _heading_text(inline: Token) -> str:
    parts = (child.content or " " for child in inline.children or () if child.type != "html_inline")
    return " ".join("".join(parts).split())


def _line_starts(text: str) -> list[int]:
    """Give where each line starts, as markdown-it counts lines, and the end of the text."""
    return [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text)), len(text)]


def token_length(tokenizer_file: Path) -> Callable[[str], int]:
    """Give a function that counts a text's tokens by a `tokenizer.json`, special tokens left out.

    Raises InvalidInput where the file is no tokenizer.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - only where the unit is tokens

    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    except Exception as error:  # the library raises bare Exception
        raise InvalidInput(f"{tokenizer_file} is no tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
