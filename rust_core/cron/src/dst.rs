//! What becomes of a wall clock time that a change of the clock skips, or that comes twice.

use crate::pattern::Pattern;

/// The policy of a schedule. "Right after" is the first instant behind the gap, once for all skipped times in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DstPolicy {
    /// A time without a leading `*` in its minute and hour: right after the gap; once, at the first of two. Others
    /// follow the wall clock: skipped, and both.
    #[default]
    Vixie,
    /// Skipped in a gap, once (the first) in an overlap: OCPS 1.4.
    SkipOnce,
    /// Everything in a gap runs right after it; once in an overlap, except intervals, which run in both: Cronos.
    ShiftAll,
    /// As `Vixie`, but only a single second, minute and hour counts as fixed.
    Croner,
    /// Skipped in a gap, both in an overlap: what the wall clock shows.
    WallBoth,
    /// Right after the gap unless every hour fits, both in an overlap: for the drop-in class of croniter's interface.
    Croniter,
    /// As `ShiftAll`, but looking back names the skipped time itself (with the offset behind the gap), as Cronos does.
    Cronos,
}

/// The policies by name, in the order of documentation.
pub const POLICIES: [(&str, DstPolicy); 7] = [
    ("vixie", DstPolicy::Vixie),
    ("skip_once", DstPolicy::SkipOnce),
    ("shift_all", DstPolicy::ShiftAll),
    ("croner", DstPolicy::Croner),
    ("wall_both", DstPolicy::WallBoth),
    ("croniter", DstPolicy::Croniter),
    ("cronos", DstPolicy::Cronos),
];

impl DstPolicy {
    /// The policy of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        POLICIES.iter().find(|(known, _)| *known == name).map(|(_, policy)| *policy)
    }

    /// Does this pattern run right after a gap that skipped it?
    #[must_use]
    pub fn shifts(self, pattern: &Pattern) -> bool {
        match self {
            Self::Vixie => !pattern.has_star_time(),
            Self::Croner => pattern.is_single_time(),
            Self::ShiftAll | Self::Cronos => true,
            Self::Croniter => !pattern.has_every_hour(),
            Self::SkipOnce | Self::WallBoth => false,
        }
    }

    /// Does this pattern run only at the first of two equal wall clock times?
    #[must_use]
    pub fn once(self, pattern: &Pattern) -> bool {
        match self {
            Self::Vixie => !pattern.has_star_time(),
            Self::Croner => pattern.is_single_time(),
            Self::ShiftAll | Self::Cronos => !pattern.has_interval_time(),
            Self::SkipOnce => true,
            Self::WallBoth | Self::Croniter => false,
        }
    }
}
