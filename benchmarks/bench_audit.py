"""What the audit costs: look-ups of a front door that notes them, in turns with one that does not.

    .venv/bin/python -m benchmarks.bench_audit [--databases sqlite postgresql] [--seconds S] [--rounds N]

Two servers of one process each, on one catalogue; one client asks them in turns. `few`: 20 addresses, so nearly each
look is a repeat; `many`: as many addresses as there are series. CPU is that of the whole server, its delivery of the
audit to the database included: it says what the audit costs, whatever else the machine does. The rate is what a client
sees. The rounds are short, so that what else the machine does falls on both alike.
"""

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from api import create_app
from api.auth import accounts
from benchmarks.bench_api import IMAGES_A_SERIES, fill_catalogue
from benchmarks.lib.http_load import PathOf, measure_load, serve_app
from minipacs.settings import Settings
from postgres import new_url

FEW = 20
WARM_UP_S = 1.5
WITH_AUDIT = (
    "from api import create_app\nfrom minipacs.settings import Settings\napp = create_app(Settings.from_env())\n"
)
WITHOUT_AUDIT = (
    WITH_AUDIT
    + "from api.auth import audit\n"
    + "app.before_request_funcs[None].remove(audit.note_beginning)\n"
    + "app.after_request_funcs[None].remove(audit.note_answer)\n"
)


@dataclass
class ServerFigures:
    """What was measured of one server."""

    port: int
    began_s: float = 0.0
    """Its CPU before the first round."""
    rates: list[float] = field(default_factory=list)
    """Answers a second, of each round."""

    def measure_cpu_ms(self, seconds: float) -> float:
        """Milliseconds of CPU of an answer; what it did between the rounds is counted."""
        return 1e3 * (read_cpu_s(self.port) - self.began_s) / (sum(self.rates) * seconds)


def main() -> None:
    """Fill, serve, ask, print a table for each database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=0.25, help="of each server in a round")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    for kind in arguments.databases:
        with tempfile.TemporaryDirectory(prefix="minipacs-audit-") as folder:
            measure(kind, Path(folder), arguments.images, arguments.seconds, arguments.rounds)


def measure(kind: str, folder: Path, images: int, seconds: float, rounds: int) -> None:
    """Print the table of one database."""
    url = f"sqlite:///{folder}/catalogue.sqlite" if kind == "sqlite" else new_url(kind, folder)
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
        print("| database | route | addresses | ms of CPU without | with | more CPU | lower rate |")
        print("|---|---|---|---:|---:|---:|---:|")
        for name, path in build_routes(images // IMAGES_A_SERIES).items():
            with_audit, without_audit = servers = ServerFigures(noting), ServerFigures(silent)
            for server in servers:
                measure_load(server.port, path, headers, WARM_UP_S, clients=1)
                server.began_s = read_cpu_s(server.port)
            for _ in range(rounds):
                for server in servers:
                    server.rates.append(measure_load(server.port, path, headers, seconds, clients=1).rate)
            print_row((kind, *name), with_audit, without_audit, seconds)


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


def read_cpu_s(port: int) -> float:
    """Seconds of CPU that the server at this port has used."""
    ours = [one for one in psutil.Process().children() if f"127.0.0.1:{port}" in one.cmdline()]
    times = [process.cpu_times() for one in ours for process in (one, *one.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def print_row(name: tuple[str, ...], noting: ServerFigures, silent: ServerFigures, seconds: float) -> None:
    """The figures of one route."""
    with_ms, without_ms = noting.measure_cpu_ms(seconds), silent.measure_cpu_ms(seconds)
    lower = 1 - sum(noting.rates) / sum(silent.rates)
    figures = [f"{without_ms:.3f}", f"{with_ms:.3f}", f"{with_ms / without_ms - 1:.1%}", f"{lower:.1%}"]
    print("|", " | ".join([*name, *figures]), "|", flush=True)


if __name__ == "__main__":
    main()
