//! Numbers as codes: which elementary interval between sorted cuts a number lies in.

/// Widest span of whole numbers that are looked up in one step.
const TABLE_SPAN_MAX: u64 = 4_096;
/// Buckets for each cut of a wider span.
const BUCKETS_PER_CUT: u64 = 4;

/// The codes of whole numbers. A number is first looked up by its distance from the first cut.
#[derive(Clone, Debug)]
pub(super) struct IntCodes {
    cuts: Vec<i64>,
    /// Codes by distance when the cuts are near each other; else empty.
    table: Vec<u32>,
    /// The first cut of each bucket of `1 << shift` numbers, and the end; empty when there is a table, or no two cuts.
    starts: Vec<u32>,
    shift: u32,
}

impl IntCodes {
    /// From cuts in ascending order, none twice.
    pub(super) fn of(cuts: Vec<i64>) -> IntCodes {
        let (Some(first), Some(last)) = (cuts.first().copied(), cuts.last().copied()) else {
            return IntCodes { cuts, table: Vec::new(), starts: Vec::new(), shift: 0 };
        };
        let span = last.abs_diff(first);
        if span < TABLE_SPAN_MAX {
            let table = (first..=last).map(|v| searched(&cuts, v)).collect();
            return IntCodes { cuts, table, starts: Vec::new(), shift: 0 };
        }
        let buckets = (cuts.len() as u64 * BUCKETS_PER_CUT).next_power_of_two();
        let shift = (span.ilog2() + 1).saturating_sub(buckets.ilog2());
        let mut starts = vec![0u32; (span >> shift) as usize + 2];
        for cut in &cuts {
            starts[(cut.abs_diff(first) >> shift) as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        IntCodes { cuts, table: Vec::new(), starts, shift }
    }

    pub(super) fn cuts(&self) -> &[i64] {
        &self.cuts
    }

    /// The code of a number.
    #[inline]
    pub(super) fn code(&self, value: i64) -> u32 {
        let (Some(first), Some(last)) = (self.cuts.first(), self.cuts.last()) else { return 0 };
        if value < *first {
            return 0;
        }
        if value > *last {
            return 2 * self.cuts.len() as u32;
        }
        let distance = value.abs_diff(*first);
        if let Some(code) = self.table.get(distance as usize) {
            return *code;
        }
        let bucket = (distance >> self.shift) as usize;
        let (Some(from), Some(to)) = (self.starts.get(bucket), self.starts.get(bucket + 1)) else {
            return searched(&self.cuts, value);
        };
        // What is in earlier buckets is smaller, what is in later ones larger.
        let within = self.cuts.get(*from as usize..*to as usize).unwrap_or(&[]);
        let below = *from as usize + within.partition_point(|cut| *cut < value);
        2 * below as u32 + u32::from(self.cuts.get(below) == Some(&value))
    }
}

#[inline]
fn searched(cuts: &[i64], value: i64) -> u32 {
    let below = cuts.partition_point(|cut| *cut < value);
    2 * below as u32 + u32::from(cuts.get(below) == Some(&value))
}

/// The code of a double among cuts in ascending order; that of a `NaN` is the last.
#[inline]
pub(super) fn double_code(cuts: &[f64], value: f64) -> u32 {
    if value.is_nan() {
        return 2 * cuts.len() as u32 + 1;
    }
    let below = cuts.partition_point(|cut| *cut < value);
    2 * below as u32 + u32::from(cuts.get(below) == Some(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_the_code_of_its_interval() {
        let far = vec![i64::MIN, -7, 0, 1, 2, 3, 1 << 40, i64::MAX];
        let even: Vec<i64> = (0..100).map(|i| i * 100).collect();
        for cuts in [vec![], vec![0], vec![-5, 3, 4], vec![i64::MIN, i64::MAX], vec![0, 10_000], far, even] {
            let codes = IntCodes::of(cuts.clone());
            let near = cuts.iter().flat_map(|cut| [cut.saturating_sub(1), *cut, cut.saturating_add(1)]);
            let others =
                [i64::MIN, i64::MIN + 1, -6, 0, 1, 5, 9_999, 10_001, 1 << 39, i64::MAX - 1, i64::MAX];
            for value in near.chain(others) {
                assert_eq!(codes.code(value), searched(&cuts, value), "{cuts:?} {value}");
            }
        }
        assert_eq!(double_code(&[0.0, 1.0], -0.0), 1);
        assert_eq!(double_code(&[0.0, 1.0], f64::NAN), 5);
        assert_eq!(double_code(&[0.0, 1.0], f64::INFINITY), 4);
    }
}
