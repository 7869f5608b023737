"""Bytes that really left this process, as the kernel counts them; knows nothing of formulas."""

import os
import socket
import struct
from pathlib import Path

# struct tcp_info of linux/tcp.h (since 4.19): tcpi_bytes_sent, tcpi_bytes_retrans.
_BYTES_SENT, _BYTES_RESENT = 200, 208
_SOCKETS = Path("/proc/self/fd")


def tcp_bytes_sent() -> int:
    """Bytes that all open TCP sockets of this process have sent so far.

    Payload alone, without the headers of TCP and IP, and without what was sent again. Read it
    before and after some steps; a socket that is closed in between takes its count along. gloo
    sends through such sockets, NCCL does not.

    Raises:
        OSError: Not Linux, or a kernel older than 4.19.
    """
    total = 0
    for entry in os.listdir(_SOCKETS):
        try:
            if not os.readlink(_SOCKETS / entry).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry))) as connection:
                total += _sent(connection)
        except FileNotFoundError:  # closed since it was listed
            continue
    return total


def _sent(connection: socket.socket) -> int:
    tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
    if not tcp or connection.type != socket.SOCK_STREAM:
        return 0
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    if len(info) < _BYTES_RESENT + 8:
        raise OSError("this kernel does not count the bytes of a socket (Linux 4.19 and newer do)")
    sent, resent = (struct.unpack_from("Q", info, at)[0] for at in (_BYTES_SENT, _BYTES_RESENT))
    return int(sent - resent)
