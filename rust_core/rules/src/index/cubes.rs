//! Conditions as sets of orders: each conjunction is a box, one set of codes for each place it asks about.
//!
//! Said on the same codes the index is made of, so on real intervals and sets of texts, not on the looks of a
//! condition.
use std::collections::{BTreeMap, HashMap};

use super::cells::Cells;
use super::dimension::{place, Reading};
use super::dnf::{Conjunction, Literal};
use super::ranges::Ranges;

/// A slot, and whether its value or its presence is asked for.
pub(super) type Place = (usize, Reading);

/// A conjunction as one set of codes for each place it asks about.
pub(super) struct Cube {
    pub sets: BTreeMap<Place, Ranges>,
    /// More must hold than the sets say.
    pub residual: bool,
}

pub(super) fn cells_of(forms: &[Vec<Conjunction<'_>>]) -> HashMap<Place, Cells> {
    let mut literals: HashMap<Place, Vec<(u32, Literal<'_>)>> = HashMap::new();
    for literal in forms.iter().flatten().flat_map(|c| &c.literals) {
        if let Some(place) = place(literal) {
            literals.entry(place).or_default().push((0, *literal));
        }
    }
    literals.into_iter().map(|(place, all)| (place, Cells::of(place.1, &all))).collect()
}

/// `None` when no order can be in it.
pub(super) fn cube(conjunction: &Conjunction<'_>, cells: &HashMap<Place, Cells>) -> Option<Cube> {
    let mut cube = Cube { sets: BTreeMap::new(), residual: conjunction.residual };
    for literal in &conjunction.literals {
        let Some((place, cells)) = place(literal).and_then(|p| cells.get(&p).map(|c| (p, c))) else {
            // A pattern: true of some texts.
            cube.residual = true;
            continue;
        };
        let set = cells.ranges(literal).intersect(&cells.possible());
        let set = cube.sets.get(&place).map_or(set.clone(), |known| known.intersect(&set));
        if set.is_empty() {
            return None;
        }
        cube.sets.insert(place, set);
    }
    Some(cube)
}

/// Whether the cubes are all there is: one without a test, or several about one place that leave no value out.
pub(super) fn covers_all(cubes: &[Cube], cells: &HashMap<Place, Cells>) -> bool {
    let sound: Vec<&Cube> = cubes.iter().filter(|c| !c.residual).collect();
    if sound.iter().any(|c| c.sets.is_empty()) {
        return true;
    }
    cells.iter().any(|(place, cells)| {
        let alone = sound.iter().filter(|c| c.sets.len() == 1).filter_map(|c| c.sets.get(place));
        let union = alone.fold(Ranges::whole(0), |all, set| all.union(set));
        cells.possible().intersect(&union) == cells.possible()
    })
}

/// Whether every order in `cube` is in `other`.
pub(super) fn implies(cube: &Cube, other: &Cube) -> bool {
    !other.residual
        && other
            .sets
            .iter()
            .all(|(place, wide)| cube.sets.get(place).is_some_and(|narrow| narrow.intersect(wide) == *narrow))
}

/// The places and codes of orders in both; `None` when no order can be.
pub(super) fn common(cube: &Cube, other: &Cube) -> Option<BTreeMap<Place, Ranges>> {
    let mut sets = cube.sets.clone();
    for (place, set) in &other.sets {
        let both = sets.get(place).map_or_else(|| set.clone(), |known| known.intersect(set));
        if both.is_empty() {
            return None;
        }
        sets.insert(*place, both);
    }
    Some(sets)
}
