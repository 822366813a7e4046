"""Sockets on which several processes listen, and stopping to listen without losing anybody."""

import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Any

SO_ATTACH_FILTER = 26
"""Linux; the ``socket`` module does not name it."""

DROP_SYN = (
    (0x30, 0, 0, 13),  # Load the byte of the flags in the header of TCP.
    (0x45, 0, 1, 0x02),  # If SYN is set go on, else skip the next.
    (0x06, 0, 0, 0),  # Drop the packet.
    (0x06, 0, 0, 0xFFFFFFFF),  # Keep it whole.
)
"""A filter of packets: each line is code, jump if true, jump if false, and value."""


class Shared(socket.socket):
    """A listening socket that other processes have as well: each takes one connection at a time.

    Tornado takes all that wait as soon as one comes, and whoever woke up first would serve them
    all. It asks again until nobody waits, so every second answer is that nobody does.
    """

    _took = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Raise ``BlockingIOError`` after each connection, and if there is none."""
        if self._took:
            self._took = False
            raise BlockingIOError
        accepted = super().accept()
        self._took = True
        return accepted


def refuse(sockets: Iterable[socket.socket]) -> None:
    """Let nobody connect any more, while those who began to can still be accepted.

    Closing a listening socket resets connections that wait in its queue, with the requests that
    were sent on them. Elsewhere than on Linux this does nothing.
    """
    if sys.platform != "linux":
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in DROP_SYN)
    buffer = ctypes.create_string_buffer(program, len(program))
    value = struct.pack("HP", len(DROP_SYN), ctypes.addressof(buffer))
    for each in sockets:
        with contextlib.suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, value)
