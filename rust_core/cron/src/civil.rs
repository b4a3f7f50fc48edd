//! Days, months and years of the proleptic Gregorian calendar, in integers.
//!
//! Day 0 is 1970-01-01. The formulas count years from March, so that the leap day is the last of its year
//! (Howard Hinnant, "chrono-compatible low-level date algorithms").

/// Seconds of a day on the wall clock.
pub const DAY_S: i64 = 86_400;
/// The first year that is computed.
pub const YEAR_MIN: i32 = 1;
/// The last year that is computed: as far as zones are laid out.
pub const YEAR_MAX: i32 = 2_499;

/// The day number of a date.
#[must_use]
pub const fn day_of(year: i32, month: u32, day: u32) -> i64 {
    let y = year as i64 - (month <= 2) as i64;
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let from_march = ((month + 9) % 12) as i64;
    let of_year = (153 * from_march + 2) / 5 + day as i64 - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day number.
#[must_use]
pub const fn date_of(day: i64) -> (i32, u32, u32) {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097) as u32;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era as i64 + (month <= 2) as i64;
    (year as i32, month, day)
}

/// 0 is Sunday.
#[must_use]
pub const fn weekday_of(day: i64) -> u32 {
    (day + 4).rem_euclid(7) as u32
}

/// Is 29 February in it?
#[must_use]
pub const fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month, 28 to 31.
#[must_use]
pub const fn month_length(year: i32, month: u32) -> u32 {
    match month {
        2 => 28 + is_leap(year) as u32,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_day_numbers_are_inverse() {
        let mut expected = (1899, 12, 31);
        for day in day_of(1899, 12, 31)..day_of(2301, 1, 1) {
            assert_eq!(date_of(day), expected);
            assert_eq!(day_of(expected.0, expected.1, expected.2), day);
            let (year, month, of_month) = expected;
            expected = match (of_month < month_length(year, month), month < 12) {
                (true, _) => (year, month, of_month + 1),
                (false, true) => (year, month + 1, 1),
                (false, false) => (year + 1, 1, 1),
            };
        }
    }

    #[test]
    fn the_first_of_1970_was_a_thursday() {
        assert_eq!(weekday_of(0), 4);
        assert_eq!(weekday_of(-1), 3);
    }
}
