//! One face for all: every peer is driven by the same program, with its own keys, in ms from the start.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use cuptime_wheel::{Config, Due, TimerKey, Wheel};
use hierarchical_hash_wheel_timer::wheels::cancellable::{CancellableTimerEntry, QuadWheelWithOverflow};
use hierarchical_hash_wheel_timer::wheels::TimerEntryWithDelay;
use keyed_priority_queue::KeyedPriorityQueue;
use nexus_timer::TimerHandle;
use slab_wheel::{Millis, TimingWheel};
use tokio_util::time::{delay_queue, DelayQueue};

/// Length of a tick, for peers that have one to choose.
pub const TICK_MS: u64 = 10;

pub trait Peer {
    type Key;

    fn new() -> Self;
    /// Arms a batch; deadlines are whole ticks after the start and after the present.
    fn insert(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<Self::Key>);
    /// Disarms a batch of armed timers.
    fn cancel(&mut self, keys: Vec<Self::Key>);
    /// Moves one armed timer.
    fn reschedule(&mut self, key: Self::Key, payload: u64, deadline_ms: u64) -> Self::Key;
    /// Called before each advance, outside the measured time.
    fn prepare(&mut self, _to_ms: u64) {}
    /// Appends the payloads of all that is due.
    fn advance(&mut self, to_ms: u64, due: &mut Vec<u64>);
    /// When there is something to do; `None` for a peer that cannot say without being changed.
    fn next_ms(&self) -> Option<u64> {
        None
    }
    /// Lets go of a key whose timer fired.
    fn forget(_key: Self::Key) {}
}

// --- ours ---------------------------------------------------------------------------------------------------------------

pub struct Ours {
    pub wheel: Wheel,
    due: Vec<Due>,
    cancelled: Vec<bool>,
}

/// Ours starts at an instant like any other.
const START_MS: u64 = 1_795_392_000_000;

impl Peer for Ours {
    type Key = TimerKey;

    fn new() -> Self {
        let config = Config { tick_ms: TICK_MS, capacity: 1 << 30 };
        Self { wheel: Wheel::new(config, START_MS).unwrap(), due: Vec::new(), cancelled: Vec::new() }
    }

    fn insert(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<TimerKey>) {
        // The caller's deadlines count from its start; the sum is made here so that all peers pay alike.
        if let (&[deadline_ms], &[payload]) = (deadlines_ms, payloads) {
            keys.push(self.wheel.insert(START_MS + deadline_ms, payload).unwrap());
            return;
        }
        let mut absolute = [0; 4096];
        for (deadlines_ms, payloads) in deadlines_ms.chunks(4096).zip(payloads.chunks(4096)) {
            let absolute = &mut absolute[..deadlines_ms.len()];
            absolute.iter_mut().zip(deadlines_ms).for_each(|(at, &ms)| *at = START_MS + ms);
            self.wheel.insert_batch(absolute, payloads, keys).unwrap();
        }
    }

    fn cancel(&mut self, keys: Vec<TimerKey>) {
        if let &[key] = keys.as_slice() {
            assert!(self.wheel.cancel(key));
            return;
        }
        self.cancelled.clear();
        assert_eq!(self.wheel.cancel_batch(&keys, &mut self.cancelled), keys.len());
    }

    fn reschedule(&mut self, key: TimerKey, _: u64, deadline_ms: u64) -> TimerKey {
        self.wheel.reschedule(key, START_MS + deadline_ms).unwrap()
    }

    fn next_ms(&self) -> Option<u64> {
        self.wheel.next_event_ms()
    }

    fn advance(&mut self, to_ms: u64, due: &mut Vec<u64>) {
        loop {
            let done = self.wheel.advance(START_MS + to_ms, 4096, &mut self.due).done;
            due.extend(self.due.drain(..).map(|timer| timer.payload));
            if done {
                return;
            }
        }
    }
}

// --- tokio-util ---------------------------------------------------------------------------------------------------------

pub struct Tokio {
    runtime: tokio::runtime::Runtime,
    start: tokio::time::Instant,
    queue: DelayQueue<u64>,
    now_ms: u64,
}

impl Peer for Tokio {
    type Key = delay_queue::Key;

    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (start, queue) = {
            let _inside = runtime.enter();
            (tokio::time::Instant::now(), DelayQueue::new())
        };
        Self { runtime, start, queue, now_ms: 0 }
    }

    fn insert(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<Self::Key>) {
        let _inside = self.runtime.enter();
        for (&deadline_ms, &payload) in deadlines_ms.iter().zip(payloads) {
            keys.push(self.queue.insert_at(payload, self.start + Duration::from_millis(deadline_ms)));
        }
    }

    fn cancel(&mut self, keys: Vec<Self::Key>) {
        let _inside = self.runtime.enter();
        keys.iter().for_each(|key| _ = self.queue.remove(key));
    }

    fn reschedule(&mut self, key: Self::Key, _: u64, deadline_ms: u64) -> Self::Key {
        let _inside = self.runtime.enter();
        self.queue.reset_at(&key, self.start + Duration::from_millis(deadline_ms));
        key
    }

    fn prepare(&mut self, to_ms: u64) {
        let by = Duration::from_millis(to_ms - self.now_ms);
        self.now_ms = to_ms;
        self.runtime.block_on(tokio::time::advance(by));
    }

    fn advance(&mut self, _: u64, due: &mut Vec<u64>) {
        // Without a budget, as a task that is alone may: poll until nothing is ready.
        let _inside = self.runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(expired)) = self.queue.poll_expired(&mut context) {
            due.push(expired.into_inner());
        }
    }
}

// --- a binary heap ------------------------------------------------------------------------------------------------------

/// The standard library's heap; cancelling is marking, by generation, and dead entries go when they come up.
pub struct Heap {
    heap: BinaryHeap<Reverse<(u64, u32, u32)>>,
    nodes: Vec<(u64, u32)>,
    free: Vec<u32>,
}

impl Heap {
    fn arm(&mut self, deadline_ms: u64, payload: u64) -> (u32, u32) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.nodes.push((0, 0));
            self.nodes.len() as u32 - 1
        });
        let node = &mut self.nodes[index as usize];
        node.0 = payload;
        node.1 += 1;
        let key = (index, node.1);
        self.heap.push(Reverse((deadline_ms, key.0, key.1)));
        key
    }

    fn disarm(&mut self, key: (u32, u32)) {
        let node = &mut self.nodes[key.0 as usize];
        assert_eq!(node.1, key.1);
        node.1 += 1;
        self.free.push(key.0);
    }
}

impl Peer for Heap {
    type Key = (u32, u32);

    fn new() -> Self {
        Self { heap: BinaryHeap::new(), nodes: Vec::new(), free: Vec::new() }
    }

    fn insert(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<Self::Key>) {
        keys.extend(deadlines_ms.iter().zip(payloads).map(|(&at, &payload)| self.arm(at, payload)));
    }

    fn cancel(&mut self, keys: Vec<Self::Key>) {
        keys.into_iter().for_each(|key| self.disarm(key));
    }

    fn reschedule(&mut self, key: Self::Key, payload: u64, deadline_ms: u64) -> Self::Key {
        self.disarm(key);
        self.arm(deadline_ms, payload)
    }

    fn next_ms(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((deadline_ms, ..))| *deadline_ms)
    }

    fn advance(&mut self, to_ms: u64, due: &mut Vec<u64>) {
        while let Some(&Reverse((deadline_ms, index, generation))) = self.heap.peek() {
            if deadline_ms > to_ms {
                return;
            }
            self.heap.pop();
            if self.nodes[index as usize].1 == generation {
                due.push(self.nodes[index as usize].0);
                self.disarm((index, generation));
            }
        }
    }
}

// --- a keyed priority queue ---------------------------------------------------------------------------------------------

pub struct Keyed(KeyedPriorityQueue<u64, Reverse<u64>>);

impl Peer for Keyed {
    type Key = u64;

    fn new() -> Self {
        Self(KeyedPriorityQueue::new())
    }

    fn insert(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<u64>) {
        for (&deadline_ms, &payload) in deadlines_ms.iter().zip(payloads) {
            self.0.push(payload, Reverse(deadline_ms));
            keys.push(payload);
        }
    }

    fn cancel(&mut self, keys: Vec<u64>) {
        keys.iter().for_each(|key| assert!(self.0.remove(key).is_some()));
    }

    fn reschedule(&mut self, key: u64, _: u64, deadline_ms: u64) -> u64 {
        self.0.set_priority(&key, Reverse(deadline_ms)).unwrap();
        key
    }

    fn next_ms(&self) -> Option<u64> {
        self.0.peek().map(|(_, deadline_ms)| deadline_ms.0)
    }

    fn advance(&mut self, to_ms: u64, due: &mut Vec<u64>) {
        while self.0.peek().is_some_and(|(_, deadline_ms)| deadline_ms.0 <= to_ms) {
            due.push(self.0.pop().unwrap().0);
        }
    }
}

// --- hierarchical_hash_wheel_timer --------------------------------------------------------------------------------------

/// Its unit is a tick of ours: 10 ms.
pub struct HashWheel {
    wheel: QuadWheelWithOverflow<Entry>,
    now: u64,
}

pub struct Entry(u64);

impl fmt::Debug for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl CancellableTimerEntry for Entry {
    type Id = u64;
    fn id(&self) -> &u64 {
        &self.0
    }
}

impl TimerEntryWithDelay for Entry {
    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

impl HashWheel {
    fn arm(&mut self, deadline_ms: u64, payload: u64) -> u64 {
        let delay = Duration::from_millis(deadline_ms / TICK_MS - self.now);
        self.wheel.insert_ref_with_delay(Rc::new(Entry(payload)), delay).unwrap();
        payload
    }
}

impl Peer for HashWheel {
    type Key = u64;

    fn new() -> Self {
        Self { wheel: QuadWheelWithOverflow::new(), now: 0 }
    }

    fn insert(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<u64>) {
        keys.extend(deadlines_ms.iter().zip(payloads).map(|(&at, &payload)| self.arm(at, payload)));
    }

    fn cancel(&mut self, keys: Vec<u64>) {
        keys.iter().for_each(|key| self.wheel.cancel(key).unwrap());
    }

    fn reschedule(&mut self, key: u64, payload: u64, deadline_ms: u64) -> u64 {
        self.wheel.cancel(&key).unwrap();
        self.arm(deadline_ms, payload)
    }

    fn advance(&mut self, to_ms: u64, due: &mut Vec<u64>) {
        while self.now < to_ms / TICK_MS {
            self.now += 1;
            due.extend(self.wheel.tick().iter().map(|entry| entry.0));
        }
    }
}

// --- nexus-timer --------------------------------------------------------------------------------------------------------

pub struct Nexus {
    wheel: nexus_timer::Wheel<u64>,
    start: Instant,
}

impl Nexus {
    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }
}

impl Peer for Nexus {
    type Key = TimerHandle<u64>;

    fn new() -> Self {
        let start = Instant::now();
        let builder = nexus_timer::WheelBuilder::new().tick_duration(Duration::from_millis(TICK_MS));
        // One chunk of slab for each 64 Ki timers; its range at 10 ms is 46 hours.
        Self { wheel: builder.unbounded(1 << 16).build(start).unwrap(), start }
    }

    fn insert(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<Self::Key>) {
        for (&deadline_ms, &payload) in deadlines_ms.iter().zip(payloads) {
            keys.push(self.wheel.schedule(self.at(deadline_ms), payload));
        }
    }

    fn cancel(&mut self, keys: Vec<Self::Key>) {
        keys.into_iter().for_each(|key| assert!(self.wheel.cancel(key).is_some()));
    }

    fn reschedule(&mut self, key: Self::Key, _: u64, deadline_ms: u64) -> Self::Key {
        let at = self.at(deadline_ms);
        self.wheel.reschedule(key, at)
    }

    fn next_ms(&self) -> Option<u64> {
        self.wheel.next_deadline().map(|at| at.duration_since(self.start).as_millis() as u64)
    }

    fn advance(&mut self, to_ms: u64, due: &mut Vec<u64>) {
        let to = self.at(to_ms);
        self.wheel.poll_and_rebalance(to, due);
    }

    fn forget(key: Self::Key) {
        std::mem::forget(key);
    }
}

// --- slab-wheel ---------------------------------------------------------------------------------------------------------

/// Its tick is 1 ms.
pub struct SlabWheel {
    wheel: TimingWheel<u64, Millis>,
    start: Instant,
    due: Vec<(slab_wheel::Key, u64)>,
}

impl Peer for SlabWheel {
    type Key = slab_wheel::Key;

    fn new() -> Self {
        let start = Instant::now();
        Self { wheel: TimingWheel::starting_at(start), start, due: Vec::new() }
    }

    fn insert(&mut self, deadlines_ms: &[u64], payloads: &[u64], keys: &mut Vec<Self::Key>) {
        for (&deadline_ms, &payload) in deadlines_ms.iter().zip(payloads) {
            keys.push(self.wheel.insert(self.start + Duration::from_millis(deadline_ms), payload));
        }
    }

    fn cancel(&mut self, keys: Vec<Self::Key>) {
        keys.into_iter().for_each(|key| assert!(self.wheel.remove(key).is_some()));
    }

    fn reschedule(&mut self, key: Self::Key, payload: u64, deadline_ms: u64) -> Self::Key {
        self.wheel.remove(key).unwrap();
        self.wheel.insert(self.start + Duration::from_millis(deadline_ms), payload)
    }

    fn next_ms(&self) -> Option<u64> {
        self.wheel.next_expiry().map(|at| at.duration_since(self.start).as_millis() as u64)
    }

    fn advance(&mut self, to_ms: u64, due: &mut Vec<u64>) {
        self.wheel.advance_to(self.start + Duration::from_millis(to_ms));
        self.wheel.drain_expired_into(&mut self.due);
        due.extend(self.due.drain(..).map(|(_, payload)| payload));
    }
}
