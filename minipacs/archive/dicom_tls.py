"""DICOM over TLS (PS3.15 B.12, BCP 195), where the settings name certificates: both ends show theirs.

Host names are not compared with the certificates, as DCMTK does not: the authority serves this archive and its
modalities alone, and a modality often has no name.
"""

import ssl
from pathlib import Path
from typing import Any

from minipacs.settings import Settings


def is_dicom_encrypted(settings: Settings) -> bool:
    """Whether the archive speaks DICOM over TLS alone."""
    return bool(settings.dicom_certificate)


def build_tls_configuration(settings: Settings) -> dict[str, Any]:
    """Orthanc's configuration of DICOM TLS; empty without certificates.

    Raises `SettingsError` where a file cannot be used: Orthanc's own words about it help nobody.
    """
    if not is_dicom_encrypted(settings):
        return {}
    from minipacs.certificates.files import read_certificates, read_key_and_certificate

    read_key_and_certificate(Path(settings.dicom_certificate), Path(settings.dicom_key))
    read_certificates(Path(settings.dicom_trusted_certificates))
    return {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": settings.dicom_certificate,
        "DicomTlsPrivateKey": settings.dicom_key,
        "DicomTlsTrustedCertificates": settings.dicom_trusted_certificates,
        "DicomTlsRemoteCertificateRequired": True,
    }


def build_modalities(settings: Settings, peers: dict[str, list[str | int]]) -> dict[str, Any]:
    """Orthanc's DicomModalities: what it sends goes by TLS, too, where DICOM is encrypted."""
    use_tls = is_dicom_encrypted(settings)
    return {
        name: {"AET": aet, "Host": host, "Port": port, "UseDicomTls": True} if use_tls else [aet, host, port]
        for name, (aet, host, port) in peers.items()
    }


def make_client_tls(settings: Settings, host: str) -> tuple[ssl.SSLContext, str] | None:
    """What pynetdicom needs to connect to the archive (`tls_args`); `None` without certificates."""
    if not is_dicom_encrypted(settings):
        return None
    context = ssl.create_default_context(cafile=settings.dicom_trusted_certificates)
    context.check_hostname = False
    context.load_cert_chain(settings.dicom_certificate, settings.dicom_key)
    return context, host
