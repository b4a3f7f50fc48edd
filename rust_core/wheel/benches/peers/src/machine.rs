//! What memory costs on this machine, so that figures can be carried to another.

use std::hint::black_box;
use std::time::Instant;

use crate::dice::Dice;

/// One random walk through all of `bytes`: each load says where the next one is.
fn dependent_ns(bytes: usize) -> f64 {
    let places = bytes / 16;
    let mut order: Vec<u32> = (0..places as u32).collect();
    Dice(1).shuffle(&mut order);
    let mut nodes = vec![(0_u64, 0_u64); places];
    for pair in order.windows(2) {
        nodes[pair[0] as usize].0 = u64::from(pair[1]);
    }
    let steps = places.min(2_000_000);
    let start = Instant::now();
    let mut at = u64::from(order[0]);
    for _ in 0..steps {
        at = nodes[at as usize].0;
    }
    black_box(at);
    start.elapsed().as_nanos() as f64 / steps as f64
}

/// Loads and stores at random places that are known in advance.
fn independent_ns(bytes: usize) -> f64 {
    let places = bytes / 16;
    let mut dice = Dice(1);
    let mut nodes = vec![(0_u64, 0_u64); places];
    let chosen: Vec<u32> = (0..places.min(2_000_000)).map(|_| dice.below(places as u64) as u32).collect();
    let start = Instant::now();
    for &at in &chosen {
        nodes[at as usize].0 += 1;
    }
    black_box(&nodes);
    start.elapsed().as_nanos() as f64 / chosen.len() as f64
}

pub fn print() {
    let (small, large) = (16_000_000, 160_000_000);
    println!(
        "{{\"dependent_16mb_ns\":{:.1},\"independent_16mb_ns\":{:.1},\"dependent_160mb_ns\":{:.1},\
         \"independent_160mb_ns\":{:.1}}}",
        dependent_ns(small),
        independent_ns(small),
        dependent_ns(large),
        independent_ns(large)
    );
}
