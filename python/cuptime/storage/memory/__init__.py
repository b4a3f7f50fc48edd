"""Storage in plain dicts: the twin that tests, replays and simulations run on. Nothing survives the process."""

from cuptime.storage.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
