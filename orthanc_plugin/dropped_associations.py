# SPDX-License-Identifier: AGPL-3.0-or-later
"""Closes the associations that Orthanc has given up.

Without the memory for an object, Orthanc 1.10.1 says nothing to its sender: DCMTK waits 180 s for the sender to close
the connection, in one of Orthanc's 4 threads for DICOM, and the sender waits for the answer. That wait is known by its
length, which is no setting.
"""

import os
import platform
import socket
import struct
import threading

CHECK_S = 1.0
DCMTK_WAITS_S = 180  # ASC_dropSCPAssociation
POLL_CALLS = {"x86_64": 7}  # Linux: number of the system call, by machine


def is_watch_possible(configuration):
    """Whether we know such a wait by what Linux says of a thread; living associations must have another time."""
    return platform.machine() in POLL_CALLS and configuration.get("DicomScpTimeout", 30) != DCMTK_WAITS_S


def find_dropped_associations():
    """The threads of this process in which DCMTK waits for the end of an association, each with its descriptor."""
    found = set()
    with open("/proc/self/mem", "rb", buffering=0) as memory:  # unlike a pointer, it may be asked for what is gone
        for thread in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{thread}/syscall") as file:
                    call, *arguments = file.read().split()
                if call != str(POLL_CALLS[platform.machine()]):
                    continue
                polled, count, timeout_ms = (int(each, 16) for each in arguments[:3])
                if (count, timeout_ms) == (1, DCMTK_WAITS_S * 1000):
                    found.add((thread, struct.unpack("i", os.pread(memory.fileno(), 4, polled))[0]))
            except (OSError, ValueError, struct.error):  # it has ended meanwhile, or is running
                continue
    return found


def shut_down_association(descriptor, port):
    """Shut down a connection to our DICOM port: who waits for its peer waits no longer; whether it was one."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as own:
            if own.getsockname()[1] != port:
                return False
            own.shutdown(socket.SHUT_RDWR)
    except (OSError, IndexError):  # closed meanwhile, or no socket
        return False
    return True


class DroppedAssociations(threading.Thread):
    """Closes associations that are over and whose peer has not closed them from one look to the next."""

    def __init__(self, port, interval_s=CHECK_S):
        super().__init__(daemon=True)
        self._port, self._interval_s = port, interval_s
        self._is_stopped = threading.Event()

    def run(self):
        """Look until it is stopped."""
        seen = set()
        while not self._is_stopped.wait(self._interval_s):
            waiting = find_dropped_associations()
            for _thread, descriptor in waiting & seen:
                shut_down_association(descriptor, self._port)
            seen = waiting

    def stop(self):
        """Look no more."""
        self._is_stopped.set()
        if self.is_alive():
            self.join()
