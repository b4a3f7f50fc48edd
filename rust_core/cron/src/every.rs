//! `@every`: `@every 90s`, `@every 6h/5h` (with phase), `@every 2w from 2026-11-25 10:00`.

use crate::civil::{date_of, day_of, month_length, DAY_S};
use crate::error::ParseError;

const DAY_MS: i64 = DAY_S * 1_000;
/// The shortest length.
pub const LENGTH_MIN_MS: i64 = 1;
/// The longest length: a hundred years.
pub const LENGTH_MAX_MS: i64 = 36_525 * DAY_MS;
const DECIMALS_MAX: usize = 6;

/// From where the lengths are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// From the anchor that the caller gives: the registration.
    Anchor,
    /// From the epoch and this many milliseconds.
    Phase(i64),
    /// From a wall clock time (local seconds), which is the first firing.
    From(i64),
}

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    /// Milliseconds.
    pub length_ms: i64,
    /// From where.
    pub base: Base,
}

/// Reads what follows `@every `. `at` is where it begins, for errors.
pub(crate) fn read(text: &str, at: usize) -> Result<Every, ParseError> {
    let trimmed = text.trim_matches([' ', '\t']);
    let at = at + (text.len() - text.trim_start_matches([' ', '\t']).len());
    let (length, rest) = trimmed.split_once([' ', '\t']).unwrap_or((trimmed, ""));
    let (length, phase) = match length.split_once('/') {
        Some((length, phase)) => (length, Some((phase, at + length.len() + 1))),
        None => (length, None),
    };
    let length_ms = duration_ms(length, at)?;
    if !(LENGTH_MIN_MS..=LENGTH_MAX_MS).contains(&length_ms) {
        return Err(ParseError::new("expression", at, "the length is 1 ms to 100 years")
            .mend("for once only use at or after"));
    }
    let rest = rest.trim_matches([' ', '\t']);
    let base = match (phase, rest.strip_prefix("from ")) {
        (Some((phase, at)), None) if rest.is_empty() => {
            Base::Phase(duration_ms(phase, at)?.rem_euclid(length_ms))
        }
        (None, Some(from)) => Base::From(wall_clock(from.trim_matches([' ', '\t']), at)?),
        (None, None) if rest.is_empty() => Base::Anchor,
        _ => {
            let refusal = ParseError::new("expression", at, "@every takes a length, a phase or a beginning");
            return Err(refusal.mend("write @every 90s, @every 6h/5h or @every 2w from 2026-11-25 10:00"));
        }
    };
    Ok(Every { length_ms, base })
}

fn duration_ms(text: &str, at: usize) -> Result<i64, ParseError> {
    let refuse = |why: &str| {
        let refusal = ParseError::new("expression", at, format!("{text:?} is not a length: {why}"));
        refusal.mend("write numbers with w, d, h, m, s or ms, like 1h30m")
    };
    let mut rest = text;
    let mut total_ms = 0i64;
    if rest.is_empty() {
        return Err(refuse("it is empty"));
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: i64 = rest[..digits].parse().map_err(|_| refuse("a number is wanted"))?;
        rest = &rest[digits..];
        // `1.5h`: the tenths and so on, of the unit that follows.
        let tail = rest.strip_prefix('.').map_or("", |tail| {
            &tail[..tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_digit()).len()]
        });
        if rest.starts_with('.') {
            if tail.is_empty() || tail.len() > DECIMALS_MAX {
                return Err(refuse("one to six digits follow the point"));
            }
            rest = &rest[1 + tail.len()..];
        }
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_MS,
            "w" => 7 * DAY_MS,
            _ => return Err(refuse("a unit is wanted")),
        };
        rest = &rest[letters..];
        let scale = 10i64.pow(tail.len() as u32);
        let tenths = tail.parse().unwrap_or(0i64) * unit_ms;
        if tenths % scale != 0 {
            return Err(refuse("it is no whole number of milliseconds"));
        }
        let part = number.checked_mul(unit_ms).and_then(|part| total_ms.checked_add(part + tenths / scale));
        total_ms = part.filter(|total| *total <= LENGTH_MAX_MS).ok_or_else(|| refuse("it is too long"))?;
    }
    Ok(total_ms)
}

/// `2026-11-25`, `2026-11-25 10:00`, `2026-11-25T10:00:30`.
fn wall_clock(text: &str, at: usize) -> Result<i64, ParseError> {
    let refuse = || {
        let refusal = ParseError::new("expression", at, format!("{text:?} is not a date and time"));
        refusal.mend("write 2026-11-25 10:00")
    };
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let numbers = |text: &str, sign: char| -> Option<Vec<u32>> {
        text.split(sign)
            .map(|part| {
                if part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit()) {
                    part.parse().ok()
                } else {
                    None
                }
            })
            .collect()
    };
    let date = numbers(date, '-').ok_or_else(refuse)?;
    let time = numbers(time.trim(), ':').ok_or_else(refuse)?;
    let ([year, month, day], [hour, minute, ..]) = (&date[..], &time[..]) else { return Err(refuse()) };
    let second = time.get(2).copied().unwrap_or(0);
    let year = *year as i32;
    let fits = (1970..=2199).contains(&year)
        && (1..=12).contains(month)
        && (1..=month_length(year, *month)).contains(day)
        && *hour < 24
        && *minute < 60
        && second < 60
        && time.len() <= 3;
    if !fits {
        return Err(refuse());
    }
    Ok(day_of(year, *month, *day) * DAY_S + i64::from(hour * 3_600 + minute * 60 + second))
}

impl Every {
    /// As a grid of whole days on the wall clock, when it is one.
    #[must_use]
    pub fn grid(&self) -> Option<crate::line::Grid> {
        match self.base {
            Base::From(from) if self.length_ms % DAY_MS == 0 => {
                Some(crate::line::Grid { days: self.length_ms / DAY_MS, from })
            }
            _ => None,
        }
    }

    /// Its text, which reads as itself.
    #[must_use]
    pub fn text(&self) -> String {
        let length = duration_text(self.length_ms);
        match self.base {
            Base::Anchor => format!("@every {length}"),
            Base::Phase(phase_ms) => format!("@every {length}/{}", duration_text(phase_ms)),
            Base::From(local) => {
                let (year, month, day) = date_of(local.div_euclid(DAY_S));
                let time = local.rem_euclid(DAY_S);
                let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
                format!(
                    "@every {length} from {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
                )
            }
        }
    }
}

fn duration_text(mut ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, unit_ms) in
        [("w", 7 * DAY_MS), ("d", DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)]
    {
        if ms >= unit_ms {
            text += &format!("{}{unit}", ms / unit_ms);
            ms %= unit_ms;
        }
    }
    text
}
