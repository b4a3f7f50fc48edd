//! One cron expression: its fields, in the order of its dialect, or a macro.

use crate::days::{day_of_month, day_of_week, next_element, DayField};
use crate::dialect::{DayJoin, Dialect, Question, Reading};
use crate::element::{at_once, element, Cursor, Field, Kind};
use crate::error::ParseError;
use crate::pattern::{Pattern, ANY_DAY, ANY_WEEKDAY, DAYS_AND, FIELD_YEAR_MIN, INTERVAL_TIME, STAR_TIME};

/// Longer texts are refused before they are looked at.
pub const TEXT_BYTES_MAX: usize = 4_096;
const FIELDS_MAX: usize = 7;

/// Reads one expression without prefix, in its dialect. `fields` asks for exactly so many; `seed` is for `H`.
///
/// # Errors
/// Where and why it cannot be read.
pub fn parse(text: &str, dialect: Dialect, fields: Option<usize>, seed: u64) -> Result<Pattern, ParseError> {
    let bytes = text.as_bytes();
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(ParseError::new("expression", 0, format!("longer than {TEXT_BYTES_MAX} bytes"))
            .mend("register several schedules"));
    }
    let reading = dialect.reading();
    let mut places = [(0, 0); FIELDS_MAX + 1];
    let count = split(text, &mut places)?;
    if count == 0 {
        return Err(ParseError::new("expression", 0, "it is empty").mend("write five fields, like 0 9 * * *"));
    }
    if bytes[places[0].0] == b'@' {
        return named(text, places[0], count, reading);
    }
    check_count(count, places[FIELDS_MAX.min(count - 1)].0, reading, fields)?;
    Reader { bytes, places: &places, reading, seed }.read(count)
}

/// The places of the fields; at most one more than there may be.
fn split(text: &str, places: &mut [(usize, usize); FIELDS_MAX + 1]) -> Result<usize, ParseError> {
    let bytes = text.as_bytes();
    let mut count = 0;
    let mut at = 0;
    while at < bytes.len() && count <= FIELDS_MAX {
        if matches!(bytes[at], b' ' | b'\t') {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && !matches!(bytes[at], b' ' | b'\t') {
            if !(b'!'..=b'~').contains(&bytes[at]) {
                return Err(strange(text, at));
            }
            at += 1;
        }
        places[count] = (start, at);
        count += 1;
    }
    Ok(count)
}

fn strange(text: &str, at: usize) -> ParseError {
    let before = String::from_utf8_lossy(&text.as_bytes()[..at]).chars().count();
    let found = text[..].chars().nth(before).unwrap_or('?');
    let refusal = ParseError::new("expression", before, format!("{found:?} is not read in an expression"));
    let plain: String = text
        .chars()
        .map(|c| match c {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
            '\u{3000}' | '\u{a0}' | '\n' | '\r' => ' ',
            '、' => ',',
            _ => c,
        })
        .collect();
    if plain.is_ascii() {
        refusal.mend(format!("write {:?}", plain.trim()))
    } else {
        refusal.mend("only ASCII characters are read")
    }
}

fn check_count(
    count: usize,
    last: usize,
    reading: &Reading,
    wanted: Option<usize>,
) -> Result<(), ParseError> {
    let fits = reading.fields.contains(&count) && wanted.is_none_or(|wanted| wanted == count);
    if fits {
        return Ok(());
    }
    let counts = match wanted {
        Some(wanted) => wanted.to_string(),
        None => reading.fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let shown = if count > FIELDS_MAX { "more than 7".to_owned() } else { count.to_string() };
    let refusal = ParseError::new("expression", last, format!("it has {shown} fields, not {counts}"));
    Err(match count {
        1..=4 => refusal.mend("minute, hour, day, month and weekday are needed"),
        5 => refusal.mend("this dialect begins with seconds: write 0 in front"),
        6 => refusal
            .mend("this dialect has no seconds: leave the first field out, or write DIALECT=ocps in front"),
        7 => refusal.mend("this dialect has no year: leave it out, or write DIALECT=ocps in front"),
        _ => refusal.mend("second, minute, hour, day, month, weekday and year are all there are"),
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    places: &'a [(usize, usize)],
    reading: &'static Reading,
    seed: u64,
}

impl<'a> Reader<'a> {
    fn cursor(&self, index: usize) -> Cursor<'a> {
        let (at, end) = self.places[index];
        Cursor { text: self.bytes, at, end }
    }

    fn field(&self, kind: Kind) -> Field<'a> {
        Field::of(kind, self.reading, self.seed)
    }

    /// Where the seconds, the minutes and the year stand.
    fn order(&self, count: usize) -> (Option<usize>, usize, Option<usize>) {
        let reading = self.reading;
        match count {
            5 => (None, 0, None),
            6 if reading.sixth_is_year => (None, 0, Some(5)),
            6 if reading.seconds_last => (Some(5), 0, None),
            6 => (Some(0), 1, None),
            _ if reading.seconds_last => (Some(5), 0, Some(6)),
            _ => (Some(0), 1, Some(6)),
        }
    }

    fn read(&self, count: usize) -> Result<Pattern, ParseError> {
        let (second, minute, year) = self.order(count);
        let mut pattern = Pattern { seconds: 1, flags: 0, ..Pattern::always() };
        if let Some(second) = second {
            pattern.seconds = self.time(second, Kind::Second, &mut pattern.flags)?;
        }
        pattern.minutes = self.time(minute, Kind::Minute, &mut pattern.flags)?;
        pattern.hours = self.time(minute + 1, Kind::Hour, &mut pattern.flags)? as u32;
        let day = day_of_month(&mut self.cursor(minute + 2), &self.field(Kind::Day), &mut pattern)?;
        pattern.months = self.time(minute + 3, Kind::Month, &mut 0)? as u16;
        let weekday = day_of_week(&mut self.cursor(minute + 4), &self.field(Kind::Weekday), &mut pattern)?;
        self.join(minute + 2, day, weekday, &mut pattern)?;
        if let Some(year) = year {
            self.years(year, &mut pattern)?;
        }
        pattern.settle();
        Ok(pattern)
    }

    /// A field of plain values: second, minute, hour or month.
    fn time(&self, index: usize, kind: Kind, flags: &mut u16) -> Result<u64, ParseError> {
        let (mut cursor, field) = (self.cursor(index), self.field(kind));
        if let Some(range) = at_once(&cursor, &field) {
            if range.star {
                *flags |= STAR_TIME | INTERVAL_TIME;
            }
            return Ok(range.mask(&field));
        }
        let star = matches!(cursor.peek(), b'*' | b'?');
        let mut mask = 0;
        loop {
            let range = element(&mut cursor, &field)?;
            mask |= range.mask(&field);
            if range.interval {
                *flags |= INTERVAL_TIME;
            }
            if !next_element(&mut cursor, &field)? {
                break;
            }
        }
        if star {
            *flags |= STAR_TIME;
        }
        Ok(mask)
    }

    fn join(
        &self,
        at: usize,
        day: DayField,
        weekday: DayField,
        pattern: &mut Pattern,
    ) -> Result<(), ParseError> {
        if self.reading.question == Question::OneDayField && day.question == weekday.question {
            let refusal = ParseError::new("day", self.places[at].0, "one of day and weekday must be ?");
            return Err(refusal.mend("write ? for the one that does not matter"));
        }
        let starred = day.star || weekday.star;
        let and = match self.reading.join {
            DayJoin::And => true,
            DayJoin::Or => weekday.plus,
            DayJoin::OrUnlessStar => starred,
        };
        // Where both must hold, "any" is found from the masks: 1-31 is *.
        let (all_days, all_weekdays) = (pattern.days == 0xffff_fffe, pattern.weekdays == 0x7f);
        if day.free || (and && all_days) {
            pattern.flags |= ANY_DAY;
            pattern.days = 0xffff_fffe;
        }
        if weekday.free || (and && all_weekdays) {
            pattern.flags |= ANY_WEEKDAY;
            pattern.weekdays = 0x7f;
        }
        if and && pattern.flags & (ANY_DAY | ANY_WEEKDAY) == 0 {
            pattern.flags |= DAYS_AND;
        }
        Ok(())
    }

    fn years(&self, index: usize, pattern: &mut Pattern) -> Result<(), ParseError> {
        let (mut cursor, field) = (self.cursor(index), self.field(Kind::Year));
        let (start, end) = self.places[index];
        if &self.bytes[start..end] == b"*" {
            return Ok(());
        }
        let mut years = [0u64; 4];
        loop {
            let range = element(&mut cursor, &field)?;
            range.each(&field, |year| {
                let bit = (year - FIELD_YEAR_MIN as u32) as usize;
                years[bit / 64] |= 1 << (bit % 64);
            });
            if !next_element(&mut cursor, &field)? {
                break;
            }
        }
        pattern.years = Some(Box::new(years));
        Ok(())
    }
}

const MACROS: [(&str, &str); 9] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@every_minute", "* * * * *"),
    ("@every_second", "* * * * * *"),
];

fn named(
    text: &str,
    (start, end): (usize, usize),
    count: usize,
    reading: &Reading,
) -> Result<Pattern, ParseError> {
    let word = &text[start..end];
    let known = MACROS.iter().find(|(name, _)| {
        let same = if reading.macros_any_case { name.eq_ignore_ascii_case(word) } else { *name == word };
        same && (reading.macros_every || !name.starts_with("@every"))
    });
    match known {
        Some((_, expression)) if reading.macros && count == 1 => parse(expression, Dialect::Ocps, None, 0),
        _ => {
            let refusal =
                ParseError::new("expression", start, format!("{word:?} is not a name that is read"));
            Err(refusal.mend(if reading.macros {
                nearest_macro(word)
            } else {
                "this dialect has no names: write fields".to_owned()
            }))
        }
    }
}

fn nearest_macro(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let shared = |name: &str| name.bytes().zip(lower.bytes()).take_while(|(a, b)| a == b).count();
    if lower.starts_with("@every") {
        return "write @every 90s".to_owned();
    }
    let best = MACROS[..7].iter().map(|(name, _)| (shared(name), *name)).max_by_key(|(same, _)| *same);
    match best {
        Some((same, name)) if same >= 2 => format!("write {name}"),
        _ => "the names are @yearly, @monthly, @weekly, @daily, @hourly".to_owned(),
    }
}
