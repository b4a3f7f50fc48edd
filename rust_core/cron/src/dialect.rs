//! What each family of cron reads, as data.

use crate::dst::DstPolicy;

/// A family of cron expressions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The Open Cron Pattern Specification, 1.0 to 1.4, and what does not contradict it: `L-n`, `LW`, `H`, `@every`.
    #[default]
    Ocps,
    /// Vixie cron as in Debian.
    Vixie,
    /// Cronos (.NET).
    Cronos,
    /// Quartz (Java).
    Quartz,
    /// robfig/cron v3 (Go).
    Robfig,
    /// croniter (Python), seconds last.
    Croniter,
    /// Temporal's cron strings.
    Temporal,
}

/// The dialects by name, in the order of documentation.
pub const DIALECTS: [(&str, Dialect); 7] = [
    ("ocps", Dialect::Ocps),
    ("vixie", Dialect::Vixie),
    ("cronos", Dialect::Cronos),
    ("quartz", Dialect::Quartz),
    ("robfig", Dialect::Robfig),
    ("croniter", Dialect::Croniter),
    ("temporal", Dialect::Temporal),
];

/// How a restricted day of month and a restricted weekday go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DayJoin {
    /// One suffices; a field is unrestricted when it is exactly `*` or `?` (or `*/1`).
    Or,
    /// One suffices, unless either begins with `*`: then both.
    OrUnlessStar,
    /// Both.
    And,
}

/// Where `?` may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Nowhere,
    DayFields,
    AnyField,
    /// In exactly one of the two day fields.
    OneDayField,
}

/// The rules of a dialect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) fields: &'static [usize],
    /// A sixth field is the year (else seconds).
    pub(crate) sixth_is_year: bool,
    pub(crate) seconds_last: bool,
    /// `22-2` goes round.
    pub(crate) wraps: bool,
    /// `5/15` is 5 to the end.
    pub(crate) open_steps: bool,
    /// A step is at most the field's highest value.
    pub(crate) steps_bounded: bool,
    pub(crate) join: DayJoin,
    pub(crate) question: Question,
    pub(crate) plus: bool,
    /// `L`, `W` and `#`.
    pub(crate) specials: bool,
    /// They stand alone in their field.
    pub(crate) lone_specials: bool,
    /// In either case.
    pub(crate) specials_any_case: bool,
    /// `L5` instead of `5L`.
    pub(crate) last_before: bool,
    /// The number of Sunday, 0 or 1.
    pub(crate) sunday: u32,
    /// 7 is Sunday too.
    pub(crate) seven: bool,
    /// `1-1` is every value.
    pub(crate) equal_ends_are_all: bool,
    pub(crate) hashes: bool,
    pub(crate) every: bool,
    pub(crate) reboot: bool,
    pub(crate) macros: bool,
    pub(crate) macros_any_case: bool,
    /// `@every_second` and `@every_minute`.
    pub(crate) macros_every: bool,
    /// Names may be longer than three letters, weekdays may have two.
    pub(crate) long_names: bool,
    /// What follows `#` is a comment.
    pub(crate) comments: bool,
    pub(crate) digits_max: usize,
}

const OCPS: Reading = Reading {
    fields: &[5, 6, 7],
    sixth_is_year: false,
    seconds_last: false,
    wraps: false,
    open_steps: false,
    steps_bounded: false,
    join: DayJoin::Or,
    question: Question::DayFields,
    plus: true,
    specials: true,
    lone_specials: false,
    specials_any_case: false,
    last_before: false,
    sunday: 0,
    seven: true,
    equal_ends_are_all: false,
    hashes: true,
    every: true,
    reboot: true,
    macros: true,
    macros_any_case: false,
    macros_every: false,
    long_names: false,
    comments: false,
    digits_max: 4,
};

const VIXIE: Reading = Reading {
    fields: &[5],
    join: DayJoin::OrUnlessStar,
    question: Question::Nowhere,
    plus: false,
    specials: false,
    hashes: false,
    every: false,
    ..OCPS
};

const CRONOS: Reading = Reading {
    fields: &[5, 6],
    wraps: true,
    open_steps: true,
    steps_bounded: true,
    join: DayJoin::And,
    question: Question::AnyField,
    plus: false,
    lone_specials: true,
    specials_any_case: true,
    hashes: false,
    every: false,
    reboot: false,
    macros_any_case: true,
    macros_every: true,
    digits_max: 2,
    ..OCPS
};

const QUARTZ: Reading = Reading {
    fields: &[6, 7],
    wraps: true,
    open_steps: true,
    steps_bounded: true,
    join: DayJoin::And,
    question: Question::OneDayField,
    plus: false,
    specials_any_case: true,
    sunday: 1,
    seven: false,
    hashes: false,
    every: false,
    reboot: false,
    macros: false,
    ..OCPS
};

const ROBFIG: Reading = Reading {
    fields: &[5, 6],
    open_steps: true,
    question: Question::AnyField,
    plus: false,
    specials: false,
    seven: false,
    hashes: false,
    reboot: false,
    ..OCPS
};

const CRONITER: Reading = Reading {
    seconds_last: true,
    wraps: true,
    open_steps: true,
    plus: false,
    specials_any_case: true,
    last_before: true,
    equal_ends_are_all: true,
    every: false,
    reboot: false,
    macros_any_case: true,
    ..OCPS
};

const TEMPORAL: Reading = Reading {
    fields: &[5, 6, 7],
    sixth_is_year: true,
    open_steps: true,
    join: DayJoin::And,
    question: Question::AnyField,
    plus: false,
    specials: false,
    hashes: false,
    reboot: false,
    long_names: true,
    comments: true,
    ..OCPS
};

impl Dialect {
    /// The dialect of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        DIALECTS.iter().find(|(known, _)| *known == name).map(|(_, dialect)| *dialect)
    }

    /// The policy its own engine follows, or its specification recommends.
    #[must_use]
    pub fn own_policy(self) -> DstPolicy {
        match self {
            Self::Ocps | Self::Quartz => DstPolicy::SkipOnce,
            Self::Vixie => DstPolicy::Vixie,
            Self::Cronos => DstPolicy::Cronos,
            Self::Robfig | Self::Temporal => DstPolicy::WallBoth,
            Self::Croniter => DstPolicy::Croniter,
        }
    }

    pub(crate) fn reading(self) -> &'static Reading {
        match self {
            Self::Ocps => &OCPS,
            Self::Vixie => &VIXIE,
            Self::Cronos => &CRONOS,
            Self::Quartz => &QUARTZ,
            Self::Robfig => &ROBFIG,
            Self::Croniter => &CRONITER,
            Self::Temporal => &TEMPORAL,
        }
    }
}
