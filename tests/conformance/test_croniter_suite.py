"""The drop-in class passes the tests that croniter itself publishes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_croniters_own_tests_pass_against_the_drop_in_class() -> None:
    """In a process of its own: the runner puts our class into croniter's package."""
    command = [sys.executable, "-m", "tests.conformance.run_croniter"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    passed, failed = map(int, re.findall(r"^(\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE)[-1])
    ours, theirs = map(
        int, re.findall(r"^searched: ours (\d+), croniter (\d+)$", done.stdout, re.MULTILINE)[-1]
    )
    assert passed >= 250
    assert failed == 0
    # The tests are of our engine, not of croniter beneath it.
    assert theirs < ours / 20
