"""Days as files: what is read, what is refused, what is printed. Whole days are in `tests/simulation`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cuptime.app.replay.day import read
from cuptime.app.replay.main import main
from cuptime.domain.errors import CuptimeError


def _write_day(folder: Path, *, order: str = "o1\t0\t100\t5\tr1\t15") -> None:
    columns = "meters_per_minute\tpickup service minutes\tdropoff service minutes\ttarget click-to-door"
    (folder / "instance_parameters.txt").write_text(
        f"{columns}\tmaximum click-to-door\tpay per order\tguaranteed pay per hour\n300\t4\t4\t40\t90\t10\t15\n"
    )
    (folder / "restaurants.txt").write_text("restaurant\tx\ty\nr1\t0\t0\n")
    (folder / "couriers.txt").write_text("courier\tx\ty\ton_time\toff_time\nc1\t0\t0\t0\t120\n")
    (folder / "orders.txt").write_text(f"order\tx\ty\tplacement_time\trestaurant\tready_time\n{order}\n")


def test_a_small_day_is_delivered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_day(tmp_path)
    assert main(tmp_path, as_json=True) == 0
    shown = capsys.readouterr()
    assert '"undelivered": 0' in shown.out


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ("o1\t0\t100\tnoon\tr1\t15", "orders.txt cannot be read"),
        ("o1\t0\t100\t5\tr9\t15", "unknown restaurant r9"),
        ("o1\t0\t100", "orders.txt cannot be read"),
    ],
)
def test_a_day_that_cannot_be_read_says_where(tmp_path: Path, order: str, what: str) -> None:
    _write_day(tmp_path, order=order)
    with pytest.raises(CuptimeError, match=what):
        read(tmp_path)


def test_a_folder_without_a_day_says_what_is_missing(tmp_path: Path) -> None:
    assert main(tmp_path, as_json=False) == 1
    with pytest.raises(CuptimeError, match=r"instance_parameters\.txt"):
        read(tmp_path)
