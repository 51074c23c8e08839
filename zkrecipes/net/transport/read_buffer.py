"""The buffer into which all TCP streams of a thread read: each copies its bytes before the next one reads.

The size of a buffer for each read would have to be chosen before the size of the data is known. Above
malloc's threshold of 128 KiB such a buffer is mapped and unmapped each time. Below it, a reply of 1 MiB takes
many passes of the loop, and several times the CPU.
"""

from __future__ import annotations

import threading
from typing import Final, final

__all__ = ["read_buffer"]

_SIZE: Final = 256 * 1024


@final
class _ReadBuffer(threading.local):
    def __init__(self) -> None:
        self.view: memoryview[int] = memoryview(bytearray(_SIZE))


read_buffer: Final = _ReadBuffer()
