"""Resource names to their parts and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from cuptime.api import names
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import ORDER_NUMBER_MASK, order_id_of

READ: dict[str, Callable[[str], object]] = {
    "group": names.group,
    "group_or_all": names.group_or_all,
    "order": names.order,
    "decision": names.decision,
    "schedule": names.schedule,
    "schedule_or_all": names.schedule_or_all,
    "intervention": names.intervention,
    "shop": partial(names.numbered, "shops"),
}


@pytest.mark.parametrize(
    ("kind", "name", "parts"),
    [
        ("group", "groups/10023", 10_023),
        ("group", f"groups/{2**63 - 1}", 2**63 - 1),
        ("group_or_all", "groups/-", None),
        ("group_or_all", "groups/10023", 10_023),
        ("order", "groups/10023/orders/7", (10_023, 7)),
        ("order", f"groups/10023/orders/{ORDER_NUMBER_MASK}", (10_023, ORDER_NUMBER_MASK)),
        ("decision", "groups/10023/orders/7/decision", (10_023, 7)),
        ("schedule", "schedules/open-park.2", "open-park.2"),
        ("schedule_or_all", "schedules/-", None),
        ("schedule_or_all", "schedules/a", "a"),
        ("intervention", "interventions/5", 5),
        ("shop", "shops/5", 5),
    ],
)
def test_names_are_read(kind: str, name: str, parts: object) -> None:
    assert READ[kind](name) == parts


@pytest.mark.parametrize("kind", sorted(READ))
@pytest.mark.parametrize(
    "name",
    [
        "groups/0",
        "groups/01",
        "groups/-1",
        "groups/１",
        "groups/1 ",
        "groups/1\n",
        "Groups/1",
        f"groups/{2**63}",
        "groups/1/orders",
        "groups/1/orders/0",
        f"groups/1/orders/{ORDER_NUMBER_MASK + 1}",
        f"groups/{2**63}/orders/1",
        "groups/1/orders/1/decision/",
        f"groups/1/orders/{ORDER_NUMBER_MASK + 1}/decision",
        "riders/5",
        "schedules/",
        "schedules/1a",
        "schedules/Open",
        "schedules/" + "a" * 64,
        "/",
    ],
)
def test_what_is_no_name_is_refused_with_the_form(kind: str, name: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        READ[kind](name)
    assert refused.value.reason is Reason.FIELD_INVALID
    assert "of the form" in refused.value.message


@pytest.mark.parametrize("kind", sorted(READ))
def test_a_name_must_be_given(kind: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        READ[kind]("")
    assert refused.value.reason is Reason.FIELD_REQUIRED


def test_the_name_of_an_order_is_read_back() -> None:
    assert names.order(names.order_name(10_023, order_id_of(5, 77))) == (10_023, 77)
