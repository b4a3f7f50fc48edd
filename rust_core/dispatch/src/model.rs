//! The network of an instance: built from bounds, and read back as flows, plans and prices.
use crate::instance::{Choice, Cohort, Instance, Lane, Plan, Prices, NO_POOL};
use crate::shares::Sides;
use crate::sided::Sided;
use crate::simplex::{Network, UNLIMITED};

/// What each strand must and may carry.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub low: Vec<i32>,
    pub high: Vec<i32>,
}

/// A network of the instance, with where its parts are.
pub(crate) struct Model {
    pub network: Network,
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
    scale: i64,
}

impl Model {
    pub fn set_prices(&mut self, instance: &Instance, prices: &[i64]) {
        let mut charge = vec![0i64; instance.strands.len()];
        for (side, &price) in instance.sides.iter().zip(prices) {
            for &(strand, weight) in &side.terms {
                charge[strand as usize] += price * weight;
            }
        }
        for (strand, arcs) in self.strand_arcs.iter().enumerate() {
            if let Some(must) = arcs[0] {
                self.network.set_cost(must, charge[strand] - self.must_price);
            }
            if let Some(may) = arcs[1] {
                self.network.set_cost(may, charge[strand]);
            }
        }
    }

    /// By arc: what a unit on it uses of each side.
    pub fn uses(&self, sides: &Sides<'_>) -> Vec<Vec<(usize, f64)>> {
        let mut uses = vec![Vec::new(); self.network.arc_count()];
        for (strand, arcs) in self.strand_arcs.iter().enumerate() {
            for &arc in arcs.iter().flatten() {
                uses[arc as usize] = sides.uses(strand);
            }
        }
        uses
    }

    /// Strand flows of the relaxation.
    pub fn shares(&self, sided: &Sided<'_>) -> Vec<f64> {
        let carried = |arc: &Option<u32>| arc.map_or(0.0, |arc| sided.units(arc));
        self.strand_arcs.iter().map(|arcs| arcs.iter().map(carried).sum()).collect()
    }

    pub fn strand_flows(&self) -> Vec<i32> {
        let carried = |arc: &Option<u32>| arc.map_or(0, |arc| self.network.flow(arc));
        self.strand_arcs.iter().map(|arcs| arcs.iter().map(carried).sum()).collect()
    }

    pub fn plan(&self, instance: &Instance) -> Plan {
        let flows = |arcs: &Vec<u32>| {
            arcs.iter().map(|&arc| if arc == u32::MAX { 0 } else { self.network.flow(arc) }).collect()
        };
        let chosen: Vec<Vec<i32>> = self.cohort_arcs.iter().map(flows).collect();
        let carried: Vec<Vec<i32>> = self.rider_arcs.iter().map(flows).collect();
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

    pub fn prices(&self, instance: &Instance, bound: i64) -> Prices {
        let dear = |arc: u32| self.network.reduced_cost(arc).max(0);
        let dear_if = |arc: &Option<u32>| arc.map_or(0, dear);
        let into_lane: Vec<i64> = instance
            .strands
            .iter()
            .enumerate()
            .map(|(at, strand)| {
                let own = dear_if(&self.strand_arcs[at][1]) + dear_if(&self.strand_tail[at]);
                let pool =
                    if strand.pool == NO_POOL { 0 } else { dear_if(&self.pool_arc[strand.pool as usize]) };
                own + pool + dear_if(&self.lane_arc[strand.lane as usize])
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
                |(&(rider, _), &arc): (&(u32, i64), &u32)| dear(arc) + dear(self.rider_sink[rider as usize]);
            lane.riders.iter().zip(arcs).map(priced).collect()
        };
        Prices {
            bound,
            choice: instance.cohorts.iter().zip(&self.cohort_arcs).map(choice).collect(),
            lane: instance.lanes.iter().zip(&self.rider_arcs).map(lane).collect(),
            scale: self.scale,
        }
    }

    /// Gain of one more unit through each strand, by the prices of a solution.
    pub fn worth(&self, instance: &Instance) -> Vec<i64> {
        let mut worth = vec![0i64; instance.strands.len()];
        for (cohort, &node) in instance.cohorts.iter().zip(&self.cohort_nodes) {
            let price = self.network.price(node);
            for choice in &cohort.choices {
                let strand = choice.strand as usize;
                let gain = price - choice.cost * self.scale - self.network.price(self.strand_to[strand]);
                worth[strand] = worth[strand].max(gain);
            }
        }
        worth
    }
}

/// Builds the network; costs are multiplied by `scale`.
pub(crate) fn build(instance: &Instance, sides: &Sides<'_>, bounds: &Bounds, scale: i64) -> Model {
    let arcs: usize = instance.cohorts.iter().map(|cohort| cohort.choices.len() + 1).sum::<usize>()
        + instance.lanes.iter().map(|lane| lane.riders.len() + 2).sum::<usize>()
        + instance.riders.len()
        + instance.strands.len() * 3;
    let dearest = instance.cohorts.iter().map(dearest_unit).max().unwrap_or(0);
    let must_price = (2 * dearest + 1) * scale;
    let stop_price = stop_price(must_price);
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
    let strands = Strands::build(&mut network, instance, sides, bounds, &lane_in, &pool_in, must_price);
    let mut cohort_nodes = Vec::with_capacity(instance.cohorts.len());
    let mut cohort_arcs = Vec::with_capacity(instance.cohorts.len());
    for cohort in &instance.cohorts {
        let node = network.add_node(cohort.supply, cohort.price * scale, UNLIMITED);
        cohort_nodes.push(node);
        let into = |choice: &Choice| match strands.into[choice.strand as usize] {
            Some(to) => network.add_arc(node, to, UNLIMITED, choice.cost * scale),
            None => u32::MAX,
        };
        cohort_arcs.push(cohort.choices.iter().map(into).collect());
    }
    Model {
        network,
        cohort_nodes,
        cohort_arcs,
        strand_to: strands.to,
        strand_arcs: strands.arcs,
        strand_tail: strands.tail,
        pool_arc,
        lane_arc,
        rider_arcs,
        rider_sink,
        must_price,
        must_total: strands.must_total,
        scale,
    }
}

/// The part of the network between cohorts and lanes; each field by strand.
#[derive(Default)]
struct Strands {
    /// Where its units come in; `None` for a strand that may carry nothing.
    into: Vec<Option<u32>>,
    to: Vec<u32>,
    arcs: Vec<[Option<u32>; 2]>,
    tail: Vec<Option<u32>>,
    must_total: i64,
}

impl Strands {
    fn build(
        network: &mut Network,
        instance: &Instance,
        sides: &Sides<'_>,
        bounds: &Bounds,
        lane_in: &[u32],
        pool_in: &[u32],
        must_price: i64,
    ) -> Self {
        let mut built = Self::default();
        let stop_price = stop_price(must_price);
        for (at, strand) in instance.strands.iter().enumerate() {
            let to = if strand.pool == NO_POOL {
                lane_in[strand.lane as usize]
            } else {
                pool_in[strand.pool as usize]
            };
            let (low, high) = (bounds.low[at], bounds.high[at]);
            built.must_total += i64::from(low);
            let (into, arcs, tail) = if high == 0 {
                (None, [None, None], None)
            } else if sides.speak_of(at) {
                let node = network.add_node(0, stop_price, UNLIMITED);
                let must = (low > 0).then(|| network.add_arc(node, to, low, -must_price));
                let may = (high > low).then(|| network.add_arc(node, to, high - low, 0));
                (Some(node), [must, may], None)
            } else {
                let (node, arc) = throttled(network, to, strand.capacity, stop_price);
                (Some(node), [None, None], arc)
            };
            built.to.push(to);
            built.into.push(into);
            built.arcs.push(arcs);
            built.tail.push(tail);
        }
        built
    }
}

/// A unit that stops half-way costs more than any bonus for having come so far.
fn stop_price(must_price: i64) -> i64 {
    4 * must_price
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
