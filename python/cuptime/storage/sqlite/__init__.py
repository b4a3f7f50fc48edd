"""Storage in one SQLite file: one writer thread with group commit, a few reader threads, SQL in files."""

from cuptime.storage.sqlite.storage import SqliteStorage

__all__ = ["SqliteStorage"]
