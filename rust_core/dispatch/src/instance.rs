//! The assignment in its bare form: everything by index, no ids, places or times.

/// No pool.
pub(crate) const NO_POOL: u32 = u32::MAX;

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

impl Plan {
    /// Units through each strand.
    pub fn strand_flows(&self, instance: &Instance) -> Vec<i32> {
        let mut flows = vec![0i32; instance.strands.len()];
        for (cohort, chosen) in instance.cohorts.iter().zip(&self.chosen) {
            for (choice, &units) in cohort.choices.iter().zip(chosen) {
                flows[choice.strand as usize] += units;
            }
        }
        flows
    }
}

/// Duals in a form that prices any single path; see `Outcome::path_price`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prices {
    /// Least total cost these duals allow.
    pub bound: i64,
    /// By cohort and choice: reduced cost of the way into the lane.
    pub choice: Vec<Vec<i64>>,
    /// By lane and its rider: reduced cost of the way to the sink.
    pub lane: Vec<Vec<i64>>,
    pub scale: i64,
}
