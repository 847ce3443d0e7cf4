"""Uploads: what was received, its check, NIfTI and NRRD made DICOM."""
