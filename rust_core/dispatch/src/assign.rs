//! The assignment in its bare form, and its exact solution.
//!
//! # The network
//!
//! ```text
//!  cohort ---> strand ---> (fridge pool) ---> lane ---> rider ---> sink
//!     \______________ unassigned, at its price ____________________/
//! ```
//!
//! A *cohort* is a number of orders that are equal in everything. A *lane* belongs to one shop: all orders in
//! it see the same riders at the same prices, up to a constant of their own that is put on the cohort's arc. So
//! the units in a lane are interchangeable from there on, and a flow through it can be taken apart in any
//! way. A *strand* is the part of a lane that uses the shop's resources alike: one SKU, one quantity, cold or not.
//!
//! Capacity of the shop, fridge slots and stock nest in this sequence, so as long as each of them meets
//! one lane only, they are plain arc capacities and the whole is a minimum-cost flow, whose simplex solutions
//! are whole numbers: that case is solved outright.
//!
//! # Limits across lanes
//!
//! When orders of one shop fall into several lanes (cold drinks fit fewer vehicles; a tight deadline drops the
//! slower riders), a flow cannot remember the lane while it passes a joint node: the problem is a
//! multi-commodity one. Such a limit is kept as a *side*: `sum over strands of weight * flow <= limit`. Every
//! one of them speaks about strand flows only. Then:
//!
//! * **Bound.** Put a price on each side (Lagrange). What remains is a flow again; its cost less price times
//!   limit is a lower bound on the optimum, valid for every price >= 0, and no price does better than the duals of
//!   the linear relaxation, which `sided.rs` finds. Prices and costs are integers (costs are scaled by [`SCALE`]),
//!   so bounds are exact, whatever rounding did to the prices, and may be rounded up to the next whole metre.
//! * **Plan.** Share each limit out among its strands; with the shares as arc capacities it is a flow, and its
//!   solution is feasible. The shares come from the master's mix of flows.
//! * **Branch.** If bound and plan differ, some strand has a fractional share `f`: either it carries at most
//!   `floor(f)` or at least `floor(f) + 1`. Both are arc bounds, hence flows again. If every share is whole,
//!   the plan made from it costs what the relaxation costs, so the node is solved. Strand bounds are finite:
//!   the search ends, with the proof, unless the pivot budget ends first; then the best plan is returned with
//!   what is left between it and the least open bound.
use crate::instance::{Cohort, Instance, Plan, Prices};
use crate::model::{build, Bounds, Model};
use crate::shares::Sides;
use crate::sided::Sided;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Costs are multiplied by this while sides are priced, so that prices of a half or a third are whole.
const SCALE: i64 = 60;

/// Solves of one plan, at most.
const REFILLS_MAX: usize = 4;

/// What the pivot budget is charged for work that is not a pivot of the plain flow.
const ARCS_PER_PIVOT: u64 = 64;
const PIVOTS_PER_SIDED: u64 = 20;

/// Open branch-and-bound nodes kept, at most; past it the search stops with a gap.
const OPEN_NODES_MAX: usize = 4_096;

#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub plan: Plan,
    pub bound: i64,
    pub nodes: u32,
    pub prices: Prices,
}

impl Outcome {
    /// The total rises at least this much when a unit of the cohort is forced through choice and rider. With
    /// duals that are feasible, any flow costs at least the bound plus its reduced costs where they are positive.
    pub fn path_price(&self, into_lane: i64, to_sink: i64) -> i64 {
        let forced = self.prices.bound + into_lane + to_sink;
        let above = forced - self.plan.cost * self.prices.scale;
        if above <= 0 {
            0
        } else {
            (above + self.prices.scale - 1) / self.prices.scale
        }
    }
}

struct Search<'a> {
    instance: &'a Instance,
    sides: Sides<'a>,
    scale: i64,
    best: Option<Plan>,
    root: Option<Prices>,
    pivots_left: u64,
    nodes: u32,
}

/// Solves the instance; exact unless `bound < plan.cost` in the outcome.
pub(crate) fn assign(instance: &Instance, pivot_budget: u64) -> Outcome {
    let mut search = Search {
        instance,
        sides: Sides::new(instance),
        scale: if instance.sides.is_empty() { 1 } else { SCALE },
        best: None,
        root: None,
        pivots_left: pivot_budget,
        nodes: 0,
    };
    let bound = search.run();
    let plan = search.best.unwrap_or_default();
    let bound = bound.min(plan.cost);
    Outcome { plan, bound, nodes: search.nodes, prices: search.root.unwrap_or_default() }
}

struct NodeResult {
    bound: i64,
    branch: Option<(usize, i32)>,
    prices: Vec<i64>,
}

impl Search<'_> {
    fn run(&mut self) -> i64 {
        let mut reach = vec![0i32; self.instance.strands.len()];
        for cohort in &self.instance.cohorts {
            for choice in &cohort.choices {
                let total = &mut reach[choice.strand as usize];
                *total = total.saturating_add(cohort.supply);
            }
        }
        let strands = self.instance.strands.iter();
        let high: Vec<i32> = strands.zip(&reach).map(|(strand, &reach)| strand.capacity.min(reach)).collect();
        let mut bounds = Bounds { low: vec![0; high.len()], high };
        if self.instance.sides.is_empty() {
            return self.solve_flow(&bounds);
        }
        self.tighten(&mut bounds);
        let root = self.relax(&bounds, &vec![0; self.instance.sides.len()]);
        let mut open = BinaryHeap::new();
        let mut kept: Vec<Option<(Bounds, NodeResult)>> = Vec::new();
        open.push((Reverse(root.bound), Reverse(0usize)));
        kept.push(Some((bounds, root)));
        while let Some((Reverse(bound), Reverse(at))) = open.pop() {
            let best = self.best_cost();
            if bound >= best {
                return best;
            }
            if self.pivots_left == 0 || open.len() >= OPEN_NODES_MAX {
                return bound;
            }
            let Some((bounds, node)) = kept[at].take() else {
                continue;
            };
            let Some((strand, low_side)) = node.branch else {
                // Every share is fixed, so the plan made from the shares is this node's optimum.
                continue;
            };
            self.nodes += 1;
            for rises in [false, true] {
                let mut child = bounds.clone();
                if rises {
                    child.low[strand] = low_side + 1;
                } else {
                    child.high[strand] = low_side;
                }
                if !self.tighten(&mut child) {
                    continue;
                }
                let mut result = self.relax(&child, &node.prices);
                result.bound = result.bound.max(bound);
                if result.bound < self.best_cost() {
                    open.push((Reverse(result.bound), Reverse(kept.len())));
                    kept.push(Some((child, result)));
                }
            }
        }
        self.best_cost()
    }

    fn best_cost(&self) -> i64 {
        self.best.as_ref().map_or(i64::MAX, |plan| plan.cost)
    }

    /// No limit spans lanes: the flow is the answer.
    fn solve_flow(&mut self, bounds: &Bounds) -> i64 {
        let mut model = self.model(bounds);
        let (proved, _) = model.network.solve();
        let cost = model.network.cost();
        self.best = Some(model.plan(self.instance));
        self.root = Some(model.prices(self.instance, cost));
        if proved {
            cost
        } else {
            self.instance.cohorts.iter().map(cheapest_unit).sum()
        }
    }

    /// Makes bounds follow from each other by the sides; false when they contradict.
    fn tighten(&self, bounds: &mut Bounds) -> bool {
        for side in &self.instance.sides {
            let must: i64 = side
                .terms
                .iter()
                .map(|&(strand, weight)| weight * i64::from(bounds.low[strand as usize]))
                .sum();
            if must > side.limit {
                return false;
            }
            for &(strand, weight) in &side.terms {
                let strand = strand as usize;
                let room = (side.limit - must) / weight + i64::from(bounds.low[strand]);
                bounds.high[strand] = i64::from(bounds.high[strand]).min(room) as i32;
            }
        }
        bounds.low.iter().zip(&bounds.high).all(|(low, high)| low <= high)
    }

    /// Bounds one node by pricing the sides, and looks for plans on the way.
    fn relax(&mut self, bounds: &Bounds, start: &[i64]) -> NodeResult {
        let is_root = self.root.is_none();
        let mut model = self.model(bounds);
        let mut result = NodeResult { bound: i64::MIN, branch: None, prices: start.to_vec() };
        model.set_prices(self.instance, start);
        let (_, pivots) = model.network.solve();
        self.charge(pivots, &model);
        let mut shares = self.take(&model, start, &mut result);
        if is_root && result.bound < self.best_cost() {
            // What the sides are worth in a first plan: with these prices the flow breaks few of them.
            let hint = self.plan_from(bounds, &shares);
            model.set_prices(self.instance, &hint);
            let (_, pivots) = model.network.reoptimise();
            self.charge(pivots, &model);
            shares = self.take(&model, &hint, &mut result);
        }
        if result.bound < self.best_cost() && self.pivots_left > 0 {
            let prices = self.price(&mut model, &mut shares);
            model.set_prices(self.instance, &prices);
            let (_, pivots) = model.network.reoptimise();
            self.charge(pivots, &model);
            self.take(&model, &prices, &mut result);
        }
        if is_root {
            model.set_prices(self.instance, &result.prices);
            model.network.reoptimise();
            let bound = self.scaled_bound(&model, &result.prices);
            self.root = Some(model.prices(self.instance, bound));
        }
        if result.bound < self.best_cost() {
            self.plan_from(bounds, &shares);
        }
        result.branch = self.branch_at(bounds, &shares);
        result
    }

    /// Solves the relaxation with the sides, from where the model stands. Leaves the shares of the strands, and
    /// returns the prices of the sides.
    fn price(&mut self, model: &mut Model, shares: &mut Vec<f64>) -> Vec<i64> {
        model.set_prices(self.instance, &vec![0; self.instance.sides.len()]);
        let uses = model.uses(&self.sides);
        let limits = self.instance.sides.iter().map(|side| side.limit as f64).collect();
        let mut sided = Sided::new(&model.network, &uses, limits, model.must_price as f64);
        let prices = sided.solve(self.pivots_left.div_ceil(PIVOTS_PER_SIDED));
        *shares = model.shares(&sided);
        self.pivots_left = self.pivots_left.saturating_sub(sided.pivots * PIVOTS_PER_SIDED);
        prices.iter().map(|price| price.max(0.0).round() as i64).collect()
    }

    fn scaled_bound(&self, model: &Model, prices: &[i64]) -> i64 {
        let sides = self.instance.sides.iter().zip(prices);
        let worth: i64 = sides.map(|(side, price)| price * side.limit).sum();
        model.network.cost() + model.must_price * model.must_total - worth
    }

    /// Takes in the flow at some prices: its bound, the plan that it is when it breaks no side, its strand flows.
    fn take(&mut self, model: &Model, prices: &[i64], result: &mut NodeResult) -> Vec<f64> {
        let bound = div_ceil(self.scaled_bound(model, prices), self.scale);
        if bound > result.bound {
            result.bound = bound;
            result.prices = prices.to_vec();
        }
        let flows = model.strand_flows();
        if self.sides.hold(&flows) {
            let plan = model.plan(self.instance);
            self.keep(plan);
        }
        flows.into_iter().map(f64::from).collect()
    }

    fn charge(&mut self, pivots: u64, model: &Model) {
        let looked_at = model.network.arc_count() as u64 / ARCS_PER_PIVOT;
        self.pivots_left = self.pivots_left.saturating_sub(pivots + looked_at);
    }

    /// The strand whose share is farthest from whole, else any that the bounds leave free.
    fn branch_at(&self, bounds: &Bounds, shares: &[f64]) -> Option<(usize, i32)> {
        let mut found = None;
        let mut farthest = 1e-6;
        for (strand, &share) in shares.iter().enumerate() {
            let distance = (share - share.round()).abs();
            if self.sides.speak_of(strand) && bounds.low[strand] < bounds.high[strand] && distance > farthest
            {
                farthest = distance;
                found =
                    Some((strand, (share.floor() as i32).clamp(bounds.low[strand], bounds.high[strand] - 1)));
            }
        }
        found.or_else(|| {
            (0..shares.len())
                .filter(|&strand| self.sides.speak_of(strand) && bounds.low[strand] < bounds.high[strand])
                .max_by_key(|&strand| (bounds.high[strand] - bounds.low[strand], Reverse(strand)))
                .map(|strand| {
                    let half = bounds.low[strand] + (bounds.high[strand] - bounds.low[strand]) / 2;
                    (
                        strand,
                        half.min(
                            (shares[strand].round() as i32)
                                .clamp(bounds.low[strand], bounds.high[strand] - 1),
                        ),
                    )
                })
        })
    }

    /// Shares every limit out as `shares` suggest, solves, hands what room is left to whom it is worth most, and
    /// again while that helps; keeps the best plan. Returns what the sides seem worth for a unit.
    fn plan_from(&mut self, bounds: &Bounds, shares: &[f64]) -> Vec<i64> {
        let mut restricted = bounds.clone();
        self.sides.share_out(shares, &mut restricted.high);
        restricted.low.fill(0);
        let mut last_cost = i64::MAX;
        let mut prices = Vec::new();
        for _ in 0..REFILLS_MAX {
            let mut plain = self.model(&restricted);
            let (_, pivots) = plain.network.solve();
            self.charge(pivots, &plain);
            let plan = plain.plan(self.instance);
            let flows = plan.strand_flows(self.instance);
            let worth = plain.worth(self.instance);
            let cost = plan.cost;
            self.keep(plan);
            if prices.is_empty() {
                prices = self.sides.prices(&flows, &worth);
            }
            if cost >= last_cost || !self.sides.refill(&bounds.high, &flows, &worth, &mut restricted.high) {
                break;
            }
            last_cost = cost;
        }
        prices
    }

    fn keep(&mut self, plan: Plan) {
        if plan.cost < self.best_cost() {
            self.best = Some(plan);
        }
    }

    fn model(&self, bounds: &Bounds) -> Model {
        build(self.instance, &self.sides, bounds, self.scale)
    }
}

fn cheapest_unit(cohort: &Cohort) -> i64 {
    let least = cohort.choices.iter().map(|choice| choice.cost).min().unwrap_or(i64::MAX);
    least.min(cohort.price).saturating_mul(i64::from(cohort.supply))
}

fn div_ceil(value: i64, by: i64) -> i64 {
    value.div_euclid(by) + i64::from(value.rem_euclid(by) != 0)
}
