# SPDX-License-Identifier: AGPL-3.0-or-later
"""Closes Orthanc's HTTP port to other machines: Orthanc 1.10.1 can bind it to every address alone."""

import ctypes
import os
import socket
import struct

SO_ATTACH_FILTER = 26  # Linux, asm-generic/socket.h
LOOPBACK_FILTER = (  # classic BPF (operation, jump if true, if false, operand)
    (0x30, 0, 0, 0xFFF0000C),  # the first byte of the IPv4 source address
    (0x15, 0, 1, 127),  # is 127?
    (0x06, 0, 0, 0xFFFFFFFF),  # accept the packet
    (0x06, 0, 0, 0),  # drop it
)


def close_to_other_machines(port):
    """Let the kernel drop what comes to our listening TCP port from elsewhere than 127.0.0.0/8; whether it will."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in LOOPBACK_FILTER))
    program = struct.pack("HL", len(LOOPBACK_FILTER), ctypes.addressof(code))
    is_closed = False
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(descriptor))) as own:
                listens = own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listens and own.family == socket.AF_INET and own.getsockname()[1] == port:
                    own.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
                    is_closed = True
        except OSError:  # another thread closed it meanwhile, or the kernel has no filters
            continue
    return is_closed
