# SPDX-License-Identifier: AGPL-3.0-or-later
"""The doorbell: when a study becomes stable, Orthanc rings at the job service, and nothing else.

A ring is one datagram. Sending one never waits and never fails Orthanc; if nobody hears it, nothing
is lost, because the job service reads the change log too. Standard library and `orthanc` only.
"""

import os
import socket

import orthanc

DEFAULT_DOORBELL = "127.0.0.1:8043"


def doorbell_address(environ):
    """Host and port from MINIPACS_DOORBELL (host:port)."""
    host, _, port = environ.get("MINIPACS_DOORBELL", DEFAULT_DOORBELL).rpartition(":")
    return host, int(port)


def ring(bell, address, study_id):
    """Tell that a study is stable; nobody at the door is no error."""
    try:
        bell.sendto(b"stable " + study_id.encode("ascii"), address)
    except OSError:
        return False
    return True


def register(sdk, environ):
    """Ring on every STABLE_STUDY of this Orthanc; `sdk` is the module `orthanc`. Returns the bell."""
    address = doorbell_address(environ)
    bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bell.setblocking(False)

    def on_change(change_type, _level, resource_id):
        if change_type == sdk.ChangeType.STABLE_STUDY and not ring(bell, address, resource_id):
            sdk.LogInfo("minipacs: nobody at the door; the change log will tell")

    sdk.RegisterOnChangeCallback(on_change)
    sdk.LogWarning(f"minipacs: ringing at {address[0]}:{address[1]} when a study is stable")
    return bell


BELL = register(orthanc, os.environ)
