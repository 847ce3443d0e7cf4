"""Blows of every kind against the whole product: see `flow`."""
