"""The doctor's look at the certificates that the settings name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from minipacs.doctor.finding import Finding, failure, ok, warning
from minipacs.settings import Settings, describe_settings, variable_name

WARNED_BEFORE = timedelta(days=30)
RENEW_IT = "Renew it: `minipacs certificates PURPOSE --replace`, or whoever issued it; then start again."


def check_certificates(settings: Settings) -> Finding:
    """Every certificate that a setting names can be read, and none ends within 30 days."""
    from minipacs.certificates.files import find_first_end

    ends = {name: find_first_end(Path(file)) for name, file in find_certificate_files(settings).items()}
    if not ends:
        return ok("none is set: connections to this machine are not encrypted")

    first = min(ends, key=lambda name: ends[name])
    left = ends[first] - datetime.now(UTC)
    if left < timedelta():
        return failure(f"{variable_name(first)} ended on {ends[first]:%Y-%m-%d}", RENEW_IT)
    if left < WARNED_BEFORE:
        return warning(f"{variable_name(first)} ends in {left.days} days, on {ends[first]:%Y-%m-%d}", RENEW_IT)
    return ok(
        f"{len(ends)} files of certificates; the first to end is {variable_name(first)}, on {ends[first]:%Y-%m-%d}"
    )


def find_certificate_files(settings: Settings) -> dict[str, str]:
    """The files of certificates that the settings name, by the setting."""
    names = [name for name in describe_settings() if name.endswith(("_certificate", "_certificates"))]
    return {name: file for name in names if (file := getattr(settings, name))}
