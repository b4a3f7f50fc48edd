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
//!   limit is a lower bound on the optimum, valid for every price >= 0. The best prices come from a small
//!   master problem (`master.rs`). Prices and costs are integers (costs are scaled by [`SCALE`]), so bounds
//!   are exact and may be rounded up to the next whole metre.
//! * **Plan.** Share each limit out among its strands; with the shares as arc capacities it is a flow, and its
//!   solution is feasible. The shares come from the master's mix of flows.
//! * **Branch.** If bound and plan differ, some strand has a fractional share `f`: either it carries at most
//!   `floor(f)` or at least `floor(f) + 1`. Both are arc bounds, hence flows again. If every share is whole,
//!   the plan made from it costs what the mix costs, so the node is solved. Strand bounds are finite:
//!   the search ends, with the proof, unless the pivot budget ends first; then the best plan is returned with
//!   what is left between it and the least open bound.
use crate::ascent::Ascent;
use crate::simplex::{Network, UNLIMITED};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No pool.
pub(crate) const NO_POOL: u32 = u32::MAX;

/// Costs are multiplied by this while sides are priced, so that prices of a half or a third are whole.
pub(crate) const SCALE: i64 = 60;

/// Price rounds of one branch-and-bound node, at most.
const ROUNDS_MAX: usize = 400;

/// A plan is tried after every so many price rounds.
const PLAN_EVERY: usize = 10;

/// Solves of one plan, at most.
const REFILLS_MAX: usize = 4;

/// What the pivot budget is charged for work that is not a pivot: arcs looked at, steps of the price master.
const ARCS_PER_PIVOT: u64 = 64;
const WORK_PER_PIVOT: u64 = 500;

/// First half-width of the box that holds a price, metres.
pub(crate) const BOX_M: i64 = 200;

/// The best prices within the boxes are found when they could gain no more than this (of [`SCALE`] to a metre).
pub(crate) const TOLERANCE: f64 = 10.0;

/// Open branch-and-bound nodes kept, at most; past it the search stops with a gap.
const OPEN_NODES_MAX: usize = 4_096;

#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub strand: u32,
    pub cost: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Cohort {
    pub supply: i32,
    pub price: i64,
    pub choices: Vec<Choice>,
}

#[derive(Clone, Debug)]
pub(crate) struct Strand {
    pub lane: u32,
    pub pool: u32,
    pub capacity: i32,
}

#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub lane: u32,
    pub capacity: i32,
}

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub capacity: i32,
    pub riders: Vec<(u32, i64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub limit: i64,
    pub terms: Vec<(u32, i64)>,
}

/// Everything by index; no ids, places or times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Instance {
    pub cohorts: Vec<Cohort>,
    pub strands: Vec<Strand>,
    pub pools: Vec<Pool>,
    pub lanes: Vec<Lane>,
    pub riders: Vec<i32>,
    pub sides: Vec<Side>,
}

/// A feasible flow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub cost: i64,
    /// By cohort and choice.
    pub chosen: Vec<Vec<i32>>,
    /// By lane and its rider.
    pub carried: Vec<Vec<i32>>,
}

/// Duals in a form that prices any single path: see [`Outcome::path_price`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Prices {
    /// Least total cost these duals allow.
    pub bound: i64,
    /// By cohort and choice: reduced cost of the way into the lane.
    pub choice: Vec<Vec<i64>>,
    /// By lane and its rider: reduced cost of the way to the sink.
    pub lane: Vec<Vec<i64>>,
    scale: i64,
}

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

#[derive(Clone, Debug)]
struct Bounds {
    low: Vec<i32>,
    high: Vec<i32>,
}

/// A network of the instance, with where its parts are.
pub(crate) struct Model {
    network: Network,
    cohort_nodes: Vec<u32>,
    cohort_arcs: Vec<Vec<u32>>,
    /// The node behind each strand.
    strand_to: Vec<u32>,
    /// Arcs of a strand that sides speak of: (must carry, may carry).
    strand_arcs: Vec<[Option<u32>; 2]>,
    strand_tail: Vec<Option<u32>>,
    pool_arc: Vec<Option<u32>>,
    lane_arc: Vec<Option<u32>>,
    rider_arcs: Vec<Vec<u32>>,
    rider_sink: Vec<u32>,
    pub must_price: i64,
    pub must_total: i64,
}

struct Search<'a> {
    instance: &'a Instance,
    in_side: Vec<bool>,
    /// By strand: the sides that speak of it, with its weight in them.
    sides_of: Vec<Vec<(usize, i64)>>,
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
        in_side: vec![false; instance.strands.len()],
        sides_of: vec![Vec::new(); instance.strands.len()],
        scale: if instance.sides.is_empty() { 1 } else { SCALE },
        best: None,
        root: None,
        pivots_left: pivot_budget,
        nodes: 0,
    };
    for (at, side) in instance.sides.iter().enumerate() {
        for &(strand, weight) in &side.terms {
            search.in_side[strand as usize] = true;
            search.sides_of[strand as usize].push((at, weight));
        }
    }
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
        self.best = Some(self.read_plan(&model));
        self.root = Some(self.read_prices(&model, cost));
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
        let mut ascent = Ascent::new(self.instance, &model, start);
        for round in 0..ROUNDS_MAX {
            self.set_prices(&mut model, &ascent.prices);
            let (proved, pivots) =
                if round == 0 { model.network.solve() } else { model.network.reoptimise() };
            self.charge(pivots, &model);
            if !proved {
                break;
            }
            let flows = self.strand_flows(&model);
            if ascent.take(flows, model.network.cost()) {
                let plan = self.read_plan(&model);
                self.keep(plan);
            }
            let mut hint = None;
            if round % PLAN_EVERY == 0 && self.best_cost() > div_ceil(ascent.best_bound, self.scale) {
                hint = Some(self.plan_from(bounds, &ascent.shares()));
            }
            if div_ceil(ascent.best_bound, self.scale) >= self.best_cost() || self.pivots_left == 0 {
                break;
            }
            let work = ascent.master.work();
            let goes_on = ascent.step();
            self.pivots_left =
                self.pivots_left.saturating_sub((ascent.master.work() - work) / WORK_PER_PIVOT);
            if !goes_on {
                break;
            }
            if let (Some(hint), 0, true) = (hint, round, is_root) {
                ascent.prices = hint;
            }
        }
        if is_root {
            self.set_prices(&mut model, &ascent.best_prices);
            model.network.reoptimise();
            self.root = Some(self.read_prices(&model, ascent.best_bound));
        }
        let shares = ascent.shares();
        let bound =
            if ascent.best_bound == i64::MIN { i64::MIN } else { div_ceil(ascent.best_bound, self.scale) };
        if bound < self.best_cost() {
            self.plan_from(bounds, &shares);
        }
        NodeResult { bound, branch: self.branch_at(bounds, &shares), prices: ascent.best_prices }
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
            if self.in_side[strand] && bounds.low[strand] < bounds.high[strand] && distance > farthest {
                farthest = distance;
                found =
                    Some((strand, (share.floor() as i32).clamp(bounds.low[strand], bounds.high[strand] - 1)));
            }
        }
        found.or_else(|| {
            (0..shares.len())
                .filter(|&strand| self.in_side[strand] && bounds.low[strand] < bounds.high[strand])
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
        for side in &self.instance.sides {
            share_out(side, shares, &mut restricted.high);
        }
        restricted.low.fill(0);
        let mut last_cost = i64::MAX;
        let mut prices = Vec::new();
        for _ in 0..REFILLS_MAX {
            let mut plain = self.model(&restricted);
            let (_, pivots) = plain.network.solve();
            self.charge(pivots, &plain);
            let plan = self.read_plan(&plain);
            let flows = self.plan_flows(&plan);
            let worth = self.worth(&plain);
            let cost = plan.cost;
            self.keep(plan);
            if prices.is_empty() {
                prices = self.side_prices(&flows, &worth);
            }
            if cost >= last_cost || !self.refill(bounds, &flows, &worth, &mut restricted.high) {
                break;
            }
            last_cost = cost;
        }
        prices
    }

    /// Gain of one more unit through each strand, by the prices of a solution.
    fn worth(&self, model: &Model) -> Vec<i64> {
        let mut worth = vec![0i64; self.instance.strands.len()];
        for (cohort, &node) in self.instance.cohorts.iter().zip(&model.cohort_nodes) {
            let price = model.network.price(node);
            for choice in &cohort.choices {
                let strand = choice.strand as usize;
                let gain = price - choice.cost * self.scale - model.network.price(model.strand_to[strand]);
                worth[strand] = worth[strand].max(gain);
            }
        }
        worth
    }

    /// A price for each side that is used up: what its strands would give for a unit, by their use of it.
    fn side_prices(&self, flows: &[i32], worth: &[i64]) -> Vec<i64> {
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

    /// Bounds every strand by what it carries and the room that is left, given to the worthiest; false when no
    /// strand that wants more gets any.
    fn refill(&self, bounds: &Bounds, flows: &[i32], worth: &[i64], high: &mut [i32]) -> bool {
        let sides = &self.instance.sides;
        let used = |side: &Side| -> i64 {
            side.terms.iter().map(|&(strand, weight)| weight * i64::from(flows[strand as usize])).sum()
        };
        let mut room: Vec<i64> = sides.iter().map(|side| side.limit - used(side)).collect();
        let mut sequence: Vec<usize> = (0..flows.len()).filter(|&strand| self.in_side[strand]).collect();
        sequence.sort_by_key(|&strand| (Reverse(worth[strand]), strand));
        let mut helps = false;
        for strand in sequence {
            let wanted = i64::from(bounds.high[strand] - flows[strand]);
            let fits =
                self.sides_of[strand].iter().map(|&(side, weight)| room[side] / weight).min().unwrap_or(0);
            let given = wanted.min(fits).max(0);
            for &(side, weight) in &self.sides_of[strand] {
                room[side] -= given * weight;
            }
            helps |= given > 0 && worth[strand] > 0;
            high[strand] = flows[strand] + given as i32;
        }
        helps
    }

    fn plan_flows(&self, plan: &Plan) -> Vec<i32> {
        let mut flows = vec![0i32; self.instance.strands.len()];
        for (cohort, chosen) in self.instance.cohorts.iter().zip(&plan.chosen) {
            for (choice, &units) in cohort.choices.iter().zip(chosen) {
                flows[choice.strand as usize] += units;
            }
        }
        flows
    }

    fn keep(&mut self, plan: Plan) {
        if plan.cost < self.best_cost() {
            self.best = Some(plan);
        }
    }

    fn set_prices(&self, model: &mut Model, prices: &[i64]) {
        let mut charge = vec![0i64; self.instance.strands.len()];
        for (side, &price) in self.instance.sides.iter().zip(prices) {
            for &(strand, weight) in &side.terms {
                charge[strand as usize] += price * weight;
            }
        }
        for (strand, arcs) in model.strand_arcs.iter().enumerate() {
            if let Some(must) = arcs[0] {
                model.network.set_cost(must, charge[strand] - model.must_price);
            }
            if let Some(may) = arcs[1] {
                model.network.set_cost(may, charge[strand]);
            }
        }
    }

    fn strand_flows(&self, model: &Model) -> Vec<i32> {
        let carried = |arc: &Option<u32>| arc.map_or(0, |arc| model.network.flow(arc));
        model.strand_arcs.iter().map(|arcs| arcs.iter().map(carried).sum()).collect()
    }

    fn model(&self, bounds: &Bounds) -> Model {
        build(self.instance, &self.in_side, bounds, self.scale)
    }

    fn read_plan(&self, model: &Model) -> Plan {
        let instance = self.instance;
        let flows = |arcs: &Vec<u32>| {
            arcs.iter().map(|&arc| if arc == u32::MAX { 0 } else { model.network.flow(arc) }).collect()
        };
        let chosen: Vec<Vec<i32>> = model.cohort_arcs.iter().map(flows).collect();
        let carried: Vec<Vec<i32>> = model.rider_arcs.iter().map(flows).collect();
        let mut cost = 0i64;
        for (cohort, chosen) in instance.cohorts.iter().zip(&chosen) {
            let mut left = cohort.supply;
            for (choice, &units) in cohort.choices.iter().zip(chosen) {
                cost += choice.cost * i64::from(units);
                left -= units;
            }
            cost += cohort.price * i64::from(left);
        }
        for (lane, carried) in instance.lanes.iter().zip(&carried) {
            cost += lane
                .riders
                .iter()
                .zip(carried)
                .map(|(&(_, price), &units)| price * i64::from(units))
                .sum::<i64>();
        }
        Plan { cost, chosen, carried }
    }

    fn read_prices(&self, model: &Model, bound: i64) -> Prices {
        let dear = |arc: u32| model.network.reduced_cost(arc).max(0);
        let dear_if = |arc: &Option<u32>| arc.map_or(0, dear);
        let instance = self.instance;
        let into_lane: Vec<i64> = instance
            .strands
            .iter()
            .enumerate()
            .map(|(at, strand)| {
                let own = dear_if(&model.strand_arcs[at][1]) + dear_if(&model.strand_tail[at]);
                let pool =
                    if strand.pool == NO_POOL { 0 } else { dear_if(&model.pool_arc[strand.pool as usize]) };
                own + pool + dear_if(&model.lane_arc[strand.lane as usize])
            })
            .collect();
        let choice = |(cohort, arcs): (&Cohort, &Vec<u32>)| {
            let priced = |(choice, &arc): (&Choice, &u32)| {
                if arc == u32::MAX {
                    i64::MAX / 4
                } else {
                    dear(arc) + into_lane[choice.strand as usize]
                }
            };
            cohort.choices.iter().zip(arcs).map(priced).collect()
        };
        let lane = |(lane, arcs): (&Lane, &Vec<u32>)| {
            let priced =
                |(&(rider, _), &arc): (&(u32, i64), &u32)| dear(arc) + dear(model.rider_sink[rider as usize]);
            lane.riders.iter().zip(arcs).map(priced).collect()
        };
        Prices {
            bound,
            choice: instance.cohorts.iter().zip(&model.cohort_arcs).map(choice).collect(),
            lane: instance.lanes.iter().zip(&model.rider_arcs).map(lane).collect(),
            scale: self.scale,
        }
    }
}

fn build(instance: &Instance, in_side: &[bool], bounds: &Bounds, scale: i64) -> Model {
    let arcs: usize = instance.cohorts.iter().map(|cohort| cohort.choices.len() + 1).sum::<usize>()
        + instance.lanes.iter().map(|lane| lane.riders.len() + 2).sum::<usize>()
        + instance.riders.len()
        + instance.strands.len() * 3;
    let dearest = instance.cohorts.iter().map(dearest_unit).max().unwrap_or(0);
    let must_price = (2 * dearest + 1) * scale;
    // A unit that stops half-way costs more than any bonus for having come so far.
    let stop_price = 4 * must_price;
    let mut network = Network::with_capacity(instance.cohorts.len() * 2, arcs);
    let riders: Vec<u32> = instance.riders.iter().map(|&load| network.add_node(0, 0, load)).collect();
    let rider_sink: Vec<u32> = riders.iter().map(|&node| network.sink_arc(node)).collect();
    let (mut lane_in, mut lane_arc, mut rider_arcs) = (Vec::new(), Vec::new(), Vec::new());
    for lane in &instance.lanes {
        let out = network.add_node(0, stop_price, UNLIMITED);
        let to_rider = |&(rider, cost): &(u32, i64)| {
            network.add_arc(out, riders[rider as usize], UNLIMITED, cost * scale)
        };
        rider_arcs.push(lane.riders.iter().map(to_rider).collect::<Vec<u32>>());
        let (node, arc) = throttled(&mut network, out, lane.capacity, stop_price);
        lane_in.push(node);
        lane_arc.push(arc);
    }
    let (mut pool_in, mut pool_arc) = (Vec::new(), Vec::new());
    for pool in &instance.pools {
        let (node, arc) = throttled(&mut network, lane_in[pool.lane as usize], pool.capacity, stop_price);
        pool_in.push(node);
        pool_arc.push(arc);
    }
    let mut strand_in = Vec::new();
    let mut strand_arcs = Vec::new();
    let mut strand_tail = Vec::new();
    let mut strand_to = Vec::new();
    let mut must_total = 0i64;
    for (at, strand) in instance.strands.iter().enumerate() {
        let to = if strand.pool == NO_POOL {
            lane_in[strand.lane as usize]
        } else {
            pool_in[strand.pool as usize]
        };
        strand_to.push(to);
        let (low, high) = (bounds.low[at], bounds.high[at]);
        must_total += i64::from(low);
        if high == 0 {
            strand_in.push(None);
            strand_arcs.push([None, None]);
            strand_tail.push(None);
        } else if in_side[at] {
            let node = network.add_node(0, stop_price, UNLIMITED);
            let must = (low > 0).then(|| network.add_arc(node, to, low, -must_price));
            let may = (high > low).then(|| network.add_arc(node, to, high - low, 0));
            strand_in.push(Some(node));
            strand_arcs.push([must, may]);
            strand_tail.push(None);
        } else {
            let (node, arc) = throttled(&mut network, to, strand.capacity, stop_price);
            strand_in.push(Some(node));
            strand_arcs.push([None, None]);
            strand_tail.push(arc);
        }
    }
    let mut cohort_nodes = Vec::with_capacity(instance.cohorts.len());
    let mut cohort_arcs = Vec::with_capacity(instance.cohorts.len());
    for cohort in &instance.cohorts {
        let node = network.add_node(cohort.supply, cohort.price * scale, UNLIMITED);
        cohort_nodes.push(node);
        let into = |choice: &Choice| match strand_in[choice.strand as usize] {
            Some(to) => network.add_arc(node, to, UNLIMITED, choice.cost * scale),
            None => u32::MAX,
        };
        cohort_arcs.push(cohort.choices.iter().map(into).collect());
    }
    Model {
        network,
        cohort_nodes,
        cohort_arcs,
        strand_to,
        strand_arcs,
        strand_tail,
        pool_arc,
        lane_arc,
        rider_arcs,
        rider_sink,
        must_price,
        must_total,
    }
}

/// A node in front of `to` that lets `capacity` through; `to` itself when that never binds.
fn throttled(network: &mut Network, to: u32, capacity: i32, stop_price: i64) -> (u32, Option<u32>) {
    if capacity == UNLIMITED {
        return (to, None);
    }
    let node = network.add_node(0, stop_price, UNLIMITED);
    let arc = network.add_arc(node, to, capacity, 0);
    (node, Some(arc))
}

fn dearest_unit(cohort: &Cohort) -> i64 {
    cohort.choices.iter().map(|choice| choice.cost.abs()).max().unwrap_or(0) + cohort.price
}

fn cheapest_unit(cohort: &Cohort) -> i64 {
    let least = cohort.choices.iter().map(|choice| choice.cost).min().unwrap_or(i64::MAX);
    least.min(cohort.price).saturating_mul(i64::from(cohort.supply))
}

pub(crate) fn div_ceil(value: i64, by: i64) -> i64 {
    value.div_euclid(by) + i64::from(value.rem_euclid(by) != 0)
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
