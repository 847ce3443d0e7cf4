# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notifies the job service when a study becomes stable, and refuses C-STORE when the disk is nearly full.

The notification is one UDP datagram: it never waits and never fails Orthanc. It is signed with the job service's
password at this Orthanc, which both know. When it is lost, no study is: the job service reads the change log. Below
MINIPACS_RESERVE_MB of free disk the sender keeps its image.
"""

import hmac
import json
import os
import shutil
import socket
import time

import orthanc

OUT_OF_RESOURCES = 0xA700  # PS3.4 table B.2-1
DISK_CHECK_S = 1.0


def notify(udp_socket, address, study_id, key):
    """Send `stable <study> <signature>` to (host, port); whether it could be sent."""
    message = f"stable {study_id}"
    signature = hmac.digest(key.encode(), message.encode(), "sha256").hex()
    try:
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
    """Register both callbacks at this Orthanc (`sdk` is the module `orthanc`); returns the socket they send from."""
    configuration = json.loads(sdk.GetConfiguration())
    key = configuration.get("RegisteredUsers", {}).get(environ.get("MINIPACS_ORTHANC_USER", "minipacs"), "")
    address = environ.get("MINIPACS_STABLE_STUDY_ADDRESS") or environ.get("MINIPACS_DOORBELL") or "127.0.0.1:8043"
    host, _, port = address.rpartition(":")
    udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp_socket.setblocking(False)

    def on_change(change_type, _level, study_id):
        if change_type == sdk.ChangeType.STABLE_STUDY and not notify(udp_socket, (host, int(port)), study_id, key):
            sdk.LogInfo("minipacs: the notification was not sent; the job service will read the change log")

    sdk.RegisterOnChangeCallback(on_change)
    folder = configuration.get("StorageDirectory", ".")
    sdk.RegisterIncomingCStoreInstanceFilter(make_store_filter(folder, int(environ.get("MINIPACS_RESERVE_MB", "512"))))
    return udp_socket


SOCKET = register(orthanc, os.environ)
