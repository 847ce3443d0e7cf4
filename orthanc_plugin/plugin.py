# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notifies the job service when a study becomes stable, and refuses C-STORE when the disk is nearly full.

The notification is one UDP datagram: it never waits and never fails Orthanc. It is signed with the job service's
password at this Orthanc, which both know. When it is lost, no study is: the job service reads the change log. Below
MINIPACS_RESERVE_MB of free disk the sender keeps its image. Where RemoteAccessAllowed is false, the HTTP port is closed
to other machines (`loopback_port.py`).
Associations that Orthanc has given up are closed (`dropped_associations.py`). Two routes say what Orthanc's own do not:
what instances hold (`instance_contents.py`), and what was deleted (`deletion_log.py`).
"""

import hmac
import json
import os
import shutil
import socket
import time

import deletion_log
import instance_contents
import orthanc
from dropped_associations import DroppedAssociations, is_watch_possible
from loopback_port import close_to_other_machines

OUT_OF_RESOURCES = 0xA700  # PS3.4 table B.2-1
DISK_CHECK_S = 1.0


def notify(address, study_id, key):
    """Send `stable <study> <signature>` to (host, port); whether it could be sent."""
    message = f"stable {study_id}"
    signature = hmac.digest(key.encode(), message.encode(), "sha256").hex()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp_socket:
            udp_socket.setblocking(False)
            udp_socket.sendto(f"{message} {signature}".encode(), address)
    except OSError:
        return False
    return True


def make_store_filter(folder, reserve_mb):
    """A filter that gives each C-STORE its status, 0 or A700; it looks at the disk once a second at most."""
    checked_at, status = -DISK_CHECK_S, 0

    def filter_store(_instance):
        nonlocal checked_at, status
        if time.monotonic() - checked_at >= DISK_CHECK_S:
            checked_at = time.monotonic()
            status = OUT_OF_RESOURCES if shutil.disk_usage(folder).free < reserve_mb << 20 else 0
        return status

    return filter_store


def register(sdk, environ):
    """Register the callbacks at this Orthanc (`sdk` is the module `orthanc`)."""
    configuration = json.loads(sdk.GetConfiguration())
    key = configuration.get("RegisteredUsers", {}).get(environ.get("MINIPACS_ORTHANC_USER", "minipacs"), "")
    address = environ.get("MINIPACS_STABLE_STUDY_ADDRESS") or environ.get("MINIPACS_DOORBELL") or "127.0.0.1:8043"
    host, _, port = address.rpartition(":")
    is_local = not configuration.get("RemoteAccessAllowed", False)
    dropped = DroppedAssociations(configuration.get("DicomPort", 4242))

    instance_contents.register(sdk)
    append_deletion = deletion_log.register(sdk)

    def on_change(change_type, level, resource_id):
        append_deletion(change_type, level, resource_id)
        if change_type == sdk.ChangeType.STABLE_STUDY and not notify((host, int(port)), resource_id, key):
            sdk.LogInfo("minipacs: the notification was not sent; the job service will read the change log")
        is_started = change_type == sdk.ChangeType.ORTHANC_STARTED
        if is_started and is_watch_possible(configuration):
            dropped.start()
        elif change_type == sdk.ChangeType.ORTHANC_STOPPED:
            dropped.stop()
        if is_started and is_local and not close_to_other_machines(configuration.get("HttpPort", 8042)):
            sdk.LogWarning("minipacs: the HTTP port is not closed to other machines; Orthanc refuses them itself")

    sdk.RegisterOnChangeCallback(on_change)
    folder = configuration.get("StorageDirectory", ".")
    sdk.RegisterIncomingCStoreInstanceFilter(make_store_filter(folder, int(environ.get("MINIPACS_RESERVE_MB", "512"))))


register(orthanc, os.environ)
