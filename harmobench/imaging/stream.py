"""A file that is read forward once, unpacked and hashed on the way."""

from __future__ import annotations

import hashlib
import zlib
from typing import BinaryIO

BLOCK = 2**20  # bytes that are read or unpacked at once


class Stream:
    """Bytes of a file, unpacked where it is a .gz, in blocks.

    Parameters
    ----------
    raw
        The file, opened for bytes.
    packed
        Whether it is a .gz. Its checksum is checked where its end is reached.

    Attributes
    ----------
    digest
        SHA-256 of what was read of the file: of all of it where its end is reached.
    """

    def __init__(self, raw: BinaryIO, packed: bool) -> None:
        self.raw = raw
        self.packed = packed
        self.digest = hashlib.sha256()
        self.unpacker = zlib.decompressobj(31)  # 31: of a gzip member, with its checksum
        self.left = b""  # read and not unpacked yet

    def take(self, count: int) -> bytearray:
        """Take so many bytes; fewer where the file ends."""
        taken = bytearray(count)
        del taken[self.fill(taken) :]
        return taken

    def fill(self, buffer: bytearray) -> int:
        """Fill a buffer; return how many bytes there were."""
        done = 0
        with memoryview(buffer) as view:
            while done < len(buffer) and (some := self.some(len(buffer) - done)):
                view[done : done + len(some)] = some
                done += len(some)
        return done

    def some(self, most: int) -> bytes:
        """Take the next bytes, at most so many; none at the end."""
        if not self.packed:
            return self._block(most)
        while True:
            if self.unpacker.eof and not self._next_member():
                return b""
            packed = self.left or self._block()
            found = self.unpacker.decompress(packed, min(most, BLOCK))
            self.left = self.unpacker.unconsumed_tail
            if found:
                return found
            if not packed and not self.unpacker.eof:
                raise EOFError("the compressed stream ends before its end mark")

    def _next_member(self) -> bool:
        """Begin the next member of a .gz; zeros between or behind them are padding."""
        left = self.unpacker.unused_data.lstrip(b"\0")
        while not left:
            block = self._block()
            if not block:
                return False
            left = block.lstrip(b"\0")
        self.unpacker, self.left = zlib.decompressobj(31), left
        return True

    def _block(self, most: int = BLOCK) -> bytes:
        block = self.raw.read(min(most, BLOCK))
        self.digest.update(block)
        return block
