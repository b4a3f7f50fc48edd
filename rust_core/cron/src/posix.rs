//! The POSIX rule at the end of a TZif file: the changes of the clock after the last listed one.

use crate::civil::{day_of, is_leap, month_length, weekday_of, DAY_S};

const HOUR_S: i64 = 3_600;

/// When in a year a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// 1 to 365, 29 February is never counted.
    Julian(i64),
    /// 0 to 365.
    OfYear(i64),
    /// Month, week (5 is the last), weekday.
    Week(u32, u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    day: Day,
    /// Wall clock seconds after the day's midnight; may leave the day.
    time_s: i64,
}

impl Change {
    fn local(&self, year: i32) -> i64 {
        let new_year = day_of(year, 1, 1);
        let day = match self.day {
            Day::Julian(n) => new_year + n - 1 + i64::from(is_leap(year) && n > 59),
            Day::OfYear(n) => new_year + n,
            Day::Week(month, week, weekday) => {
                let first = day_of(year, month, 1);
                let to_weekday = (weekday + 7 - weekday_of(first)) % 7;
                let mut of_month = to_weekday + 7 * (week - 1);
                while of_month >= month_length(year, month) {
                    of_month -= 7;
                }
                first + i64::from(of_month)
            }
        };
        day * DAY_S + self.time_s
    }
}

/// Standard offset, and the other half of the year where there is one. Offsets in seconds east of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) standard_s: i32,
    summer: Option<(i32, Change, Change)>,
}

impl Rule {
    /// Reads `EST5EDT,M3.2.0,M11.1.0` and the like.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        reader.name()?;
        let standard_s = -i32::try_from(reader.time()?).ok()?;
        if reader.at == text.len() {
            return Some(Self { standard_s, summer: None });
        }
        reader.name()?;
        let summer_s = match reader.peek() {
            b',' | 0 => standard_s + 3_600,
            _ => -i32::try_from(reader.time()?).ok()?,
        };
        let (starts, ends) = if reader.at == text.len() {
            // Without dates POSIX leaves them open; these are what every system takes.
            let at_two = |day| Change { day, time_s: 2 * HOUR_S };
            (at_two(Day::Week(3, 2, 0)), at_two(Day::Week(11, 1, 0)))
        } else {
            (reader.change()?, reader.change()?)
        };
        (reader.at == text.len()).then_some(Self { standard_s, summer: Some((summer_s, starts, ends)) })
    }

    /// The changes of a year in the order of time: instant (UTC seconds) and offset after it.
    pub(crate) fn changes(&self, year: i32) -> Vec<(i64, i32)> {
        let Some((summer_s, starts, ends)) = self.summer else { return Vec::new() };
        let mut changes = vec![
            (starts.local(year) - i64::from(self.standard_s), summer_s),
            (ends.local(year) - i64::from(summer_s), self.standard_s),
        ];
        changes.sort_unstable();
        changes
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }

    fn name(&mut self) -> Option<()> {
        if self.take(b'<').is_some() {
            while self.peek() != b'>' {
                if self.peek() == 0 {
                    return None;
                }
                self.at += 1;
            }
            self.at += 1;
            return Some(());
        }
        let start = self.at;
        while self.peek().is_ascii_alphabetic() {
            self.at += 1;
        }
        (self.at >= start + 3).then_some(())
    }

    fn number(&mut self) -> Option<i64> {
        let start = self.at;
        let mut number = 0;
        while self.peek().is_ascii_digit() && self.at < start + 4 {
            number = number * 10 + i64::from(self.peek() - b'0');
            self.at += 1;
        }
        (self.at > start).then_some(number)
    }

    /// `[+-]h[:m[:s]]`, up to a week.
    fn time(&mut self) -> Option<i64> {
        let sign = match self.peek() {
            b'-' => -1,
            _ => 1,
        };
        if matches!(self.peek(), b'-' | b'+') {
            self.at += 1;
        }
        let mut seconds = self.number()? * HOUR_S;
        for unit in [60, 1] {
            if self.take(b':').is_none() {
                break;
            }
            seconds += self.number()? * unit;
        }
        (seconds <= 168 * HOUR_S).then_some(sign * seconds)
    }

    fn change(&mut self) -> Option<Change> {
        self.take(b',')?;
        let day = if self.take(b'M').is_some() {
            let month = u32::try_from(self.number()?).ok()?;
            self.take(b'.')?;
            let week = u32::try_from(self.number()?).ok()?;
            self.take(b'.')?;
            let weekday = u32::try_from(self.number()?).ok()?;
            let fits = (1..=12).contains(&month) && (1..=5).contains(&week) && weekday <= 6;
            fits.then_some(Day::Week(month, week, weekday))?
        } else if self.take(b'J').is_some() {
            Day::Julian(self.number().filter(|n| (1..=365).contains(n))?)
        } else {
            Day::OfYear(self.number().filter(|n| *n <= 365)?)
        };
        let time_s = if self.take(b'/').is_some() { self.time()? } else { 2 * HOUR_S };
        Some(Change { day, time_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_york() {
        let rule = Rule::read(b"EST5EDT,M3.2.0,M11.1.0").unwrap();
        // 2026-03-08 07:00 UTC and 2026-11-01 06:00 UTC.
        assert_eq!(rule.changes(2026), vec![(1_772_953_200, -14_400), (1_793_512_800, -18_000)]);
    }

    #[test]
    fn odd_forms() {
        assert_eq!(Rule::read(b"<+0545>-5:45").unwrap().standard_s, 20_700);
        assert!(Rule::read(b"IST-1GMT0,M10.5.0,M3.5.0/1").is_some());
        assert!(Rule::read(b"<-02>2<-01>,M3.5.0/-1,M10.5.0/0").is_some());
        assert!(Rule::read(b"AAA3BBB,J60/0,J300").is_some());
        for wrong in [&b""[..], b"E5", b"EST", b"EST5EDT,M13.1.0,M1.1.0", b"EST5EDT,M3.2.0", b"<EST5"] {
            assert!(Rule::read(wrong).is_none(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
