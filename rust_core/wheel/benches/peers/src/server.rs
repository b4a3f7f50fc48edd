//! The server of ratas' published benchmark, in its shape: connections with five timers each, most of them moved or
//! cancelled before they fall due. Deterministic: every exact peer fires the same timers at the same ticks, so the
//! digest of a run must be equal for all.

use crate::dice::Dice;
use crate::peers::{Peer, TICK_MS};
use crate::workload::thread_ns;

const IDLE: u64 = 0; // moved at every request; closes the connection
const CLOSE: u64 = 1; // after closing: frees it
const PACE: u64 = 2; // the next piece of a reply
const REQUEST: u64 = 3; // armed with a request, cancelled by its end
const DEADLINE: u64 = 4; // the longest a connection may live, mostly cancelled by its closing
const KINDS: u64 = 5;

struct Connection<K> {
    timers: [Option<K>; KINDS as usize],
    pieces: u64,
}

pub struct Outcome {
    pub operations: u64,
    pub ns_per_operation: f64,
    pub fired: u64,
    pub digest: u64,
}

struct Server<P: Peer> {
    peer: P,
    dice: Dice,
    now_ms: u64,
    connections: Vec<Connection<P::Key>>,
    operations: u64,
    keys: Vec<P::Key>,
}

impl<P: Peer> Server<P> {
    fn set(&mut self, connection: usize, kind: u64, delay_ms: u64) {
        let deadline_ms = self.now_ms + delay_ms.max(TICK_MS);
        let payload = connection as u64 * KINDS + kind;
        self.operations += 1;
        let key = match self.connections[connection].timers[kind as usize].take() {
            Some(key) => self.peer.reschedule(key, payload, deadline_ms),
            None => {
                self.peer.insert(&[deadline_ms], &[payload], &mut self.keys);
                self.keys.pop().unwrap()
            }
        };
        self.connections[connection].timers[kind as usize] = Some(key);
    }

    fn unset(&mut self, connection: usize, kind: u64) {
        if let Some(key) = self.connections[connection].timers[kind as usize].take() {
            self.operations += 1;
            self.peer.cancel(vec![key]);
        }
    }

    fn request(&mut self, connection: usize) {
        let pieces = 1 + self.dice.below(20);
        self.connections[connection].pieces = pieces;
        self.set(connection, IDLE, 60_000);
        self.set(connection, REQUEST, 2_000);
        let first_ms = TICK_MS * (1 + self.dice.below(5));
        self.set(connection, PACE, first_ms);
    }

    fn open(&mut self, connection: usize) {
        let lives_ms = TICK_MS * (3_000 + self.dice.below(30_000));
        self.set(connection, DEADLINE, lives_ms);
        self.request(connection);
    }

    fn fired(&mut self, payload: u64) {
        let (connection, kind) = ((payload / KINDS) as usize, payload % KINDS);
        if let Some(key) = self.connections[connection].timers[kind as usize].take() {
            P::forget(key);
        }
        match kind {
            PACE => {
                self.connections[connection].pieces -= 1;
                if self.connections[connection].pieces > 0 {
                    let gap_ms = TICK_MS * (1 + self.dice.below(4));
                    self.set(connection, PACE, gap_ms);
                    return;
                }
                self.unset(connection, REQUEST);
                // The next request is paced too: after a while of thinking.
                if self.dice.below(10) > 0 {
                    let thinks_ms = TICK_MS * (5 + self.dice.below(400));
                    self.connections[connection].pieces = 1 + self.dice.below(20);
                    self.set(connection, IDLE, 60_000);
                    self.set(connection, REQUEST, thinks_ms + 5_000);
                    self.set(connection, PACE, thinks_ms);
                }
            }
            REQUEST => self.unset(connection, PACE),
            CLOSE => self.open(connection),
            _ => {
                for other in [PACE, REQUEST, IDLE, DEADLINE] {
                    self.unset(connection, other);
                }
                let lingers_ms = TICK_MS * (100 + self.dice.below(100));
                self.set(connection, CLOSE, lingers_ms);
            }
        }
    }
}

/// `connections` live for `seconds`.
pub fn run<P: Peer>(connections: usize, seconds: u64) -> Outcome {
    let blank = || Connection { timers: [const { None }; KINDS as usize], pieces: 0 };
    let mut server = Server {
        peer: P::new(),
        dice: Dice(5),
        now_ms: 0,
        connections: (0..connections).map(|_| blank()).collect(),
        operations: 0,
        keys: Vec::new(),
    };
    let (mut fired, mut digest) = (0, 0_u64);
    let mut due = Vec::new();
    let mut opened = 0;
    let start_ns = thread_ns();
    while server.now_ms < seconds * 1_000 {
        // They arrive over the first two seconds.
        let arrived = (connections as u64 * server.now_ms / 2_000).min(connections as u64) as usize;
        (opened..arrived).for_each(|connection| server.open(connection));
        opened = opened.max(arrived);
        server.now_ms += TICK_MS;
        server.peer.prepare(server.now_ms);
        server.peer.advance(server.now_ms, &mut due);
        // Peers differ in the order within a tick; the server does not.
        due.sort_unstable();
        for payload in due.drain(..) {
            // A timer of this tick may have been cancelled by an earlier one of it, though already handed out.
            if server.connections[(payload / KINDS) as usize].timers[(payload % KINDS) as usize].is_none() {
                continue;
            }
            digest = digest.wrapping_mul(31).wrapping_add(payload ^ server.now_ms);
            fired += 1;
            server.fired(payload);
        }
    }
    let ns = (thread_ns() - start_ns) as f64;
    let operations = server.operations + fired;
    for connection in server.connections {
        connection.timers.into_iter().flatten().for_each(P::forget);
    }
    Outcome { operations, ns_per_operation: ns / operations as f64, fired, digest }
}
