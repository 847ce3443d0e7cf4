"""Groups of studies: administration."""
