"""Resource names (AIP-122): `groups/10023/orders/7` to its parts and back."""

from __future__ import annotations

import re

from cuptime.domain.errors import invalid, required
from cuptime.domain.values import ORDER_NUMBER_MASK, order_number_of

_ID_MAX = 2**63 - 1
_ORDER = re.compile(r"groups/([1-9][0-9]{0,18})/orders/([1-9][0-9]{0,6})")
_DECISION = re.compile(r"groups/([1-9][0-9]{0,18})/orders/([1-9][0-9]{0,6})/decision")
_NUMBERED = re.compile(r"([a-zA-Z]+)/([1-9][0-9]{0,18})")
_SCHEDULE = re.compile(r"schedules/([a-z][a-z0-9._-]{0,62})")


def _number(text: str, field: str, form: str, value: str) -> int:
    number = int(text)
    if number > _ID_MAX:
        raise invalid(field, f"of the form {form}", value)
    return number


def _numbers(found: re.Match[str], field: str, form: str) -> tuple[int, int]:
    """Group id and order number. A number that needs more bits than it has would name an order of another group."""
    number = int(found.group(2))
    if number > ORDER_NUMBER_MASK:
        raise invalid(field, f"of the form {form}, the number at most {ORDER_NUMBER_MASK}", found.group())
    return _number(found.group(1), field, form, found.group()), number


def numbered(collection: str, name: str, field: str = "name") -> int:
    """The id in `{collection}/{id}`."""
    form = f"{collection}/{{id}}"
    if not name:
        raise required(field)
    found = _NUMBERED.fullmatch(name)
    if found is None or found.group(1) != collection:
        raise invalid(field, f"of the form {form}", name)
    return _number(found.group(2), field, form, name)


def group(name: str, field: str = "name") -> int:
    return numbered("groups", name, field)


def group_or_all(name: str, field: str = "parent") -> int | None:
    """The group id, or None for `groups/-`."""
    return None if name == "groups/-" else numbered("groups", name, field)


def order(name: str, field: str = "name") -> tuple[int, int]:
    """(group_id, number)."""
    if not name:
        raise required(field)
    found = _ORDER.fullmatch(name)
    if found is None:
        raise invalid(field, "of the form groups/{group_id}/orders/{number}", name)
    return _numbers(found, field, "groups/{group_id}/orders/{number}")


def decision(name: str, field: str = "name") -> tuple[int, int]:
    """(group_id, number)."""
    if not name:
        raise required(field)
    found = _DECISION.fullmatch(name)
    if found is None:
        raise invalid(field, "of the form groups/{group_id}/orders/{number}/decision", name)
    return _numbers(found, field, "groups/{group_id}/orders/{number}/decision")


def schedule(name: str, field: str = "name") -> str:
    if not name:
        raise required(field)
    found = _SCHEDULE.fullmatch(name)
    if found is None:
        raise invalid(field, "of the form schedules/{schedule_id}", name)
    return found.group(1)


def intervention(name: str, field: str = "name") -> int:
    """The order id."""
    return numbered("interventions", name, field)


def order_name(group_id: int, order_id: int) -> str:
    return f"groups/{group_id}/orders/{order_number_of(order_id)}"


def schedule_or_all(name: str, field: str = "name") -> str | None:
    """The schedule_id, or None for `schedules/-`."""
    return None if name == "schedules/-" else schedule(name, field)
