"""Cut texts into passages: one a paragraph, short ones joined, long ones cut at sentence ends.

Knows no files, no index and no model: how long a text is, in characters or in tokens, it is told.
"""

from __future__ import annotations

import re
from bisect import bisect_right
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

_WINDOW = 20_000  # characters

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
    the one before (None: a tenth of `max_size`). Raises InvalidInput for sizes that contradict each
    other.
    """

    max_size: int = 1000
    min_size: int = 1
    overlap: int | None = None
    unit: Unit = "characters"

    def __post_init__(self) -> None:
        """Check the sizes against each other."""
        if not 1 <= self.min_size <= self.max_size or not 0 <= self.room_to_share < self.max_size:
            message = (
                f"chunk: min_size {self.min_size} must be from 1 to max_size {self.max_size}, and "
                f"overlap {self.room_to_share} below it."
            )
            raise InvalidInput(message)

    @property
    def room_to_share(self) -> int:
        """The most that neighbouring pieces of a long paragraph have in common."""
        return self.max_size // 10 if self.overlap is None else self.overlap


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
        starts = _line_starts(text)
        for start, end, block in self._join(text, _markdown_blocks(text, starts)):
            headings = block.headings
            title, above = (headings[0], headings[1:]) if headings else ("", ())
            section = " > ".join(heading for heading in above if heading)
            for offset, piece in self._cut(text[start:end], self._markdown):
                line = bisect_right(starts, start + offset)
                yield Chunk(text=piece, title=title, section=section, line=line)

    def cut_plain(self, text: str) -> Iterator[Chunk]:
        """Cut text whose paragraphs are set apart by empty lines."""
        found = ((match.start(), match[0].rstrip()) for match in _PARAGRAPH.finditer(text))
        blocks = [_Block(start, start + len(body)) for start, body in found]
        starts = _line_starts(text)
        for start, end, _ in self._join(text, blocks):
            for offset, piece in self._cut(text[start:end], self._plain):
                yield Chunk(text=piece, line=bisect_right(starts, start + offset))

    @cached_property
    def _markdown(self) -> MarkdownSplitter:
        size, overlap = self.policy.max_size, self.policy.room_to_share
        if self._length is len:  # the library counts characters itself, and much faster
            return MarkdownSplitter(size, overlap)
        return MarkdownSplitter.from_callback(self._length, size, overlap)

    @cached_property
    def _plain(self) -> TextSplitter:
        size, overlap = self.policy.max_size, self.policy.room_to_share
        if self._length is len:
            return TextSplitter(size, overlap)
        return TextSplitter.from_callback(self._length, size, overlap)

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

    def _cut(
        self, text: str, splitter: MarkdownSplitter | TextSplitter
    ) -> Iterator[tuple[int, str]]:
        if self._length(text) <= self.policy.max_size:
            yield 0, text
            return
        for start, part in _windows(text, max(_WINDOW, 10 * self.policy.max_size)):
            for offset, piece in splitter.chunk_indices(part):
                if piece.strip():
                    yield start + offset, piece


def _windows(text: str, size: int) -> Iterator[tuple[int, str]]:
    """Cut a huge paragraph at spaces: the splitter's time grows with the square of the length."""
    start = 0
    while start < len(text):
        end = start + size
        if end < len(text):
            space = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
            end = space + 1 if space > start else end
        yield start, text[start:end]
        start = end


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


def _markdown_blocks(text: str, starts: Sequence[int]) -> list[_Block]:
    """Find the blocks, each with the headings over it: first the title (level 1), then the rest."""
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
        start, after = starts[token.map[0]], token.map[1]
        body = text[start : starts[after] if after < len(starts) else None]
        if not _INVISIBLE.match(body):
            path = (headings.get(1, ""), *(headings[key] for key in sorted(headings) if key > 1))
            blocks.append(_Block(start, start + len(body.rstrip()), path))
    return blocks


def _heading_text(inline: Token) -> str:
    parts = (child.content or " " for child in inline.children or () if child.type != "html_inline")
    return " ".join("".join(parts).split())


def _line_starts(text: str) -> list[int]:
    """Give where each line starts, as markdown-it counts lines."""
    return [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]


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
