"""A certificate authority, and the certificates it issues (X.509 version 3, RFC 5280), by the library `cryptography`.

Keys are elliptic (P-256), made in a millisecond, or RSA for DICOM: the cipher suites of its TLS profiles (PS3.15
B.12) are for RSA.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCK_DIFFERENCE = timedelta(days=1)
"""How much earlier than now a certificate begins to be valid: the clocks of other machines may be late."""
RSA_BITS = 3072
"""As strong as AES-128, like P-256 (NIST SP 800-57, table 2)."""
MAX_COMMON_NAME_LENGTH = 64
"""Longest CommonName (RFC 5280 A.1, ub-common-name)."""

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True)
class KeyAndCertificate:
    """A private key, and the certificate of its public half."""

    key: Key
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


def create_authority(
    name: str, valid_for: timedelta, *, only_hosts: Sequence[str] = (), uses_rsa: bool = False
) -> KeyAndCertificate:
    """A new authority: a key, and a certificate that it signs itself and that may sign no other authority.

    With `only_hosts`, whoever trusts it trusts it for these names and addresses alone (RFC 5280 4.2.1.10).
    """
    key = _generate_key(uses_rsa)
    subject = _make_name(name)
    builder = _begin_certificate(subject, subject, key.public_key(), valid_for)

    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_make_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if only_hosts:
        builder = builder.add_extension(_make_name_constraints(only_hosts), critical=True)
    return KeyAndCertificate(key, builder.sign(key, hashes.SHA256()))


def issue_certificate(
    authority: KeyAndCertificate, name: str, hosts: Sequence[str], valid_for: timedelta, *, uses_rsa: bool = False
) -> KeyAndCertificate:
    """A new key with a certificate of this authority, for both ends of a connection.

    `hosts` are the names and IP addresses under which it is reached (SubjectAltName, RFC 5280 4.2.1.6). It never
    outlives its authority.
    """
    key = _generate_key(uses_rsa)
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
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(authority.key, hashes.SHA256())
    )
    return KeyAndCertificate(key, certificate)


def find_forbidden_hosts(authority: x509.Certificate, hosts: Sequence[str]) -> list[str]:
    """Those of the hosts for which an authority that was made with `only_hosts` is not trusted."""
    try:
        constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return []
    permitted = [name.value for name in constraints.permitted_subtrees or ()]
    return [host for host in hosts if not any(_is_permitted(host, one) for one in permitted)]


def _is_permitted(host: str, permitted: object) -> bool:
    address = _parse_address(host)
    if address is None:
        return isinstance(permitted, str) and (host == permitted or host.endswith(f".{permitted}"))
    return not isinstance(permitted, str) and permitted == ip_network(address)


def _generate_key(uses_rsa: bool) -> Key:
    if uses_rsa:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def _make_name_constraints(hosts: Sequence[str]) -> x509.NameConstraints:
    """These names and addresses alone: where none of a kind is permitted, the whole kind is excluded."""
    addresses = [address for host in hosts if (address := _parse_address(host))]
    names = [host for host in hosts if _parse_address(host) is None]

    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    permitted.extend(x509.IPAddress(ip_network(address)) for address in addresses)

    excluded: list[x509.GeneralName] = []
    for every_address in (ip_network("0.0.0.0/0"), ip_network("::/0")):
        if all(address.version != every_address.version for address in addresses):
            excluded.append(x509.IPAddress(every_address))
    if not names:
        excluded.append(x509.DNSName(""))
    return x509.NameConstraints(permitted, excluded or None)


def _begin_certificate(
    subject: x509.Name, issuer: x509.Name, public_key: PublicKey, valid_for: timedelta
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
    address = _parse_address(host)
    return x509.DNSName(host) if address is None else x509.IPAddress(address)


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address; `None` for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


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
