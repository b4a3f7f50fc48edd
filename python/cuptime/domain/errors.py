"""The closed catalogue of errors: what happened, who may act, retry or not.

Every refusal that leaves the service is a :class:`CuptimeError` with a reason listed in :class:`Reason`; on the wire
it is a gRPC status with `google.rpc.ErrorInfo{reason, domain="cuptime", metadata}`. Adding a reason means adding a row
here, and `tests/unit/domain/test_errors.py` checks that the documentation knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final

from msgspec import Struct

ERROR_DOMAIN: Final = "cuptime"


class Code(IntEnum):
    """The gRPC status codes in use (numbers as in google.rpc.Code)."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class ReasonFacts(Struct, frozen=True):
    """What a reason means to whoever receives it."""

    code: Code
    retry: bool
    """May the same request be sent again, unchanged, with hope?"""
    text: str
    """One sentence for people: what it means and how to mend it."""


class Reason(Enum):
    """The catalogue. The value is what the wire and the documentation say about it."""

    # Input that can never be right.
    FIELD_REQUIRED = ReasonFacts(Code.INVALID_ARGUMENT, False, "A required field is missing; set it.")
    FIELD_INVALID = ReasonFacts(
        Code.INVALID_ARGUMENT, False, "A field has a value outside its allowed form or range."
    )
    FIELD_CONTRADICTION = ReasonFacts(Code.INVALID_ARGUMENT, False, "Two fields contradict each other.")
    FIELD_UNKNOWN = ReasonFacts(
        Code.INVALID_ARGUMENT, False, "An update mask or filter names a field that is not known."
    )
    MESSAGE_MALFORMED = ReasonFacts(
        Code.INVALID_ARGUMENT, False, "The bytes are not a message of this method."
    )
    TOO_MANY_ENTRIES = ReasonFacts(
        Code.INVALID_ARGUMENT, False, "The request has more entries than a batch may have."
    )
    PAGE_TOKEN_INVALID = ReasonFacts(
        Code.INVALID_ARGUMENT, False, "The page token is not one that this list gave."
    )
    CRON_INVALID = ReasonFacts(Code.INVALID_ARGUMENT, False, "The cron expression cannot be read.")
    CALENDAR_YEAR_UNKNOWN = ReasonFacts(
        Code.FAILED_PRECONDITION, False, "The calendar has no data for a year that the schedule needs."
    )
    WORDS_NOT_UNDERSTOOD = ReasonFacts(
        Code.INVALID_ARGUMENT, False, "The words for a time are not understood."
    )
    CRON_NEVER_FIRES = ReasonFacts(Code.INVALID_ARGUMENT, False, "The schedule can never fire.")
    SCHEDULE_TIME_PASSED = ReasonFacts(
        Code.INVALID_ARGUMENT, False, "The instant or the end of the schedule is past already."
    )
    TIME_ZONE_UNKNOWN = ReasonFacts(Code.INVALID_ARGUMENT, False, "The time zone is not an IANA name.")
    RULES_INVALID = ReasonFacts(Code.INVALID_ARGUMENT, False, "The rule set has errors; the live one stays.")
    REQUEST_ID_REUSED = ReasonFacts(
        Code.INVALID_ARGUMENT, False, "This request_id was used for a different request; take a fresh one."
    )

    # Things that are not there, or are there already.
    DECISIONS_REMOVED = ReasonFacts(
        Code.OUT_OF_RANGE,
        False,
        "Decisions after this sequence were removed by retention; watch from 0 or -1.",
    )
    GROUP_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No such group.")
    ORDER_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No such order.")
    DECISION_NOT_FOUND = ReasonFacts(
        Code.NOT_FOUND, True, "No decision yet: the group is open, or being decided."
    )
    SHOP_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No such shop.")
    RIDER_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No such rider.")
    SKU_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No shop offers this SKU.")
    SCHEDULE_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No such schedule.")
    TASK_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No such task.")
    RULE_REVISION_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No such rule revision.")
    INTERVENTION_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No such open intervention.")
    PATH_NOT_FOUND = ReasonFacts(Code.NOT_FOUND, False, "No such path on the HTTP door.")
    METHOD_NOT_ALLOWED = ReasonFacts(Code.UNIMPLEMENTED, False, "The path takes another HTTP method.")
    GROUP_EXISTS = ReasonFacts(Code.ALREADY_EXISTS, False, "This group_id is taken.")
    SCHEDULE_EXISTS = ReasonFacts(Code.ALREADY_EXISTS, False, "This schedule_id is taken; update it instead.")

    # An order refused by the business.
    GROUP_NOT_OPEN = ReasonFacts(Code.FAILED_PRECONDITION, False, "The group takes no more orders.")
    CREDIT_BELOW_MINIMUM = ReasonFacts(Code.FAILED_PRECONDITION, False, "The user's credit score is too low.")
    PURCHASE_LIMIT = ReasonFacts(
        Code.FAILED_PRECONDITION, False, "The user has all the orders this group allows."
    )
    SKU_NOT_OFFERED = ReasonFacts(Code.FAILED_PRECONDITION, False, "No shop offers this SKU.")
    STOCK_SNAPSHOT_STALE = ReasonFacts(
        Code.FAILED_PRECONDITION, False, "The caller saw more stock than there is; read it again."
    )
    STOCK_EXHAUSTED = ReasonFacts(Code.FAILED_PRECONDITION, False, "Not enough cups are left.")
    RULE_REFUSED = ReasonFacts(Code.FAILED_PRECONDITION, False, "A rule refuses the order.")
    RULE_FAILED = ReasonFacts(
        Code.INTERNAL, False, "A rule could not be evaluated, and there is no answer without it."
    )
    BATCH_REFUSED = ReasonFacts(
        Code.FAILED_PRECONDITION, False, "An order of the batch was refused, so none was admitted."
    )

    # A state that does not allow the call.
    STATE_CONFLICT = ReasonFacts(
        Code.FAILED_PRECONDITION, False, "The resource is not in a state that allows this."
    )
    CAPACITY_EXCEEDED = ReasonFacts(
        Code.FAILED_PRECONDITION, False, "A shop or rider has no capacity left for this."
    )
    LEASE_LOST = ReasonFacts(
        Code.FAILED_PRECONDITION, False, "The lease ended; another attempt has the task."
    )
    ETAG_MISMATCH = ReasonFacts(Code.ABORTED, True, "The resource changed; read it again.")
    EPOCH_STALE = ReasonFacts(Code.UNAVAILABLE, True, "Another node owns this shard now.")

    # The service itself.
    OVERLOADED = ReasonFacts(
        Code.RESOURCE_EXHAUSTED, True, "Too much at once; wait as long as RetryInfo says."
    )
    LIMIT_REACHED = ReasonFacts(Code.RESOURCE_EXHAUSTED, False, "A limit of the service is reached.")
    DEADLINE_TOO_SHORT = ReasonFacts(
        Code.DEADLINE_EXCEEDED, True, "The call's deadline passed before the commit."
    )
    STORAGE_UNAVAILABLE = ReasonFacts(Code.UNAVAILABLE, True, "Storage could not commit; nothing was kept.")
    GATE_UNAVAILABLE = ReasonFacts(
        Code.UNAVAILABLE, True, "The live counters cannot be reached or were lost; nothing was reserved."
    )
    DRAINING = ReasonFacts(Code.UNAVAILABLE, True, "The server is stopping; try another one.")
    NOT_YET = ReasonFacts(Code.UNIMPLEMENTED, False, "This part is not there yet.")
    INTERNAL = ReasonFacts(Code.INTERNAL, False, "A fault of the service; the log has the details.")

    @property
    def code(self) -> Code:
        return self.value.code

    @property
    def retry(self) -> bool:
        return self.value.retry

    @property
    def text(self) -> str:
        return self.value.text


class CuptimeError(Exception):
    """A refusal with its reason and what was measured.

    `field` is the path of the field that is to blame (`order.context.sku_version`), empty when none is;
    `metadata` has measured and wanted values as strings.
    """

    def __init__(
        self, reason: Reason, message: str = "", *, field: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        self.reason = reason
        self.field = field
        self.message = message or reason.text
        self.metadata: dict[str, str] = dict(metadata or {})
        if field:
            self.metadata.setdefault("field", field)
        super().__init__(f"{reason.name}: {self.message}")


def required(field: str) -> CuptimeError:
    """The error for a missing field."""
    return CuptimeError(Reason.FIELD_REQUIRED, f"{field} is required", field=field)


def invalid(field: str, wanted: str, value: object) -> CuptimeError:
    """The error for a value outside its form or range; `wanted` completes the sentence «must be …»."""
    shown = repr(value)
    shown = shown if len(shown) <= 100 else shown[:97] + "..."
    return CuptimeError(
        Reason.FIELD_INVALID,
        f"{field} must be {wanted}, not {shown}",
        field=field,
        metadata={"wanted": wanted, "value": shown},
    )


def is_gate_away(fault: BaseException) -> bool:
    """Is it the gate that does not answer, or has other counters than ours? Then it is no fault of whoever asked it,
    and a rebuild mends it."""
    return isinstance(fault, CuptimeError) and fault.reason in (Reason.GATE_UNAVAILABLE, Reason.EPOCH_STALE)
