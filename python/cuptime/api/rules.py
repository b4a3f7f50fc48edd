"""RuleService: rule sets in, diagnostics and revisions out."""

from __future__ import annotations

from typing import Final

from cuptime._gen.cuptime.v1 import rule_service_pb2 as pb
from cuptime.api import convert, names, pages
from cuptime.api.call import Call
from cuptime.domain.errors import required
from cuptime.rules.book import RuleBook
from cuptime.rules.chinese import MEANINGS
from cuptime.rules.diagnostic import Diagnostic
from cuptime.rules.standing import Attempt

_NEWEST = 2**62
REVISIONS_READ_MAX: Final = 50
"""For one page: each has its source, up to 1 MiB."""


def diagnostic(value: Diagnostic) -> pb.Diagnostic:
    """A fault as a message."""
    return pb.Diagnostic(
        code=value.code,
        file=value.file,
        line=value.line,
        column=value.column,
        rule=value.rule,
        message=value.message,
        hint=value.hint,
        meaning_zh=MEANINGS.get(value.code, ""),
    )


def attempt(value: Attempt) -> pb.RulesAttempt:
    """An attempt as a message."""
    return pb.RulesAttempt(
        origin=value.origin,
        source=value.source,
        attempt_time_ms=value.attempted_ms,
        success_time_ms=value.succeeded_ms,
        revision=value.revision,
        error=value.error,
        diagnostics=[diagnostic(fault) for fault in value.faults],
        rule_count=value.rule_count,
        reused_count=value.reused_count,
        duration_ms=value.took_ms,
    )


class RuleEndpoints:
    """The methods of RuleService."""

    def __init__(self, book: RuleBook) -> None:
        self._book = book

    async def validate_rules(self, request: pb.ValidateRulesRequest, call: Call) -> pb.ValidateRulesResponse:
        if not request.source:
            raise required("source")
        faults, count = await self._book.validate(request.source)
        return pb.ValidateRulesResponse(diagnostics=[diagnostic(fault) for fault in faults], rule_count=count)

    async def publish_rules(self, request: pb.PublishRulesRequest, call: Call) -> pb.PublishRulesResponse:
        if not request.source:
            raise required("source")
        row = await self._book.publish(
            request.source, request.note, request_id=request.request_id, validate_only=request.validate_only
        )
        return pb.PublishRulesResponse(revision=convert.rule_revision(row))

    async def get_revision(self, request: pb.GetRevisionRequest, call: Call) -> pb.GetRevisionResponse:
        wanted = (
            None if request.name == "ruleRevisions/active" else names.numbered("ruleRevisions", request.name)
        )
        return pb.GetRevisionResponse(revision=convert.rule_revision(await self._book.get(wanted)))

    async def list_revisions(self, request: pb.ListRevisionsRequest, call: Call) -> pb.ListRevisionsResponse:
        size = min(pages.page_size(request.page_size), REVISIONS_READ_MAX)
        before = pages.cursor("ruleRevisions", request.page_token, _NEWEST)
        rows = await self._book.page(before=before, limit=size + 1)
        shown = [convert.rule_revision(row) for row in rows[:size]]
        token = pages.cut("ruleRevisions", rows, shown, lambda row: row.revision)
        return pb.ListRevisionsResponse(revisions=shown, next_page_token=token)

    async def roll_back_rules(self, request: pb.RollBackRulesRequest, call: Call) -> pb.RollBackRulesResponse:
        row = await self._book.roll_back(
            names.numbered("ruleRevisions", request.name), request.note, request_id=request.request_id
        )
        return pb.RollBackRulesResponse(revision=convert.rule_revision(row))

    async def get_rules_status(
        self, request: pb.GetRulesStatusRequest, call: Call
    ) -> pb.GetRulesStatusResponse:
        book, live = self._book, self._book.snapshot()
        row = await book.get(live.revision) if live.revision else None
        return pb.GetRulesStatusResponse(
            revision=live.revision,
            digest=live.rules.digest if live.rules is not None else "",
            rule_count=len(live.rules) if live.rules is not None else 0,
            create_time_ms=row.created_ms if row is not None else 0,
            live_time_ms=book.live_ms,
            attempts=[attempt(one) for one in book.standing.attempts()],
            counts=[
                pb.RuleCount(rule=rule, hits=hits, errors=errors)
                for rule, (hits, errors) in book.counters().items()
            ],
        )
