//! Prints how long decisions take (processor time, mean of some repeats) on seeded parks of several sizes and kinds, and how far they are proved.
//! Run: `cargo run --release -p cuptime-dispatch --example sizes`.
use cuptime_dispatch::{decide, Order, Park, Policy, Rider, Shop, TemperatureClass};
use std::time::Instant;

const NOW_MS: i64 = 1_700_000_000_000;
const REPEATS_MIN: u32 = 5;
const SECONDS_MIN: f64 = 0.3;

struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit as u64) as i64
    }
}

#[derive(Clone)]
struct Size {
    name: &'static str,
    orders: usize,
    shops: usize,
    riders: usize,
    side_m: i64,
    capacity: i32,
    load: i32,
    fridge: i32,
    stock: i32,
    classes: i64,
    speeds: i64,
    skus: i64,
    groups: i64,
    slack_min: Option<i64>,
    same_drop_off: bool,
}

fn park(draw: &mut Draw, size: &Size) -> Park {
    let mut park = Park::new();
    for id in 1..=size.shops as i64 {
        park.upsert_shop(Shop {
            id,
            x_m: draw.below(size.side_m) as f64,
            y_m: draw.below(size.side_m) as f64,
            open_from_ms: 0,
            open_until_ms: i64::MAX,
            paused: false,
            capacity_free: size.capacity,
            fridge_free: size.fridge,
            offers_mask: 7,
            stock: (0..size.skus as u32).map(|sku| (sku, size.stock)).collect(),
        });
    }
    for id in 1..=size.riders as i64 {
        let cool = size.classes > 1 && draw.below(2) == 0;
        park.upsert_rider(Rider {
            id,
            x_m: draw.below(size.side_m) as f64,
            y_m: draw.below(size.side_m) as f64,
            available_from_ms: 0,
            available_until_ms: i64::MAX,
            load_free: size.load,
            min_c: if size.classes == 1 || cool { -5 } else { 10 },
            max_c: if cool { 20 } else { 75 },
            speed_m_per_min: 200.0 + 100.0 * draw.below(size.speeds) as f64,
            on_duty: true,
        });
    }
    park
}

fn orders(draw: &mut Draw, size: &Size) -> Vec<Order> {
    let place = |draw: &mut Draw| (draw.below(size.side_m) as f64, draw.below(size.side_m) as f64);
    let groups: Vec<(i64, (f64, f64))> =
        (0..size.groups).map(|_| (NOW_MS + draw.below(18) * 60_000, place(draw))).collect();
    (1..=size.orders as i64)
        .map(|order_id| {
            let temperature =
                TemperatureClass::from_code([1, 2, 0][draw.below(size.classes) as usize]).expect("a class");
            let (need_min_c, need_max_c) = match temperature {
                TemperatureClass::Hot => (55, 100),
                TemperatureClass::Ambient => (-40, 100),
                TemperatureClass::Cold => (-40, 8),
            };
            let (ready_ms, middle) = groups[draw.below(size.groups) as usize];
            let (x_m, y_m) = if size.same_drop_off { middle } else { place(draw) };
            let target_ms = size.slack_min.map_or(1 << 61, |slack| ready_ms + slack * 60_000);
            Order {
                order_id,
                group_id: 10_000,
                x_m,
                y_m,
                sku: draw.below(size.skus) as u32,
                quantity: if size.skus > 1 { 1 + draw.below(2) as i32 } else { 1 },
                temperature,
                need_min_c,
                need_max_c,
                priority: [1, 50, 100][draw.below(3) as usize],
                ready_ms,
                target_ms,
                deadline_ms: target_ms + 20 * 60_000,
                allowed_shops: Vec::new(),
                lost: Vec::new(),
                class: 0,
            }
        })
        .collect()
}

/// Seconds of processor time of this process, from the kernel's own account: the machine may be shared.
fn processor_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    let spent_ns: f64 = stat.split_whitespace().next()?.parse().ok()?;
    Some(spent_ns / 1e9)
}

fn run(size: &Size) {
    // One argument picks the sizes whose line starts with it, for example "all limits".
    if std::env::args().nth(1).is_some_and(|wanted| !size.name.starts_with(&wanted)) {
        return;
    }
    let draw = &mut Draw(88_172_645_463_325_252);
    let (park, orders) = (park(draw, size), orders(draw, size));
    let policy = Policy::default();
    let mut answer = decide(&park, &orders, NOW_MS, &policy);
    let (start, before_s) = (Instant::now(), processor_s());
    let mut repeats = 0;
    while repeats < REPEATS_MIN || start.elapsed().as_secs_f64() < SECONDS_MIN {
        answer = decide(&park, &orders, NOW_MS, &policy);
        repeats += 1;
    }
    let wall_s = start.elapsed().as_secs_f64();
    let spent_s = before_s.zip(processor_s()).map_or(wall_s, |(before_s, after_s)| after_s - before_s);
    let mean_ms = spent_s * 1e3 / f64::from(repeats);
    let unassigned = answer.decisions.iter().filter(|decision| decision.assignment.is_none()).count();
    println!(
        "{:34} {:6} x {:4} x {:5} {:9.2} ms  unassigned {:4}  cost {:13}  gap {:8}  nodes {:3}",
        size.name,
        size.orders,
        size.shops,
        size.riders,
        mean_ms,
        unassigned,
        answer.total_cost,
        answer.gap_bound,
        answer.nodes
    );
}

fn main() {
    let single = Size {
        name: "one class",
        orders: 1_000,
        shops: 70,
        riders: 125,
        side_m: 5_000,
        capacity: 17,
        load: 9,
        fridge: 1_000_000,
        stock: 1_000_000,
        classes: 1,
        speeds: 1,
        skus: 1,
        groups: 1,
        slack_min: None,
        same_drop_off: false,
    };
    run(&single);
    run(&Size { orders: 10_000, shops: 220, riders: 1_250, side_m: 10_000, capacity: 50, ..single.clone() });
    for orders in [20, 50, 100, 200, 500] {
        let tight = ((orders as f64 / 28.0).ceil() as i32).max(2);
        let micro =
            Size { orders, shops: 30, riders: 300, capacity: tight, load: 3, groups: 5, ..single.clone() };
        run(&micro);
        let two = Size { name: "cold and ambient", classes: 2, ..micro.clone() };
        run(&two);
        run(&Size { name: "cold and ambient, roomy", capacity: tight * 4, ..two.clone() });
        run(&Size { name: "cold and ambient, shared drop-off", same_drop_off: true, ..two.clone() });
        run(&Size {
            name: "all limits, lateness",
            classes: 3,
            speeds: 2,
            skus: 3,
            fridge: (orders as i32 / 80).max(1),
            stock: (orders as i32 / 30).max(3),
            slack_min: Some(25),
            ..two.clone()
        });
    }
}
