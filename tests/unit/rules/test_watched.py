"""What has the name of a rule file may be no file, or a name that is no text, or very large."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cuptime.app.rules_check import check
from cuptime.app.schedules_check import check as check_schedules
from cuptime.domain.limits import RULE_SOURCE_BYTES_MAX
from cuptime.rules.watched import read_folder
from cuptime.schedules.calendars import Calendars

GOOD = "rules: []\n"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [_pipe, _device, _folder])
def test_what_is_no_file_is_neither_waited_for_nor_read_for_ever(
    make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.yaml"
    make(path)
    for checked in (check, check_schedules):
        assert checked([tmp_path]) > 0
        assert "x.yaml: cannot be read: [Errno 22] it is not a regular file" in capsys.readouterr().err
    if make is not _folder:
        with pytest.raises(OSError, match="it is not a regular file"):
            read_folder(path)
    assert read_folder(tmp_path)[0] == []
    make(tmp_path / "x.json")
    assert list(Calendars(tmp_path).faults) == ["x.json"]


def test_a_name_that_is_no_text_is_a_fault_and_no_end_of_watching(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.yaml"))).write_text(GOOD)
    sources, faults, _ = read_folder(tmp_path)
    assert sources == [("good.yaml", GOOD)]
    assert [(fault.code, fault.file) for fault in faults] == [("NOT_UTF8", "b\ufffd.yaml")]
    assert check([tmp_path]) == 2
    assert "b\ufffd.yaml: the name of the file is not UTF-8" in capsys.readouterr().err


def test_no_more_than_the_limit_is_read_of_many_files(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.yaml").write_text(GOOD + "#" * (RULE_SOURCE_BYTES_MAX // 4))
    sources, faults, content = read_folder(tmp_path)
    assert sum(len(text) for _, text in sources) < 2 * RULE_SOURCE_BYTES_MAX
    assert [fault.code for fault in faults] == ["LIMIT_BYTES"]
    assert read_folder(tmp_path)[2] == content
    os.utime(tmp_path / "39.yaml", ns=(1, 1))
    assert read_folder(tmp_path)[2] != content, "a change of what is not read is one too"
    sources, faults, _ = read_folder(tmp_path, 64 * RULE_SOURCE_BYTES_MAX)
    assert (len(sources), faults) == (40, [])


def test_what_is_told_of_a_file_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = r'"\e[31m\u202e\n红"'
    (tmp_path / "x.yaml").write_text(
        f"rules:\n  - name: {name}\n    condition: 'true'\n    action: 'assign_rider_priority: 1'\n"
    )
    assert check([tmp_path]) == 1
    told = capsys.readouterr().err
    assert r"[\u001b[31m\u202e\u000a红]" in told
    assert not {"\x1b", "\u202e"} & set(told)
