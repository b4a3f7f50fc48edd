//! Minimum-cost flow into one sink, by the primal network simplex method.
//!
//! Every node has an arc of its own straight to the sink ("root"): the price of leaving an order unassigned,
//! the free load of a rider, or a forbidding price where a unit may not stay. The star of those arcs is a
//! feasible basis from the start, so there is no first phase.
//!
//! The basis is kept *strongly feasible* (Cunningham 1976: every tree arc can still carry a unit towards the
//! root), which rules out cycling without any perturbation: the leaving arc is the last blocking one met when
//! the pivot cycle is walked in the direction of flow from its apex. Entering arcs come from a block search
//! (Grigoriadis 1986). See Ahuja, Magnanti, Orlin, "Network Flows" (1993), chapter 11.
//!
//! A change of costs leaves the basis feasible, so [`Network::reoptimise`] goes on from where it stood. That
//! is what makes the priced relaxations of `assign.rs` cheap.

pub(crate) const NONE: u32 = u32::MAX;

/// A capacity that never binds.
pub(crate) const UNLIMITED: i32 = i32::MAX;

/// Pivots allowed per arc before the search stops as "not proved"; thousands of times what was ever seen.
const PIVOTS_PER_ARC_MAX: usize = 1_000;

/// Arcs looked at before the best of them enters: this times the square root of the number of arcs.
const BLOCK_FACTOR: f64 = 1.0;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Arc {
    pub tail: u32,
    pub head: u32,
    pub cost: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    AtLower,
    InTree,
    AtUpper,
}

/// What the tree knows about a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub parent: u32,
    pub arc: u32,
    pub depth: u32,
    pub first_child: u32,
    next: u32,
    previous: u32,
}

/// The network, its flow and its basis.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub arcs: Vec<Arc>,
    pub capacity: Vec<i32>,
    pub flow: Vec<i32>,
    pub state: Vec<State>,
    root_arc: Vec<u32>,
    supply: Vec<i32>,
    price: Vec<i64>,
    pub link: Vec<Link>,
    next_arc: usize,
}

impl Network {
    /// Node 0 is the sink.
    pub const SINK: u32 = 0;

    pub fn with_capacity(nodes: usize, arcs: usize) -> Self {
        let mut network = Self {
            arcs: Vec::with_capacity(arcs),
            capacity: Vec::with_capacity(arcs),
            flow: Vec::new(),
            state: Vec::new(),
            root_arc: Vec::with_capacity(nodes),
            supply: Vec::with_capacity(nodes),
            price: Vec::new(),
            link: Vec::new(),
            next_arc: 0,
        };
        network.root_arc.push(NONE);
        network.supply.push(0);
        network
    }

    /// A node that brings `supply >= 0` units and may send `capacity` of what passes straight to the sink.
    pub fn add_node(&mut self, supply: i32, sink_cost: i64, capacity: i32) -> u32 {
        let node = self.root_arc.len() as u32;
        self.supply.push(supply);
        let arc = self.add_arc(node, Self::SINK, capacity, sink_cost);
        self.root_arc.push(arc);
        node
    }

    pub fn add_arc(&mut self, tail: u32, head: u32, capacity: i32, cost: i64) -> u32 {
        debug_assert!(capacity > 0, "an arc that carries nothing is left out");
        self.arcs.push(Arc { tail, head, cost });
        self.capacity.push(capacity);
        (self.arcs.len() - 1) as u32
    }

    pub fn arc_count(&self) -> usize {
        self.arcs.len()
    }

    pub fn sink_arc(&self, node: u32) -> u32 {
        self.root_arc[node as usize]
    }

    pub fn set_cost(&mut self, arc: u32, cost: i64) {
        self.arcs[arc as usize].cost = cost;
    }

    pub fn flow(&self, arc: u32) -> i32 {
        self.flow[arc as usize]
    }

    /// Cost of sending one more unit from `node` to the sink, by the prices of the last solution.
    pub fn price(&self, node: u32) -> i64 {
        self.price[node as usize]
    }

    /// Reduced cost of an arc: what a unit on it costs beyond the best known way.
    pub fn reduced_cost(&self, arc: u32) -> i64 {
        let Arc { tail, head, cost } = self.arcs[arc as usize];
        cost - self.price[tail as usize] + self.price[head as usize]
    }

    /// Cost of the present flow.
    pub fn cost(&self) -> i64 {
        self.arcs.iter().zip(&self.flow).map(|(arc, &flow)| arc.cost * i64::from(flow)).sum()
    }

    /// Solves from the star basis. Returns whether the flow is proved best (else the pivot limit was met and it is
    /// feasible only), and the pivots made.
    pub fn solve(&mut self) -> (bool, u64) {
        let nodes = self.root_arc.len();
        self.flow = vec![0; self.arcs.len()];
        self.state = vec![State::AtLower; self.arcs.len()];
        self.price = vec![0; nodes];
        self.next_arc = 0;
        let bare = Link { parent: NONE, arc: NONE, depth: 0, first_child: NONE, next: NONE, previous: NONE };
        self.link = vec![bare; nodes];
        for node in 1..nodes {
            let arc = self.root_arc[node];
            self.state[arc as usize] = State::InTree;
            self.flow[arc as usize] = self.supply[node];
            self.link[node].arc = arc;
            self.link[node].depth = 1;
            self.adopt(node as u32, Self::SINK);
        }
        self.reoptimise()
    }

    /// Goes on from the present basis after costs were changed; same answer as [`Network::solve`].
    pub fn reoptimise(&mut self) -> (bool, u64) {
        self.recompute_prices();
        let limit = self.arcs.len().saturating_mul(PIVOTS_PER_ARC_MAX).max(1_000);
        for pivots in 0..limit {
            let Some(entering) = self.entering_arc() else {
                return (true, pivots as u64);
            };
            self.pivot(entering);
        }
        (false, limit as u64)
    }

    fn recompute_prices(&mut self) {
        self.price[0] = 0;
        let mut node = self.link[0].first_child;
        while node != NONE {
            let Link { parent, arc, .. } = self.link[node as usize];
            let Arc { tail, cost, .. } = self.arcs[arc as usize];
            let base = self.price[parent as usize];
            self.price[node as usize] = if tail == node { base + cost } else { base - cost };
            node = self.following(node, Self::SINK);
        }
    }

    /// The next node of the subtree of `top` in depth-first sequence; `NONE` at its end.
    pub fn following(&self, node: u32, top: u32) -> u32 {
        let child = self.link[node as usize].first_child;
        if child != NONE {
            return child;
        }
        let mut at = node;
        while at != top {
            let link = &self.link[at as usize];
            if link.next != NONE {
                return link.next;
            }
            at = link.parent;
        }
        NONE
    }

    fn adopt(&mut self, child: u32, parent: u32) {
        let first = self.link[parent as usize].first_child;
        if first != NONE {
            self.link[first as usize].previous = child;
        }
        let link = &mut self.link[child as usize];
        link.parent = parent;
        link.next = first;
        link.previous = NONE;
        self.link[parent as usize].first_child = child;
    }

    fn orphan(&mut self, child: u32) {
        let Link { parent, next, previous, .. } = self.link[child as usize];
        if previous == NONE {
            self.link[parent as usize].first_child = next;
        } else {
            self.link[previous as usize].next = next;
        }
        if next != NONE {
            self.link[next as usize].previous = previous;
        }
    }

    fn entering_arc(&mut self) -> Option<u32> {
        let count = self.arcs.len();
        let block = ((count as f64).sqrt() * BLOCK_FACTOR) as usize + 20;
        let mut best = 0i64;
        let mut found = None;
        let mut in_block = 0;
        let mut at = self.next_arc;
        for _ in 0..count {
            let Arc { tail, head, cost } = self.arcs[at];
            let reduced = cost - self.price[tail as usize] + self.price[head as usize];
            let gain = match self.state[at] {
                State::AtLower => -reduced,
                State::AtUpper => reduced,
                State::InTree => 0,
            };
            if gain > best {
                best = gain;
                found = Some(at as u32);
            }
            at += 1;
            if at == count {
                at = 0;
            }
            in_block += 1;
            if in_block == block {
                if found.is_some() {
                    break;
                }
                in_block = 0;
            }
        }
        self.next_arc = at;
        found
    }

    /// Residual of the tree arc above `node` for a unit that moves up (towards the root) or down.
    fn residual(&self, node: u32, upwards: bool) -> i32 {
        let arc = self.link[node as usize].arc as usize;
        if (self.arcs[arc].tail == node) == upwards {
            self.capacity[arc] - self.flow[arc]
        } else {
            self.flow[arc]
        }
    }

    fn shift(&mut self, node: u32, upwards: bool, units: i32) {
        let arc = self.link[node as usize].arc as usize;
        if (self.arcs[arc].tail == node) == upwards {
            self.flow[arc] += units;
        } else {
            self.flow[arc] -= units;
        }
    }

    fn apex(&self, mut a: u32, mut b: u32) -> u32 {
        while a != b {
            let (depth_a, depth_b) = (self.link[a as usize].depth, self.link[b as usize].depth);
            if depth_a >= depth_b {
                a = self.link[a as usize].parent;
            }
            if depth_b >= depth_a {
                b = self.link[b as usize].parent;
            }
        }
        a
    }

    fn pivot(&mut self, entering: u32) {
        let Arc { tail, head, .. } = self.arcs[entering as usize];
        let rising = self.state[entering as usize] == State::AtLower;
        // Units go from `first` over the entering arc to `second`, up to the apex and down to `first` again.
        let (first, second) = if rising { (tail, head) } else { (head, tail) };
        let apex = self.apex(first, second);
        let mut units = self.capacity[entering as usize];
        let mut leaving = NONE;
        let mut leaves_first_side = false;
        let mut at = first;
        while at != apex {
            let residual = self.residual(at, false);
            if residual < units {
                (units, leaving, leaves_first_side) = (residual, at, true);
            }
            at = self.link[at as usize].parent;
        }
        at = second;
        while at != apex {
            let residual = self.residual(at, true);
            if residual <= units {
                (units, leaving, leaves_first_side) = (residual, at, false);
            }
            at = self.link[at as usize].parent;
        }
        if units > 0 {
            self.flow[entering as usize] += if rising { units } else { -units };
            at = first;
            while at != apex {
                self.shift(at, false, units);
                at = self.link[at as usize].parent;
            }
            at = second;
            while at != apex {
                self.shift(at, true, units);
                at = self.link[at as usize].parent;
            }
        }
        if leaving == NONE {
            self.state[entering as usize] = if rising { State::AtUpper } else { State::AtLower };
            return;
        }
        let old_arc = self.link[leaving as usize].arc as usize;
        self.state[old_arc] = if self.flow[old_arc] == 0 { State::AtLower } else { State::AtUpper };
        let reduced = self.reduced_cost(entering);
        self.state[entering as usize] = State::InTree;
        let (inside, outside) = if leaves_first_side { (first, second) } else { (second, first) };
        self.rehang(leaving, inside, outside, entering);
        self.reprice(inside, if inside == tail { reduced } else { -reduced });
    }

    /// Turns the subtree of `top` so that `inside` is its root, and hangs it under `outside` by `arc`.
    pub fn rehang(&mut self, top: u32, inside: u32, outside: u32, arc: u32) {
        let (mut node, mut new_parent, mut new_arc) = (inside, outside, arc);
        loop {
            let Link { parent: old_parent, arc: old_arc, .. } = self.link[node as usize];
            self.orphan(node);
            self.adopt(node, new_parent);
            self.link[node as usize].arc = new_arc;
            if node == top {
                return;
            }
            (new_parent, new_arc, node) = (node, old_arc, old_parent);
        }
    }

    /// Sets depths below a node that was hung elsewhere.
    pub fn redepth(&mut self, top: u32) {
        self.reprice(top, 0);
    }

    fn reprice(&mut self, top: u32, rise: i64) {
        let mut node = top;
        while node != NONE {
            self.price[node as usize] += rise;
            let parent = self.link[node as usize].parent;
            self.link[node as usize].depth = self.link[parent as usize].depth + 1;
            node = self.following(node, top);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bellman-Ford on the residual network: a flow is of least cost when no cycle of it costs less than zero.
    fn has_negative_cycle(network: &Network) -> bool {
        let nodes = network.root_arc.len();
        let mut distance = vec![0i64; nodes];
        for _ in 0..nodes {
            let mut changed = false;
            for (at, arc) in network.arcs.iter().enumerate() {
                let (tail, head) = (arc.tail as usize, arc.head as usize);
                if network.flow[at] < network.capacity[at] && distance[tail] + arc.cost < distance[head] {
                    distance[head] = distance[tail] + arc.cost;
                    changed = true;
                }
                if network.flow[at] > 0 && distance[head] - arc.cost < distance[tail] {
                    distance[tail] = distance[head] - arc.cost;
                    changed = true;
                }
            }
            if !changed {
                return false;
            }
        }
        true
    }

    fn check(network: &Network) {
        let mut balance = vec![0i64; network.root_arc.len()];
        for (at, arc) in network.arcs.iter().enumerate() {
            assert!(network.flow[at] >= 0 && network.flow[at] <= network.capacity[at]);
            balance[arc.tail as usize] += i64::from(network.flow[at]);
            balance[arc.head as usize] -= i64::from(network.flow[at]);
        }
        for (sent, supply) in balance.iter().zip(&network.supply).skip(1) {
            assert_eq!(*sent, i64::from(*supply));
        }
        assert!(!has_negative_cycle(network));
    }

    proptest::proptest! {
        #[test]
        fn a_solution_is_feasible_and_has_no_negative_cycle(
            seed in 0u64..u64::MAX, left in 1usize..12, middle in 1usize..6, right in 1usize..8,
        ) {
            let mut draw = seed | 1;
            let mut below = |limit: i64| {
                draw ^= draw << 13;
                draw ^= draw >> 7;
                draw ^= draw << 17;
                (draw % limit as u64) as i64
            };
            let mut network = Network::with_capacity(0, 0);
            let right: Vec<u32> = (0..right).map(|_| network.add_node(0, 0, 1 + below(3) as i32)).collect();
            let middle: Vec<u32> = (0..middle).map(|_| network.add_node(0, 1_000_000, UNLIMITED)).collect();
            let mut arcs = Vec::new();
            for &node in &middle {
                for &rider in &right {
                    if below(3) > 0 {
                        arcs.push(network.add_arc(node, rider, 1 + below(4) as i32, below(60)));
                    }
                }
            }
            for _ in 0..left {
                let node = network.add_node(1 + below(3) as i32, 5_000, UNLIMITED);
                for &shop in &middle {
                    if below(4) > 0 {
                        arcs.push(network.add_arc(node, shop, 1 + below(4) as i32, below(60)));
                    }
                }
            }
            proptest::prop_assert!(network.solve().0);
            check(&network);
            for _ in 0..4 {
                for &arc in &arcs {
                    if below(3) == 0 {
                        network.set_cost(arc, below(90) - 30);
                    }
                }
                proptest::prop_assert!(network.reoptimise().0);
                check(&network);
                let warm = network.cost();
                let mut cold = network.clone();
                cold.solve();
                proptest::prop_assert_eq!(warm, cold.cost());
            }
        }
    }
}
