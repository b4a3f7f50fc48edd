//! Days, months and years of the proleptic Gregorian calendar, in integers.
//!
//! Day 0 is 1970-01-01. The formulas count years from March, so that the leap day is the last of its year
//! (Howard Hinnant, "chrono-compatible low-level date algorithms"), by 32-bit multiplications where the search is hot.

/// Seconds of a day on the wall clock.
pub const DAY_S: i64 = 86_400;
/// The first year that is computed.
pub const YEAR_MIN: i32 = 1;
/// The last year that is computed: as far as zones are laid out.
pub const YEAR_MAX: i32 = 2_499;

/// 1970-01-01 counted from 0000-03-01, where the years of the formulas begin.
const EPOCH: i64 = 719_468;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// The day number of a date.
#[must_use]
pub const fn day_of(year: i32, month: u32, day: u32) -> i64 {
    let y = year as i64 - (month <= 2) as i64;
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400) as u32;
    let from_march = if month <= 2 { month + 9 } else { month - 3 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * ERA_DAYS + (of_era * 365 + of_era / 4 - of_era / 100 + of_year) as i64 - EPOCH
}

/// Year, month and day of a day number.
#[must_use]
#[inline]
pub const fn date_of(day: i64) -> (i32, u32, u32) {
    let shifted = day + EPOCH;
    if shifted >= 0 && shifted < 1 << 29 {
        return date_from_march(shifted as u32);
    }
    let (year, month, day) = date_from_march(shifted.rem_euclid(ERA_DAYS) as u32);
    ((shifted.div_euclid(ERA_DAYS) * 400) as i32 + year, month, day)
}

/// The date of a day counted from 0000-03-01, below 2^29. Divisions are replaced by multiplications whose products hold
/// quotient and remainder in their halves (Cassio Neri and Lorenz Schneider, "Euclidean affine functions and their
/// application to calendar algorithms", 2022, figure 12).
const fn date_from_march(day: u32) -> (i32, u32, u32) {
    let quarters = 4 * day + 3;
    let (century, of_century) = (quarters / 146_097, quarters % 146_097 / 4);
    let product = 2_939_745 * (4 * of_century + 3) as u64;
    let (year, of_year) = ((product >> 32) as u32, (product as u32) / 2_939_745 / 4);
    let months = 2_141 * of_year + 197_913;
    let (month, day) = (months >> 16, (months & 0xffff) / 2_141 + 1);
    // January and February are months 13 and 14 of the year before.
    let late = of_year >= 306;
    let year = (100 * century + year) as i32 + late as i32;
    (year, if late { month - 12 } else { month }, day)
}

/// 0 is Sunday.
#[must_use]
pub const fn weekday_of(day: i64) -> u32 {
    // 2^31 less 2 is a multiple of 7; so near to 1970 the shifted day is a u32, which divides quickly.
    let shifted = day + ((1 << 31) - 2) + 4;
    if shifted >= 0 && shifted <= u32::MAX as i64 {
        return shifted as u32 % 7;
    }
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
    fn far_dates_repeat_every_400_years() {
        for day in [-200_000_000_000, -ERA_DAYS * 5_000 - 1, -EPOCH - 1, (1 << 29) - EPOCH, 90_000_000_000] {
            let (year, month, of_month) = date_of(day);
            assert_eq!(day_of(year, month, of_month), day);
            assert_eq!(date_of(day + ERA_DAYS), (year + 400, month, of_month));
        }
    }

    #[test]
    fn the_first_of_1970_was_a_thursday() {
        assert_eq!(weekday_of(0), 4);
        assert_eq!(weekday_of(-1), 3);
        for far in [-(1i64 << 40), -(1 << 31) - 3, -(1 << 31), 1 << 31, (1 << 31) + 3, 1 << 40] {
            assert_eq!(i64::from(weekday_of(far)), (far + 4).rem_euclid(7), "{far}");
        }
    }
}
