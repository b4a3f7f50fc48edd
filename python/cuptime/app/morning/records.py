"""What the clients were told, written down by themselves: one JSON array a line, the kind first.

- `["order", request_id, name]`: an order was acknowledged.
- `["refused", request_id, reason]`: an order was refused; it must not be stored.
- `["cancelling", name]`, `["cancelled", name]`: an order was to be taken back; the service said that it was.
- `["shop", shop_id, asked_ms, capacity_free, [[sku, free], ...]]`, `["rider", rider_id, load_free]`: what the service
  said was left, after everything came to rest.
- `["wrong", request_id, wanted, got]`: an answer that was not the one the plan wanted.
- `["task", name]`: a task was acknowledged.
- `["executed", idempotency_key, task, lateness_ms]`: a worker executed a task.
- `["acknowledged", task]`: the completion of a task was acknowledged.
- `["decision", order, outcome, latency_ms, sequence]`: a decision was heard.
- `["unknown", request_id]`: the call ended without an answer (server killed); it may be stored or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class Records:
    """Appends lines; flushed at every `flush`, so that a killed client loses at most the lines since."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, *fields: Any) -> None:
        self._file.write(json.dumps(fields, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read(folder: Path) -> Iterator[list[Any]]:
    """Every whole line of every record file in the folder."""
    for path in sorted(folder.glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)
