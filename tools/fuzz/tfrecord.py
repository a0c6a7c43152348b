"""Frame payloads as TensorBoard event files do (the TFRecord format of TensorFlow)."""

from __future__ import annotations

import struct

from lora_tui.formats.tensorboard import masked_crc32c


def framed_record(payload: bytes) -> bytes:
    """Return one record: length, its checksum, the payload, its checksum."""
    head = struct.pack("<Q", len(payload))
    return head + struct.pack("<I", masked_crc32c(head)) + payload + struct.pack("<I", masked_crc32c(payload))
