"""Install the npm packages and prepare the stock OHIF build: below /ohif/, minified, compressed. See docs/viewer.md.

    .venv/bin/python scripts/prepare_ohif.py [--test]   # into .ohif, or MINIPACS_OHIF; --test adds the linter

The npm package bakes the root path `/` into eleven files; they are rewritten. What our modes never
use (in-browser SAM, microscopy, source maps) is left out: 204 MB become about 45. Beside each text
file stand a `.br` and a `.gz`, so that the front door never compresses while somebody waits.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import brotli

PREFIX = "/ohif"
LOCK_FILE = Path("package-lock.json")
PACKAGES = Path("node_modules")
PACKAGE = Path("node_modules/@ohif/app")
ESBUILD = Path("node_modules/.bin/esbuild")
LEFT_OUT = ("ort", "dicom-microscopy-viewer")
COMPRESSED = {".js", ".css", ".html", ".wasm", ".svg", ".json", ".mjs"}
BROTLI_QUALITY = 9


def main() -> int:
    """Do what is missing; 0 when the packages are installed and the folder is ready."""
    os.chdir(Path(__file__).resolve().parent.parent)
    if not _install_packages(with_tests="--test" in sys.argv[1:]):
        return 1

    folder = Path(os.environ.get("MINIPACS_OHIF") or ".ohif")
    stamp = folder / ".made-from"
    expected_stamp = _build_digest()
    if stamp.is_file() and stamp.read_text() == expected_stamp:
        return 0

    _say("preparing the viewer (OHIF), once")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(PACKAGE / "dist", partial, ignore=_left_out)

    for path in sorted(p for p in partial.rglob("*") if p.is_file()):
        _move_below_prefix(path, partial)
    _minify(partial)
    with ProcessPoolExecutor() as pool:
        list(pool.map(_compress, [p for p in sorted(partial.rglob("*")) if p.suffix in COMPRESSED]))

    (partial / ".made-from").write_text(expected_stamp)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return 0


def _install_packages(*, with_tests: bool) -> bool:
    """Install the npm packages at the versions of the lock file, unless they are there; False when that failed."""
    stamp = PACKAGES / ".made-from"
    installed = stamp.read_text() if stamp.is_file() else ""
    lock_digest = hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()
    expected_stamp = lock_digest + ("[test]" if with_tests else "")
    if installed in (expected_stamp, lock_digest + "[test]"):
        return True

    if shutil.which("npm") is None:
        _say("npm is missing: install the Debian packages nodejs and npm, then start again")
        return False

    _say("fetching the viewer (OHIF) from npm")
    command = ["npm", "ci", "--loglevel=error", *([] if with_tests else ["--omit=dev"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (PACKAGE / "dist" / "index.html").is_file():
        words = (done.stderr or done.stdout).strip().splitlines()
        _say(f"npm could not fetch the viewer: {words[0] if words else 'it said nothing'}")
        return False

    stamp.write_text(expected_stamp)
    return True


def _build_digest() -> str:
    """Identify what the prepared build is made from: the OHIF and esbuild packages, and this script."""
    entries = json.loads(LOCK_FILE.read_text("utf-8"))["packages"]
    sources = [entries["node_modules/@ohif/app"]["integrity"], entries["node_modules/esbuild"]["integrity"]]
    return hashlib.sha256("".join(sources).encode() + Path(__file__).read_bytes()).hexdigest()


def _left_out(folder: str, names: list[str]) -> set[str]:
    top = Path(folder) == PACKAGE / "dist"
    return {n for n in names if n.endswith((".map", ".gz", ".br", ".LICENSE.txt")) or (top and n in LEFT_OUT)}


def _move_below_prefix(path: Path, root: Path) -> None:
    """Rewrite the baked-in root path of one file, if it has one."""
    if path.suffix not in {".html", ".json", ".js", ".css"}:
        return
    before = text = path.read_text("utf-8")
    if path == root / "index.html":
        text = text.replace('window.PUBLIC_URL="/"', f'window.PUBLIC_URL="{PREFIX}/"')
        text = re.sub(r'(src|href|content)="/(?!/)', rf'\1="{PREFIX}/', text)
    elif path.name == "manifest.json":
        text = text.replace('"/assets/', f'"{PREFIX}/assets/')
    elif path.suffix == ".js":
        text = text.replace('__webpack_require__.p = "/";', f'__webpack_require__.p = "{PREFIX}/";')
        text = text.replace("browserImportFunction('/dicom-", f"browserImportFunction('{PREFIX}/dicom-")
    elif path.suffix == ".css":
        text = text.replace("url(/", f"url({PREFIX}/")
    if text != before:
        path.write_text(text, "utf-8")


def _minify(folder: Path) -> None:
    """The npm build is not minified: esbuild makes 17 MB of app.bundle 7."""
    scripts = [str(p) for p in sorted(folder.glob("*.js")) if p.name not in {"app-config.js", "sw.js"}]
    command = [str(ESBUILD), *scripts, "--minify", f"--outdir={folder}", "--allow-overwrite", "--log-level=error"]
    subprocess.run([*command, "--legal-comments=none", "--keep-names"], check=True)


def _compress(path: Path) -> None:
    content = path.read_bytes()
    if len(content) > 1024:
        path.with_name(path.name + ".br").write_bytes(brotli.compress(content, quality=BROTLI_QUALITY))
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, 6, mtime=0))


def _say(sentence: str) -> None:
    print(f"minipacs: {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
