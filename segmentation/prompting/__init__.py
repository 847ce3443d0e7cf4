"""Prompts: a click or a box becomes a segment, at once, in a process that keeps volumes in memory."""
