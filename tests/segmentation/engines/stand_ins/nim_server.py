"""Stands in for a VISTA-3D NIM: its routes and rules, over HTTP, with a threshold for a network.

It fetches the image it is sent, as the real one does, and refuses a payload that breaks the contract.
`mischief`: busy (503), refuse (422), cut (no whole answer), hang, elsewhere (another geometry), strange (a label
nobody named), text (no label file), away (not ready). `form`: nii.gz, nrrd or zip.
"""

import io
import json
import threading
import urllib.request
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from waiting import PATIENCE_S

LABELS = {"0": "background", "1": "liver", "14": "left kidney", "133": "fibula", "150": "white matter hyperintensity"}


class Nim(ThreadingHTTPServer):
    """On a free loopback port; what it was asked stands in `asked`."""

    def __init__(self, form="nii.gz", mischief=""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.form, self.mischief, self.asked = form, mischief, []
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def segment(self, asked):
        """The label file for a payload."""
        import numpy as np
        import SimpleITK

        with TemporaryDirectory() as folder:
            file = Path(folder, asked["image"].rpartition("/")[2])
            with urllib.request.urlopen(asked["image"]) as answer:
                file.write_bytes(answer.read())
            image = SimpleITK.ReadImage(str(file))
            values = SimpleITK.GetArrayFromImage(image)
            labels = np.zeros(values.shape, np.uint8)
            if "points" in asked["prompts"]:
                for name, points in asked["prompts"]["points"].items():
                    value = next(int(v) for v, known in LABELS.items() if known == name)
                    for i, j, k in points:
                        labels[values == values[k, j, i]] = value
            else:
                labels[values > -200] = 1
                labels[values > 200] = 14
            if self.mischief == "strange":
                labels[labels == 14] = 99
            made = SimpleITK.GetImageFromArray(labels)
            made.CopyInformation(image)
            if self.mischief == "elsewhere":
                made.SetOrigin((7, 7, 7))
            suffix = ".nrrd" if self.form == "nrrd" else ".nii.gz"
            result = Path(folder, f"image_seg{suffix}")
            SimpleITK.WriteImage(made, str(result))
            if self.form != "zip":
                return "application/octet-stream", result.read_bytes()
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr("notes.txt", "a file that is none of ours")
                archive.write(result, result.name)
            return "application/zip", packed.getvalue()


class Handler(BaseHTTPRequestHandler):
    """The routes."""

    def do_GET(self):
        """Health and information."""
        if self.path == "/v1/health/ready":
            self.answer(503 if self.server.mischief == "away" else 200, "application/json", b'{"status":"ready"}')
        elif self.path == "/v1/vista3d/info":
            answer = {"name": "VISTA3D", "description": "", "version": "0.5.7", "labels": LABELS}
            self.answer(200, "application/json", json.dumps(answer).encode())
        else:
            self.answer(404, "application/json", b"{}")

    def do_POST(self):
        """Inference."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        mischief = self.server.mischief
        prompts = asked.get("prompts", {})
        wrong = set(asked) - {"image", "prompts"} or set(prompts) - {"classes", "points"} or len(prompts) != 1
        if self.path != "/v1/vista3d/inference" or wrong or mischief == "refuse":
            self.answer(422, "application/json", b'{"detail": "that is not the contract"}')
        elif mischief == "busy":
            self.answer(503, "application/json", b'{"detail": "busy"}')
        elif mischief == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"PK")
        elif mischief == "hang":
            self.server.released.wait(PATIENCE_S)
        elif mischief == "text":
            self.answer(200, "text/plain", b"good morning")
        else:
            self.answer(200, *self.server.segment(asked))

    def answer(self, status, kind, content):
        """Status, type, body."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Quiet."""
