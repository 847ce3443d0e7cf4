"""How long a study takes to open in OHIF: our front door, and the same build served by nginx beside Orthanc.

    .venv/bin/python -m benchmarks.bench_viewer FOLDER [--rounds N]        FOLDER: a CT series

Both serve the same prepared files and proxy the same Orthanc; nginx without login. Each round opens the
study in a browser that knows nothing yet, then again; who comes first alternates. Then: from a click to the
overlay.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.lib.free_ports import settings_on_free_ports
from minipacs.archive.c_store import send_folder
from minipacs.secrets import get_or_create_secret
from minipacs.settings import ROOT, Settings
from stack import free_ports

ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PASSWORD = "of the benchmark"
WATCH = """(() => { const look = () => {
    const viewports = window.cornerstone?.getRenderingEngines().flatMap(engine => engine.getViewports()) ?? [];
    if (viewports.some(viewport => viewport.getImageData?.())) window.firstImage = performance.now();
    else requestAnimationFrame(look);
}; look(); })()"""
RESOURCES = "() => performance.getEntriesByType('resource').map(e => [e.name, e.transferSize, e.encodedBodySize])"
TO_OVERLAY = "() => performance.getEntriesByName('minipacs: click to overlay').map(entry => entry.duration)"
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; include /etc/nginx/mime.types;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream orthanc {{ server 127.0.0.1:{archive}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port}; gzip_static on;
    location /ohif/ {{ alias {build}/; try_files $uri /ohif/index.html; add_header Cache-Control no-cache; }}
    location = /ohif/app-config.js {{ alias {root}/ohif_config/app-config.js; }}
    location /ohif/extension/ {{ alias {root}/ohif_config/extension/; }}
    location ~ "^/ohif/(.*[.][0-9a-f]{{16}}[.]js|[0-9a-f]{{16}}[.](wasm|woff2))$" {{
      alias {build}/$1; add_header Cache-Control "max-age=31536000, immutable"; }}
    location /dicom-web/ {{ proxy_pass http://orthanc; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host:$server_port; proxy_set_header Accept-Encoding "";
      proxy_set_header Authorization "Basic {basic}"; }}
  }}
}}
"""


def main() -> None:
    """Open the study in turns; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, serve_both(Path(home)) as (settings, ours, nginx):
        (study,) = send_folder(arguments.folder, settings).studies
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
            servers = {"ours": ours, "nginx beside Orthanc": nginx}
            visits: dict[str, list[tuple[Any, ...]]] = {name: [] for name in servers}
            time_visit(
                browser, nginx, study, login=False
            )  # not counted: the browser's and the archive's own first time
            for n in range(arguments.rounds):
                for name in sorted(servers, reverse=n % 2 == 0):
                    visits[name].append(time_visit(browser, servers[name], study, login=name == "ours"))
                    print(name, *visits[name][-1], file=sys.stderr, flush=True)
            print_visits(visits)
            print_click_times(browser, ours, study)
            browser.close()


@contextmanager
def serve_both(home: Path) -> Iterator[tuple[Settings, str, str]]:
    """Run the product without an automatic engine, and nginx beside it; yields settings and both addresses."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("nginx is not installed")

    settings = settings_on_free_ports(home, engine="none", admin_password=PASSWORD)
    with run_product(settings), run_nginx(program, settings, Path(tempfile.mkdtemp(dir=home))) as address:
        yield settings, f"http://127.0.0.1:{settings.http_port}", address


@contextmanager
def run_product(settings: Settings) -> Iterator[None]:
    """Run `minipacs up`; yields when it is ready."""
    up = subprocess.Popen(
        [sys.executable, "-m", "minipacs.cli", "up"],
        env={**os.environ, **settings.as_environment()},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert up.stdout is not None
    try:
        while up.stdout.readline().strip() != "minipacs: ready":
            if up.poll() is not None:
                raise SystemExit("minipacs up has ended")
        yield
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate()


@contextmanager
def run_nginx(program: str, settings: Settings, folder: Path) -> Iterator[str]:
    """Run nginx over the same build and the same Orthanc, its files in `folder`; yields its address."""
    (port,) = free_ports(1)
    password = settings.orthanc_password or get_or_create_secret(settings.home, "orthanc_password")
    configuration = NGINX.format(
        folder=folder,
        port=port,
        archive=settings.orthanc_port,
        build=settings.ohif,
        root=ROOT,
        basic=b64encode(f"{settings.orthanc_user}:{password}".encode()).decode(),
    )
    (folder / "nginx.conf").write_text(configuration)

    nginx = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for_answer(address + "/ohif/")
        yield address
    finally:
        nginx.terminate()
        nginx.wait(10)


def wait_for_answer(address: str) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def time_visit(browser: Browser, address: str, study: str, *, login: bool) -> tuple[float, float, float, float, int]:
    """Visit twice: first image, s; again, s; MB of each; bundles that came over the wire again."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    if login:
        log_in(page, address)
    first, loaded = open_study(page, address, study)
    page.goto("about:blank")
    again, repeated = open_study(page, address, study)
    bundles = sum(1 for name, moved, size in repeated if ".bundle." in name and moved >= size > 0)
    context.close()
    files = [r for r in loaded if "/dicom-web/" not in r[0]], [r for r in repeated if "/dicom-web/" not in r[0]]
    first_mb, again_mb = (sum(moved for _, moved, _ in part) / 1e6 for part in files)
    return first, again, first_mb, again_mb, bundles


def log_in(page: Page, address: str) -> None:
    """Log in at the front door as its administrator."""
    page.goto(address + "/login")
    page.fill("input[name=user]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(address + "/")


def open_study(page: Page, address: str, study: str) -> tuple[float, list[tuple[str, int, int]]]:
    """Open a study: seconds from the navigation to the first image, and what was loaded."""
    page.goto(f"{address}/ohif/viewer?StudyInstanceUIDs={study}")
    page.wait_for_function("() => window.firstImage > 0", timeout=120_000)
    return page.evaluate("window.firstImage") / 1000, page.evaluate(RESOURCES)


def print_visits(visits: dict[str, list[tuple[Any, ...]]]) -> None:
    """Print the medians, and the ratio to nginx."""
    print("| served by | first image, s | again, s | files, MB | again, MB | bundles sent again |")
    print("|---|---:|---:|---:|---:|---:|")
    medians = {name: [statistics.median(c) for c in zip(*rows, strict=True)] for name, rows in visits.items()}
    for name, (first, again, mb, again_mb, bundles) in medians.items():
        print(f"| {name} | {first:.2f} | {again:.2f} | {mb:.2f} | {again_mb:.3f} | {bundles:.0f} |")
    ours, theirs = medians.values()
    print(f"| ratio of the medians | {ours[0] / theirs[0]:.2f} | {ours[1] / theirs[1]:.2f} | | | |")
    for name, rows in visits.items():
        print(f"{name}: first visits", *(f"{row[0]:.2f}" for row in rows), "again", *(f"{row[1]:.2f}" for row in rows))


def print_click_times(browser: Browser, address: str, study: str, count: int = 12) -> None:
    """Print the times from a click to its overlay on the screen."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    log_in(page, address)
    open_study(page, address, study)
    page.wait_for_timeout(8000)  # the series is fetched meanwhile, as it is for a person who looks first
    page.locator('[data-cy="segment-btn"]').first.click()
    page.get_by_role("button", name="+ Point").click()
    box = page.locator(".cornerstone-canvas").first.bounding_box()
    assert box is not None
    for n in range(count):
        page.mouse.click(box["x"] + box["width"] * (0.4 + 0.015 * n), box["y"] + box["height"] * (0.6 + 0.01 * n))
        page.wait_for_function(f"() => ({TO_OVERLAY})().length > {n}", timeout=60_000)
        page.wait_for_timeout(700)
    first, *times = page.evaluate(TO_OVERLAY)
    context.close()
    median, largest = f"{statistics.median(times):.0f}", f"{max(times):.0f}"
    print(f"click to overlay, ms: first {first:.0f}; of {len(times)} more: median {median}, largest {largest}")


if __name__ == "__main__":
    main()
