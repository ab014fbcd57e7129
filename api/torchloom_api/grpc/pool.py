"""The pool of this package's message types: apart, so that a client's own copies do not clash."""

from __future__ import annotations

from typing import Final

from google.protobuf import any_pb2, empty_pb2
from google.protobuf.descriptor_pool import DescriptorPool


POOL: Final = DescriptorPool()

for _known in (any_pb2, empty_pb2):
    POOL.AddSerializedFile(_known.DESCRIPTOR.serialized_pb)
