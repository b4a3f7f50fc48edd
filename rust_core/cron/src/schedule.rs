//! A whole schedule: terms joined by `|`, less what follows `!`, in a zone, under a policy and a calendar's day rule.

use std::sync::Arc;

use crate::calendar::DayRule;
use crate::dialect::Dialect;
use crate::dst::DstPolicy;
use crate::error::ParseError;
use crate::every::{Base, Every};
use crate::firing::{next, previous, Change, Firing};
use crate::line::{Grid, Line};
use crate::parse::{parse, TEXT_BYTES_MAX};
use crate::pattern::Pattern;
use crate::zone::Zone;

/// Terms and exclusions of one schedule, each.
pub const TERMS_MAX: usize = 16;
/// Firings that may be excluded one after the other before the search gives up.
const EXCLUDED_MAX: usize = 1_000_000;

/// How a text is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The family.
    pub dialect: Dialect,
    /// The policy at changes of the clock.
    pub policy: DstPolicy,
    /// Exactly so many fields.
    pub fields: Option<usize>,
    /// For `H`: the same seed, the same values.
    pub seed: u64,
}

/// One of several ways to fire.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Pattern(Pattern),
    Every(Every),
    Grid(Grid, Every),
    /// `@reboot`: when the service starts, which no calendar knows.
    Reboot,
}

/// What few schedules have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rare {
    terms: Vec<Term>,
    /// A pattern, and whether it stands for whole minutes.
    exclusions: Vec<(Pattern, bool)>,
    rule: Option<DayRule>,
}

/// A compiled schedule. Without the rare parts it is at most 96 bytes.
#[derive(Clone, Debug)]
pub struct Schedule {
    first: Term,
    policy: DstPolicy,
    rare: Option<Box<Rare>>,
    zone: Arc<Zone>,
}

/// Reads a text: one expression, or several with `|` between them and `!` before what is left out.
///
/// # Errors
/// Where and why it cannot be read.
pub fn compile(
    text: &str,
    options: Options,
    zone: Arc<Zone>,
    rule: Option<DayRule>,
) -> Result<Schedule, ParseError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ParseError::new("expression", 0, format!("longer than {TEXT_BYTES_MAX} bytes"))
            .mend("register several schedules"));
    }
    let text = match options.dialect.reading().comments {
        true => text.split('#').next().unwrap_or(""),
        false => text,
    };
    if rule.is_none() && !text.bytes().any(|byte| matches!(byte, b'|' | b'!')) {
        let first = term(text, 0, options)?;
        return Ok(Schedule { first, policy: options.policy, rare: None, zone });
    }
    let mut terms = Vec::new();
    let mut exclusions = Vec::new();
    let mut excluded = false;
    let mut at = 0;
    for part in text.split_inclusive(['|', '!']) {
        let body = part.trim_end_matches(['|', '!']);
        if terms.len() >= TERMS_MAX || exclusions.len() >= TERMS_MAX {
            return Err(ParseError::new("expression", at, format!("more than {TERMS_MAX} expressions"))
                .mend("register several schedules"));
        }
        if excluded {
            exclusions.push(exclusion(body, at, options)?);
        } else {
            terms.push(term(body, at, options)?);
        }
        // "A ! B | C": B and C are both left out; what comes before the first ! is the union.
        excluded |= part.ends_with('!');
        at += part.len();
    }
    if text.ends_with(['|', '!']) {
        return Err(ParseError::new("expression", text.len() - 1, "an expression must follow")
            .mend("write one, or leave the sign out"));
    }
    let first = terms.remove(0);
    let rare = Rare { terms, exclusions, rule };
    let rare = (rare != Rare::default()).then(|| Box::new(rare));
    Ok(Schedule { first, policy: options.policy, rare, zone })
}

fn term(text: &str, at: usize, options: Options) -> Result<Term, ParseError> {
    let body = text.trim_start_matches([' ', '\t']);
    let begins = at + text.len() - body.len();
    let reading = options.dialect.reading();
    if let Some(rest) = body.strip_prefix("@every ").filter(|_| reading.every) {
        let every = crate::every::read(rest, begins + 7)?;
        return Ok(match every.grid() {
            Some(grid) => Term::Grid(grid, every),
            None => Term::Every(every),
        });
    }
    if reading.reboot && body.trim_end_matches([' ', '\t']) == "@reboot" {
        return Ok(Term::Reboot);
    }
    let pattern = parse(text, options.dialect, options.fields, options.seed);
    pattern.map(Term::Pattern).map_err(|refusal| refusal.moved(at))
}

fn exclusion(text: &str, at: usize, options: Options) -> Result<(Pattern, bool), ParseError> {
    let pattern = parse(text, options.dialect, None, options.seed).map_err(|refusal| refusal.moved(at))?;
    let whole_minute = text.split([' ', '\t']).filter(|field| !field.is_empty()).count() <= 5;
    Ok((pattern, whole_minute))
}

impl Schedule {
    /// Does it never fire? Known without a search, except that exclusions are not looked at.
    #[must_use]
    pub fn never(&self) -> bool {
        self.terms().all(|term| matches!(term, Term::Pattern(pattern) if pattern.never()))
    }

    /// Does it fire when the service starts (`@reboot`)?
    #[must_use]
    pub fn at_start(&self) -> bool {
        self.terms().any(|term| *term == Term::Reboot)
    }

    /// The single pattern it is made of, when it is.
    #[must_use]
    pub fn pattern(&self) -> Option<&Pattern> {
        match (&self.first, &self.rare) {
            (Term::Pattern(pattern), None) => Some(pattern),
            _ => None,
        }
    }

    /// The single interval it is made of, when it is.
    #[must_use]
    pub fn every(&self) -> Option<Every> {
        match (&self.first, &self.rare) {
            (Term::Every(every) | Term::Grid(_, every), None) => Some(*every),
            _ => None,
        }
    }

    /// Do two schedules name the same times by the same rules, however they were written?
    #[must_use]
    pub fn same_times(&self, other: &Self) -> bool {
        fn plain(term: &Term) -> Term {
            let mut term = term.clone();
            if let Term::Pattern(pattern) = &mut term {
                pattern.flags &= !(crate::pattern::STAR_TIME | crate::pattern::INTERVAL_TIME);
            }
            term
        }
        self.terms().map(plain).eq(other.terms().map(plain))
            && self.rare.as_ref().map_or(&[][..], |rare| &rare.exclusions)
                == other.rare.as_ref().map_or(&[][..], |rare| &rare.exclusions)
    }

    /// The zone.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    fn terms(&self) -> impl Iterator<Item = &Term> {
        std::iter::once(&self.first).chain(self.rare.iter().flat_map(|rare| &rare.terms))
    }

    fn rule(&self) -> Option<&DayRule> {
        self.rare.as_ref().and_then(|rare| rare.rule.as_ref())
    }

    /// The first firing after an instant, in UTC ms. `anchor_ms` is where `@every` without phase counts from.
    #[must_use]
    pub fn next(&self, anchor_ms: i64, after_ms: i64) -> Firing {
        if let (Term::Pattern(pattern), None) = (&self.first, &self.rare) {
            return in_ms(self.next_of_pattern(pattern, None, after_ms.div_euclid(1_000)));
        }
        let mut after_ms = after_ms;
        for _ in 0..EXCLUDED_MAX {
            let found = self.first_of_terms(anchor_ms, after_ms);
            match found {
                Firing::At(at_ms) if self.is_excluded(at_ms) => after_ms = at_ms,
                _ => return found,
            }
        }
        Firing::Never
    }

    /// The first firing not before an instant. For a single pattern a run that a gap moved to the very instant belongs
    /// to what came before it, so that asking from the end of a gap on does not bring back what the gap skipped.
    #[must_use]
    pub fn next_from(&self, anchor_ms: i64, from_ms: i64) -> Firing {
        match (&self.first, &self.rare) {
            (Term::Pattern(pattern), None) if from_ms.rem_euclid(1_000) == 0 => {
                let line = Line::Pattern(pattern, None);
                in_ms(next(&line, &self.zone, self.change(pattern), from_ms / 1_000, true))
            }
            _ => self.next(anchor_ms, from_ms - 1),
        }
    }

    /// The last firing before an instant, in UTC ms.
    #[must_use]
    pub fn previous(&self, anchor_ms: i64, before_ms: i64) -> Firing {
        let mut before_ms = before_ms;
        for _ in 0..EXCLUDED_MAX {
            let found = self.last_of_terms(anchor_ms, before_ms);
            match found {
                Firing::At(at_ms) if self.is_excluded(at_ms) => before_ms = at_ms,
                _ => return found,
            }
        }
        Firing::Never
    }

    /// Does it fire at this instant?
    #[must_use]
    pub fn fires_at(&self, anchor_ms: i64, at_ms: i64) -> bool {
        self.next(anchor_ms, at_ms - 1) == Firing::At(at_ms)
    }

    /// Firings t with `after_ms` < t <= `until_ms`, at most `limit`; and what ended the row.
    #[must_use]
    pub fn firings(&self, anchor_ms: i64, after_ms: i64, until_ms: i64, limit: usize) -> (Vec<i64>, Firing) {
        let mut times = Vec::new();
        let mut after_ms = after_ms;
        while times.len() < limit {
            match self.next(anchor_ms, after_ms) {
                Firing::At(at_ms) if at_ms <= until_ms => {
                    times.push(at_ms);
                    after_ms = at_ms;
                }
                ended => return (times, ended),
            }
        }
        (times, Firing::At(after_ms))
    }

    fn first_of_terms(&self, anchor_ms: i64, after_ms: i64) -> Firing {
        let mut best = Firing::Never;
        for term in self.terms() {
            best = nearer(best, self.next_of(term, anchor_ms, after_ms), |a, b| a.min(b));
        }
        best
    }

    fn last_of_terms(&self, anchor_ms: i64, before_ms: i64) -> Firing {
        let mut best = Firing::Never;
        for term in self.terms() {
            best = nearer(best, self.previous_of(term, anchor_ms, before_ms), |a, b| a.max(b));
        }
        best
    }

    fn next_of(&self, term: &Term, anchor_ms: i64, after_ms: i64) -> Firing {
        match term {
            Term::Pattern(pattern) => {
                in_ms(self.next_of_pattern(pattern, self.rule(), after_ms.div_euclid(1_000)))
            }
            Term::Grid(grid, _) => {
                let change = Change { shifts: true, once: true, unmoved_back: false };
                in_ms(next(&Line::Grid(grid), &self.zone, change, after_ms.div_euclid(1_000), false))
            }
            Term::Every(every) => {
                let (base_ms, from_base) = self.base_ms(every, anchor_ms);
                let first_ms = if from_base { base_ms } else { i64::MIN / 2 };
                let step = every.length_ms;
                if after_ms < first_ms {
                    return Firing::At(first_ms);
                }
                Firing::At(base_ms + ((after_ms - base_ms).div_euclid(step) + 1) * step)
            }
            Term::Reboot => Firing::Never,
        }
    }

    fn previous_of(&self, term: &Term, anchor_ms: i64, before_ms: i64) -> Firing {
        let before_s = (before_ms - 1).div_euclid(1_000) + 1;
        match term {
            Term::Pattern(pattern) => {
                let line = Line::Pattern(pattern, self.rule());
                in_ms(previous(&line, &self.zone, self.change(pattern), before_s))
            }
            Term::Grid(grid, _) => {
                let change = Change { shifts: true, once: true, unmoved_back: false };
                in_ms(previous(&Line::Grid(grid), &self.zone, change, before_s))
            }
            Term::Every(every) => {
                let (base_ms, from_base) = self.base_ms(every, anchor_ms);
                let at_ms = base_ms + (before_ms - 1 - base_ms).div_euclid(every.length_ms) * every.length_ms;
                if from_base && at_ms < base_ms {
                    return Firing::Never;
                }
                Firing::At(at_ms)
            }
            Term::Reboot => Firing::Never,
        }
    }

    fn next_of_pattern(&self, pattern: &Pattern, rule: Option<&DayRule>, after_s: i64) -> Firing {
        next(&Line::Pattern(pattern, rule), &self.zone, self.change(pattern), after_s, false)
    }

    fn change(&self, pattern: &Pattern) -> Change {
        Change {
            shifts: self.policy.shifts(pattern),
            once: self.policy.once(pattern),
            unmoved_back: self.policy == DstPolicy::Cronos,
        }
    }

    /// Where an interval counts from, and whether it begins there.
    fn base_ms(&self, every: &Every, anchor_ms: i64) -> (i64, bool) {
        match every.base {
            Base::Anchor => (anchor_ms + every.length_ms, true),
            Base::Phase(phase_ms) => (phase_ms, false),
            Base::From(local) => (self.zone.instant_of(local) * 1_000, true),
        }
    }

    fn is_excluded(&self, at_ms: i64) -> bool {
        let Some(rare) = &self.rare else { return false };
        if rare.exclusions.is_empty() {
            return false;
        }
        let local = self.zone.local(at_ms.div_euclid(1_000));
        rare.exclusions.iter().any(|(pattern, whole_minute)| pattern.fits(local, *whole_minute))
    }
}

fn nearer(a: Firing, b: Firing, pick: impl Fn(i64, i64) -> i64) -> Firing {
    match (a, b) {
        (Firing::At(a), Firing::At(b)) => Firing::At(pick(a, b)),
        // A year without data hides what might come first.
        (Firing::UnknownYear(year), _) | (_, Firing::UnknownYear(year)) => Firing::UnknownYear(year),
        (Firing::Never, other) | (other, Firing::Never) => other,
    }
}

fn in_ms(firing: Firing) -> Firing {
    match firing {
        Firing::At(second) => Firing::At(second * 1_000),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_at_most_96_bytes() {
        assert!(size_of::<Schedule>() <= 96, "{}", size_of::<Schedule>());
    }
}
