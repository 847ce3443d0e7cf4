"""What listens is what docs/security.md lists, and other machines reach nothing that no setting opens to them."""

import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from minipacs.archive import local_orthanc
from minipacs.local.phantom import write_chest_ct
from minipacs.settings import ROOT, Settings
from pool_attack import addresses_of_this_machine
from stack import RunningStack, command_line, running
from waiting import LOOK_S, until

pytestmark = pytest.mark.integration
PROGRAMS = {
    "minipacs.jobs.worker": "worker",
    "minipacs.cli service": "job service",
    "minipacs.cli prompts": "prompt service",
    "minipacs.cli api": "front door",
    "Orthanc": "Orthanc",
}
"""Words of a command line, and what docs/security.md calls the program."""
ANY_PORT = 0
REFUSED_AFTER_S = 2.0
"""How long a connection from elsewhere is tried: it would succeed at once."""


class ListeningSocket(NamedTuple):
    """A socket at which a process can be reached by others."""

    program: str
    kind: str
    host: str
    port: int


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    if local_orthanc.find_binary() is None:
        pytest.skip("needs Orthanc")
    with running(tmp_path_factory.mktemp("home"), http_workers=2) as stack:
        yield stack


def read_documented_sockets(settings: Settings) -> set[ListeningSocket]:
    """The table of docs/security.md, with the values of the settings it names."""
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    table = page.partition("| program | socket | address |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {ListeningSocket(program, kind, *parse_address(text, settings)) for program, kind, text, *_ in rows}


def parse_address(text: str, settings: Settings) -> tuple[str, int]:
    """Host and port as docs/security.md says them."""
    values = settings.as_environment()
    said = re.sub(r"`(MINIPACS_\w+)`", lambda match: values[match[1]], text)
    host, _, port = said.replace(", any port", f":{ANY_PORT}").replace(", port ", ":").rpartition(":")
    return host.replace("every address", "0.0.0.0"), int(port)


def find_listening_sockets(stack: RunningStack) -> set[ListeningSocket]:
    """What is open for longer than a moment in any process of the stack."""
    return look_at_sockets(stack) & look_at_sockets(stack)


def look_at_sockets(stack: RunningStack) -> set[ListeningSocket]:
    found: set[ListeningSocket] = set()
    for process in stack.processes(""):
        line = " ".join(command_line(process))
        program = next((name for words, name in PROGRAMS.items() if words in line), line)
        try:
            connections = process.net_connections("all")
        except psutil.Error:  # it has ended
            continue
        for each in connections:
            if each.family == socket.AF_UNIX:
                if each.laddr:
                    found.add(ListeningSocket(program, "Unix", str(each.laddr), ANY_PORT))
            elif each.status == psutil.CONN_LISTEN:
                found.add(ListeningSocket(program, "TCP", each.laddr.ip, each.laddr.port))
            elif each.type == socket.SOCK_DGRAM and each.laddr and not each.raddr:
                found.add(ListeningSocket(program, "UDP", each.laddr.ip, each.laddr.port))
    return found


def generalise_ports(found: set[ListeningSocket], documented: set[ListeningSocket]) -> set[ListeningSocket]:
    """The sockets that were found, with `ANY_PORT` where the documentation says so."""
    general = {one._replace(port=ANY_PORT) for one in documented if one.port == ANY_PORT}
    return {any_port if (any_port := one._replace(port=ANY_PORT)) in general else one for one in found}


def test_what_listens_is_what_the_documentation_lists(stack: RunningStack, tmp_path: Path) -> None:
    documented = read_documented_sockets(stack.settings)
    assert len(documented) == 7
    seen: set[ListeningSocket] = set()
    write_chest_ct(tmp_path / "ct", slices=12)
    (study,) = stack.send(tmp_path / "ct")

    def is_worked_on() -> bool:
        seen.update(find_listening_sockets(stack))
        jobs = stack.jobs(study)
        return {job.kind for job in jobs} >= {"catalogue", "segment"} and all(job.state == "done" for job in jobs)

    until(is_worked_on, what="the end of the study's jobs")
    assert generalise_ports(seen, documented) == documented


def test_no_process_has_a_socket_below_tcp_and_udp(stack: RunningStack) -> None:
    for process in stack.processes(""):
        inodes = set(re.findall(r"socket:\[(\d+)\]", " ".join(read_links(process.pid))))
        for table in ("raw", "raw6", "packet", "udplite", "udplite6"):
            lines = Path(f"/proc/{process.pid}/net/{table}")
            words = set(lines.read_text().split()) if lines.exists() else set()
            assert not inodes & words, (command_line(process), table)


def read_links(pid: int) -> list[str]:
    """What the open files of a process are."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return found


def can_connect(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), REFUSED_AFTER_S).close()
    except OSError:
        return False
    return True


def test_other_machines_reach_dicom_alone(stack: RunningStack) -> None:
    elsewhere = [host for host in addresses_of_this_machine() if not host.startswith("127.")]
    if not elsewhere:
        pytest.skip("this machine has loopback alone")
    ports = {one.port for one in find_listening_sockets(stack) if one.kind == "TCP"}
    assert {port for port in ports if can_connect("127.0.0.1", port)} == ports
    for host in elsewhere:
        assert {port for port in ports if can_connect(host, port)} == {stack.settings.dicom_port}, host


def test_every_http_port_behind_the_front_door_wants_its_key(stack: RunningStack) -> None:
    addresses = (f"{stack.settings.orthanc_url}/system", f"http://{stack.settings.prompts}/sessions")
    for address in addresses:
        for headers in ({}, {"Authorization": "Basic bWluaXBhY3M6"}, {"Authorization": "Bearer "}):
            request = urllib.request.Request(address, headers=headers)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=LOOK_S)
            refused.value.close()
            assert refused.value.code in (401, 403), address
