"""The groups that are open on this node, and how many members each has."""

from __future__ import annotations

from msgspec.structs import astuple, replace

from cuptime.domain.values import Group
from cuptime.domain.writes import Row


def columns_of(group: Group) -> Row:
    """A group as the row that the core reads."""
    return astuple(group)


class OpenGroups:
    """In memory; exact between two flushes of the intake line, because that line alone changes it."""

    def __init__(self) -> None:
        self._by_id: dict[int, Group] = {}
        self._by_seq: dict[int, Group] = {}
        self._members: dict[int, int] = {}
        self._last_seq = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def next_seq(self) -> int:
        """A fresh group_seq."""
        self._last_seq += 1
        return self._last_seq

    def start_after(self, group_seq: int) -> None:
        """The highest group_seq in use."""
        self._last_seq = max(self._last_seq, group_seq)

    def replace_all(self, groups: list[Group]) -> None:
        """From storage."""
        self._by_id = {group.group_id: group for group in groups}
        self._by_seq = {group.group_seq: group for group in groups}
        self._members = {group.group_seq: group.member_count for group in groups}

    def add(self, group: Group) -> None:
        self._by_id[group.group_id] = group
        self._by_seq[group.group_seq] = group
        self._members[group.group_seq] = group.member_count

    def remove(self, group_seq: int) -> None:
        group = self._by_seq.pop(group_seq, None)
        if group is not None:
            del self._by_id[group.group_id]
            del self._members[group_seq]

    def by_id(self, group_id: int) -> Group | None:
        return self._by_id.get(group_id)

    def by_seq(self, group_seq: int) -> Group | None:
        return self._by_seq.get(group_seq)

    def members(self, group_seq: int) -> int:
        return self._members.get(group_seq, 0)

    def set_members(self, counts: list[tuple[int, int]]) -> None:
        """(group_seq, member_count); groups that are not here are left out."""
        for group_seq, count in counts:
            if group_seq in self._members:
                self._members[group_seq] = count

    def current(self, group: Group) -> Group:
        """With its member count of now."""
        return replace(group, member_count=self.members(group.group_seq))
