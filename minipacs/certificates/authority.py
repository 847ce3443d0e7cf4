"""A certificate authority, and the certificates it issues (X.509 version 3, RFC 5280), by the library `cryptography`.

Keys are elliptic (P-256): every TLS library of the last ten years takes them, and one is made in a millisecond.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCK_DIFFERENCE = timedelta(days=1)
"""How much earlier than now a certificate begins to be valid: the clocks of other machines may be late."""
MAX_COMMON_NAME_LENGTH = 64
"""Longest CommonName (RFC 5280 A.1, ub-common-name)."""


@dataclass(frozen=True)
class KeyAndCertificate:
    """A private key, and the certificate of its public half."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        """The private key as PKCS #8 in PEM, not encrypted: the file's mode protects it."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def create_authority(name: str, valid_for: timedelta) -> KeyAndCertificate:
    """A new authority: a key, and a certificate that it signs itself and that may sign no other authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _make_name(name)
    builder = _begin_certificate(subject, subject, key.public_key(), valid_for)

    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_make_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyAndCertificate(key, certificate)


def issue_certificate(
    authority: KeyAndCertificate, name: str, hosts: Sequence[str], valid_for: timedelta
) -> KeyAndCertificate:
    """A new key with a certificate of this authority, for both ends of a connection.

    `hosts` are the names and IP addresses under which it is reached (SubjectAltName, RFC 5280 4.2.1.6). It never
    outlives its authority.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    left = issuer.not_valid_after_utc - datetime.now(UTC)
    builder = _begin_certificate(_make_name(name), issuer.subject, key.public_key(), min(valid_for, left))

    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_make_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([_make_alternative_name(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return KeyAndCertificate(key, certificate)


def _begin_certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, valid_for: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_DIFFERENCE)
        .not_valid_after(now + valid_for)
    )


def _make_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:MAX_COMMON_NAME_LENGTH])])


def _make_alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _make_key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What the key may do (RFC 5280 4.2.1.3): sign certificates and their revocation, or connections."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
