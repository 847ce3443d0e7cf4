# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers what the files of many instances hold, by MD5: no bulk answer of Orthanc 1.10.1 has it.

`POST /minipacs/content` takes a JSON list of at most 500 of Orthanc's identifiers, and answers
`{identifier: [MD5, UUID, bytes]}`, all of the file as it was stored. An instance that is not there is left out.
Orthanc asks for its user and password first, as for every route.
"""

import json
import re

MOST_KEYS = 500
"""About 8 ms, in which no other thread of the plugin runs for long: C-STORE waits for its filter."""
KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
BAD_REQUEST, TOO_LARGE, SERVER_ERROR = 400, 413, 500


def parse_keys(body):
    """The identifiers of a request; raises ValueError for anything else."""
    keys = json.loads(body)
    if not isinstance(keys, list) or not all(isinstance(key, str) and KEY.fullmatch(key) for key in keys):
        raise ValueError("no list of identifiers")
    return keys


def read_content(sdk, key):
    """MD5, UUID and size of an instance's file; None where it is not there. Raises what else Orthanc says."""
    try:
        info = json.loads(sdk.RestApiGet(f"/instances/{key}/attachments/dicom/info"))
    except sdk.OrthancException as error:
        if error.args[:1] == (sdk.ErrorCode.UNKNOWN_RESOURCE,):
            return None
        raise
    return [info["UncompressedMD5"], info["Uuid"], int(info["UncompressedSize"])]


def answer_content(sdk, output, method, body):
    """Answer one request: all the instances that are there, or an error for all."""
    if method != "POST":
        output.SendMethodNotAllowed("POST")
        return
    try:
        keys = parse_keys(body)
    except (ValueError, RecursionError):
        output.SendHttpStatusCode(BAD_REQUEST)
        return
    if len(keys) > MOST_KEYS:
        output.SendHttpStatusCode(TOO_LARGE)
        return
    contents = {key: content for key in keys if (content := read_content(sdk, key)) is not None}
    output.AnswerBuffer(json.dumps(contents), "application/json")


def register(sdk):
    """Register the route at this Orthanc."""

    def callback(output, _uri, **request):
        try:
            answer_content(sdk, output, request["method"], request.get("body") or b"")
        except Exception as error:  # Orthanc must not meet it; what the index lacks is not told from what is gone
            sdk.LogWarning(f"minipacs: the contents of instances were not read ({type(error).__name__})")
            output.SendHttpStatusCode(SERVER_ERROR)

    sdk.RegisterRestCallback("/minipacs/content", callback)
