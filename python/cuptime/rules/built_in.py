"""The actions of the service itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cuptime.rules.actions import ActionRegistry, ActionType, Effect, Kind, Parameter

DELAY_MS_MAX: Final = 24 * 3_600_000
WEIGHT_MIN: Final = 0.1
WEIGHT_MAX: Final = 10.0
_IDS: Final = (Parameter("only", Kind.IDS, required=False), Parameter("except", Kind.IDS, required=False))


def _restricting(what: str) -> Callable[[Mapping[str, Any]], list[Effect]]:
    """`only` and `except` as effects."""

    def effects(given: Mapping[str, Any]) -> list[Effect]:
        kinds = {"only": f"only_{what}", "except": f"not_{what}"}
        found = [(kinds[key], ",".join(map(str, ids))) for key, ids in given.items()]
        if not found:
            raise ValueError("needs `only`, `except` or both")
        return found

    return effects


def _text(kind: str, key: str) -> Callable[[Mapping[str, Any]], list[Effect]]:
    return lambda given: [(kind, str(given[key]))]


def built_in() -> ActionRegistry:
    """A registry of its own with all of them."""
    return ActionRegistry(
        [
            ActionType(
                "assign_rider_priority",
                "The order's priority when riders are scarce; without a rule it is 50.",
                "骑手紧张时订单的优先级",
                (Parameter("priority", Kind.WHOLE, 1, 100, note="highest"),),
                _text("assign_rider_priority", "priority"),
            ),
            ActionType(
                "tag",
                "Changes nothing. The rule's name is in the decision's matched rules.",
                "只作标记",
                (Parameter("text", Kind.TEXT),),
                _text("tag", "text"),
                every_match=True,
            ),
            ActionType(
                "refuse",
                "The order is refused with this text, when it is submitted.",
                "提交时拒绝订单",
                (Parameter("reason", Kind.TEXT),),
                _text("refuse", "reason"),
            ),
            ActionType(
                "restrict_shops",
                "Only these shops may make it, or all except these.",
                "限定可以制作的门店",
                _IDS,
                _restricting("shops"),
                every_match=True,
            ),
            ActionType(
                "restrict_riders",
                "Only these riders may carry it, or all except these.",
                "限定可以配送的骑手",
                _IDS,
                _restricting("riders"),
                every_match=True,
            ),
            ActionType(
                "temperature_class",
                "It is made, stored and carried as an order of this class.",
                "按此温区制作、存放和配送",
                (Parameter("class", Kind.CHOICE, choices=("HOT", "AMBIENT", "COLD")),),
                _text("temperature_class", "class"),
            ),
            ActionType(
                "delay",
                "The decision waits so long after completion, but never into the last 5 minutes before pack-out.",
                "成团后推迟派单，最晚到出餐前 5 分钟",
                (Parameter("by", Kind.DURATION, 1_000, DELAY_MS_MAX),),
                _text_of_delay,
            ),
            ActionType(
                "weight",
                "What it costs counts so many times in the objective; of a pair, what this pair costs.",
                "目标函数中的成本倍数",
                (Parameter("factor", Kind.NUMBER, WEIGHT_MIN, WEIGHT_MAX),),
                lambda given: [("weight_percent", str(round(given["factor"] * 100)))],
            ),
            ActionType(
                "exclude",
                "The pair is not tried; the condition names rider.* or shop.*.",
                "排除该骑手或门店",
                (Parameter("reason", Kind.TEXT),),
                _text("exclude", "reason"),
                every_match=True,
            ),
        ]
    )


def _text_of_delay(given: Mapping[str, Any]) -> list[Effect]:
    return [("delay_ms", str(given["by"]))]
