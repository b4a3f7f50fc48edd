//! The price master: which prices on the shared limits give the best bound, and which mix of flows meets them.
//!
//! It is the Dantzig-Wolfe master problem: choose weights (summing to one) over the flows found so far so that
//! their mixed use of every shared limit fits, at least cost. Its duals are the next prices to try. It has a
//! row for each limit and one more, so a dense inverse of the basis is small and simple.
//!
//! Floating point is safe here because nothing is concluded from it: prices are rounded and each bound is then
//! taken, in whole numbers, from the flow solved at those prices.

const EPSILON: f64 = 1e-7;

/// Simplex steps of one re-solve, at most; the prices of wherever it stops are still usable.
const STEPS_MAX: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Mix(usize),
    Slack(usize),
    Over(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Master {
    limits: Vec<f64>,
    over_price: f64,
    /// Cost of the first flow; all are kept less this, since differences are what small numbers are lost in.
    base: f64,
    costs: Vec<f64>,
    uses: Vec<Vec<f64>>,
    basis: Vec<Column>,
    inverse: Vec<Vec<f64>>,
    values: Vec<f64>,
}

impl Master {
    /// `limits` of the shared resources; `over_price` buys a unit beyond a limit and caps the prices.
    pub fn new(limits: Vec<f64>, over_price: f64) -> Self {
        Self {
            limits,
            over_price,
            base: 0.0,
            costs: Vec::new(),
            uses: Vec::new(),
            basis: Vec::new(),
            inverse: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds a flow by its cost and its use of each limit, and re-solves.
    pub fn add(&mut self, cost: f64, uses: Vec<f64>) {
        if self.costs.is_empty() {
            self.base = cost;
        }
        self.costs.push(cost - self.base);
        self.uses.push(uses);
        if self.basis.is_empty() {
            self.start();
        }
        self.solve();
    }

    fn start(&mut self) {
        let rows = self.limits.len();
        self.inverse = vec![vec![0.0; rows + 1]; rows + 1];
        self.values = vec![0.0; rows + 1];
        for row in 0..rows {
            let room = self.limits[row] - self.uses[0][row];
            let sign = if room >= 0.0 { 1.0 } else { -1.0 };
            self.basis.push(if room >= 0.0 { Column::Slack(row) } else { Column::Over(row) });
            self.inverse[row][row] = sign;
            self.inverse[row][rows] = -sign * self.uses[0][row];
            self.values[row] = room.abs();
        }
        self.basis.push(Column::Mix(0));
        self.inverse[rows][rows] = 1.0;
        self.values[rows] = 1.0;
    }

    fn cost_of(&self, column: Column) -> f64 {
        match column {
            Column::Mix(at) => self.costs[at],
            Column::Slack(_) => 0.0,
            Column::Over(_) => self.over_price,
        }
    }

    fn duals(&self) -> Vec<f64> {
        let size = self.limits.len() + 1;
        let mut duals = vec![0.0; size];
        for (row, &column) in self.basis.iter().enumerate() {
            let cost = self.cost_of(column);
            if cost != 0.0 {
                for (dual, entry) in duals.iter_mut().zip(&self.inverse[row]) {
                    *dual += cost * entry;
                }
            }
        }
        duals
    }

    fn solve(&mut self) {
        let rows = self.limits.len();
        for step in 0..STEPS_MAX {
            let duals = self.duals();
            // Dantzig's rule at first, Bland's (first improving) when it drags on, so that it cannot cycle.
            let first_found = step > STEPS_MAX / 2;
            let mut entering = None;
            let mut best = -f64::max(1e-6, duals[rows].abs() * 1e-13);
            let mixes = (0..self.costs.len()).map(Column::Mix);
            let others = (0..rows).flat_map(|row| [Column::Slack(row), Column::Over(row)]);
            for column in mixes.chain(others) {
                let reduced = match column {
                    Column::Mix(at) => {
                        let used: f64 =
                            duals.iter().zip(&self.uses[at]).map(|(dual, used)| dual * used).sum();
                        self.costs[at] - used - duals[rows]
                    }
                    Column::Slack(row) => -duals[row],
                    Column::Over(row) => self.over_price + duals[row],
                };
                if reduced < best && !self.basis.contains(&column) {
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
            if !self.exchange(entering) {
                return;
            }
        }
    }

    fn exchange(&mut self, entering: Column) -> bool {
        let rows = self.limits.len();
        let direction: Vec<f64> = self
            .inverse
            .iter()
            .map(|row| match entering {
                Column::Mix(at) => {
                    let shared: f64 = row.iter().zip(&self.uses[at]).map(|(entry, used)| entry * used).sum();
                    shared + row[rows]
                }
                Column::Slack(at) => row[at],
                Column::Over(at) => -row[at],
            })
            .collect();
        let mut leaving = None;
        let mut step = f64::INFINITY;
        for (row, &change) in direction.iter().enumerate() {
            if change > EPSILON {
                let ratio = self.values[row].max(0.0) / change;
                if ratio < step - EPSILON {
                    step = ratio;
                    leaving = Some(row);
                }
            }
        }
        let Some(leaving) = leaving else {
            return false;
        };
        for (row, &change) in direction.iter().enumerate() {
            self.values[row] -= step * change;
        }
        self.values[leaving] = step;
        let scale = 1.0 / direction[leaving];
        self.inverse[leaving].iter_mut().for_each(|entry| *entry *= scale);
        let pivot_row = self.inverse[leaving].clone();
        for (row, entries) in self.inverse.iter_mut().enumerate() {
            if row != leaving && direction[row] != 0.0 {
                for (entry, pivot) in entries.iter_mut().zip(&pivot_row) {
                    *entry -= direction[row] * pivot;
                }
            }
        }
        self.basis[leaving] = entering;
        true
    }

    /// Price of each limit, at least zero.
    pub fn prices(&self) -> Vec<f64> {
        let mut duals = self.duals();
        duals.pop();
        duals.iter().map(|dual| (-dual).clamp(0.0, self.over_price)).collect()
    }

    /// Cost of the best mix so far: no prices can give a better bound than the final value of this.
    pub fn cost(&self) -> f64 {
        self.base
            + self
                .basis
                .iter()
                .zip(&self.values)
                .map(|(&column, value)| self.cost_of(column) * value)
                .sum::<f64>()
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_flows_are_mixed_to_meet_a_limit() {
        let mut master = Master::new(vec![4.0], 1e6);
        master.add(10.0, vec![8.0]);
        assert!(master.prices()[0] > 1e5);
        master.add(50.0, vec![0.0]);
        assert!((master.cost() - 30.0).abs() < 1e-6);
        assert!((master.prices()[0] - 5.0).abs() < 1e-6);
        let weights = master.weights();
        assert!((weights[0] - 0.5).abs() < 1e-9 && (weights[1] - 0.5).abs() < 1e-9);
        master.add(20.0, vec![4.0]);
        assert!((master.cost() - 20.0).abs() < 1e-6);
    }
}
