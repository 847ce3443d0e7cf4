"""Fault injection into the whole product: see `scenario`."""
