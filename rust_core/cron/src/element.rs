//! The elements of a field: values, ranges, steps, stars and hashed values.

use crate::dialect::{Question, Reading};
use crate::error::ParseError;
use crate::pattern::{FIELD_YEAR_MAX, FIELD_YEAR_MIN};

const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
const LONG_MONTHS: [&[u8]; 12] = [
    b"january",
    b"february",
    b"march",
    b"april",
    b"may",
    b"june",
    b"july",
    b"august",
    b"september",
    b"october",
    b"november",
    b"december",
];
const LONG_WEEKDAYS: [&[u8]; 7] =
    [b"sunday", b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday"];
const WEEKDAYS: [&[u8; 3]; 7] = [b"sun", b"mon", b"tue", b"wed", b"thu", b"fri", b"sat"];

/// Which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
    Year,
}

/// A field's place in the text and its bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) min: u32,
    /// The highest value that may be written.
    pub(crate) max: u32,
    /// The highest value that `*` covers.
    pub(crate) star_max: u32,
    pub(crate) reading: &'a Reading,
    pub(crate) seed: u64,
}

impl<'a> Field<'a> {
    pub(crate) fn of(kind: Kind, reading: &'a Reading, seed: u64) -> Self {
        let (name, min, max) = match kind {
            Kind::Second => ("second", 0, 59),
            Kind::Minute => ("minute", 0, 59),
            Kind::Hour => ("hour", 0, 23),
            Kind::Day => ("day", 1, 31),
            Kind::Month => ("month", 1, 12),
            Kind::Weekday => ("weekday", reading.sunday, 6 + reading.sunday + u32::from(reading.seven)),
            Kind::Year => ("year", FIELD_YEAR_MIN as u32, FIELD_YEAR_MAX as u32),
        };
        let star_max = if kind == Kind::Weekday { 6 + reading.sunday } else { max };
        Self { kind, name, min, max, star_max, reading, seed }
    }

    pub(crate) fn refuse(&self, position: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(self.name, position, message)
    }

    /// A number of this field that depends on the seed alone: FNV-1a of the field, then a finalizer (splitmix64).
    fn hashed(&self, low: u32, high: u32) -> u32 {
        let mut hash = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in self.name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
        low + (hash % u64::from(high - low + 1)) as u32
    }
}

/// The bytes of one field, and how far they are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) at: usize,
    pub(crate) end: usize,
}

impl Cursor<'_> {
    pub(crate) fn peek(&self) -> u8 {
        if self.at < self.end {
            self.text[self.at]
        } else {
            0
        }
    }

    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    pub(crate) fn done(&self) -> bool {
        self.at >= self.end
    }

    /// The letter, in either case when the dialect says so.
    pub(crate) fn take_special(&mut self, letter: u8, reading: &Reading) -> bool {
        let found = self.peek() == letter
            || (reading.specials_any_case && self.peek() == letter.to_ascii_lowercase());
        self.at += usize::from(found);
        found
    }

    fn rest(&self) -> String {
        String::from_utf8_lossy(&self.text[self.at..self.end]).into_owned()
    }
}

/// Values low, low + step, … up to high; round the end when low > high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: u32,
    pub(crate) high: u32,
    pub(crate) step: u32,
    /// `*` or `?` was written.
    pub(crate) star: bool,
    /// A range or steps.
    pub(crate) interval: bool,
}

impl Range {
    pub(crate) fn one(value: u32) -> Self {
        Self { low: value, high: value, step: 1, star: false, interval: false }
    }

    /// Calls back with each value.
    pub(crate) fn each(&self, field: &Field<'_>, mut visit: impl FnMut(u32)) {
        let mut value = self.low;
        if self.low <= self.high {
            while value <= self.high {
                visit(value);
                value += self.step;
            }
            return;
        }
        // Round the end: the steps go on in the next turn.
        let turn = field.star_max - field.min + 1;
        while value <= self.high + turn {
            visit(if value > field.star_max { value - turn } else { value });
            value += self.step;
        }
    }

    /// The values as bits; for all fields but the year.
    pub(crate) fn mask(&self, field: &Field<'_>) -> u64 {
        if self.step == 1 && self.low <= self.high {
            return (u64::MAX >> (63 - (self.high - self.low))) << self.low;
        }
        let mut mask = 0;
        self.each(field, |value| mask |= 1 << value);
        mask
    }
}

/// A whole field that is `*` or one plain value, as nearly all are: read at once. `None` for anything else.
pub(crate) fn at_once(cursor: &Cursor<'_>, field: &Field<'_>) -> Option<Range> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let value = match cursor.text[cursor.at..cursor.end] {
        [b'*'] => {
            return Some(Range { low: field.min, high: field.star_max, step: 1, star: true, interval: true })
        }
        [one] => digit(one)?,
        [ten, one] => digit(ten)? * 10 + digit(one)?,
        _ => return None,
    };
    (field.min..=field.max).contains(&value).then(|| Range::one(value))
}

/// One element: `*`, `?`, `H`, a value, a range; each with steps.
pub(crate) fn element(cursor: &mut Cursor<'_>, field: &Field<'_>) -> Result<Range, ParseError> {
    let start = cursor.at;
    match cursor.peek() {
        b'*' => {
            cursor.at += 1;
            let step = steps(cursor, field)?.unwrap_or(1);
            Ok(Range { low: field.min, high: field.star_max, step, star: true, interval: true })
        }
        b'?' => {
            let allowed = match field.reading.question {
                Question::Nowhere => false,
                Question::AnyField => true,
                Question::DayFields | Question::OneDayField => {
                    matches!(field.kind, Kind::Day | Kind::Weekday)
                }
            };
            if !allowed {
                return Err(field.refuse(start, "? is not read here").mend("write *"));
            }
            cursor.at += 1;
            Ok(Range { low: field.min, high: field.star_max, step: 1, star: true, interval: true })
        }
        b'H' | b'h' if field.reading.hashes && field.kind != Kind::Year => hashed(cursor, field),
        _ => range(cursor, field),
    }
}

fn range(cursor: &mut Cursor<'_>, field: &Field<'_>) -> Result<Range, ParseError> {
    let start = cursor.at;
    let low = value(cursor, field)?;
    if cursor.take(b'-') {
        let to_last = field.kind == Kind::Day
            && field.reading.specials
            && !field.reading.lone_specials
            && cursor.take_special(b'L', field.reading);
        let high = if to_last { field.max } else { value(cursor, field)? };
        check_order(field, start, low, high)?;
        let step = steps(cursor, field)?.unwrap_or(1);
        if low == high && field.reading.equal_ends_are_all {
            return Ok(Range { low: field.min, high: field.star_max, step, star: false, interval: true });
        }
        return Ok(Range { low, high, step, star: false, interval: true });
    }
    if cursor.peek() == b'/' {
        if !field.reading.open_steps {
            let mend = format!("write {low}-{}{} for steps from {low}", field.star_max, cursor.rest());
            return Err(field.refuse(cursor.at, "steps need a range or *").mend(mend));
        }
        let step = steps(cursor, field)?.unwrap_or(1);
        // The highest value itself, where 7 is Sunday: 1/2 is 1, 3, 5, 7.
        return Ok(Range { low, high: field.max, step, star: false, interval: true });
    }
    Ok(Range::one(low))
}

fn check_order(field: &Field<'_>, start: usize, low: u32, high: u32) -> Result<(), ParseError> {
    if low <= high || field.reading.wraps {
        return Ok(());
    }
    let mend = if field.kind == Kind::Weekday && high == 0 && field.reading.seven {
        format!("write {low}-7: Sunday at the end of a range is 7")
    } else if high == field.min {
        format!("write {low}-{},{high}", field.star_max)
    } else if field.kind == Kind::Year {
        format!("write {high}-{low}")
    } else {
        format!("write {low}-{},{}-{high}", field.star_max, field.min)
    };
    Err(field.refuse(start, format!("the range {low}-{high} goes backwards")).mend(mend))
}

/// `/n` when there is one.
fn steps(cursor: &mut Cursor<'_>, field: &Field<'_>) -> Result<Option<u32>, ParseError> {
    if !cursor.take(b'/') {
        return Ok(None);
    }
    let start = cursor.at;
    let Some(step) = number(cursor, field)? else {
        return Err(field.refuse(start, "a number must follow /").mend("for every second one write /2"));
    };
    if step == 0 {
        return Err(field.refuse(start, "a step of 0 never moves").mend("write /1, or leave it out"));
    }
    if field.reading.steps_bounded && step > field.max {
        let mend = format!("write at most /{}", field.max);
        return Err(field.refuse(start, format!("a step of {step} leaves the field")).mend(mend));
    }
    Ok(Some(step))
}

/// A number, `None` when there is no digit.
pub(crate) fn number(cursor: &mut Cursor<'_>, field: &Field<'_>) -> Result<Option<u32>, ParseError> {
    let start = cursor.at;
    let mut number = 0u32;
    while cursor.peek().is_ascii_digit() {
        if cursor.at - start == field.reading.digits_max.max(4 * usize::from(field.kind == Kind::Year)) {
            return Err(field
                .refuse(start, "a number with too many digits")
                .mend("write it without zeros in front"));
        }
        number = number * 10 + u32::from(cursor.peek() - b'0');
        cursor.at += 1;
    }
    Ok((cursor.at > start).then_some(number))
}

/// What to write instead of a number that is out of bounds.
fn bounds_mend(field: &Field<'_>, value: u32) -> String {
    let near = match (field.kind, value) {
        (Kind::Second | Kind::Minute, 60) | (Kind::Hour, 24) => "write 0",
        (Kind::Weekday, 0) => "this dialect counts Sunday as 1",
        (Kind::Weekday, 7) => "Sunday is 0 here",
        (Kind::Weekday, 1970..) => "a year is the last of seven fields, seconds are the first: 0 in front",
        (Kind::Weekday, _) if field.reading.sunday == 0 => "Sunday is 0, Saturday is 6",
        (Kind::Weekday, _) => "Sunday is 1, Saturday is 7",
        (Kind::Day, 0) => "days of a month begin with 1",
        (Kind::Day, _) if field.reading.specials => "for the last day of each month write L",
        (Kind::Month, 0) => "January is 1",
        (Kind::Hour, 25..) => "are the first fields swapped? the minute comes before the hour",
        _ if value > field.max => return format!("write {} for the highest", field.max),
        _ => return format!("write {} for the lowest", field.min),
    };
    near.to_owned()
}

/// A number or a name, inside the field's bounds.
pub(crate) fn value(cursor: &mut Cursor<'_>, field: &Field<'_>) -> Result<u32, ParseError> {
    let start = cursor.at;
    if let Some(value) = number(cursor, field)? {
        if (field.min..=field.max).contains(&value) {
            return Ok(value);
        }
        let mut refusal =
            field.refuse(start, format!("{value} is not between {} and {}", field.min, field.max));
        refusal.mend = bounds_mend(field, value);
        return Err(refusal);
    }
    let letters = cursor.text[start..cursor.end].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let names: (&[&[u8; 3]], u32) = match field.kind {
        Kind::Month => (&MONTHS, 1),
        Kind::Weekday => (&WEEKDAYS, field.reading.sunday),
        _ => (&[], 0),
    };
    if field.reading.long_names {
        if let Some(value) = long_name(field.kind, &cursor.text[start..start + letters]) {
            cursor.at += letters;
            return Ok(value);
        }
    }
    // "MONL" is Monday, then L.
    if letters >= 3 {
        let word = &cursor.text[start..start + 3];
        let tail = &cursor.text[start + 3..start + letters];
        let found = names.0.iter().position(|name| name.eq_ignore_ascii_case(word));
        if let (Some(index), true) = (found, tail.is_empty() || tail.eq_ignore_ascii_case(b"l")) {
            cursor.at += 3;
            return Ok(index as u32 + names.1);
        }
    }
    Err(not_a_value(cursor, field, start, letters, names.0))
}

/// A beginning of a name, three letters of a month or two of a weekday at least: `Sept`, `Tu`, `THURSDAY`.
fn long_name(kind: Kind, word: &[u8]) -> Option<u32> {
    let (names, first, shortest): (&[&[u8]], u32, usize) = match kind {
        Kind::Month => (&LONG_MONTHS, 1, 3),
        Kind::Weekday => (&LONG_WEEKDAYS, 0, 2),
        _ => return None,
    };
    let begins = |name: &&[u8]| name.len() >= word.len() && name[..word.len()].eq_ignore_ascii_case(word);
    let found = names.iter().position(begins).filter(|_| word.len() >= shortest)?;
    Some(found as u32 + first)
}

fn not_a_value(
    cursor: &Cursor<'_>,
    field: &Field<'_>,
    start: usize,
    letters: usize,
    names: &[&[u8; 3]],
) -> ParseError {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if letters == 0 {
        let found = if cursor.done() || cursor.peek() == b',' {
            "nothing".to_owned()
        } else {
            format!("{:?}", char::from(cursor.peek()))
        };
        let refusal = field.refuse(start, format!("a value is wanted, not {found}"));
        let mend = match cursor.peek() {
            b'/' => "write */n",
            b'-' => "a range needs both ends",
            b'L' | b'l' | b'W' | b'w' | b'#' => "L, W and # belong to days and weekdays",
            b'+' if field.reading.plus => "+ stands before the weekday: +MON",
            _ if found == "nothing" => "between commas, and on both sides of -, stands a value",
            _ => "write a number, or * for all",
        };
        return refusal.mend(mend);
    }
    let word = &cursor.text[start..start + letters];
    let refusal = field.refuse(start, format!("{:?} is not a value of this field", shown(word)));
    let near = names
        .iter()
        .map(|name| {
            let same = name.iter().zip(word).filter(|(a, b)| a.eq_ignore_ascii_case(b)).count();
            (same, shown(&name[..]).to_uppercase())
        })
        .filter(|(same, _)| *same >= 2)
        .max_by_key(|(same, _)| *same);
    match near {
        Some((_, name)) => refusal.mend(format!("write {name}")),
        None if field.kind == Kind::Weekday && field.reading.specials && word.eq_ignore_ascii_case(b"l") => {
            refusal.mend("which weekday? 5L is the last Friday of the month, 6 is every Saturday")
        }
        None if word == b"l" || word == b"w" => refusal.mend("write it as a capital letter"),
        None if names.is_empty() => refusal.mend("this field takes numbers"),
        None => refusal.mend("names have three letters, like JAN or MON"),
    }
}

/// `H`, `H(a-b)`, each with steps: a value that depends on the schedule's seed alone.
fn hashed(cursor: &mut Cursor<'_>, field: &Field<'_>) -> Result<Range, ParseError> {
    cursor.at += 1;
    // A day that every month has.
    let mut bounds = (field.min, if field.kind == Kind::Day { 28 } else { field.star_max });
    if cursor.take(b'(') {
        let start = cursor.at;
        let low = value(cursor, field)?;
        if !cursor.take(b'-') {
            return Err(field.refuse(cursor.at, "a range is wanted").mend("write H(0-29)"));
        }
        let high = value(cursor, field)?;
        if low > high {
            return Err(field.refuse(start, "the range goes backwards").mend("write the lower value first"));
        }
        if !cursor.take(b')') {
            return Err(field.refuse(cursor.at, "the parenthesis is not closed").mend("write H(0-29)"));
        }
        bounds = (low, high);
    }
    let (low, high) = bounds;
    match steps(cursor, field)? {
        None => Ok(Range::one(field.hashed(low, high))),
        Some(step) => {
            let first = field.hashed(low, high.min(low + step - 1));
            Ok(Range { low: first, high, step, star: false, interval: true })
        }
    }
}
