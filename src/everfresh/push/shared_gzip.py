"""Shared gzip: one compressed stream for each client, made of blocks that all of them share. Pure.

A gzip stream is a head, blocks of deflate, and a checksum of all that was said. Each frame is compressed once, as a
block that refers to nothing before it and ends on a byte (`Z_FULL_FLUSH`); so the same bytes stand in every stream, and
what is one client's own is ten bytes at the beginning and the checksum. A compressor for each client would take
7 to 16 µs of each delivery and 0.1 to 0.8 MiB of memory.
"""

from __future__ import annotations

import zlib

HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# 6 is zlib's own choice; a block is made once for everybody.
_LEVEL = 6
_LAST_BLOCK = b"\x03\x00"
_SIZE_MASK = 0xFFFF_FFFF


def block_of(text: bytes) -> bytes:
    """The text as a block of deflate that stands by itself."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH)


class Checksum:
    """What was said in one stream, for its end."""

    __slots__ = ("_crc", "n_bytes")

    def __init__(self) -> None:
        self._crc = 0
        self.n_bytes = 0
        """How much was said."""

    def add(self, text: bytes) -> None:
        """This was said too."""
        self._crc = zlib.crc32(text, self._crc)
        self.n_bytes += len(text)

    def end(self) -> bytes:
        """The last bytes of the stream."""
        size = self.n_bytes & _SIZE_MASK
        return _LAST_BLOCK + self._crc.to_bytes(4, "little") + size.to_bytes(4, "little")


def is_accepted(accept_encoding: str) -> bool:
    """Whether a client that sends this header takes gzip."""
    for choice in accept_encoding.lower().split(","):
        coding, _, parameters = choice.partition(";")
        if coding.strip() in {"gzip", "x-gzip"}:
            weight = parameters.replace(" ", "").removeprefix("q=")
            return not weight or weight.strip("0.") != ""
    return False
