"""Segment Anything (SAM, SAM 2) as an engine for prompts, in a process of its own."""
