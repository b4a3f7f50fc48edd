//! A hierarchical timing wheel: exact to the tick, never early, and even in its work.
//!
//! It holds millions of one-shot timers, each a deadline and a 64-bit payload, and hands out those
//! that have fallen due. It has no clock, no threads, no I/O and no callbacks: time is an argument,
//! and the same calls give the same answers.
//!
//! ```
//! use cuptime_wheel::{Config, Wheel};
//!
//! let mut wheel = Wheel::new(Config { tick_ms: 10, capacity: 1_000 }, 0)?;
//! let tea = wheel.insert(1_003, 7)?;
//! let coffee = wheel.insert(90_000_000, 8)?;
//! assert_eq!(wheel.next_event_ms(), Some(1_010));
//!
//! let mut due = Vec::new();
//! assert!(wheel.advance(1_009, 100, &mut due).done && due.is_empty());
//! assert!(wheel.advance(1_010, 100, &mut due).done);
//! assert_eq!((due[0].key, due[0].payload, due[0].deadline_ms), (tea, 7, 1_003));
//! assert!(wheel.cancel(coffee) && !wheel.cancel(tea));
//! # Ok::<(), cuptime_wheel::WheelError>(())
//! ```
//!
//! # Contract
//!
//! Let `q` be the tick length, `D` a deadline, `now` the wheel's present, `A` the present when the
//! timer was armed, all in ms; `due(D) = max(q * ceil(D / q), q * floor(A / q))`.
//!
//! - **Never early:** a timer comes out of `advance(to)` only if `due(D) <= to`, hence `D <= to` or `D <= A`.
//! - **Never late:** after `advance(to)` said `done`, every timer still armed has `due(D) > to`; so a
//!   driver that calls in time hands out a timer less than one tick after its deadline.
//! - **In order:** by `due`, and timers of one tick in the order they were armed (a reschedule or a resume
//!   arms anew), whichever way they came down and however the calls were cut by `limit`.
//! - **Never back:** `now' = max(now, to)`. Unless `done`, `now` is the tick of the next timer to come out.
//! - **Told in time:** `now <= next_event_ms() <= max(now, earliest due)`; `advance` before it hands out nothing.
//! - **Exactly once:** a key is live from the arming to the first of firing, cancel, reschedule, pause; after
//!   that it is stale for ever and names nobody else.
//! - **Bounded:** at most `capacity` timers; a refused call has changed nothing. While dead refs number
//!   more than `2 * armed + 64 * slots`, every arming removes more of them than it can leave behind.
//! - **No horizon:** any `u64` is a deadline. What would round up past the last instant never fires.
//!
//! # Picture (tick 10 ms)
//!
//! ```text
//!            now
//!             |<-- 5.11 s -->|
//!   ticks     [512 x 10 ms   ]  ^ fires from here, exactly
//!   seconds   [  128 x 1 s    . . .  127 s        ]   moved down up to 4.1 s before they are due
//!   minutes   [    128 x 1 min    . . .    127 min      ]   ... up to 64 s before their first second opens
//!   hours     [      64 x 1 h       . . .      63 h          ]   ... up to 67 min
//!   days      {  an ordered map, day -> timers, without end ...   ... up to 39 h
//!
//!   a slot:   live 3, refs 5      a timer's node, 8 bytes, found by the key's index:
//!    moved  -> [r r . ] -> [r ]     generation | place of its ref
//!    direct -> [r . ]               r = (payload, deadline's low 32 bits, index): 16 bytes
//! ```
//!
//! A timer is put into the lowest level whose window holds its tick. Windows **overlap**: a ring spans
//! about twice a slot of the next one. So a slot can be *opened* (all its ticks fit below, nothing can
//! be put into it any more) long before it is *forced* (its first child opens, or its first tick fires),
//! and it is moved down in between, a share per call in proportion to the time that has passed, and at
//! least 256 refs. A minute of a million timers is never one spike. `open < force <= first tick`, for
//! every level and tick length; `layout.rs` is all the arithmetic, and proves it.
//!
//! # Why the order survives
//!
//! Take one tick `T`. As time passes, `T` only comes into reach of lower levels, so what is armed later
//! is put at the same level or lower: **a higher level holds the older timers of `T`**. A slot is opened
//! only when `T` is no longer put there, and emptied from the front, into the *moved* lane of one slot
//! below; that slot's *direct* lane began to fill later. A child opens only after its parent is empty.
//! So reading the moved lane, then the direct lane, is reading in the order of arming. No sequence
//! numbers and no sorting are needed.
//!
//! # Why it is packed
//!
//! With a million timers everything is a cache miss, and what counts is whether misses depend on each
//! other. In a linked list they do. Here a slot is an array read from the front, which says in advance
//! which nodes will be needed. Cancelling touches the node and the slot's count, never the refs: the ref
//! stays as garbage, recognised because its node does not point back, and goes when the slot empties,
//! fires, is moved down, or is rewritten within the same budget (`compaction.rs`).
//!
//! And misses that are independent overlap only when nothing between them waits. So batches and slots
//! are worked on in passes, a block at a time: first all the loads, then what follows from them
//! (`batch.rs`, `passage.rs`). It is prefetching without a prefetch instruction, hence without `unsafe`.
//! Nodes are taken in the order of memory, and a batch gets them in the order of its slots, so most of what
//! is read together lies together (`vacancy.rs`).
//!
//! # Costs
//!
//! | operation | work |
//! |---|---|
//! | insert | 1 node, 1 ref at a slot's end; plus 16 refs looked at while garbage is over its bound |
//! | cancel | 1 node, 1 slot count |
//! | reschedule | a cancel and an insert; the node stays in place |
//! | a timer's life | fired once, moved down at most 4 times (once per level it starts above the first) |
//! | `advance` over any distance | the slots that are not empty on the way, not the ticks |
//! | `advance`, nothing due | max(256 refs, the share of the open slots) |
//! | `advance` after a jump | at most 65,536 refs moved outside the budget, then it asks to be called again |
//! | `next_event_ms` | a few words of bitmap per level and one look-up by day |
//! | memory per timer | 8 + 16 bytes and a bit; chunks of 32 refs, growth by an eighth |
//!
//! # Sources
//!
//! G. Varghese, A. Lauck, *Hashed and Hierarchical Timing Wheels* (1987), scheme 7. Moving slots down
//! early, over an overlap and within a budget, is Erlang/OTP's idea (two wheels); bitmaps to jump are
//! tokio's and Linux's; resumable passage with a limit is ratas'.
#![forbid(unsafe_code)]

mod batch;
mod bitmap;
mod check;
mod chunks;
mod compaction;
mod grow;
mod layout;
mod passage;
mod pause;
mod placement;
mod slab;
mod slot;
mod stats;
mod vacancy;
mod wheel;
mod window;

pub use check::Iter;
pub use passage::Progress;
pub use pause::PausedTimer;
pub use slab::TimerKey;
pub use stats::WheelStats;
pub use wheel::{Config, Due, Wheel, WheelError};
