"""The failure of an engine that lacks memory: the same where the child meets it and where its parent sees it."""

from minipacs.errors import EngineExceedsMemory
from minipacs.memory.process_limit import compute_engine_bytes
from minipacs.settings import Settings

__all__ = ["explain_engine_memory", "is_lack_of_memory"]

MB = 2**20
WORDS_OF_LIBRARIES = ("bad_alloc", "bad allocation", "can't allocate memory", "cannot allocate memory")
"""Of what libraries in C++ (torch, ITK) say in an error of another type."""


def explain_engine_memory(engine: str, settings: Settings, stage: str) -> EngineExceedsMemory:
    """The error of an engine that takes more than it may, which another attempt would only repeat."""
    most_mb = compute_engine_bytes(settings) // MB
    return EngineExceedsMemory(
        f"The engine {engine} took more than {most_mb} MB, while at: {stage}. It is not tried again.",
        "Raise MINIPACS_ENGINE_MEMORY_MB, or use an engine that needs less; then retry the job.",
    )


def is_lack_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or what led to it, is that memory could not be had."""
    while error is not None:
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in WORDS_OF_LIBRARIES):
            return True
        error = error.__cause__ or error.__context__
    return False
