//! A time zone as a flat list of spans with one offset each, made from TZif bytes (RFC 9636).
//!
//! Only changes of the offset count; names and flags are dropped. The POSIX rule behind the list is laid out up to the
//! year 2499, so a lookup is an index by time and a step or two.

use std::fmt;

use crate::civil::{day_of, DAY_S, YEAR_MAX};
use crate::posix::Rule;

/// An instant before all others.
pub const BEGINNING: i64 = i64::MIN / 4;
/// An instant after all others.
pub const END: i64 = i64::MAX / 4;
/// Files have at most a few hundred.
const TRANSITIONS_MAX: usize = 20_000;
/// A bucket of the index: about 194 days, in which a zone changes at most a few times.
const BUCKET_BITS: u32 = 24;
const OFFSET_MAX_S: i32 = 26 * 3_600;

/// Why zone data cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError(&'static str);

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not TZif zone data: {}", self.0)
    }
}

impl std::error::Error for ZoneError {}

/// Offsets from UTC over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// In the order of time, the first from [`BEGINNING`] on.
    spans: Vec<Span>,
    /// By bucket after `spans[1].start`: the span at the bucket's beginning.
    index: Vec<u16>,
}

/// A stretch of time with one offset, up to where the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// UTC seconds.
    start: i64,
    /// Seconds east of UTC.
    offset: i32,
}

impl Zone {
    /// One offset for ever, in seconds east of UTC.
    #[must_use]
    pub fn fixed(offset_s: i32) -> Self {
        Self { spans: vec![Span { start: BEGINNING, offset: offset_s }], index: Vec::new() }
    }

    /// UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self::fixed(0)
    }

    /// Reads a TZif file of any version.
    ///
    /// # Errors
    /// When the bytes are not such a file.
    pub fn read(bytes: &[u8]) -> Result<Self, ZoneError> {
        let first = Header::read(bytes)?;
        if first.version == 0 {
            return Self::laid_out(&first.body(bytes, 4)?, None);
        }
        let second_at = first.length(4);
        let second_bytes = bytes.get(second_at..).ok_or(ZoneError("it ends early"))?;
        let second = Header::read(second_bytes)?;
        let spans = second.body(second_bytes, 8)?;
        let footer = second_bytes.get(second.length(8)..).ok_or(ZoneError("it ends early"))?;
        let rule = match footer {
            [b'\n', b'\n'] => None,
            [b'\n', rule @ .., b'\n'] => Some(Rule::read(rule).ok_or(ZoneError("its rule is not POSIX"))?),
            _ => return Err(ZoneError("its rule is missing")),
        };
        Self::laid_out(&spans, rule)
    }

    fn laid_out(spans: &[(i64, i32)], rule: Option<Rule>) -> Result<Self, ZoneError> {
        let mut zone = Self::fixed(spans[0].1);
        for &(start, offset) in &spans[1..] {
            zone.push(start, offset)?;
        }
        if let Some(rule) = rule {
            // The list and the rule may meet in one year.
            let last_listed = spans.last().map_or(BEGINNING, |span| span.0).max(zone.last().start);
            let from_year = if last_listed <= BEGINNING {
                1900
            } else {
                crate::civil::date_of(last_listed.div_euclid(DAY_S)).0
            };
            if last_listed <= BEGINNING && rule.changes(2000).is_empty() {
                zone.spans[0].offset = rule.standard_s;
            }
            for year in from_year..=YEAR_MAX + 1 {
                for (start, offset) in rule.changes(year) {
                    if start > last_listed {
                        zone.push(start, offset)?;
                    }
                }
            }
        }
        if zone.spans.len() > u16::MAX as usize {
            return Err(ZoneError("too many transitions"));
        }
        zone.spans.shrink_to_fit();
        zone.make_index();
        Ok(zone)
    }

    fn push(&mut self, start: i64, offset: i32) -> Result<(), ZoneError> {
        if offset.abs() > OFFSET_MAX_S {
            return Err(ZoneError("an offset of more than 26 hours"));
        }
        if start <= self.last().start {
            return Err(ZoneError("its transitions are not in order"));
        }
        if self.last().offset != offset {
            self.spans.push(Span { start, offset });
        }
        Ok(())
    }

    fn make_index(&mut self) {
        let Some(&Span { start: first, .. }) = self.spans.get(1) else { return };
        let buckets = ((self.last().start - first) >> BUCKET_BITS) + 1;
        let mut span = 1;
        self.index = (0..buckets)
            .map(|bucket| {
                let at = first + (bucket << BUCKET_BITS);
                while self.end_of(span) <= at {
                    span += 1;
                }
                span as u16
            })
            .collect();
    }

    fn last(&self) -> Span {
        self.spans[self.spans.len() - 1]
    }

    /// How many spans there are.
    #[must_use]
    pub fn spans(&self) -> usize {
        self.spans.len()
    }

    /// The span of an instant (UTC seconds).
    #[inline]
    #[must_use]
    pub fn span_of(&self, instant: i64) -> usize {
        // Most zones have changed for the last time: what comes after it is looked up nowhere.
        if instant >= self.last().start {
            return self.spans.len() - 1;
        }
        let first = self.spans[1].start;
        if instant < first {
            return 0;
        }
        let mut span = usize::from(self.index[((instant - first) >> BUCKET_BITS) as usize]);
        while self.spans[span + 1].start <= instant {
            span += 1;
        }
        span
    }

    /// Where a span begins.
    #[inline]
    #[must_use]
    pub fn start_of(&self, span: usize) -> i64 {
        self.spans[span].start
    }

    /// Where it ends, exclusive.
    #[inline]
    #[must_use]
    pub fn end_of(&self, span: usize) -> i64 {
        self.spans.get(span + 1).map_or(END, |next| next.start)
    }

    /// Its offset, seconds east of UTC.
    #[inline]
    #[must_use]
    pub fn offset_of(&self, span: usize) -> i64 {
        i64::from(self.spans[span].offset)
    }

    /// The wall clock at an instant.
    #[must_use]
    pub fn local(&self, instant: i64) -> i64 {
        instant + self.offset_of(self.span_of(instant))
    }

    /// The first instant at which the wall clock shows this, or right after a gap that skips it.
    #[must_use]
    pub fn instant_of(&self, local: i64) -> i64 {
        let mut span = self.span_of(local - i64::from(OFFSET_MAX_S));
        while local >= self.end_of(span) + self.offset_of(span) {
            span += 1;
            if local < self.start_of(span) + self.offset_of(span) {
                return self.start_of(span);
            }
        }
        local - self.offset_of(span)
    }

    /// Changes of the offset in a span of time: instant, offset before and after.
    #[must_use]
    pub fn changes(&self, from: i64, until: i64) -> Vec<(i64, i32, i32)> {
        self.spans
            .windows(2)
            .filter(|pair| from < pair[1].start && pair[1].start <= until)
            .map(|pair| (pair[1].start, pair[0].offset, pair[1].offset))
            .collect()
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.spans.capacity() * size_of::<Span>() + self.index.capacity() * 2
    }
}

struct Header {
    version: u8,
    is_utc: usize,
    is_standard: usize,
    leaps: usize,
    times: usize,
    types: usize,
    chars: usize,
}

const HEADER_BYTES: usize = 44;

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, ZoneError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(ZoneError("it ends early"))?;
        if &header[..4] != b"TZif" {
            return Err(ZoneError("it does not begin with TZif"));
        }
        let count =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let counts = [20, 24, 28, 32, 36, 40].map(|at| count(at) as usize);
        if counts.iter().any(|count| *count > TRANSITIONS_MAX) || counts[4] == 0 {
            return Err(ZoneError("its counts are out of bounds"));
        }
        let [is_utc, is_standard, leaps, times, types, chars] = counts;
        Ok(Self { version: header[4], is_utc, is_standard, leaps, times, types, chars })
    }

    fn length(&self, time_bytes: usize) -> usize {
        HEADER_BYTES
            + self.times * (time_bytes + 1)
            + self.types * 6
            + self.chars
            + self.leaps * (time_bytes + 4)
            + self.is_standard
            + self.is_utc
    }

    /// Spans as (start, offset), the first from the beginning.
    fn body(&self, bytes: &[u8], time_bytes: usize) -> Result<Vec<(i64, i32)>, ZoneError> {
        let body = bytes.get(HEADER_BYTES..self.length(time_bytes)).ok_or(ZoneError("it ends early"))?;
        let (times, rest) = body.split_at(self.times * time_bytes);
        let (kinds, rest) = rest.split_at(self.times);
        let offset = |kind: u8| {
            let raw = rest
                .get(usize::from(kind) * 6..usize::from(kind) * 6 + 4)
                .filter(|_| usize::from(kind) < self.types);
            raw.map(|raw| i32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]))
                .ok_or(ZoneError("an unknown type"))
        };
        let mut spans = vec![(BEGINNING, offset(0)?)];
        for (time, &kind) in times.chunks_exact(time_bytes).zip(kinds) {
            let start = match *time {
                [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
                _ => return Err(ZoneError("an unknown width")),
            };
            // Some files open with an instant before the earth was made.
            let start = start.max(BEGINNING + 1).min(day_of(YEAR_MAX, 1, 1) * DAY_S);
            spans.push((start, offset(kind)?));
        }
        Ok(spans)
    }
}
