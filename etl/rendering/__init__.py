"""From stored values to windowed PNG pictures, as PS3.3 C.11 and PS3.4 N.2 describe."""
