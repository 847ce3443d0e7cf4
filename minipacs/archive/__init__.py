"""Orthanc: its client, what it holds as values, the local process, and C-STORE."""
