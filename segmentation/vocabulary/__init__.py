"""Codes, anatomy and terminology."""
