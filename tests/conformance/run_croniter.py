"""croniter's own published tests, against our drop-in class: `python -m tests.conformance.run_croniter`.

They come with the croniter package that is installed, and are run from there. In this process `croniter.croniter`
and `croniter.croniter_range` are ours; the tests are not changed, and those of speed alone are left out. Every test
that fails is listed by its id, then how often the engine searched and how often croniter did in its place; the last
line is `N passed, N failed`.
"""

from __future__ import annotations

import importlib
import sys
import unittest
from collections import Counter
from datetime import datetime
from typing import Any

import croniter as package

from cuptime.schedules import drop_in

MODULES = (
    "test_croniter", "test_croniter_dst_repetition", "test_croniter_hash", "test_croniter_random",
    "test_croniter_range",
)  # fmt: skip


def count_searches() -> Counter[str]:
    """Counts from now on who searches: every search is asked of ours first."""
    searches: Counter[str] = Counter()
    for name, kind in (("asked", drop_in.croniter), ("croniter", package.croniter)):
        search = kind._calc_next

        def counted(self: Any, is_prev: bool, name: str = name, search: Any = search) -> datetime:
            searches[name] += 1
            found: datetime = search(self, is_prev)
            return found

        kind._calc_next = counted  # type: ignore[method-assign]
    return searches


def run() -> tuple[unittest.TestResult, Counter[str]]:
    """Puts ours in place and runs all of them."""
    searches = count_searches()
    package.croniter = drop_in.croniter  # type: ignore[misc]
    package.croniter_range = drop_in.croniter_range
    suite = unittest.TestSuite()
    for name in MODULES:
        module = importlib.import_module(f"croniter.tests.{name}")
        suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
    result = unittest.TestResult()
    suite.run(result)
    return result, searches


def main() -> int:
    """The command line."""
    result, searches = run()
    # A subtest that fails is a failure of its test.
    failed = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
    lines = [f"FAILED {name}" for name in sorted(failed)]
    lines.append(
        f"searched: ours {searches['asked'] - searches['croniter']}, croniter {searches['croniter']}"
    )
    lines.append(f"{result.testsRun - len(failed)} passed, {len(failed)} failed")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
