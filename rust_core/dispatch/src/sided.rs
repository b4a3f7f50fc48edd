//! The linear relaxation of a flow with sides: the network simplex method with a few side constraints.
//!
//! A basis is a spanning tree of the network, as in `simplex.rs`, and one further arc for each *tight* side. A unit
//! on such an extra arc returns through the tree, so it is a cycle with a cost and a use of every side; the matrix
//! of those uses (tight sides by extra arcs) is small and is all that has to be factored. Its duals are the prices of
//! the sides. See Kennington and Helgason, "Algorithms for Network Programming" (1980), chapter 7.
//!
//! Sides that the first flow breaks start with an `over` part that costs `over_price` a unit, so any optimal flow
//! of the network alone is a start. Numbers are floating here; the caller draws no conclusion from them, but takes a
//! bound in whole numbers from the prices, and a plan from the shares.
use crate::factors::Factors;
use crate::simplex::{Network, State, NONE};

const EPSILON: f64 = 1e-7;

/// Pivots per node of the network, at most; then the prices and shares of wherever it stands are used.
const PIVOTS_PER_NODE_MAX: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// There is room: the price is zero.
    Slack,
    /// More is used than there is: the price is `over_price`.
    Over,
    /// Used up: the price comes from the basis.
    Tight,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Entering {
    Arc(u32, f64),
    Slack(usize),
    Over(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Itself,
    Row(usize),
    Extra(usize),
    Tree(u32),
}

/// The relaxation, in the middle of being solved.
pub(crate) struct Sided<'a> {
    network: Network,
    /// By arc: (side, weight) it uses; empty for nearly all.
    uses_of: &'a [Vec<(usize, f64)>],
    /// Arcs that use any side.
    using: Vec<u32>,
    limits: Vec<f64>,
    over_price: f64,
    units: Vec<f64>,
    cost: Vec<f64>,
    price: Vec<f64>,
    rows: Vec<Row>,
    used: Vec<f64>,
    tight: Vec<usize>,
    extras: Vec<u32>,
    /// Use of every side by the cycle of each extra arc.
    cycles: Vec<Vec<f64>>,
    side_prices: Vec<f64>,
    next_arc: usize,
    touched: Vec<u32>,
    change: Vec<f64>,
    pub pivots: u64,
}

impl<'a> Sided<'a> {
    /// `network` has been solved without the sides; `uses_of` says what a unit on each arc uses.
    pub fn new(
        network: &Network,
        uses_of: &'a [Vec<(usize, f64)>],
        limits: Vec<f64>,
        over_price: f64,
    ) -> Self {
        let network = network.clone();
        let units: Vec<f64> = network.flow.iter().map(|&units| f64::from(units)).collect();
        let mut used = vec![0.0; limits.len()];
        let using: Vec<u32> =
            (0..uses_of.len() as u32).filter(|&arc| !uses_of[arc as usize].is_empty()).collect();
        for &arc in &using {
            for &(side, weight) in &uses_of[arc as usize] {
                used[side] += weight * units[arc as usize];
            }
        }
        let row = |(used, limit): (&f64, &f64)| if *used > limit + EPSILON { Row::Over } else { Row::Slack };
        Self {
            uses_of,
            using,
            over_price,
            cost: network.arcs.iter().map(|arc| arc.cost as f64).collect(),
            price: vec![0.0; network.link.len()],
            rows: used.iter().zip(&limits).map(row).collect(),
            used,
            limits,
            tight: Vec::new(),
            extras: Vec::new(),
            cycles: Vec::new(),
            side_prices: Vec::new(),
            next_arc: 0,
            touched: Vec::new(),
            change: vec![0.0; network.link.len()],
            pivots: 0,
            units,
            network,
        }
    }

    /// Runs to the optimum, or to a pivot limit. Returns the prices of the sides.
    pub fn solve(&mut self, pivots_max: u64) -> Vec<f64> {
        let limit = pivots_max.min((self.network.link.len() * PIVOTS_PER_NODE_MAX) as u64);
        for _ in 0..limit {
            let Some(factors) = self.reprice() else {
                break;
            };
            let Some(entering) = self.entering() else {
                break;
            };
            if !self.pivot(entering, &factors) {
                break;
            }
            self.pivots += 1;
        }
        self.side_prices.clone()
    }

    /// Units on an arc.
    pub fn units(&self, arc: u32) -> f64 {
        self.units[arc as usize]
    }

    /// Cost, and use of every side, of the way of a unit from `node` down the tree to the sink; added to `uses`.
    fn add_way(&self, node: u32, sign: f64, uses: &mut [f64]) -> f64 {
        let mut cost = 0i64;
        let mut at = node;
        while at != Network::SINK {
            let link = &self.network.link[at as usize];
            let arc = link.arc as usize;
            let ends = &self.network.arcs[arc];
            let up = ends.tail == at;
            cost += if up { ends.cost } else { -ends.cost };
            for &(side, weight) in &self.uses_of[arc] {
                uses[side] += if up { sign * weight } else { -sign * weight };
            }
            at = link.parent;
        }
        sign * cost as f64
    }

    /// Cost, and use of every side, of a unit on `arc` that returns through the tree.
    fn cycle(&self, arc: u32) -> (f64, Vec<f64>) {
        let mut uses = vec![0.0; self.limits.len()];
        for &(side, weight) in &self.uses_of[arc as usize] {
            uses[side] += weight;
        }
        let ends = &self.network.arcs[arc as usize];
        let way = self.add_way(ends.head, 1.0, &mut uses) + self.add_way(ends.tail, -1.0, &mut uses);
        (ends.cost as f64 + way, uses)
    }

    /// Cost of sending a unit from every node down the tree, at the present prices of the sides.
    fn price_nodes(&mut self) {
        let mut node = self.network.link[0].first_child;
        while node != NONE {
            let link = &self.network.link[node as usize];
            let arc = link.arc as usize;
            let base = self.price[link.parent as usize];
            let up = self.network.arcs[arc].tail == node;
            self.price[node as usize] = if up { base + self.cost[arc] } else { base - self.cost[arc] };
            node = self.network.following(node, Network::SINK);
        }
    }

    fn set_costs(&mut self) {
        for &arc in &self.using {
            let charge: f64 = self.uses_of[arc as usize]
                .iter()
                .map(|&(side, weight)| weight * self.side_prices[side])
                .sum();
            self.cost[arc as usize] = self.network.arcs[arc as usize].cost as f64 + charge;
        }
    }

    /// New prices from the basis. `None` when the matrix cannot be factored any more.
    fn reprice(&mut self) -> Option<Factors> {
        let free = |row: &Row| if *row == Row::Over { self.over_price } else { 0.0 };
        self.side_prices = self.rows.iter().map(free).collect();
        let (mut cycles, mut wanted) = (Vec::with_capacity(self.extras.len()), Vec::new());
        for &arc in &self.extras {
            // Every extra arc must be as dear as its way back: that sets the prices of the tight sides.
            let (cost, uses) = self.cycle(arc);
            let over: f64 = uses.iter().zip(&self.side_prices).map(|(used, price)| used * price).sum();
            wanted.push(-cost - over);
            cycles.push(uses);
        }
        self.cycles = cycles;
        let row = |&side: &usize| self.cycles.iter().map(|uses| uses[side]).collect();
        let factors = Factors::of(self.tight.iter().map(row).collect())?;
        for (at, price) in factors.solve_transposed(wanted).into_iter().enumerate() {
            self.side_prices[self.tight[at]] = price;
        }
        self.set_costs();
        self.price_nodes();
        Some(factors)
    }

    fn reduced(&self, arc: u32) -> f64 {
        let ends = &self.network.arcs[arc as usize];
        self.cost[arc as usize] - self.price[ends.tail as usize] + self.price[ends.head as usize]
    }

    fn entering(&mut self) -> Option<Entering> {
        let tolerance = 1e-4;
        for &side in &self.tight {
            if self.side_prices[side] < -tolerance {
                return Some(Entering::Slack(side));
            }
            if self.side_prices[side] > self.over_price + tolerance {
                return Some(Entering::Over(side));
            }
        }
        let count = self.network.arcs.len();
        let block = (count as f64).sqrt() as usize + 20;
        let (mut best, mut found, mut in_block) = (tolerance, None, 0);
        for _ in 0..count {
            let at = self.next_arc;
            let direction = match self.network.state[at] {
                State::AtLower => 1.0,
                State::AtUpper => -1.0,
                State::InTree => 0.0,
            };
            let gain = -direction * self.reduced(at as u32);
            if gain > best {
                best = gain;
                found = Some(Entering::Arc(at as u32, direction));
            }
            self.next_arc = if at + 1 == count { 0 } else { at + 1 };
            in_block += 1;
            if in_block == block {
                if found.is_some() {
                    return found;
                }
                in_block = 0;
            }
        }
        found
    }

    /// Adds `amount` units that arrive at `node` to the change of every tree arc on their way.
    fn send(&mut self, node: u32, amount: f64) {
        let mut at = node;
        while at != Network::SINK {
            if self.change[at as usize] == 0.0 {
                self.touched.push(at);
            }
            self.change[at as usize] += amount;
            at = self.network.link[at as usize].parent;
        }
    }

    fn pivot(&mut self, entering: Entering, factors: &Factors) -> bool {
        let mut uses = vec![0.0; self.limits.len()];
        if let Entering::Arc(arc, direction) = entering {
            (_, uses) = self.cycle(arc);
            uses.iter_mut().for_each(|used| *used *= direction);
        }
        let needed = |&side: &usize| match entering {
            Entering::Arc(..) => -uses[side],
            Entering::Slack(row) => {
                if row == side {
                    -1.0
                } else {
                    0.0
                }
            }
            Entering::Over(row) => {
                if row == side {
                    1.0
                } else {
                    0.0
                }
            }
        };
        let shifts = factors.solve(self.tight.iter().map(needed).collect());
        for (uses_of_cycle, shift) in self.cycles.iter().zip(&shifts) {
            if shift.abs() > EPSILON {
                uses.iter_mut().zip(uses_of_cycle).for_each(|(used, cycle)| *used += shift * cycle);
            }
        }
        for node in self.touched.drain(..) {
            self.change[node as usize] = 0.0;
        }
        let mut moving: Vec<(u32, f64)> = self.extras.iter().copied().zip(shifts.iter().copied()).collect();
        if let Entering::Arc(arc, direction) = entering {
            moving.push((arc, direction));
        }
        for &(arc, amount) in moving.iter().filter(|(_, amount)| amount.abs() > EPSILON) {
            let (tail, head) = (self.network.arcs[arc as usize].tail, self.network.arcs[arc as usize].head);
            self.send(head, amount);
            self.send(tail, -amount);
        }
        let Some((leaving, step)) = self.leaving(entering, &uses, &shifts) else {
            return false;
        };
        self.shift(&moving, &uses, step);
        self.exchange(entering, leaving, &moving);
        true
    }

    /// Room of an arc for a change in this direction.
    fn room(&self, arc: usize, change: f64) -> f64 {
        if change > 0.0 {
            f64::from(self.network.capacity[arc]) - self.units[arc]
        } else {
            self.units[arc]
        }
    }

    fn up(&self, node: u32) -> f64 {
        let arc = self.network.link[node as usize].arc as usize;
        if self.network.arcs[arc].tail == node {
            1.0
        } else {
            -1.0
        }
    }

    /// The first basic variable to meet a bound; of several, the one that moves fastest.
    fn leaving(&self, entering: Entering, uses: &[f64], shifts: &[f64]) -> Option<(Leaving, f64)> {
        let mut best: Option<(Leaving, f64, f64)> = None;
        let mut meet = |leaving: Leaving, room: f64, speed: f64| {
            let step = room.max(0.0) / speed;
            let better = match best {
                None => true,
                Some((_, least, fastest)) => {
                    step < least - 1e-9 || (step < least + 1e-9 && speed > fastest + 1e-9)
                }
            };
            if better {
                best = Some((leaving, best.map_or(step, |(_, least, _)| least.min(step)), speed));
            }
        };
        if let Entering::Arc(arc, direction) = entering {
            meet(
                Leaving::Itself,
                f64::from(self.network.capacity[arc as usize]).min(self.room(arc as usize, direction)),
                1.0,
            );
        }
        for (side, &speed) in uses.iter().enumerate() {
            match self.rows[side] {
                Row::Slack if speed > EPSILON => {
                    meet(Leaving::Row(side), self.limits[side] - self.used[side], speed)
                }
                Row::Over if speed < -EPSILON => {
                    meet(Leaving::Row(side), self.used[side] - self.limits[side], -speed)
                }
                _ => {}
            }
        }
        for (at, &shift) in shifts.iter().enumerate() {
            if shift.abs() > EPSILON {
                meet(Leaving::Extra(at), self.room(self.extras[at] as usize, shift), shift.abs());
            }
        }
        for &node in &self.touched {
            let change = self.change[node as usize] * self.up(node);
            if change.abs() > EPSILON {
                let arc = self.network.link[node as usize].arc as usize;
                meet(Leaving::Tree(node), self.room(arc, change), change.abs());
            }
        }
        best.map(|(leaving, step, _)| (leaving, step))
    }

    fn shift(&mut self, moving: &[(u32, f64)], uses: &[f64], step: f64) {
        if step == 0.0 {
            return;
        }
        for &(arc, amount) in moving {
            self.units[arc as usize] += step * amount;
        }
        for at in 0..self.touched.len() {
            let node = self.touched[at];
            let change = self.change[node as usize];
            if change != 0.0 {
                let arc = self.network.link[node as usize].arc as usize;
                self.units[arc] += step * change * self.up(node);
                // A node may be listed twice; it moves once.
                self.change[node as usize] = 0.0;
            }
        }
        self.used.iter_mut().zip(uses).for_each(|(used, change)| *used += step * change);
    }

    /// Puts an arc that leaves the basis exactly on its bound.
    fn settle(&mut self, arc: u32) {
        let capacity = f64::from(self.network.capacity[arc as usize]);
        let at_upper = self.units[arc as usize] * 2.0 > capacity;
        self.units[arc as usize] = if at_upper { capacity } else { 0.0 };
        self.network.state[arc as usize] = if at_upper { State::AtUpper } else { State::AtLower };
    }

    fn exchange(&mut self, entering: Entering, leaving: Leaving, moving: &[(u32, f64)]) {
        match entering {
            Entering::Arc(arc, _) if leaving == Leaving::Itself => return self.settle(arc),
            Entering::Arc(arc, _) => {
                self.network.state[arc as usize] = State::InTree;
                self.extras.push(arc);
            }
            Entering::Slack(side) => {
                self.rows[side] = Row::Slack;
                self.tight.retain(|&tight| tight != side);
            }
            Entering::Over(side) => {
                self.rows[side] = Row::Over;
                self.tight.retain(|&tight| tight != side);
            }
        }
        match leaving {
            Leaving::Itself => {}
            Leaving::Row(side) => {
                self.rows[side] = Row::Tight;
                self.used[side] = self.limits[side];
                self.tight.push(side);
            }
            Leaving::Extra(at) => {
                let arc = self.extras.remove(at);
                self.settle(arc);
            }
            Leaving::Tree(node) => self.cut(node, moving),
        }
    }

    /// Takes the arc above `node` out of the tree and hangs the subtree by the extra arc that moves most across.
    fn cut(&mut self, node: u32, moving: &[(u32, f64)]) {
        let mut chosen: Option<(u32, u32, u32, f64)> = None;
        for &(arc, amount) in moving {
            let ends = &self.network.arcs[arc as usize];
            let (tail_in, head_in) = (self.is_below(ends.tail, node), self.is_below(ends.head, node));
            if tail_in != head_in && chosen.is_none_or(|(_, _, _, most)| amount.abs() > most) {
                let (inside, outside) = if tail_in { (ends.tail, ends.head) } else { (ends.head, ends.tail) };
                chosen = Some((arc, inside, outside, amount.abs()));
            }
        }
        let Some((arc, inside, outside, _)) = chosen else {
            return;
        };
        let old = self.network.link[node as usize].arc;
        self.extras.retain(|&extra| extra != arc);
        self.network.rehang(node, inside, outside, arc);
        self.network.redepth(inside);
        self.settle(old);
    }

    fn is_below(&self, node: u32, top: u32) -> bool {
        let depth = self.network.link[top as usize].depth;
        let mut at = node;
        while self.network.link[at as usize].depth > depth {
            at = self.network.link[at as usize].parent;
        }
        at == top
    }
}
