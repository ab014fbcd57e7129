"""Settings: everything that an operator decides about a server, frozen. Knows no model.

They come from a YAML file, then from the environment (`TORCHLOOM_…`), then from arguments.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

from torchloom.document import Document
from torchloom.errors import Fault, TorchLoomError, nearest
from torchloom_api.body import BodyLimit
from torchloom_api.budget import parse_budgets


#: Every setting may be given in the environment under this prefix and its name in capitals.
PREFIX: Final = "TORCHLOOM_"

#: Where the one key of a server without a key file stands: no setting, so that no file holds it.
KEY_VARIABLE: Final = "TORCHLOOM_API_KEY"

_MAX_PORT: Final = 65_535


class InvalidSettings(TorchLoomError):
    """The settings cannot be used; the server does not start."""

    title = "The settings are not valid"


class Address(msgspec.Struct, frozen=True):
    """Where a listener is bound. Port 0 takes any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `127.0.0.1:8080`, `[::1]:8080` or `:8080` (the loopback)."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
        if not (colon and port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
            message = f"{text!r} is no address. Write HOST:PORT, such as 127.0.0.1:8080."
            raise InvalidSettings(message)
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator decides. Times are in seconds, sizes in bytes."""

    #: Where registered models and workflows, and compiled artefacts, are kept.
    store: str = ".torchloom"
    #: HOST:PORT of the listener for runs and predictions.
    inference: str = "127.0.0.1:8080"
    #: HOST:PORT of the listener for registration; the same as `inference` where not given.
    management: str | None = None
    #: HOST:PORT of the listener for metrics; the same as `inference` where not given.
    metrics: str | None = None
    #: Listen beyond this machine although there are neither keys nor TLS.
    allow_open: bool = False
    #: File of the keys that requests must carry.
    api_keys: str | None = None
    #: Modules whose functions workflows and models may name.
    functions: tuple[str, ...] = ()
    #: Schemes that a registration over the network may fetch models from: hf, package, postgresql.
    sources: tuple[str, ...] = ("hf", "package")
    #: Install the Python packages that archives of TorchServe list, with pip.
    install_requirements: bool = False
    max_body_bytes: int = 32 * 1024 * 1024
    max_body_s: float = 60.0
    max_header_s: float = 10.0
    #: How long a client may take for a full buffer of its answer before the connection is cut.
    max_stall_s: float = 60.0
    #: How much memory models may hold on each device: bytes, or `12GiB`. Where nothing is said, the
    #: machine's less a tenth, and what is free of a CUDA device.
    memory: dict[str, str | int] = {}
    #: Let idle models be evicted for others, and loaded again when they are called.
    evict: bool = False
    #: How long any run may take; `X-Request-Timeout` may ask for less.
    max_run_s: float | None = None
    #: How many requests may be in hand at once.
    max_requests: int = 20_000
    #: How often a silent event stream says that it is still there.
    keepalive_s: float = 15.0
    #: How long a server that is told to end works on what it has accepted.
    grace_s: float = 30.0
    #: How many runs can be looked up.
    history_size: int = 1000

    @classmethod
    def load(
        cls,
        *,
        document: Document | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: Mapping[str, object] | None = None,
    ) -> Self:
        """Lay arguments over the environment over a file's values. Raises InvalidSettings.

        Arguments that are None count as not given. Unknown variables of the environment are left
        alone: the command line has some of its own.
        """
        values = {
            **_from_document(document, cls.__struct_fields__),
            **_from_environment(environment or {}, cls.__struct_fields__),
            **{name: v for name, v in (arguments or {}).items() if v is not None},
        }
        try:
            settings = msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as error:
            message = f"The settings are not valid: {error}."
            raise InvalidSettings(message) from None
        settings.check(has_keys=bool((environment or {}).get(KEY_VARIABLE)))
        return settings

    def check(self, *, has_keys: bool = False) -> None:
        """Refuse what cannot work, and listeners that are open by accident.

        `has_keys`: the environment holds a key.
        """
        positive = ("max_body_bytes", "max_body_s", "max_header_s", "max_stall_s", "max_run_s")
        for name in (*positive, "max_requests", "keepalive_s", "history_size"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                message = f"The setting {name!r} must be above 0, not {value}."
                raise InvalidSettings(message)
        try:
            parse_budgets(self.memory)
        except ValueError as error:
            raise InvalidSettings(f"The setting 'memory' is not valid: {error}") from None
        is_guarded = has_keys or self.api_keys is not None
        for address in set(self.addresses.values()):
            if not (address.is_loopback or self.allow_open or is_guarded):
                message = (
                    f"{address} can be reached from other machines, and there are neither keys nor "
                    "TLS. Bind to 127.0.0.1, name a file of keys (api_keys), or set allow_open if "
                    "this is what you want."
                )
                raise InvalidSettings(message)

    @property
    def addresses(self) -> dict[str, Address]:
        """Give the address of each scope: inference, management, metrics."""
        return {
            "inference": Address.parse(self.inference),
            "management": Address.parse(self.management or self.inference),
            "metrics": Address.parse(self.metrics or self.inference),
        }

    @property
    def listeners(self) -> dict[Address, frozenset[str]]:
        """Give the scopes of each listener; scopes with the same address share one."""
        listeners: dict[Address, set[str]] = {}
        for scope, address in self.addresses.items():
            listeners.setdefault(address, set()).add(scope)
        return {address: frozenset(scopes) for address, scopes in listeners.items()}

    @property
    def store_folder(self) -> Path:
        """Give the store's folder."""
        return Path(self.store)

    @property
    def artefacts_folder(self) -> Path:
        """Give the folder of compiled artefacts in the store: absolute, since workers are told."""
        return self.store_folder.resolve() / "artefacts"

    @property
    def archives_folder(self) -> Path:
        """Give the folder where archives are unpacked: absolute, since workers are told."""
        return self.store_folder.resolve() / "archives"

    @property
    def body_limit(self) -> BodyLimit:
        """Give the limits of bodies."""
        return BodyLimit(max_bytes=self.max_body_bytes, timeout_s=self.max_body_s)


def _from_document(document: Document | None, fields: tuple[str, ...]) -> dict[str, object]:
    if document is None:
        return {}
    if not isinstance(document.data, dict):
        raise InvalidSettings("The settings file must be a mapping of names to values.")
    unknown = [name for name in document.data if name not in fields]
    faults: list[Fault] = [
        document.fault(f"There is no setting {name!r}.{nearest(name, fields)}", name, at_key=True)
        for name in unknown
    ]
    if faults:
        raise InvalidSettings(f"The settings are not valid: {faults[0]}", faults=faults)
    return document.data


def _from_environment(environment: Mapping[str, str], fields: tuple[str, ...]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name in fields:
        text = environment.get(PREFIX + name.upper())
        if text is not None:
            values[name] = _read_variable(name, text)
    return values


def _read_variable(name: str, text: str) -> object:
    """Read a list as `a,b`, and amounts of memory as `cpu=12GiB,cuda:0=8GiB`."""
    if name in ("functions", "sources"):
        return [part.strip() for part in text.split(",")]
    if name == "memory":
        return read_pairs(text)
    return text


def read_pairs(text: str) -> dict[str, str]:
    """Read `cpu=12GiB,cuda:0=8GiB`; what is no amount is left to `check`."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return {device.strip(): amount.strip() for device, _, amount in pairs}
