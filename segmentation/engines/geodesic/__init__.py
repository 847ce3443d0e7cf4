"""The built-in engine for prompts: a geodesic cut in one slice, carried through the volume."""
