"""Result files beside a plain nginx, frames beside Orthanc itself."""

import os
import shutil
import tempfile
from pathlib import Path

import urllib3
from pydicom import dcmread

from api import create_app
from api.auth import accounts
from benchmarks.lib.http_load import free_port, measure_in_turns, run_server, serve_app
from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.local.phantom import write_chest_ct
from minipacs.secrets import get_or_create_secret
from minipacs.settings import Settings

NGINX = """
daemon off; {user} pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{}}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  {temporary}
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
SIZES = {"64 kB": 64_000, "1 MB": 1_000_000, "16 MB": 16_000_000, "128 MB": 128_000_000}
FRONT_DOOR_APP = (
    "from api import create_app\nfrom minipacs.settings import Settings\napp = create_app(Settings.from_env())\n"
)


def measure_files(seconds: float) -> None:
    """Print the rate of result files of each size, from the front door and from nginx."""
    if shutil.which("nginx") is None and not Path("/usr/sbin/nginx").exists():
        print("files: nginx is not installed")
        return
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.from_env({"MINIPACS_HOME": home})
        state = create_app(settings).extensions["minipacs"]
        headers = {"Authorization": f"Bearer {accounts.create_token(state.database, 'benchmark', 'viewer')}"}
        state.close()
        root = settings.output / "results" / "1.2" / "3.4" / "slicer"
        root.mkdir(parents=True)
        for name, size in SIZES.items():
            (root / name.replace(" ", "")).write_bytes(bytes(size))
        folder, port = Path(home, "nginx"), free_port()
        folder.mkdir()
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in TEMPORARY)
        (folder / "nginx.conf").write_text(
            NGINX.format(user=user, folder=folder, port=port, root=root, temporary=temporary)
        )
        (folder / "front_door_app.py").write_text(FRONT_DOOR_APP)
        command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        print(f"\n{'file':<10}{'clients':>8}{'MB/s':>9}{'nginx':>9}{'of nginx':>10}")
        with (
            run_server(command, port, folder, {}),
            serve_app(folder, "front_door_app:app", settings.as_environment()) as front_door,
        ):
            for clients in (1, 4):
                for name in SIZES:
                    plain = name.replace(" ", "")
                    ours, theirs = measure_in_turns(
                        seconds,
                        clients,
                        (front_door, lambda _n, file=plain: f"/results/1.2/3.4/slicer/{file}", headers),  # type: ignore[misc]
                        (port, lambda _n, file=plain: f"/{file}", {}),  # type: ignore[misc]
                    )
                    ratio = ours.mb_s / theirs.mb_s
                    print(f"{name:<10}{clients:>8}{ours.mb_s:>9.0f}{theirs.mb_s:>9.0f}{ratio:>10.0%}", flush=True)


def measure_frames(seconds: float) -> None:
    """Frames of a CT of 512 × 512, one a request, through the gateway and from Orthanc."""
    with tempfile.TemporaryDirectory() as home:
        port = free_port()
        values = {"HOME": home, "ORTHANC_PORT": str(port), "DICOM_PORT": str(free_port())}
        settings = Settings.from_env({f"MINIPACS_{name}": value for name, value in values.items()})
        state = create_app(settings).extensions["minipacs"]
        headers = {"Authorization": f"Bearer {accounts.create_token(state.database, 'benchmark', 'viewer')}"}
        state.close()
        Path(home, "front_door_app.py").write_text(FRONT_DOOR_APP)
        with run_server(local_orthanc.prepare_start_command(settings), port, Path(home), local_orthanc.ENVIRONMENT):
            archive = Archive(settings)
            paths = []
            for file in write_chest_ct(Path(home, "ct"), slices=60):
                archive.store_file(file.read_bytes())
                ds = dcmread(file, stop_before_pixels=True)
                paths.append(
                    f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
                    f"/instances/{ds.SOPInstanceUID}/frames/1"
                )
            password = get_or_create_secret(settings.home, "orthanc_password")
            basic = urllib3.make_headers(basic_auth=f"{settings.orthanc_user}:{password}")
            with serve_app(Path(home), "front_door_app:app", settings.as_environment()) as front_door:
                print(f"\n{'frames':<10}{'clients':>8}{'per s':>9}{'p95 ms':>9}{'Orthanc':>9}{'of Orthanc':>12}")
                for clients in (1, 4):
                    ours, theirs = measure_in_turns(
                        seconds,
                        clients,
                        (front_door, lambda n: paths[n % len(paths)], headers),
                        (port, lambda n: paths[n % len(paths)], basic),
                    )
                    line = f"{'CT 512²':<10}{clients:>8}{ours.rate:>9.0f}{ours.p95_ms:>9.2f}{theirs.rate:>9.0f}"
                    print(f"{line}{ours.rate / theirs.rate:>12.0%}", flush=True)
            archive.close()
