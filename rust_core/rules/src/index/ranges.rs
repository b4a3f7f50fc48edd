//! Sets of codes as sorted ranges, half open.

/// Disjoint, ascending, none empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// All codes below `end`.
    pub(super) fn whole(end: u32) -> Ranges {
        Ranges::of(vec![(0, end)])
    }

    /// From ranges in any order that may touch or overlap.
    pub(super) fn of(mut ranges: Vec<(u32, u32)>) -> Ranges {
        ranges.retain(|(from, to)| from < to);
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        Ranges(merged)
    }

    /// What is below `end` and not in here.
    pub(super) fn complement(&self, end: u32) -> Ranges {
        let mut out = Vec::with_capacity(self.0.len() + 1);
        let mut from = 0;
        for (start, stop) in &self.0 {
            out.push((from, *start));
            from = *stop;
        }
        out.push((from, end));
        Ranges::of(out)
    }

    /// What is in both.
    pub(super) fn intersect(&self, other: &Ranges) -> Ranges {
        let (mut out, mut i, mut j) = (Vec::new(), 0, 0);
        while let (Some(a), Some(b)) = (self.0.get(i), other.0.get(j)) {
            out.push((a.0.max(b.0), a.1.min(b.1)));
            if a.1 < b.1 {
                i += 1;
            } else {
                j += 1;
            }
        }
        Ranges::of(out)
    }

    /// What is in one or the other.
    pub(super) fn union(&self, other: &Ranges) -> Ranges {
        Ranges::of(self.0.iter().chain(&other.0).copied().collect())
    }

    /// How many codes are in here.
    pub(super) fn len(&self) -> u32 {
        self.0.iter().map(|(from, to)| to - from).sum()
    }

    /// Whether no code is in here.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The codes in here, ascending.
    pub(super) fn codes(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|(from, to)| *from..*to)
    }

    /// Where membership changes, from `false` before 0.
    pub(super) fn changes(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|(from, to)| [*from, *to])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(ranges: &Ranges) -> Vec<u32> {
        ranges.0.iter().flat_map(|(a, b)| *a..*b).collect()
    }

    #[test]
    fn sets_of_codes_behave_as_sets() {
        for seed in 0..2_000u32 {
            let set =
                |salt: u32| -> Vec<u32> { (0..8).filter(|c| (seed * 31 + salt) >> c & 1 == 1).collect() };
            let (a, b) = (set(7), set(1 + seed / 64));
            let of = |all: &[u32]| Ranges::of(all.iter().rev().map(|c| (*c, c + 1)).collect());
            let both: Vec<u32> = a.iter().copied().filter(|c| b.contains(c)).collect();
            assert_eq!(codes(&of(&a).intersect(&of(&b))), both);
            let rest: Vec<u32> = (0..8).filter(|c| !a.contains(c)).collect();
            assert_eq!(codes(&of(&a).complement(8)), rest);
            let either: Vec<u32> = (0..8).filter(|c| a.contains(c) || b.contains(c)).collect();
            assert_eq!(codes(&of(&a).union(&of(&b))), either);
            assert_eq!(of(&a).is_empty(), a.is_empty());
        }
    }
}
