"""Certificates (X.509) that an installation makes for itself: for the pool, the front door and DICOM."""
