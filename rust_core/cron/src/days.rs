//! The two day fields, with `L`, `W` and `#`.

use crate::element::{at_once, element, number, value, Cursor, Field};
use crate::error::ParseError;
use crate::pattern::{Pattern, SPECIAL_DAYS};

/// What was written in a day field.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DayField {
    /// It is exactly `*` or `?`.
    pub(crate) free: bool,
    /// It begins with `*` or `?`.
    pub(crate) star: bool,
    /// It is `?`.
    pub(crate) question: bool,
    /// It began with `+`.
    pub(crate) plus: bool,
}

/// The day of month: fills the pattern.
pub(crate) fn day_of_month(
    cursor: &mut Cursor<'_>,
    field: &Field<'_>,
    into: &mut Pattern,
) -> Result<DayField, ParseError> {
    let found = begin(cursor);
    if let Some(range) = at_once(cursor, field) {
        into.days = range.mask(field) as u32;
        return Ok(found);
    }
    into.days = 0;
    each_element(cursor, field, |cursor, special| {
        let start = cursor.at;
        if field.reading.specials && cursor.take_special(b'L', field.reading) {
            *special = true;
            return last_day(cursor, field, into);
        }
        let mut ahead = *cursor;
        if field.reading.specials && cursor.peek().is_ascii_digit() {
            let day = number(&mut ahead, field)?.unwrap_or(0);
            if ahead.take_special(b'W', field.reading) {
                if !(1..=31).contains(&day) {
                    return Err(field
                        .refuse(start, format!("{day} is not a day of a month"))
                        .mend("days are 1 to 31; LW is the last weekday of the month"));
                }
                *cursor = ahead;
                *special = true;
                into.nearest |= 1 << day;
                return Ok(());
            }
        }
        into.days |= element(cursor, field)?.mask(field) as u32;
        Ok(())
    })?;
    if into.nearest | into.lasts | into.lasts_nearest != 0 {
        into.flags |= SPECIAL_DAYS;
    }
    Ok(found)
}

/// After `L`: nothing, `-n`, `W`, or `-nW`.
fn last_day(cursor: &mut Cursor<'_>, field: &Field<'_>, into: &mut Pattern) -> Result<(), ParseError> {
    let mut offset = 0;
    if cursor.take(b'-') {
        let start = cursor.at;
        offset = match number(cursor, field)? {
            Some(offset) if offset <= 30 => offset,
            _ => {
                return Err(field
                    .refuse(start, "L- takes 0 to 30 days before the last")
                    .mend("for a fixed day write its number"))
            }
        };
    }
    if cursor.take_special(b'W', field.reading) {
        into.lasts_nearest |= 1 << offset;
    } else {
        into.lasts |= 1 << offset;
    }
    Ok(())
}

/// The day of week: fills the pattern. Bit 0 is Sunday in every dialect.
pub(crate) fn day_of_week(
    cursor: &mut Cursor<'_>,
    field: &Field<'_>,
    into: &mut Pattern,
) -> Result<DayField, ParseError> {
    let sunday = field.reading.sunday;
    let bits = |mask: u64| (mask >> sunday | mask >> sunday >> 7) as u8 & 0x7f;
    let mut found = begin(cursor);
    if let Some(range) = at_once(cursor, field) {
        into.weekdays = bits(range.mask(field));
        return Ok(found);
    }
    into.weekdays = 0;
    if field.reading.plus && cursor.take(b'+') {
        found = DayField { plus: true, ..begin(cursor) };
        found.free = false;
    }
    let bit = |weekday: u32| 1u8 << ((weekday - sunday) % 7);
    each_element(cursor, field, |cursor, special| {
        if field.reading.specials {
            if let Some((weekday, which)) = special_weekday(cursor, field)? {
                *special = true;
                match which {
                    Some(which) => into.nth[which] |= bit(weekday),
                    None => into.weekdays |= bit(weekday),
                }
                return Ok(());
            }
        }
        into.weekdays |= bits(element(cursor, field)?.mask(field));
        Ok(())
    })?;
    if into.nth != [0; 6] {
        into.flags |= SPECIAL_DAYS;
    }
    Ok(found)
}

type Nth = Option<(u32, Option<usize>)>;

/// `5L`, `5#3`, `5#L`, `L5` or a lone `L`; `None` and nothing read for anything else.
fn special_weekday(cursor: &mut Cursor<'_>, field: &Field<'_>) -> Result<Nth, ParseError> {
    const LAST: usize = 5;
    if !cursor.peek().is_ascii_alphanumeric() {
        return Ok(None);
    }
    let mut ahead = *cursor;
    if field.reading.last_before && ahead.take_special(b'L', field.reading) {
        let weekday = value(&mut ahead, field)?;
        *cursor = ahead;
        return Ok(Some((weekday, Some(LAST))));
    }
    if field.reading.sunday == 1 && ahead.take_special(b'L', field.reading) && ahead.done() {
        // Quartz: the last day of the week.
        *cursor = ahead;
        return Ok(Some((7, None)));
    }
    ahead = *cursor;
    let Ok(weekday) = value(&mut ahead, field) else { return Ok(None) };
    if ahead.take_special(b'L', field.reading) {
        *cursor = ahead;
        return Ok(Some((weekday, Some(LAST))));
    }
    if !ahead.take(b'#') {
        return Ok(None);
    }
    let start = ahead.at;
    let which = if ahead.take_special(b'L', field.reading) {
        LAST
    } else {
        match number(&mut ahead, field)? {
            Some(which @ 1..=5) => which as usize - 1,
            _ => {
                let refusal = field.refuse(start, "# takes 1 to 5, or L for the last one of the month");
                return Err(refusal.mend("a month has no sixth weekday of a kind"));
            }
        }
    };
    *cursor = ahead;
    Ok(Some((weekday, Some(which))))
}

fn begin(cursor: &Cursor<'_>) -> DayField {
    let text = &cursor.text[cursor.at..cursor.end];
    let question = text == b"?";
    DayField {
        free: question || text == b"*" || text == b"*/1",
        star: matches!(text.first(), Some(b'*' | b'?')),
        question,
        plus: false,
    }
}

/// Calls `read` for each element of a comma list; it says in its second argument that the element was special.
fn each_element(
    cursor: &mut Cursor<'_>,
    field: &Field<'_>,
    mut read: impl FnMut(&mut Cursor<'_>, &mut bool) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    let mut count = 0;
    let mut any_special = false;
    loop {
        let start = cursor.at;
        let mut special = false;
        read(cursor, &mut special)?;
        count += 1;
        any_special |= special;
        if field.reading.lone_specials && any_special && (count > 1 || !cursor.done()) {
            return Err(field
                .refuse(start, "L, W and # stand alone in this dialect")
                .mend("write two expressions, with | between them"));
        }
        if !next_element(cursor, field)? {
            return Ok(());
        }
    }
}

/// After an element: is there another one?
pub(crate) fn next_element(cursor: &mut Cursor<'_>, field: &Field<'_>) -> Result<bool, ParseError> {
    if cursor.done() {
        return Ok(false);
    }
    if cursor.take(b',') {
        return Ok(true);
    }
    let found = char::from(cursor.peek());
    let refusal = field.refuse(cursor.at, format!("{found:?} is not expected here"));
    Err(refusal.mend(match found {
        'l' | 'w' => "write it as a capital letter",
        'L' | 'W' | '#' => "L, W and # belong to single days and weekdays",
        '+' => "+ stands first in the weekday field",
        '/' => "steps follow * or a range",
        '~' => "for a value that differs by schedule write H(10-20)",
        '-' => "a range is two values with - between them, like 10-20",
        _ if found.is_ascii_alphabetic() => "names have three letters, like JAN or MON",
        _ => "values are whole numbers, with commas between them",
    }))
}
