//! The price master: which prices on the shared limits give the best bound, and which mix of flows meets them.
//!
//! It is the Dantzig-Wolfe master problem: choose weights (summing to one) over the flows found so far so that
//! their mixed use of every shared limit fits, at least cost. Its duals are the next prices to try. It has one
//! row for the weights and one for each limit in play, so a dense inverse of the basis is small and simple.
//!
//! Left alone, such prices swing from one extreme to the other. So each price is held within a box around the
//! best known one (Marsten, Hogan, Blankenship 1975, "boxstep"): going over a limit can be bought at the upper
//! end of its box, leaving it unused is paid at the lower end. The box moves with the best prices.
//!
//! Floating point is safe here because nothing is concluded from it: prices are rounded and each bound is then
//! taken, in whole numbers, from the flow solved at those prices.

const EPSILON: f64 = 1e-7;

/// Simplex steps of one re-solve, at most; the prices of wherever it stops are still usable.
const STEPS_MAX: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// Some of a flow.
    Mix(usize),
    /// Room left at a limit.
    Slack(usize),
    /// More than a limit.
    Over(usize),
}

/// A limit, with the box of its price.
#[derive(Clone, Debug)]
struct Row {
    low: f64,
    high: f64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Master {
    rows: Vec<Row>,
    /// Cost of the first flow; all are kept less this, since differences are what small numbers are lost in.
    base: f64,
    costs: Vec<f64>,
    /// By flow, its use of each row.
    uses: Vec<Vec<f64>>,
    basis: Vec<Column>,
    /// Row by row of the basis; column 0 belongs to the sum of weights, column `1 + row` to a limit.
    inverse: Vec<Vec<f64>>,
    values: Vec<f64>,
    in_basis: Vec<bool>,
    steps: u64,
}

impl Master {
    /// Puts a limit in play, free of charge so far; `uses` of it by the flows already there.
    pub fn add_row(&mut self, limit: f64, uses: &[f64]) {
        for (known, &used) in self.uses.iter_mut().zip(uses) {
            known.push(used);
        }
        let row = self.rows.len();
        self.rows.push(Row { low: 0.0, high: 0.0 });
        let mut mixed = vec![0.0; row + 1];
        let mut used = 0.0;
        for (at, column) in self.basis.iter().enumerate() {
            if let Column::Mix(flow) = *column {
                used += uses[flow] * self.values[at];
                for (entry, inverse) in mixed.iter_mut().zip(&self.inverse[at]) {
                    *entry -= uses[flow] * inverse;
                }
            }
        }
        let over = used > limit;
        let sign = if over { -1.0 } else { 1.0 };
        mixed.iter_mut().for_each(|entry| *entry *= sign);
        mixed.push(sign);
        self.inverse.iter_mut().for_each(|entries| entries.push(0.0));
        self.inverse.push(mixed);
        self.values.push((limit - used).abs());
        self.basis.push(if over { Column::Over(row) } else { Column::Slack(row) });
    }

    /// Holds the price of a row within `low..=high`; takes effect with the next flow or [`Master::solve`].
    pub fn set_box(&mut self, row: usize, low: f64, high: f64) {
        (self.rows[row].low, self.rows[row].high) = (low, high);
    }

    /// Adds a flow by its cost and its use of each row.
    pub fn add(&mut self, cost: f64, uses: Vec<f64>) {
        if self.costs.is_empty() {
            self.base = cost;
        }
        self.costs.push(cost - self.base);
        self.uses.push(uses);
        self.in_basis.push(false);
        if self.basis.is_empty() {
            debug_assert!(self.rows.is_empty(), "the first flow comes before the first row");
            self.basis.push(Column::Mix(0));
            self.in_basis[0] = true;
            self.inverse.push(vec![1.0]);
            self.values.push(1.0);
        }
    }

    fn cost_of(&self, column: Column) -> f64 {
        match column {
            Column::Mix(at) => self.costs[at],
            Column::Slack(row) => -self.rows[row].low,
            Column::Over(row) => self.rows[row].high,
        }
    }

    fn duals(&self) -> Vec<f64> {
        let mut duals = vec![0.0; self.rows.len() + 1];
        for (at, &column) in self.basis.iter().enumerate() {
            let cost = self.cost_of(column);
            if cost != 0.0 {
                for (dual, entry) in duals.iter_mut().zip(&self.inverse[at]) {
                    *dual += cost * entry;
                }
            }
        }
        duals
    }

    fn reduced(&self, column: Column, duals: &[f64]) -> f64 {
        match column {
            Column::Mix(at) => {
                let used: f64 = duals[1..].iter().zip(&self.uses[at]).map(|(dual, used)| dual * used).sum();
                self.costs[at] - used - duals[0]
            }
            Column::Slack(row) => -self.rows[row].low - duals[row + 1],
            Column::Over(row) => self.rows[row].high + duals[row + 1],
        }
    }

    /// Finds the best mix within the boxes.
    pub fn solve(&mut self) {
        for step in 0..STEPS_MAX {
            self.steps += 1;
            let duals = self.duals();
            // Dantzig's rule at first, Bland's (first improving) when it drags on, so that it cannot cycle.
            let first_found = step > STEPS_MAX / 2;
            let mut entering = None;
            let mut best = -f64::max(1e-6, duals[0].abs() * 1e-13);
            let mixes = (0..self.costs.len()).filter(|&at| !self.in_basis[at]).map(Column::Mix);
            let others = (0..self.rows.len()).flat_map(|row| [Column::Slack(row), Column::Over(row)]);
            for column in mixes.chain(others) {
                let reduced = self.reduced(column, &duals);
                if reduced < best {
                    best = reduced;
                    entering = Some(column);
                    if first_found {
                        break;
                    }
                }
            }
            let Some(entering) = entering else {
                return;
            };
            if self.basis.contains(&entering) || !self.exchange(entering) {
                return;
            }
        }
    }

    fn exchange(&mut self, entering: Column) -> bool {
        let change_of = |entries: &Vec<f64>| match entering {
            Column::Mix(at) => {
                entries[0]
                    + entries[1..].iter().zip(&self.uses[at]).map(|(entry, used)| entry * used).sum::<f64>()
            }
            Column::Slack(row) => entries[row + 1],
            Column::Over(row) => -entries[row + 1],
        };
        let direction: Vec<f64> = self.inverse.iter().map(change_of).collect();
        let mut leaving = None;
        let mut step = f64::INFINITY;
        for (at, &change) in direction.iter().enumerate() {
            if change > EPSILON {
                let ratio = self.values[at].max(0.0) / change;
                if ratio < step - EPSILON {
                    step = ratio;
                    leaving = Some(at);
                }
            }
        }
        let Some(leaving) = leaving else {
            return false;
        };
        for (value, &change) in self.values.iter_mut().zip(&direction) {
            *value -= step * change;
        }
        self.values[leaving] = step;
        let scale = 1.0 / direction[leaving];
        self.inverse[leaving].iter_mut().for_each(|entry| *entry *= scale);
        let pivot_row = self.inverse[leaving].clone();
        for (at, entries) in self.inverse.iter_mut().enumerate() {
            if at != leaving && direction[at] != 0.0 {
                for (entry, pivot) in entries.iter_mut().zip(&pivot_row) {
                    *entry -= direction[at] * pivot;
                }
            }
        }
        if let Column::Mix(at) = self.basis[leaving] {
            self.in_basis[at] = false;
        }
        if let Column::Mix(at) = entering {
            self.in_basis[at] = true;
        }
        self.basis[leaving] = entering;
        true
    }

    /// Price of each row, within its box.
    pub fn prices(&self) -> Vec<f64> {
        let duals = self.duals();
        duals[1..]
            .iter()
            .zip(&self.rows)
            .map(|(dual, row)| (-dual).clamp(row.low, row.high.max(row.low)))
            .collect()
    }

    /// The best bound that prices within the boxes could still give, as far as these flows can tell.
    pub fn cost(&self) -> f64 {
        let value = |(at, &column): (usize, &Column)| self.cost_of(column) * self.values[at];
        self.base + self.basis.iter().enumerate().map(value).sum::<f64>()
    }

    /// Weight of each flow in the best mix.
    pub fn weights(&self) -> Vec<f64> {
        let mut weights = vec![0.0; self.costs.len()];
        for (&column, &value) in self.basis.iter().zip(&self.values) {
            if let Column::Mix(at) = column {
                weights[at] = value.max(0.0);
            }
        }
        weights
    }

    /// Work done so far, in the order of one multiplication.
    pub fn work(&self) -> u64 {
        let size = (self.rows.len() + 1) as u64;
        self.steps * size * (size + self.costs.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_flows_are_mixed_to_meet_a_limit() {
        let mut master = Master::default();
        master.add(10.0, vec![]);
        master.add_row(4.0, &[8.0]);
        master.set_box(0, 0.0, 1e6);
        master.solve();
        assert!(master.prices()[0] > 1e5);
        master.add(50.0, vec![0.0]);
        master.solve();
        assert!((master.cost() - 30.0).abs() < 1e-6);
        assert!((master.prices()[0] - 5.0).abs() < 1e-6);
        let weights = master.weights();
        assert!((weights[0] - 0.5).abs() < 1e-9 && (weights[1] - 0.5).abs() < 1e-9);
        master.add(20.0, vec![4.0]);
        master.solve();
        assert!((master.cost() - 20.0).abs() < 1e-6);
    }

    #[test]
    fn a_box_holds_the_price_and_a_later_row_joins_in() {
        let mut master = Master::default();
        master.add(10.0, vec![]);
        master.add_row(4.0, &[8.0]);
        master.set_box(0, 1.0, 3.0);
        master.add(50.0, vec![0.0]);
        master.solve();
        assert!((master.prices()[0] - 3.0).abs() < 1e-9);
        assert!((master.cost() - (10.0 + 3.0 * 4.0)).abs() < 1e-6);
        master.set_box(0, 0.0, 100.0);
        master.add_row(0.25, &[1.0, 0.0]);
        master.set_box(1, 0.0, 1e6);
        master.solve();
        // A quarter of the first flow is all the second row allows.
        assert!((master.cost() - (0.25 * 10.0 + 0.75 * 50.0)).abs() < 1e-6);
        assert!((master.prices()[1] - 40.0).abs() < 1e-6);
    }
}
