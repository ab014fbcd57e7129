"""Key file: which keys a server takes, as its operator writes them. Knows no request.

```yaml
keys:
  - {name: app, sha256: 9f86d0…, scopes: [inference]}
  - {name: ops, env: OPS_KEY, scopes: [management, metrics]}
```
"""

from __future__ import annotations

import hashlib
import logging
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from torchloom.document import Document
from torchloom.errors import Fault, InvalidWorkflow, nearest
from torchloom_api.key_ring import SCOPES, ApiKey, KeyRing
from torchloom_api.settings import KEY_VARIABLE, InvalidSettings
from torchloom_workflows.loader import load_document


_log = logging.getLogger(__name__)

_FIELDS: Final = ("name", "sha256", "env", "scopes")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")


def load_keys(file: str | None, environment: Mapping[str, str]) -> KeyRing:
    """Read a key file; without one, the key in TORCHLOOM_API_KEY is for everything.

    Raises InvalidSettings, with every fault.
    """
    if file is not None:
        return KeyRing(_read_file(Path(file), environment))
    alone = environment.get(KEY_VARIABLE)
    if not alone:
        return KeyRing()
    return KeyRing([ApiKey(name=KEY_VARIABLE, digest=_hash(alone), scopes=SCOPES)])


def _read_file(file: Path, environment: Mapping[str, str]) -> list[ApiKey]:
    try:
        text = file.read_bytes()
        is_open = bool(file.stat().st_mode & stat.S_IROTH)
    except OSError as error:
        message = f"The key file {str(file)!r} cannot be read: {error.strerror or error}."
        raise InvalidSettings(message) from None
    if is_open:
        _log.warning("key file %s can be read by every user here: chmod o-r %s", file, file)
    try:
        document = load_document(text, str(file))
    except InvalidWorkflow as error:
        raise InvalidSettings(error.message, faults=error.faults) from None
    return KeyReader(document, environment).read()


class KeyReader:
    """Reads one document, and gathers what is wrong with it."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._faults: list[Fault] = []
        self._keys: list[ApiKey] = []

    def read(self) -> list[ApiKey]:
        """Give the keys. Raises InvalidSettings, with every fault."""
        for index, entry in self._entries():
            key = self._read_entry(index, entry)
            if key is not None:
                self._keys.append(key)
        if self._faults:
            message = f"The key file is not valid: {self._faults[0]}"
            raise InvalidSettings(message, faults=self._faults)
        return self._keys

    def _entries(self) -> Iterator[tuple[int, Mapping[str, object]]]:
        data = self._document.data
        entries = data.get("keys") if isinstance(data, dict) and set(data) == {"keys"} else None
        if not isinstance(entries, list) or not entries:
            self._refuse("A key file is `keys:` and a list of at least one.")
            return
        for index, entry in enumerate(entries):
            if isinstance(entry, dict):
                yield index, entry
            else:
                self._refuse("A key has a name, sha256 or env, and scopes.", "keys", index)

    def _read_entry(self, index: int, entry: Mapping[str, object]) -> ApiKey | None:
        num_before = len(self._faults)
        for field in entry.keys() - set(_FIELDS):
            message = f"A key has no {field!r}.{nearest(field, _FIELDS)}"
            self._refuse(message, "keys", index, field)
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            self._refuse("A key needs a name.", "keys", index)
        elif name in (key.name for key in self._keys):
            self._refuse(f"Two keys have the name {name!r}.", "keys", index, "name")
        digest = self._read_digest(index, entry)
        if digest is not None and digest in (key.digest for key in self._keys):
            self._refuse("This key is there already, under another name.", "keys", index)
        scopes = self._read_scopes(index, entry.get("scopes"))
        if digest is None or len(self._faults) > num_before:
            return None
        return ApiKey(name=str(name), digest=digest, scopes=scopes)

    def _read_digest(self, index: int, entry: Mapping[str, object]) -> bytes | None:
        written, variable = entry.get("sha256"), entry.get("env")
        if (written is None) == (variable is None):
            self._refuse("A key has either sha256 or env.", "keys", index)
        elif variable is not None:
            value = self._environment.get(variable) if isinstance(variable, str) else None
            if value:
                return _hash(value)
            message = f"The variable {variable!r}, which should hold the key, is not set."
            self._refuse(message, "keys", index, "env")
        elif isinstance(written, str) and _DIGEST.fullmatch(written):
            return bytes.fromhex(written)
        else:
            # Not repeated: it may be the key itself.
            self._refuse("sha256 must be 64 hexadecimal digits.", "keys", index, "sha256")
        return None

    def _read_scopes(self, index: int, value: object) -> frozenset[str]:
        if not isinstance(value, list) or not value:
            message = f"A key needs scopes: a list of {', '.join(sorted(SCOPES))}."
            self._refuse(message, "keys", index)
            return frozenset()
        for place, scope in enumerate(value):
            if scope not in SCOPES:
                message = f"There is no scope {scope!r}.{nearest(str(scope), sorted(SCOPES))}"
                self._refuse(message, "keys", index, "scopes", place)
        return frozenset(str(scope) for scope in value)

    def _refuse(self, message: str, *place: str | int) -> None:
        self._faults.append(self._document.fault(message, *place))


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.strip().encode()).digest()
