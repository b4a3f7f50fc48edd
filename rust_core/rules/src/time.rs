//! Instants and lengths of time: proleptic Gregorian calendar, UTC and fixed offsets.
//!
//! Civil-date arithmetic follows Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013).
//! Named time zones come from the IANA data base that is compiled in; nothing is read from the machine.
use std::fmt;

const SECONDS_MIN: i64 = -62_135_596_800; // 0001-01-01T00:00:00Z
const SECONDS_MAX: i64 = 253_402_300_799; // 9999-12-31T23:59:59Z
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// An instant between year 1 and year 9999, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// A date and time of day somewhere, with the fields CEL's getters read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub year: i64,
    /// 1-12
    pub month: i64,
    /// 1-31
    pub day: i64,
    /// Seconds since midnight.
    pub second_of_day: i64,
    /// 0 is Sunday.
    pub weekday: i64,
    /// 0-365
    pub day_of_year: i64,
}

impl Timestamp {
    /// From seconds since 1970 and nanoseconds within the second; `None` out of range.
    pub fn new(seconds: i64, nanos: u32) -> Option<Timestamp> {
        ((SECONDS_MIN..=SECONDS_MAX).contains(&seconds) && nanos < 1_000_000_000)
            .then_some(Timestamp { seconds, nanos })
    }

    /// Whole seconds since 1970 (rounded down).
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    pub fn nanos(self) -> u32 {
        self.nanos
    }

    /// Later by `nanos`; `None` out of range.
    pub fn plus(self, nanos: i64) -> Option<Timestamp> {
        let total = i64::from(self.nanos) + nanos.rem_euclid(NANOS_PER_SECOND);
        let seconds = self.seconds + nanos.div_euclid(NANOS_PER_SECOND) + total / NANOS_PER_SECOND;
        Timestamp::new(seconds, (total % NANOS_PER_SECOND) as u32)
    }

    /// The nanoseconds from `earlier` to this; `None` when they do not fit.
    pub fn since(self, earlier: Timestamp) -> Option<i64> {
        (self.seconds - earlier.seconds)
            .checked_mul(NANOS_PER_SECOND)?
            .checked_add(i64::from(self.nanos) - i64::from(earlier.nanos))
    }

    /// RFC 3339, with `Z` or an offset and up to nine fraction digits.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = bytes.get(from..to)?;
            digits
                .iter()
                .all(u8::is_ascii_digit)
                .then(|| digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
        };
        let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|b| wanted.contains(b));
        if !(is(4, b"-") && is(7, b"-") && is(10, b"T") && is(13, b":") && is(16, b":")) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut at = 19;
        let mut nanos = 0;
        if is(at, b".") {
            let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return None;
            }
            nanos = number(at + 1, at + 1 + digits)? * 10_i64.pow(9 - digits as u32);
            at += 1 + digits;
        }
        let offset = match text.get(at..)? {
            "Z" => 0,
            zone if zone.starts_with(['+', '-']) => offset_seconds(zone)?,
            _ => return None,
        };
        let days = days_from_civil(year, month, day);
        Timestamp::new(days * 86_400 + hour * 3_600 + minute * 60 + second - offset, nanos as u32)
    }

    /// The civil time at a fixed offset east of UTC.
    pub(crate) fn civil(self, offset_seconds: i64) -> Civil {
        let local = self.seconds + offset_seconds;
        let days = local.div_euclid(86_400);
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            second_of_day: local.rem_euclid(86_400),
            weekday: (days + 4).rem_euclid(7),
            day_of_year: days - days_from_civil(year, 1, 1),
        }
    }
}

/// RFC 3339 in UTC, with as many fraction digits as are needed.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil(0);
        let (hour, minute) = (civil.second_of_day / 3_600, civil.second_of_day / 60 % 60);
        let second = civil.second_of_day % 60;
        write!(f, "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}", civil.year, civil.month, civil.day)?;
        if self.nanos != 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// Seconds east of UTC of `+hh:mm`, `-hh:mm` or `hh:mm`; `None` for anything else (a zone's name).
pub(crate) fn offset_seconds(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str| -> Option<i64> {
        ((1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Seconds east of UTC of a zone (`UTC`, an offset, or an IANA name) at an instant; `None` when nothing is called so.
pub(crate) fn zone_offset_seconds(zone: &str, instant: Timestamp) -> Option<i64> {
    if matches!(zone, "UTC" | "Z") {
        return Some(0);
    }
    if let Some(offset) = offset_seconds(zone) {
        return Some(offset);
    }
    let zone = jiff::tz::TimeZone::get(zone).ok()?;
    let instant = jiff::Timestamp::new(instant.seconds, 0).ok()?;
    Some(i64::from(zone.to_offset(instant).seconds()))
}

/// Whether a zone is known.
pub(crate) fn is_zone(zone: &str) -> bool {
    Timestamp::new(0, 0).is_some_and(|epoch| zone_offset_seconds(zone, epoch).is_some())
}

/// A duration as Go writes them: signed decimals with units `h m s ms us µs ns`, added up; nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole_len = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(whole_len);
        let fraction =
            after.strip_prefix('.').map_or("", |f| &f[..f.bytes().take_while(u8::is_ascii_digit).count()]);
        let after = if after.starts_with('.') { &after[1 + fraction.len()..] } else { after };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_len = after.bytes().take_while(|b| !b.is_ascii_digit() && *b != b'.').count();
        let (unit, after) = after.split_at(unit_len);
        let scale: i128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        if whole.len() > 19 {
            return None;
        }
        total += whole.parse::<i128>().unwrap_or(0) * scale;
        // Beyond 15 digits a fraction is below a nanosecond even of an hour.
        let fraction = &fraction[..fraction.len().min(15)];
        total += fraction.parse::<i128>().unwrap_or(0) * scale / 10_i128.pow(fraction.len() as u32);
        if total > i128::from(u64::MAX) {
            return None;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// Seconds with as many decimals as needed and an `s`.
pub(crate) fn duration_text(nanos: i64) -> String {
    let magnitude = nanos.unsigned_abs();
    let (seconds, fraction) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    let sign = if nanos < 0 { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{seconds}s");
    }
    format!("{sign}{seconds}.{}s", format!("{fraction:09}").trim_end_matches('0'))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_five_centuries_comes_back() {
        for days in -100_000..100_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert!((1..=days_in_month(year, month)).contains(&day));
        }
    }

    #[test]
    fn timestamps_read_and_write() {
        for text in [
            "2009-02-13T23:31:30Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "2024-02-29T00:00:00.5Z",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Timestamp::parse("2009-02-13T23:31:30+08:00").unwrap().to_string(),
            "2009-02-13T15:31:30Z"
        );
        for bad in [
            "2023-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2009-02-13",
            "2009-02-13T24:00:00Z",
            "2009-02-13T23:31:30",
            "é",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn instants_stay_in_their_years() {
        let last = Timestamp::parse("9999-12-31T23:59:59.999999999Z").unwrap();
        let first = Timestamp::parse("0001-01-01T00:00:00Z").unwrap();
        assert_eq!((last.plus(1), first.plus(-1), last.since(first)), (None, None, None));
        assert_eq!(last.plus(i64::MAX), None);
        assert_eq!(first.plus(1).unwrap().since(first), Some(1));
    }

    #[test]
    fn durations_read_and_write() {
        for (text, nanos) in [
            ("1h2m3s", 3_723_000_000_000),
            ("-1.5s", -1_500_000_000),
            ("1ns", 1),
            ("0", 0),
            (".5ms", 500_000),
        ] {
            assert_eq!(parse_duration(text), Some(nanos));
        }
        for bad in ["", "-", "s", "1", "1.2", "1x", "300000000000s", "1h é"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        assert_eq!(duration_text(-1_500_000_000), "-1.5s");
        assert_eq!(duration_text(i64::MIN), "-9223372036.854775808s");
    }

    #[test]
    fn offsets_have_two_parts() {
        assert_eq!(offset_seconds("-02:30"), Some(-9_000));
        assert_eq!(offset_seconds("02:00"), Some(7_200));
        assert_eq!(offset_seconds("Asia/Shanghai"), None);
    }
}
