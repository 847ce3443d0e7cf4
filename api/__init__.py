"""The front door: pages, JSON, files, the viewer and DICOMweb at one address, behind one login."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from minipacs.settings import Settings


def create_app(settings: "Settings") -> "Flask":
    """The application, for a WSGI server or a test client; each process makes its own."""
    from api.application import build_app

    return build_app(settings)
