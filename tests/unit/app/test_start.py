"""`cuptime serve` with plain options goes straight to the server; everything else is the command line's."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from cuptime.app import cli, life
from cuptime.app.start import OPTIONS, plain

LOOK = """
import sys
from importlib import import_module
from cuptime.app import life, start
not_needed = {"typer", "rich", "uvicorn", "pydantic", "croniter", "watchfiles", *life.LATER}
life.run = lambda given, ready_file: print(given, ready_file, sorted(not_needed & set(sys.modules)))
sys.argv[1:] = ["serve", "--data", "d", "--ready-file", "r"]
start.main()
"""


def test_the_options_are_those_of_the_command_line() -> None:
    assert set(OPTIONS) == set(inspect.signature(cli.serve).parameters)


def test_plain_options_are_taken_as_they_are() -> None:
    words = ["serve", "--listen", "127.0.0.1:0", "--metrics", "", "--log-level", "info"]
    assert plain(words) == {"listen": "127.0.0.1:0", "metrics": "", "log_level": "info"}
    assert plain(["serve"]) == {}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["tasks", "list"],
        ["serve", "--help"],
        ["serve", "--data"],
        ["serve", "--data", "--listen"],
        ["serve", "--data", "a", "--data", "b"],
        ["serve", "--colour", "red"],
        ["serve", "data", "a"],
        ["serve", "--log_level", "info"],
        ["serve", "--data=a"],
        ["serve", "--data=a", "b"],
    ],
)
def test_everything_else_is_left_to_the_command_line(words: list[str]) -> None:
    assert plain(words) is None


def test_a_server_starts_without_what_only_people_and_machines_that_look_need() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == "{'data': 'd'} r []", done.stderr


def test_what_is_left_for_later_is_there_to_be_imported() -> None:
    for name in life.LATER:
        assert import_module(name).__name__ == name
