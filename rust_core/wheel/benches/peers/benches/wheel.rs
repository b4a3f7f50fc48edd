//! The wheel's operations by criterion: `cd rust_core/wheel/benches/peers && cargo bench`. The comparison with others, at
//! sizes where memory decides, is `make bench-wheel`.

use criterion::{criterion_group, criterion_main, BatchSize, BenchmarkId, Criterion, Throughput};
use cuptime_wheel::{Config, TimerKey, Wheel};

const START_MS: u64 = 1_795_392_000_000;
const BATCH: usize = 4_096;

/// A number that looks like chance (splitmix64), the same in every run.
fn chance(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 20
}

fn dues_ms(count: usize, span_ms: u64) -> Vec<u64> {
    (1..=count as u64).map(|number| START_MS + 10 + chance(number) % span_ms).collect()
}

fn filled(timers: usize) -> (Wheel, Vec<TimerKey>) {
    let mut wheel = Wheel::new(Config { tick_ms: 10, capacity: 1 << 30 }, START_MS).unwrap();
    let mut keys = Vec::with_capacity(timers);
    let payloads: Vec<u64> = (0..timers as u64).collect();
    wheel.insert_batch(&dues_ms(timers, 60_000), &payloads, &mut keys).unwrap();
    (wheel, keys)
}

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch of 4096");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
    let (due_ms, payloads) = (dues_ms(BATCH, 60_000), vec![7; BATCH]);
    for timers in [10_000, 1_000_000] {
        let (mut wheel, _) = filled(timers);
        group.bench_function(BenchmarkId::new("insert and cancel", timers), |bencher| {
            let (mut keys, mut cancelled) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
            bencher.iter(|| {
                keys.clear();
                cancelled.clear();
                wheel.insert_batch(&due_ms, &payloads, &mut keys).unwrap();
                wheel.cancel_batch(&keys, &mut cancelled)
            });
        });
    }
    group.bench_function("a minute of 10,000 timers falls due", |bencher| {
        bencher.iter_batched(
            || filled(10_000).0,
            |mut wheel| {
                let mut due = Vec::with_capacity(10_000);
                (1..=6_001).for_each(|tick| _ = wheel.advance(START_MS + tick * 10, BATCH, &mut due));
                assert_eq!(due.len(), 10_000);
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn one_by_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one");
    for timers in [1, 10_000, 1_000_000] {
        let (mut wheel, mut keys) = filled(timers);
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("reschedule", timers), |bencher| {
            bencher.iter(|| {
                turn += 1;
                let at = chance(turn) as usize % timers;
                keys[at] = wheel.reschedule(keys[at], START_MS + 10 + chance(turn) % 60_000).unwrap();
            });
        });
        group.bench_function(BenchmarkId::new("next_event_ms", timers), |bencher| {
            bencher.iter(|| wheel.next_event_ms());
        });
    }
    group.bench_function("a day passes with one timer in it", |bencher| {
        let mut wheel = Wheel::new(Config { tick_ms: 10, capacity: 1 }, START_MS).unwrap();
        let mut due = Vec::with_capacity(1);
        bencher.iter(|| {
            due.clear();
            wheel.insert(wheel.now_ms() + 86_400_000, 1).unwrap();
            wheel.advance(wheel.now_ms() + 86_400_000, 1, &mut due)
        });
    });
    group.finish();
}

criterion_group!(benches, batches, one_by_one);
criterion_main!(benches);
