"""What the audit costs: look-ups of a front door that notes them, in turns with one that does not.

    .venv/bin/python -m benchmarks.bench_audit [--databases sqlite postgresql] [--seconds S] [--rounds N]

Two servers of one process each, on one catalogue; one client asks them in turns. `few`: 20 addresses, so nearly each
look is a repeat; `many`: as many addresses as there are series. CPU is that of the whole server, its delivery of the
audit to the database included: it says what the audit costs, whatever else the machine does. The rate is what a client
sees. Medians of the rounds' ratios.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import psutil

from api import create_app
from api.auth import accounts
from benchmarks.bench_api import IMAGES_A_SERIES, fill_catalogue
from benchmarks.lib.http_load import PathOf, measure_load, serve_app
from minipacs.settings import Settings
from postgres import new_url

FEW = 20
WARM_UP_S = 2.0
WITH_AUDIT = (
    "from api import create_app\nfrom minipacs.settings import Settings\napp = create_app(Settings.from_env())\n"
)
WITHOUT_AUDIT = (
    WITH_AUDIT
    + "from api.auth import audit\n"
    + "app.before_request_funcs[None].remove(audit.note_beginning)\n"
    + "app.after_request_funcs[None].remove(audit.note_answer)\n"
)


def main() -> None:
    """Fill, serve, ask, print a table for each database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each server in a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for kind in arguments.databases:
        with tempfile.TemporaryDirectory(prefix="minipacs-audit-") as folder:
            measure(kind, Path(folder), arguments.images, arguments.seconds, arguments.rounds)


def measure(kind: str, folder: Path, images: int, seconds: float, rounds: int) -> None:
    """Print the table of one database."""
    url = f"sqlite:///{folder}/catalogue.sqlite" if kind == "sqlite" else new_url()
    settings = Settings.from_env(
        {"MINIPACS_HOME": str(folder), "MINIPACS_DATABASE_URL": url, "MINIPACS_ORTHANC_URL": "http://127.0.0.1:9"}
    )
    database = create_app(settings).extensions["minipacs"].database
    fill_catalogue(database, images)
    headers = {"Authorization": f"Bearer {accounts.create_token(database, 'bench', 'viewer')}"}

    (folder / "with_audit.py").write_text(WITH_AUDIT)
    (folder / "without_audit.py").write_text(WITHOUT_AUDIT)
    environment = settings.as_environment()
    with (
        serve_app(folder, "with_audit:app", environment) as noting,
        serve_app(folder, "without_audit:app", environment) as silent,
    ):
        print(
            f"| {kind} | addresses | ms of CPU without | with | more CPU | lower rate |\n|---|---|---:|---:|---:|---:|"
        )
        for name, path in build_routes(images // IMAGES_A_SERIES).items():
            for port in (noting, silent):
                measure_load(port, path, headers, WARM_UP_S, clients=1)
            pairs = [
                (measure_server(noting, path, headers, seconds), measure_server(silent, path, headers, seconds))
                for _ in range(rounds)
            ]
            print_row(name, pairs)


def build_routes(series: int) -> dict[tuple[str, str], PathOf]:
    """The path of the n-th request, by route and number of addresses."""
    templates = {
        "/patients/<id>/counts": "/patients/P{}/counts",
        "/series/<uid>": "/series/1.2.{}.1",
        "/studies/<uid>": "/studies/1.2.{}",
    }

    def choose_path(template: str, number: int) -> PathOf:
        return lambda n: template.format(n * 7919 % number)

    addresses = {"few": FEW, "many": series}
    return {
        (route, name): choose_path(template, number)
        for route, template in templates.items()
        for name, number in addresses.items()
    }


def measure_server(port: int, path: PathOf, headers: dict[str, str], seconds: float) -> tuple[float, float]:
    """Milliseconds of CPU of an answer, and answers a second."""
    before = read_cpu_s(port)
    figures = measure_load(port, path, headers, seconds, clients=1)
    return 1e3 * (read_cpu_s(port) - before) / (figures.rate * seconds), figures.rate


def read_cpu_s(port: int) -> float:
    """Seconds of CPU that the server at this port has used."""
    ours = [one for one in psutil.Process().children() if f"127.0.0.1:{port}" in one.cmdline()]
    times = [process.cpu_times() for one in ours for process in (one, *one.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def print_row(name: tuple[str, str], pairs: list[tuple[tuple[float, float], tuple[float, float]]]) -> None:
    """The medians of one route."""
    with_ms, without_ms = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
    more = statistics.median(noting[0] / silent[0] - 1 for noting, silent in pairs)
    lower = statistics.median(1 - noting[1] / silent[1] for noting, silent in pairs)
    print(
        f"| `{name[0]}` | {name[1]} | {without_ms:.2f} | {with_ms:.2f} | {more:.0%} | {lower:.0%} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
