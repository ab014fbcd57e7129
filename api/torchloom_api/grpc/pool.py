"""The pool of this package's message types: apart, so that a client's own copies do not clash."""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor_pool import DescriptorPool


POOL: Final = DescriptorPool()
