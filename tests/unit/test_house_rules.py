"""Tests about the code itself: words, sizes, and what must never get into the repository.

What a linter can say is said by `make lint`; here is what only this project means. Each test collects all
violations, so that one run shows the whole list.
"""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

REPO = Path(__file__).resolve().parent.parent.parent
PACKAGE = REPO / "python" / "cuptime"
THIS = Path(__file__).resolve()

# Each of these means three things in three places, so it means nothing here (docs/words.md).
BANNED_WORDS = frozenset(
    (
        *("job", "jobs", "event", "events", "manager", "handler", "handlers", "processor"),
        *("util", "utils", "common", "helper", "helpers", "misc", "data", "item", "items"),
    )
)
# "Under about 500" and "under about 70", with room for the word "about".
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 85

# Spelled so that this file does not contain what it looks for.
MACHINE_PATHS = re.compile(r"(?<![\w.$}/-])/(?:[w]ork|[r]oot|[h]ome|[U]sers)/\w")
REGISTRY_HOSTS = re.compile(
    r"[p]ypi\.org|[p]ythonhosted\.org|(?:index|static)\.[c]rates\.io|[r]egistry\.npmjs\.org"
    r"|[p]roxy\.golang\.org|[r]epo1\.maven\.org|[d]eb\.debian\.org"
)
SECRETS = re.compile(r"[B]EGIN [A-Z ]*PRIVATE KEY|[A]KIA[0-9A-Z]{16}\b|[g]hp_[0-9A-Za-z]{36}\b")

# What reads a clock or draws a number; only domain/clock.py may, so that all of it runs under a simulated clock.
# perf_counter stays free: it measures how long our own code took, for telemetry, and decides nothing.
CLOCK_CALLS = re.compile(
    r"^(time\.(time|monotonic|process_time|sleep)(_ns)?|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
    r"|random\.(?!Random$)\w+|uuid\.uuid\d|secrets\.\w+|os\.urandom)$"
)


@cache
def repository_files() -> tuple[Path, ...]:
    """Every file that is or would be committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout
    return tuple(path for name in listed.split("\0") if name and (path := REPO / name).is_file())


def files_ending(*suffixes: str) -> list[Path]:
    return [path for path in repository_files() if path.suffix in suffixes]


def texts() -> Iterator[tuple[Path, str]]:
    """All text files but this one; a file that is not UTF-8 is a picture or the like."""
    for path in repository_files():
        if path == THIS:
            continue
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def shown(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(REPO)}:{line}" if line else str(path.relative_to(REPO))


def matches(pattern: re.Pattern[str], skip: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path, text in texts():
        if path.name in skip:
            continue
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{shown(path, line)} {match.group()}")
    return found


def test_words_splits_names() -> None:
    assert words("TaskEventHandler") == {"task", "event", "handler"}
    assert words("run_http_jobs2") == {"run", "http", "jobs", "2"}
    assert words("HTTPUtil") == {"http", "util"}


def test_no_banned_word_names_a_file_or_a_type() -> None:
    found = []
    for path in files_ending(".py", ".rs", ".proto", ".sql"):
        for part in path.relative_to(REPO).with_suffix("").parts:
            found += [f"{shown(path)}: {word}" for word in words(part) & BANNED_WORDS]
    for path in files_ending(".py"):
        classes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
        found += [
            f"{shown(path, node.lineno)} {node.name}" for node in classes if words(node.name) & BANNED_WORDS
        ]
    declared = re.compile(
        r"^\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|union|message|service|mod) +(\w+)", re.M
    )
    for path in files_ending(".rs", ".proto"):
        names = declared.findall(path.read_text())
        found += [f"{shown(path)} {name}" for name in names if words(name) & BANNED_WORDS]
    assert found == []


def test_no_test_sleeps() -> None:
    found = []
    for path in files_ending(".py"):
        if not path.is_relative_to(REPO / "tests"):
            continue
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            literal = bool(node.args) and isinstance(node.args[0], ast.Constant) and bool(node.args[0].value)
            if called == "time.sleep" or (called.endswith("asyncio.sleep") and literal):
                found.append(shown(path, node.lineno))
    for path in files_ending(".rs"):
        found += [shown(path)] if "thread::sleep" in path.read_text() else []
    assert found == [], "wait for a state instead: the wait_until fixture, or a simulated clock"


def test_files_are_short() -> None:
    # Not the contract of the extension: one module has one stub, however many rooms it has.
    lengths = {path: path.read_text().count("\n") for path in files_ending(".py", ".rs", ".proto")}
    assert {shown(path): lines for path, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_functions_are_short() -> None:
    found = {}
    for path in files_ending(".py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    found[f"{shown(path, node.lineno)} {node.name}"] = lines
    assert found == {}


def test_no_machine_path() -> None:
    assert matches(MACHINE_PATHS) == []


def test_no_registry_host() -> None:
    assert matches(REGISTRY_HOSTS) == []


def test_no_secret() -> None:
    assert matches(SECRETS) == []


@pytest.mark.parametrize(
    ("pattern", "parts", "hit"),
    [
        (MACHINE_PATHS, ["cd ", "work", "main"], True),
        (MACHINE_PATHS, ["see ..", "shared", "work", "x and frame", "work", "x"], False),
        (MACHINE_PATHS, ["", "home", "someone"], True),
        (REGISTRY_HOSTS, ["https:", "", "pypi" + ".org", "simple"], True),
        (SECRETS, ["-----BEGIN RSA PRIVATE" + " KEY-----"], True),
    ],
)
def test_the_patterns_find_what_they_look_for(pattern: re.Pattern[str], parts: list[str], hit: bool) -> None:
    assert bool(pattern.search("/".join(parts))) is hit


def test_clock_and_chance_enter_through_domain_clock_alone() -> None:
    found = []
    for path in files_ending(".py"):
        # The morning is a crowd of clients outside the service; what they live by is the real clock.
        if path == PACKAGE / "domain" / "clock.py" or path.is_relative_to(PACKAGE / "app" / "morning"):
            continue
        if not path.is_relative_to(PACKAGE):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and CLOCK_CALLS.match(ast.unparse(node.func)):
                found.append(f"{shown(path, node.lineno)} {ast.unparse(node.func)}")
    assert found == []


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Absolute names of all that a module of the package imports."""
    package = ["cuptime", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def test_only_core_imports_the_extension() -> None:
    found = []
    for path in files_ending(".py"):
        if path.is_relative_to(PACKAGE) and path != PACKAGE / "core.py":
            found += [shown(path, line) for line, name in _imports(path) if name.startswith("cuptime._core")]
    assert found == []


DATACLASSES_IN: Final = ("app/morning", "app/replay", "schedules/words")
"""Imported when somebody asks for them, not by a start."""


def test_what_a_start_imports_has_structs() -> None:
    """A dataclass takes ten times the instructions to define, and six times as long to make. And `dataclasses.replace`
    of a Struct fails only when it is called: mypy takes one for the other."""
    found = []
    for path in files_ending(".py"):
        if not path.is_relative_to(PACKAGE) or str(path.relative_to(PACKAGE)).startswith(DATACLASSES_IN):
            continue
        found += [shown(path, line) for line, name in _imports(path) if name.startswith("dataclasses")]
    assert found == [], "values are msgspec.Struct here; replace, astuple and asdict are in msgspec.structs"


def test_every_room_has_its_import_contract() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(REPO / ".importlinter")
    named = set(re.findall(r"cuptime\.(\w+)", "\n".join(str(dict(contracts[name])) for name in contracts)))
    rooms = {
        path.relative_to(PACKAGE).parts[0] for path in files_ending(".py") if path.is_relative_to(PACKAGE)
    }
    folders = {room for room in rooms if (PACKAGE / room).is_dir()}
    assert folders - named == set()


def _requirement_lines(name: str) -> list[str]:
    return (REPO / "requirements" / name).read_text().splitlines()


def _required(name: str) -> list[str]:
    return [line for line in _requirement_lines(name) if line and not line.startswith(("#", "-c"))]


@pytest.mark.parametrize("name", ["build", "runtime", "test", "lint", "bench"])
def test_every_library_has_a_reason_and_a_locked_version(name: str) -> None:
    lines = _requirement_lines(f"{name}.in")
    locked = "\n".join(_requirement_lines(f"{name}.txt")).lower()
    for before, line in pairwise(lines):
        if not line or line.startswith(("#", "-c")):
            continue
        assert before.startswith("#"), f"{name}.in: {line} has no line of why"
        library = re.split(r"[\[<>=~; ]", line)[0].lower()
        assert re.search(rf"^{re.escape(library)}(\[\w+\])?==", locked, re.M), (
            f"{name}.txt lacks {line}: `make lock`"
        )
    pins = [line for line in locked.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    assert pins
    assert all(pin.endswith("\\") for pin in pins), "a pin without hashes"
    assert "--index-url" not in locked


def test_the_package_asks_for_what_is_locked() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == _required("runtime.in")
    assert set(project["build-system"]["requires"]) <= set(_required("build.in"))


def test_one_version() -> None:
    import cuptime

    workspace = tomllib.loads((REPO / "Cargo.toml").read_text())
    assert cuptime.__version__ == workspace["workspace"]["package"]["version"]
