"""Trial: a process of its own that opens a model on several devices, and measures them.

This is the worker's end of it, and what is said between the two; see `race.py` for the other end.
What the losers hold goes with the process, and what a candidate's native code does to it is done to
no worker. Knows no kind of model.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.errors import ModelLoadError, TorchLoomError
from torchloom.wire import Error, from_error
from torchloom_models.child import Child, name_exit
from torchloom_models.hardware import DtypeName
from torchloom_models.piece import Piece
from torchloom_models.watch import Known, tell_watcher


_log = logging.getLogger(__name__)

_LENGTH = struct.Struct("<I")

#: A trial that is over must have ended within this time, or it is killed.
_EXIT_S = 10.0

#: After its end, what a trial has sent is waited for no longer than this.
_LAST_WORDS_S = 1.0


class Order(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a trial is told: an Opening as `module:qualname`, its config, and the candidates.

    `threads` goes into compiled code.
    """

    opening: str
    config: dict[str, object]
    candidates: list[str]
    threads: int


class At(msgspec.Struct, frozen=True, tag=True):
    """From now on it opens, or measures, this candidate."""

    device: str


class Told(msgspec.Struct, frozen=True, tag=True):
    """How far it has come."""

    what: str
    fraction: float | None


class Lost(msgspec.Struct, frozen=True, tag=True):
    """A candidate has dropped out."""

    device: str
    error: Error


class Over(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The candidates that are left; their figures in seconds, unless there is but one to open.

    `pieces` and `failures` tell what was compiled.
    """

    left: list[str]
    figures: dict[str, float]
    dtype: DtypeName
    pieces: list[Piece]
    failures: list[str]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The model itself is wrong: no candidate can mend that."""

    error: Error


Message = Order | At | Told | Lost | Over | Failed

_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Line:
    """One end of the link between a worker and its trial: whole messages, either way."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, message: Message) -> None:
        """Send a message. Raises OSError where nobody is there any more."""
        body = msgspec.msgpack.encode(message)
        self._connection.sendall(_LENGTH.pack(len(body)) + body)

    def receive(self) -> Message | None:
        """Wait for the next message; None at the end."""
        with contextlib.suppress(EOFError, OSError):
            (size,) = _LENGTH.unpack(self._read(_LENGTH.size))
            return _decoder.decode(self._read(size))
        return None

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data


class TrialEnded(ModelLoadError):
    """Why a candidate has dropped out that was at it when the trial's process ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a trial: who dropped out, and who is left; `over` is None where it died."""

    lost: Mapping[str, TorchLoomError]
    over: Over | None


class Trial:
    """Holds trials of one model."""

    def __init__(
        self, opening: str, config: Mapping[str, object], threads: int, *, report: Report
    ) -> None:
        self._opening = opening
        self._config = dict(config)
        self._threads = threads
        self._report = report

    def hold(self, candidates: Sequence[Device]) -> Verdict:
        """Open the model on all candidates and measure them; of a single one, see that it opens.

        The process has ended when this returns. Where it dies, the candidate that it was at has
        dropped out. Raises what is wrong with the model itself, on whichever device.
        """
        order = Order(
            opening=self._opening,
            config=self._config,
            candidates=[str(device) for device in candidates],
            threads=self._threads,
        )
        ours, theirs = socket.socketpair()
        has_heard = threading.Event()
        with ours, theirs:
            number = theirs.fileno()
            with Child("torchloom_models.race", str(number), descriptors=[number]) as child:
                theirs.close()
                watch = threading.Thread(target=_hang_up, args=(child, ours, has_heard))
                watch.start()
                try:
                    verdict = self._converse(order, Line(ours), child)
                finally:
                    has_heard.set()
            watch.join()
        return verdict

    def _converse(self, order: Order, line: Line, child: Child) -> Verdict:
        with contextlib.suppress(OSError):  # it may have died already: that is heard next
            line.send(order)
        at = ""
        lost: dict[str, TorchLoomError] = {}
        while (message := line.receive()) is not None:
            match message:
                case At(device):
                    at = device
                case Told(what, fraction):
                    self._report(what, fraction)
                case Lost(device, error):
                    lost[device] = from_error(error)
                case Failed(error):
                    raise from_error(error)
                case Over():
                    child.wait(_EXIT_S)
                    tell_watcher(Known(tuple(message.pieces), tuple(message.failures)))
                    return Verdict(lost=lost, over=message)
        how = name_exit(child.wait(_EXIT_S))
        _log.warning("The trial of devices ended by %s, at %s.", how, at or "none of them yet")
        if not at:
            text = f"The trial of devices ended by {how} before it opened any; see the log."
            raise ModelLoadError(text)
        return Verdict(lost={**lost, at: TrialEnded(f"the trial ended by {how}")}, over=None)


def _hang_up(child: Child, connection: socket.socket, has_heard: threading.Event) -> None:
    """Wake who listens when the child has ended: what it has started may hold its end still."""
    child.wait()
    if not has_heard.wait(_LAST_WORDS_S):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)
