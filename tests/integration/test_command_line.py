"""The command line against a real server, each command in a process of its own, as people start it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from google.protobuf import json_format

from cuptime.app.served import ServedProcess
from tests.integration.door import Door


def said(served: ServedProcess, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cuptime.app.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUPTIME_ADDRESS": served.address, "COLUMNS": "200", "TERM": "dumb"},
    )


async def test_the_rules_status_is_told(served: ServedProcess, door: Door) -> None:
    status = await door.call("RuleService/GetRulesStatus")
    done = said(served, "rules", "status")
    assert done.returncode == 0, done.stderr
    assert json_format.Parse(done.stdout, type(status)()) == status
    assert "start the server with --rules PATH" in done.stderr
    await door.call("RuleService/PublishRules", source="rules: []", request_id="told-1")
    status = await door.call("RuleService/GetRulesStatus")
    done = said(served, "rules", "status")
    assert json_format.Parse(done.stdout, type(status)()) == status != type(status)()
    assert not done.stderr


def test_a_registered_schedule_is_previewed_in_its_own_zone(served: ServedProcess) -> None:
    timing = ("--cron", "0 9 * * *", "--zone", "Asia/Shanghai")
    done = said(served, "schedules", "register", "told", "--queue", "told", *timing)
    assert done.returncode == 0, done.stderr
    for words in (("told",), timing):
        done = said(served, "schedules", "preview", *words)
        firings = re.findall(r"01:00:00\.000 UTC   \S+ 09:00:00\.000 CST", done.stdout)
        assert len(firings) == 5, done.stdout + done.stderr
    elsewhere = said(served, "schedules", "preview", "told", "--zone", "Asia/Tokyo")
    assert elsewhere.stdout.count("10:00:00.000 JST") == 5


def test_a_server_without_a_folder_says_so(served: ServedProcess) -> None:
    done = said(served, "schedules", "folder")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {}
    assert "start the server with --schedules PATH" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["register", "x", "--queue", "q", "--every", "50", "--overlap", "foo"],
            "allow_all, skip, buffer_one",
        ),
        (
            ["register", "x", "--queue", "q", "--every", "50", "--catch-up", "foo"],
            "all, latest, none, bounded",
        ),
        (["preview", "--cron", "* * * * *", "--dst", "foo"], "vixie, skip_once"),
        (["preview", "--every", "9" * 30], "out of range"),
        (["preview", "told", "--every", "50"], "not both"),
    ],
)
def test_what_an_option_cannot_be_is_refused_in_words(
    served: ServedProcess, words: list[str], told: str
) -> None:
    done = said(served, "schedules", *words)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["overlap", "catch-up", "dst"])
def test_every_name_that_the_help_tells_is_taken(served: ServedProcess, name: str) -> None:
    listed = said(served, "schedules", "register", "--help").stdout
    (names,) = re.findall(rf"--{name} .*?: ([a-z_, ()]+)\.", listed)
    for number, value in enumerate(names.replace(" (default)", "").split(", ")):
        words = ("--queue", "named", "--cron", "0 0 1 1 *", f"--{name}", value)
        extra = ("--catch-up-limit", "3") if value == "bounded" else ()
        done = said(served, "schedules", "register", f"{name}-{number}", *words, *extra)
        assert done.returncode == 0, done.stderr
