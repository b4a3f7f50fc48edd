//! The sides, and how their limits are shared out among the strands that compete for them.
use crate::instance::{Instance, Side};
use std::cmp::Reverse;

/// The sides of an instance, findable by strand.
pub(crate) struct Sides<'a> {
    instance: &'a Instance,
    /// By strand: the sides that speak of it, with its weight in them.
    of: Vec<Vec<(usize, i64)>>,
}

impl<'a> Sides<'a> {
    pub fn new(instance: &'a Instance) -> Self {
        let mut of = vec![Vec::new(); instance.strands.len()];
        for (at, side) in instance.sides.iter().enumerate() {
            for &(strand, weight) in &side.terms {
                of[strand as usize].push((at, weight));
            }
        }
        Self { instance, of }
    }

    /// Whether any side limits this strand.
    pub fn speak_of(&self, strand: usize) -> bool {
        !self.of[strand].is_empty()
    }

    /// What a unit through the strand uses of each side.
    pub fn uses(&self, strand: usize) -> Vec<(usize, f64)> {
        self.of[strand].iter().map(|&(side, weight)| (side, weight as f64)).collect()
    }

    /// Whether no side is broken by these strand flows.
    pub fn hold(&self, flows: &[i32]) -> bool {
        let used = |side: &Side| -> i64 {
            side.terms.iter().map(|&(strand, weight)| weight * i64::from(flows[strand as usize])).sum()
        };
        self.instance.sides.iter().all(|side| used(side) <= side.limit)
    }

    /// Lowers `high` so that every side holds whatever flows.
    pub fn share_out(&self, shares: &[f64], high: &mut [i32]) {
        self.instance.sides.iter().for_each(|side| share_out(side, shares, high));
    }

    /// A price for each side that is used up: what its strands would give for a unit, by their use of it.
    pub fn prices(&self, flows: &[i32], worth: &[i64]) -> Vec<i64> {
        let mut worth = worth.to_vec();
        let mut prices = Vec::with_capacity(self.instance.sides.len());
        for side in &self.instance.sides {
            let (mut gain, mut used) = (0i128, 0i128);
            for &(strand, weight) in &side.terms {
                let units = i128::from(flows[strand as usize]);
                gain += i128::from(worth[strand as usize]) * units;
                used += i128::from(weight) * units;
            }
            let price = if used < i128::from(side.limit) { 0 } else { (gain / used.max(1)) as i64 };
            for &(strand, weight) in &side.terms {
                let left = &mut worth[strand as usize];
                *left = (*left - weight * price).max(0);
            }
            prices.push(price);
        }
        prices
    }

    /// Sets `high` to what each strand carries and a part of the room that is left, never above `most`; the worthiest
    /// first. False when no strand that wants more gets any.
    pub fn refill(&self, most: &[i32], flows: &[i32], worth: &[i64], high: &mut [i32]) -> bool {
        let sides = &self.instance.sides;
        let used = |side: &Side| -> i64 {
            side.terms.iter().map(|&(strand, weight)| weight * i64::from(flows[strand as usize])).sum()
        };
        let mut room: Vec<i64> = sides.iter().map(|side| side.limit - used(side)).collect();
        let mut sequence: Vec<usize> = (0..flows.len()).filter(|&strand| self.speak_of(strand)).collect();
        sequence.sort_by_key(|&strand| (Reverse(worth[strand]), strand));
        let mut helps = false;
        for strand in sequence {
            let wanted = i64::from(most[strand] - flows[strand]);
            let fits = self.of[strand].iter().map(|&(side, weight)| room[side] / weight).min().unwrap_or(0);
            let given = wanted.min(fits).max(0);
            for &(side, weight) in &self.of[strand] {
                room[side] -= given * weight;
            }
            helps |= given > 0 && worth[strand] > 0;
            high[strand] = flows[strand] + given as i32;
        }
        helps
    }
}

/// Lowers `high` so that the side holds whatever flows: each strand keeps the whole part of its share, what is
/// left goes first to the largest fractions, then to whoever can still use it.
fn share_out(side: &Side, shares: &[f64], high: &mut [i32]) {
    let total = |high: &[i32]| -> i64 {
        side.terms.iter().map(|&(strand, weight)| weight * i64::from(high[strand as usize])).sum()
    };
    if total(high) <= side.limit {
        return;
    }
    let before: Vec<i32> = side.terms.iter().map(|&(strand, _)| high[strand as usize]).collect();
    let mut room = side.limit;
    for &(strand, weight) in &side.terms {
        let strand = strand as usize;
        let whole = (shares[strand] + 1e-6).floor().clamp(0.0, f64::from(high[strand])) as i64;
        let given = whole.min(room / weight);
        high[strand] = given as i32;
        room -= given * weight;
    }
    let mut sequence: Vec<usize> = (0..side.terms.len()).collect();
    sequence.sort_by(|&a, &b| {
        let fraction = |at: usize| {
            let strand = side.terms[at].0 as usize;
            shares[strand] - f64::from(high[strand])
        };
        fraction(b).total_cmp(&fraction(a)).then(a.cmp(&b))
    });
    for whole_rest in [false, true] {
        for &at in &sequence {
            let (strand, weight) = side.terms[at];
            let strand = strand as usize;
            let wanted = i64::from(before[at] - high[strand]).max(0);
            let given = (room / weight).min(if whole_rest { wanted } else { wanted.min(1) });
            high[strand] += given as i32;
            room -= given * weight;
        }
    }
}
