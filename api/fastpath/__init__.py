"""The paths around Flask."""
