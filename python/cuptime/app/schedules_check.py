"""`cuptime schedules check`: what the server would say of files of schedules, without a server.

Not known here: which groups there are, and which schedules were registered by calls.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from cuptime.api.flat import Entries
from cuptime.app.rules_check import sources_of, tell
from cuptime.domain.clock import SystemClock
from cuptime.domain.errors import CuptimeError
from cuptime.schedules.engine import CoreCronEngine
from cuptime.schedules.files import fault_of, is_past, read_files
from cuptime.schedules.registry import check_fires, check_new


def check(paths: Sequence[Path]) -> int:
    """0 when all files together are good; else 1, with every fault as `file:line:column: code: message`."""
    return asyncio.run(_check(paths))


async def _check(paths: Sequence[Path]) -> int:
    sources = sources_of(paths)
    if not sources:
        return 1

    async def any_group(_: int) -> bool:
        return True

    clock = SystemClock()
    entries = Entries(clock, any_group)
    read = await read_files(sources, entries)
    engine = CoreCronEngine()
    for entry in read.entries.values():
        try:
            check_new(engine, entry.new)
            check_fires(engine, entry.new.timing, clock.now_ms())
        except CuptimeError as refusal:
            fault = fault_of(entry, refusal, entries)
            if is_past(refusal):
                print(f"warning: {fault}", file=sys.stderr)
            else:
                read.faults.append(fault)
    tell(read.faults, sources, {})
    print(f"{len(sources)} files, {read.count} schedules, {len(read.faults)} faults")
    return 1 if read.faults else 0
