"""The catalogue is closed and says what it must."""

from __future__ import annotations

import pytest

from cuptime.core import intake_reasons
from cuptime.domain.errors import Code, CuptimeError, Reason, invalid, required


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
def test_every_reason_says_what_it_means(reason: Reason) -> None:
    assert reason.text.endswith(".")
    assert isinstance(reason.code, Code)
    assert CuptimeError(reason).message == reason.text


def test_waiting_helps_only_where_it_is_said() -> None:
    assert {reason.name for reason in Reason if reason.retry} == {
        "DECISION_NOT_FOUND",
        "ETAG_MISMATCH",
        "EPOCH_STALE",
        "GATE_UNAVAILABLE",
        "OVERLOADED",
        "DEADLINE_TOO_SHORT",
        "STORAGE_UNAVAILABLE",
        "DRAINING",
    }


def test_the_core_speaks_the_same_catalogue() -> None:
    for name, code, *_ in intake_reasons():
        assert int(Reason[name].code) == code


def test_field_errors_name_the_field() -> None:
    error = invalid("order.quantity", "1 to 100", "x" * 500)
    assert error.field == "order.quantity"
    assert error.metadata["field"] == "order.quantity"
    assert len(error.metadata["value"]) <= 100
    assert required("name").reason is Reason.FIELD_REQUIRED
