//! What memory costs on this machine, so that figures can be carried to another.

use std::hint::black_box;

use crate::dice::Dice;
use crate::workload::thread_ns;

/// One random walk through all of `bytes`: each load says where the next one is.
fn dependent_ns(bytes: usize) -> f64 {
    let places = bytes / 8;
    let mut order: Vec<u32> = (0..places as u32).collect();
    Dice(1).shuffle(&mut order);
    let mut nodes = vec![0_u64; places];
    for pair in order.windows(2) {
        nodes[pair[0] as usize] = u64::from(pair[1]);
    }
    let steps = places.min(2_000_000);
    let start_ns = thread_ns();
    let mut at = u64::from(order[0]);
    for _ in 0..steps {
        at = nodes[at as usize];
    }
    black_box(at);
    (thread_ns() - start_ns) as f64 / steps as f64
}

/// Loads and stores of 8 bytes at random places that are known in advance.
fn independent_ns(bytes: usize) -> f64 {
    let places = bytes / 8;
    let mut dice = Dice(1);
    let mut nodes = vec![0_u64; places];
    nodes.iter_mut().zip(1..).for_each(|(node, number)| *node = number);
    let chosen: Vec<u32> = (0..places.min(2_000_000)).map(|_| dice.below(places as u64) as u32).collect();
    let start_ns = thread_ns();
    for &at in &chosen {
        nodes[at as usize] += 1;
    }
    black_box(&nodes);
    (thread_ns() - start_ns) as f64 / chosen.len() as f64
}

/// Appending 8 bytes to an array: in memory that was written before, and in fresh memory.
fn append_ns(bytes: usize) -> (f64, f64) {
    let count = bytes / 8;
    let mut column: Vec<u64> = Vec::with_capacity(count);
    let mut fill = || {
        column.clear();
        let start_ns = thread_ns();
        (0..count as u64).for_each(|number| column.push(black_box(number)));
        (thread_ns() - start_ns) as f64 / count as f64
    };
    let fresh_ns = fill();
    (fill().min(fill()), fresh_ns)
}

/// For wheels of a million and of ten million timers: the nodes' 8 bytes each, and 24 with the refs.
pub fn print() {
    let figures = [1_000_000, 10_000_000].map(|timers: usize| {
        let (append_ns, fresh_append_ns) = append_ns(24 * timers);
        format!(
            "\"{timers}\":{{\"dependent_ns\":{:.1},\"independent_ns\":{:.1},\"append_ns\":{append_ns:.2},\
             \"fresh_append_ns\":{fresh_append_ns:.2}}}",
            dependent_ns(8 * timers),
            independent_ns(8 * timers),
        )
    });
    println!("{{{}}}", figures.join(","));
}
