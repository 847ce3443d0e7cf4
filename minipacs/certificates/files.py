"""Certificates and keys in files (PEM): read, compared, written; each fault is one sentence with its remedy."""

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from minipacs.certificates.authority import Key, KeyAndCertificate
from minipacs.errors import SettingsError
from minipacs.files import replace_private

MAKE_THEM = "Correct the settings; `minipacs certificates` makes certificates."


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, one or more. Raises `SettingsError` where there is none."""
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise SettingsError(f"{path} holds no certificate in PEM.", MAKE_THEM) from error


def read_first_certificate_as_der(path: Path) -> bytes:
    """The first certificate of a PEM file, which is the server's own, in DER. Raises `SettingsError`."""
    return read_certificates(path)[0].public_bytes(Encoding.DER)


def read_key(path: Path) -> Key:
    """The private key of a PEM file. Raises `SettingsError` where there is none that can be used."""
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise SettingsError(f"{path} holds no private key in PEM without a password.", MAKE_THEM) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise SettingsError(f"The key in {path} is neither elliptic nor RSA.", MAKE_THEM)
    return key


def read_key_and_certificate(certificate: Path, key: Path) -> KeyAndCertificate:
    """A certificate and its private key. Raises `SettingsError` where they do not belong together."""
    pair = KeyAndCertificate(read_key(key), read_certificates(certificate)[0])
    if pair.key.public_key() != pair.certificate.public_key():
        raise SettingsError(f"The key in {key} is not that of {certificate}.", MAKE_THEM)
    return pair


def find_first_end(path: Path) -> datetime:
    """When the first of the certificates of a file ends, in UTC."""
    return min(certificate.not_valid_after_utc for certificate in read_certificates(path))


def write_key_and_certificate(pair: KeyAndCertificate, certificate: Path, key: Path) -> None:
    """Write both for their owner alone, each in one step."""
    certificate.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in ((key, pair.key_pem), (certificate, pair.certificate_pem)):
        with replace_private(path) as stream:
            stream.write(content)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}).", MAKE_THEM) from error
