"""`minipacs certificates`: an authority and certificates of our own, for HTTPS, for DICOM, for the pool of a cluster.

Each purpose has an authority of its own: who may send images may not run code. What is there is never replaced,
unless `--replace` says so, and then the certificate alone: who trusts the authority goes on to trust it.
"""

import argparse
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from minipacs.audit.command_act import CommandAct
from minipacs.errors import BadRequest
from minipacs.settings import Settings

if TYPE_CHECKING:
    from minipacs.certificates.authority import KeyAndCertificate

HELP = "make certificates of our own: for HTTPS, for DICOM, for the pool of a cluster"
AUTHORITY_DAYS = 3650
LONGEST_DAYS = 825
"""Browsers take no certificate that is valid for longer, of whatever authority."""
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Purpose:
    """What certificates are made for."""

    default_name: str
    """Of the certificate that our own settings name."""
    settings_prefix: str
    trusts_clients: bool
    """Whether the other end shows a certificate, too."""
    use_of_authority: str
    uses_rsa: bool = False


PURPOSES = {
    "https": Purpose("server", "MINIPACS_HTTPS", False, "browsers trust it (each imports this file)"),
    "dicom": Purpose("archive", "MINIPACS_DICOM", True, "modalities trust it (each gets this file)", True),
    "cluster": Purpose("member", "MINIPACS_SCHEDULER", True, "every machine of the cluster gets this file"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """[https] [dicom] [cluster], --host, --name, --days, --folder, --replace."""
    parser.add_argument(
        "purposes", nargs="*", metavar="PURPOSE", help=f"{', '.join(PURPOSES)} (default: all)", default=[]
    )
    parser.add_argument(
        "--host",
        nargs="+",
        default=[],
        metavar="HOST",
        help="names and IP addresses under which it is reached (default: this machine's name, and loopback)",
    )
    parser.add_argument(
        "--name", default="", metavar="NAME", help="whose it is, and the name of its files, e.g. of a modality"
    )
    parser.add_argument("--days", type=int, default=730, metavar="DAYS", help="how long it is valid (default: 730)")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="where to write (default: HOME/certificates)")
    parser.add_argument("--replace", action="store_true", help="replace a certificate and key that are there")


def describe_act(arguments: argparse.Namespace) -> CommandAct:
    """For the audit: whose certificate is made or replaced, and for which hosts."""
    words = ["certificates", *arguments.purposes]
    if arguments.host:
        words += ["--host", *arguments.host]
    if arguments.name:
        words += ["--name", arguments.name]
    if arguments.folder:
        words += ["--folder", str(arguments.folder)]
    if arguments.replace:
        words += ["--replace"]
    return CommandAct("admin", " ".join(words))


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make the certificates, and print their files, their ends and the settings that use them; 0 then."""
    unknown = sorted(set(arguments.purposes) - set(PURPOSES))
    if unknown:
        raise BadRequest(f"No certificates are for {', '.join(unknown)}.", f"Choose from {', '.join(PURPOSES)}.")
    if arguments.name and (not FILE_NAME.fullmatch(arguments.name) or arguments.name == "authority"):
        raise BadRequest(f"{arguments.name!r} cannot be a file's name.", "Use letters, digits, dots, hyphens.")
    if not 1 <= arguments.days <= LONGEST_DAYS:
        raise BadRequest(f"--days must be 1 to {LONGEST_DAYS}.", "Browsers take no certificate for longer.")

    folder = (arguments.folder or settings.home / "certificates").expanduser().resolve()
    hosts = arguments.host or find_own_hosts()
    for purpose in arguments.purposes or PURPOSES:
        for line in make_certificate(
            folder / purpose,
            PURPOSES[purpose],
            name=arguments.name,
            hosts=hosts,
            days=arguments.days,
            is_replaced=arguments.replace,
        ):
            print(line)
    return 0


def make_certificate(
    folder: Path, purpose: Purpose, *, name: str, hosts: Sequence[str], days: int, is_replaced: bool
) -> Iterator[str]:
    """Make a certificate, and its authority where there is none; the lines that tell a person.

    Raises `BadRequest` where it is there already, or where the authority is not trusted for a host.
    """
    from minipacs.certificates.authority import create_authority, find_forbidden_hosts, issue_certificate
    from minipacs.certificates.files import read_key_and_certificate, write_key_and_certificate

    authority_files = folder / "authority.crt", folder / "authority.key"
    files = folder / f"{name or purpose.default_name}.crt", folder / f"{name or purpose.default_name}.key"
    if any(file.exists() for file in files) and not is_replaced:
        raise BadRequest(f"{files[0]} is there already.", "Use --replace, or another --name or --folder.")

    if any(file.exists() for file in authority_files):
        authority = read_key_and_certificate(*authority_files)
    else:
        title = f"minipacs {folder.name} authority of {hosts[0]}"
        only_hosts = () if purpose.trusts_clients else hosts
        authority = create_authority(
            title, timedelta(days=AUTHORITY_DAYS), only_hosts=only_hosts, uses_rsa=purpose.uses_rsa
        )
        write_key_and_certificate(authority, *authority_files)
        yield f"{authority_files[0]}: until {_end(authority)}; {purpose.use_of_authority}"
        yield f"{authority_files[1]}: secret; who has it can make further certificates"

    if authority.certificate.not_valid_after_utc < datetime.now(UTC):
        raise BadRequest(
            f"{authority_files[0]} ended on {_end(authority)}.", "Move its folder away: another authority is made."
        )
    if forbidden := find_forbidden_hosts(authority.certificate, hosts):
        raise BadRequest(
            f"{authority_files[0]} is not trusted for {', '.join(forbidden)}.",
            "It was made for other hosts. Use another --folder for an authority of these.",
        )
    made = issue_certificate(authority, name or hosts[0], hosts, timedelta(days=days), uses_rsa=purpose.uses_rsa)
    write_key_and_certificate(made, *files)

    yield f"{files[0]}: until {_end(made)}; for {', '.join(hosts)}"
    yield f"{files[1]}: secret; for its holder alone"
    if not name or folder.name == "cluster":
        yield f"{purpose.settings_prefix}_CERTIFICATE={files[0]}"
        yield f"{purpose.settings_prefix}_KEY={files[1]}"
        if purpose.trusts_clients:
            yield f"{purpose.settings_prefix}_TRUSTED_CERTIFICATES={authority_files[0]}"


def find_own_hosts() -> list[str]:
    """The names under which this machine is reached: its own, and those of loopback."""
    return list(dict.fromkeys([socket.gethostname(), socket.getfqdn(), "localhost", "127.0.0.1"]))


def _end(made: "KeyAndCertificate") -> str:
    return f"{made.certificate.not_valid_after_utc:%Y-%m-%d}"
