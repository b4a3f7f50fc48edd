//! Raises the bound of one node: flows in, better prices of the sides out, until no prices can do better.
use crate::assign::{BOX_M, SCALE, TOLERANCE};
use crate::instance::Instance;
use crate::master::Master;
use crate::model::Model;

/// So many flows in a row without a better bound, and the boxes are halved, down to this half-width.
const MISSES_MAX: u32 = 5;
const BOX_MIN_M: i64 = 20;

/// The search for the best prices. Only sides that the mix of flows would break take part; the rest are free.
pub(crate) struct Ascent<'a> {
    instance: &'a Instance,
    /// What to price the next flow at.
    pub prices: Vec<i64>,
    pub best_prices: Vec<i64>,
    /// In scaled units; `i64::MIN` before the first flow.
    pub best_bound: i64,
    pub master: Master,
    must_bonus: i64,
    price_max: f64,
    widths: Vec<i64>,
    /// Row of the master, by side.
    row_of: Vec<Option<usize>>,
    sides_in: Vec<usize>,
    flows: Vec<Vec<i32>>,
    uses: Vec<Vec<i64>>,
    improved: bool,
    misses: u32,
}

impl<'a> Ascent<'a> {
    pub fn new(instance: &'a Instance, model: &Model, start: &[i64]) -> Self {
        let widths = start.iter().map(|&price| (BOX_M * SCALE).max(price / 8)).collect();
        Self {
            instance,
            prices: start.to_vec(),
            best_prices: start.to_vec(),
            best_bound: i64::MIN,
            master: Master::default(),
            must_bonus: model.must_price * model.must_total,
            price_max: model.must_price as f64,
            widths,
            row_of: vec![None; instance.sides.len()],
            sides_in: Vec::new(),
            flows: Vec::new(),
            uses: Vec::new(),
            improved: false,
            misses: 0,
        }
    }

    /// Takes in the flow that is best at the present prices; true when it breaks no side.
    pub fn take(&mut self, flows: Vec<i32>, cost: i64) -> bool {
        let sides = &self.instance.sides;
        let carried = |&(strand, weight): &(u32, i64)| weight * i64::from(flows[strand as usize]);
        let uses: Vec<i64> = sides.iter().map(|side| side.terms.iter().map(carried).sum()).collect();
        let priced = self.prices.iter().zip(&uses).map(|(price, used)| price * used);
        let paid: i64 = priced.sum();
        let worth: i64 = self.prices.iter().zip(sides).map(|(price, side)| price * side.limit).sum();
        let bound = cost + self.must_bonus - worth;
        self.improved = bound > self.best_bound;
        if self.improved {
            self.best_bound = bound;
            self.best_prices.clone_from(&self.prices);
        }
        let in_rows = self.sides_in.iter().map(|&side| uses[side] as f64).collect();
        self.master.add((cost + self.must_bonus - paid) as f64, in_rows);
        let fits = uses.iter().zip(sides).all(|(&used, side)| used <= side.limit);
        self.flows.push(flows);
        self.uses.push(uses);
        fits
    }

    /// Strand flows of the best mix.
    pub fn shares(&self) -> Vec<f64> {
        let mut shares = vec![0.0; self.flows.first().map_or(0, Vec::len)];
        for (flow, weight) in self.flows.iter().zip(self.master.weights()) {
            if weight > 0.0 {
                for (share, &units) in shares.iter_mut().zip(flow) {
                    *share += weight * f64::from(units);
                }
            }
        }
        shares
    }

    /// Moves to the next prices; false when there are no better ones.
    pub fn step(&mut self) -> bool {
        self.bring_in();
        self.set_boxes();
        self.master.solve();
        while self.bring_in() {
            self.set_boxes();
            self.master.solve();
        }
        if self.improved {
            self.widen(2);
            self.misses = 0;
        } else {
            self.misses += 1;
            if self.misses == MISSES_MAX {
                self.misses = 0;
                let narrow = |width: &mut i64| *width = (*width / 2).max(BOX_MIN_M * SCALE);
                self.widths.iter_mut().for_each(narrow);
                self.set_boxes();
                self.master.solve();
            }
        }
        // Within the boxes nothing is left to gain: look beyond those that hold a price back.
        while self.master.cost() - self.best_bound as f64 <= TOLERANCE {
            if !self.widen(4) {
                return false;
            }
            self.set_boxes();
            self.master.solve();
            while self.bring_in() {
                self.set_boxes();
                self.master.solve();
            }
        }
        let mut next = vec![0; self.prices.len()];
        for (&side, price) in self.sides_in.iter().zip(self.master.prices()) {
            next[side] = price.round() as i64;
        }
        let moved = next != self.prices;
        self.prices = next;
        moved
    }

    /// Puts every side in play that the mix breaks or that has a price; false when there was none.
    fn bring_in(&mut self) -> bool {
        let weights = self.master.weights();
        let mut found = false;
        for (at, side) in self.instance.sides.iter().enumerate() {
            if self.row_of[at].is_some() {
                continue;
            }
            let mixed: f64 =
                weights.iter().zip(&self.uses).map(|(weight, uses)| weight * uses[at] as f64).sum();
            if mixed > side.limit as f64 + 1e-6 || self.prices[at] > 0 || self.best_prices[at] > 0 {
                let uses: Vec<f64> = self.uses.iter().map(|uses| uses[at] as f64).collect();
                self.row_of[at] = Some(self.sides_in.len());
                self.sides_in.push(at);
                self.master.add_row(side.limit as f64, &uses);
                found = true;
            }
        }
        found
    }

    fn set_boxes(&mut self) {
        for (row, &side) in self.sides_in.iter().enumerate() {
            let (low, high) = self.box_of(side);
            self.master.set_box(row, low, high);
        }
    }

    fn box_of(&self, side: usize) -> (f64, f64) {
        let (best, width) = (self.best_prices[side], self.widths[side]);
        ((best - width).max(0) as f64, ((best + width) as f64).min(self.price_max))
    }

    /// Widens the boxes whose edge a price touches; false when none does.
    fn widen(&mut self, factor: i64) -> bool {
        let mut found = false;
        for (&side, price) in self.sides_in.iter().zip(self.master.prices()) {
            let (low, high) = self.box_of(side);
            let held = (price - low < 0.5 && low > 0.0) || (high - price < 0.5 && high < self.price_max);
            if held {
                self.widths[side] = self.widths[side].saturating_mul(factor).min(self.price_max as i64);
                found = true;
            }
        }
        found
    }
}
