"""The documents against the code: what they name must exist, what they quote must be what it is."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cuptime import core
from cuptime.app.cli import app
from cuptime.app.core_parts import rule_tools
from cuptime.app.served import ServedProcess
from cuptime.app.settings import Settings
from cuptime.domain import limits
from cuptime.domain.errors import Reason
from cuptime.domain.values import TaskState

REPO = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")))
CLIENT_TIMEOUT_S = 60


def _text(path: str) -> str:
    return (REPO / path).read_text(encoding="utf-8")


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def _id(page: Path) -> str:
    return str(page.relative_to(REPO))


# --- what is quoted -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_client_in_the_readme_is_the_example(page: str) -> None:
    assert _text("examples/first_client.py") in _blocks(_text(page), "python")


@pytest.mark.parametrize("name", ["campus", "far-orders", "pairs"])
def test_the_rules_in_the_guide_are_the_examples(name: str) -> None:
    blocks = _blocks(_text("docs/rules.md"), "yaml")
    assert _text(f"examples/rules/{name}.yaml") in blocks


def test_what_the_guide_shows_of_the_commands_is_what_they_print() -> None:
    guide = _text("docs/rules.md")
    shown = re.findall(
        r"^\$ \.venv/bin/(cuptime rules (?:check|test|explain) examples.*?[^\\])\n(.*?)^```",
        guide,
        re.M | re.S,
    )
    assert len(shown) == 3
    for command, printed in shown:
        words = command.replace("\\\n", " ").split()[1:]
        done = subprocess.run(
            [sys.executable, "-m", "cuptime.app.cli", *words],
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, printed), command


def test_rule_examples_pass_the_check() -> None:
    command = [sys.executable, "-m", "cuptime.app.cli", "rules", "check", "examples/rules"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in _text("docs/rules.md")


def test_schedule_examples_pass_the_check() -> None:
    command = [sys.executable, "-m", "cuptime.app.cli", "schedules", "check", "examples/schedules"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 files, 3 schedules, 0 faults\n"), done.stderr


def test_faults_in_the_guide_are_those_of_the_check(tmp_path: Path) -> None:
    guide = _text("docs/rules.md")
    (bad,) = [block for block in _blocks(guide, "yaml") if "asign_rider_priority" in block]
    (tmp_path / "bad.yaml").write_text(bad)
    command = [sys.executable, "-m", "cuptime.app.cli", "rules", "check", "bad.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr + done.stdout in guide


# --- what is listed -------------------------------------------------------------------------------------------------
def test_every_reason_is_explained_as_it_is() -> None:
    said = {row[0].strip("`"): row for row in _rows(_text("docs/errors.md")) if len(row) == 5}
    for reason in Reason:
        assert reason.name in said, f"docs/errors.md does not know {reason.name}"
        _, code, retry, meaning, chinese = said[reason.name]
        assert (code, retry) == (reason.code.name, "yes" if reason.retry else "no"), reason.name
        assert meaning.startswith(reason.text), reason.name
        assert re.search(r"[\u4e00-\u9fff]", chinese), reason.name
    named = {name for name in said if re.fullmatch(r"[A-Z_]+", name)}
    assert named == {reason.name for reason in Reason}


def test_every_setting_is_listed_with_its_default() -> None:
    said = {row[0].strip("`"): row for row in _rows(_text("docs/operating.md")) if "CUPTIME_" in row[1]}
    assert set(said) == set(Settings.__struct_fields__)
    for name in Settings.__struct_fields__:
        value = getattr(Settings(), name)
        default = "none" if value is None else str(value) or "empty"
        assert said[name][1].strip("`") == f"CUPTIME_{name.upper()}"
        assert said[name][3] == default, name
        option = said[name][2].strip("`")
        assert bool(option) == (name in _options("serve")), name


def test_limits_are_listed_as_they_are() -> None:
    rows = [row for row in _rows(_text("docs/operating.md")) if re.fullmatch(r"`[A-Z_]+`", row[0])]
    found = {row[0].strip("`"): row[1] for row in rows}
    assert len(found) > 20
    for name, value in found.items():
        assert value == f"{getattr(limits, name):,}", name


def test_metrics_are_those_of_the_door(tmp_path: Path) -> None:
    server = ServedProcess(tmp_path)
    server.start()
    try:
        shown = server.metrics()
    finally:
        server.stop()
    served = set(re.findall(r"^# HELP (\w+) ", shown, re.MULTILINE))
    served = {name for name in served if not name.endswith("_created")}
    queues = set(re.findall(r'cuptime_queue_depth\{queue="([^"]+)"', shown))
    operating = _text("docs/operating.md")
    named = set(re.findall(r"\b((?:cuptime|scheduler)_[a-z_]+[a-z])\b", operating.split("## Metrics")[1]))
    named = {name for name in named if not name.startswith("cuptime_db")}
    assert named == served
    listed = operating.split("`cuptime_queue_depth` by queue:")[1].split("\n## ")[0]
    assert {row[0].strip("`") for row in _rows(listed) if row[0].startswith("`")} == queues


def test_names_and_actions_of_rules_are_listed() -> None:
    said = {(row[0].strip("`"), row[1]) for row in _rows(_text("docs/rules.md"))}
    assert set(core.order_schema()) <= said
    listed = {name for name, _ in said}
    assert {action.name for action in rule_tools().actions} <= listed


def test_task_states_have_their_words() -> None:
    words = _text("docs/words.md")
    assert [state.name for state in TaskState if f"`{state.name}`" not in words] == []


# --- what is named --------------------------------------------------------------------------------------------------
def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\u4e00-\u9fff -]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        if not aim.exists() or (anchor and anchor not in _anchors(aim)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")

    firsts = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert firsts <= targets, firsts - targets


@cache
def _root() -> Any:
    """Typer's own command class is not click's."""
    return typer.main.get_command(app)


def _command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words begin with, and the rest; None when there is none of that name."""
    found = _root()
    at = 0
    while hasattr(found, "commands"):
        if at == len(words) or words[at].startswith("-"):
            return found, words[at:]
        if words[at] not in found.commands:
            return None, words[at:]
        found = found.commands[words[at]]
        at += 1
    return found, words[at:]


def _options(*words: str) -> set[str]:
    command, _ = _command(list(words))
    assert command is not None
    return {str(parameter.name) for parameter in command.params}


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_commands_and_their_options_exist(page: Path) -> None:
    wrong = []
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"`((?:\.venv/bin/)?cuptime [^`\n]+)`", text)
    lines += re.findall(r"^(?:\$ )?((?:\.venv/bin/)?cuptime .+)$", text, re.MULTILINE)
    for line in lines:
        words = re.sub(r"""'[^']*'|"[^"]*\"""", "VALUE", line.partition("#")[0]).split()[1:]
        command, rest = _command(words)
        if command is None:
            wrong.append(line)
            continue
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        wrong += [line for word in rest if word.startswith("--") and word not in known]
    assert wrong == []


def test_every_test_that_a_promise_names_exists() -> None:
    text = _text("docs/promises.md")
    named = re.findall(r"`([\w/]+\.(?:py|rs))::(\w+)`", text)
    assert len(named) > 20
    missing = []
    for path, name in named:
        kind = "fn" if path.endswith(".rs") else "def"
        file = REPO / path
        if not file.exists() or not re.search(rf"\b{kind} {name}\b", file.read_text(encoding="utf-8")):
            missing.append(f"{path}::{name}")
    assert missing == []


# --- what is run ----------------------------------------------------------------------------------------------------
def test_the_first_client_runs(tmp_path: Path) -> None:
    server = ServedProcess(tmp_path)
    server.start()
    try:
        command = [sys.executable, "examples/first_client.py", server.address]
        done = subprocess.run(
            command, cwd=REPO, capture_output=True, text=True, check=False, timeout=CLIENT_TIMEOUT_S
        )
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^admitted groups/\d+/orders/\d+$", done.stdout, re.MULTILINE)) == 2
    assert len(re.findall(r"/decision shops/1 riders/1 after \d+ ms$", done.stdout, re.MULTILINE)) == 2


@pytest.mark.parametrize("block", range(len(_blocks(_text("docs/api.md"), "python"))))
def test_examples_of_the_guide_run(block: int, tmp_path: Path) -> None:
    server = ServedProcess(tmp_path)
    server.start()
    try:
        register = ["schedules", "register", "hello", "--every", "100", "--queue", "greet"]
        register += ["--address", server.address]
        subprocess.run([sys.executable, "-m", "cuptime.app.cli", *register], check=True, capture_output=True)
        program = _blocks(_text("docs/api.md"), "python")[block].replace("127.0.0.1:7000", server.address)
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            timeout=CLIENT_TIMEOUT_S,
        )
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    assert re.search(r"^greeting tasks/\d+|^refused: GROUP_NOT_FOUND", done.stdout), done.stdout
