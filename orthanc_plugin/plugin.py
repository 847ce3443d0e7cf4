# SPDX-License-Identifier: AGPL-3.0-or-later
"""The doorbell: when a study becomes stable, Orthanc rings at the job service. And a full disk lets nobody in.

A ring is one datagram. It never waits and never fails Orthanc; unheard, nothing is lost: the job service reads the
change log. Below MINIPACS_RESERVE_MB of free disk C-STORE is refused: the sender keeps the image.
"""

import json
import os
import shutil
import socket
import time

import orthanc

OUT_OF_RESOURCES = 0xA700  # PS3.4 table B.2-1
LOOK_S = 1.0
ADDRESS, OLD_ADDRESS = "MINIPACS_STABLE_STUDY_ADDRESS", "MINIPACS_DOORBELL"


def ring(bell, address, study_id):
    """Tell that a study is stable; nobody at the door is no error."""
    try:
        bell.sendto(b"stable " + study_id.encode("ascii"), address)
    except OSError:
        return False
    return True


def doorkeeper(folder, reserve_mb):
    """Answers a C-STORE with its status; looks at the disk once a second at most."""
    looked, status = -LOOK_S, 0

    def answer(_instance):
        nonlocal looked, status
        if time.monotonic() - looked >= LOOK_S:
            looked = time.monotonic()
            status = OUT_OF_RESOURCES if shutil.disk_usage(folder).free < reserve_mb << 20 else 0
        return status

    return answer


def register(sdk, environ):
    """Ring on every STABLE_STUDY of this Orthanc, keep its door; `sdk` is the module `orthanc`. Returns the bell."""
    host, _, port = (environ.get(ADDRESS) or environ.get(OLD_ADDRESS) or "127.0.0.1:8043").rpartition(":")
    bell = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bell.setblocking(False)

    def on_change(change_type, _level, resource_id):
        if change_type == sdk.ChangeType.STABLE_STUDY and not ring(bell, (host, int(port)), resource_id):
            sdk.LogInfo("minipacs: nobody at the door; the change log will tell")

    sdk.RegisterOnChangeCallback(on_change)
    folder = json.loads(sdk.GetConfiguration()).get("StorageDirectory", ".")
    sdk.RegisterIncomingCStoreInstanceFilter(doorkeeper(folder, int(environ.get("MINIPACS_RESERVE_MB", "512"))))
    sdk.LogWarning(f"minipacs: ringing at {host}:{port} when a study is stable")
    return bell


BELL = register(orthanc, os.environ)
