"""When a commit fails, was anything kept? Only storage knows, so nothing is given back before it was asked."""

from __future__ import annotations

from cuptime.domain.errors import CuptimeError, Reason


def outcome_unknown(fault: Exception) -> bool:
    """May a commit that ended so have been kept? A refusal with any other reason was judged, and kept nothing."""
    return not isinstance(fault, CuptimeError) or fault.reason in (
        Reason.STORAGE_UNAVAILABLE,
        Reason.INTERNAL,
    )
