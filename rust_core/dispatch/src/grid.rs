//! A hash of square cells: what lies within a radius, without looking at what does not.
use rustc_hash::FxHashMap;

/// Side of a cell. The default radius of 3 km then touches 25 cells.
const CELL_SIDE_M: f64 = 1_500.0;

/// Past this many cells on one axis a scan of everything is cheaper than walking empty cells.
const CELLS_PER_AXIS_MAX: i64 = 32;

/// Positions (indices into the owner's vector) by cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    cells: FxHashMap<(i64, i64), Vec<u32>>,
}

fn cell_of(place: (f64, f64)) -> (i64, i64) {
    // `as` saturates, so a wild coordinate lands in an edge cell instead of wrapping.
    ((place.0 / CELL_SIDE_M).floor() as i64, (place.1 / CELL_SIDE_M).floor() as i64)
}

impl Grid {
    pub fn insert(&mut self, at: u32, place: (f64, f64)) {
        self.cells.entry(cell_of(place)).or_default().push(at);
    }

    pub fn remove(&mut self, at: u32, place: (f64, f64)) {
        let cell = cell_of(place);
        if let Some(members) = self.cells.get_mut(&cell) {
            if let Some(slot) = members.iter().position(|&member| member == at) {
                members.swap_remove(slot);
            }
            if members.is_empty() {
                self.cells.remove(&cell);
            }
        }
    }

    pub fn relocate(&mut self, at: u32, from: (f64, f64), to: (f64, f64)) {
        if cell_of(from) != cell_of(to) {
            self.remove(at, from);
            self.insert(at, to);
        }
    }

    /// Calls `visit` for a superset of the members within `radius_m` of `place`; the sequence is not promised.
    pub fn around(&self, place: (f64, f64), radius_m: f64, mut visit: impl FnMut(u32)) {
        let low = cell_of((place.0 - radius_m, place.1 - radius_m));
        let high = cell_of((place.0 + radius_m, place.1 + radius_m));
        let width = high.0.saturating_sub(low.0).max(high.1.saturating_sub(low.1));
        if width >= CELLS_PER_AXIS_MAX {
            for members in self.cells.values() {
                members.iter().for_each(|&at| visit(at));
            }
            return;
        }
        for cell_x in low.0..=high.0 {
            for cell_y in low.1..=high.1 {
                if let Some(members) = self.cells.get(&(cell_x, cell_y)) {
                    members.iter().for_each(|&at| visit(at));
                }
            }
        }
    }
}

/// Straight-line distance, metres.
pub(crate) fn distance_m(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (dx, dy) = (from.0 - to.0, from.1 - to.1);
    (dx * dx + dy * dy).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn around_finds_everything_inside_the_radius_and_follows_moves() {
        let mut grid = Grid::default();
        let mut places: Vec<(f64, f64)> = (0..400)
            .map(|i| ((i * 37 % 101) as f64 * 90.0 - 4_000.0, (i * 61 % 97) as f64 * 95.0 - 4_500.0))
            .collect();
        for (at, &place) in places.iter().enumerate() {
            grid.insert(at as u32, place);
        }
        for at in (0..400).step_by(3) {
            let to = (places[at].1, places[at].0 + 700.0);
            grid.relocate(at as u32, places[at], to);
            places[at] = to;
        }
        for radius_m in [0.0, 10.0, 1_500.0, 3_000.0, 1e9] {
            let centre = (120.0, -340.0);
            let mut found = Vec::new();
            grid.around(centre, radius_m, |at| found.push(at));
            found.sort_unstable();
            let unique = found.len();
            found.dedup();
            assert_eq!(found.len(), unique);
            for (at, &place) in places.iter().enumerate() {
                if distance_m(centre, place) <= radius_m {
                    assert!(found.binary_search(&(at as u32)).is_ok());
                }
            }
        }
    }
}
