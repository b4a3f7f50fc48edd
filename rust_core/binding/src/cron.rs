//! Cron schedules for Python: zones and calendars come in as bytes and lists, firings go out as UTC milliseconds.

use std::sync::Arc;

use cuptime_cron as core;
use cuptime_cron::civil::day_of;
use cuptime_cron::{Dialect, DstPolicy, Firing};
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

create_exception!(
    cuptime._core,
    CronParseError,
    PyValueError,
    "A text that is no schedule; `args` are (text for people, field, position in characters, what is wrong, mend)."
);
create_exception!(
    cuptime._core,
    CronYearUnknown,
    PyValueError,
    "The calendar has no data for a year; `args` are (text for people, year)."
);

/// What stands in a column where there is no firing.
const NONE: i64 = i64::MIN;
/// Firings of one call.
const FIRINGS_MAX: usize = 1_000_000;

/// Adds this room's classes and functions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("CronParseError", m.py().get_type::<CronParseError>())?;
    m.add("CronYearUnknown", m.py().get_type::<CronYearUnknown>())?;
    m.add_class::<CronZone>()?;
    m.add_class::<CronCalendar>()?;
    m.add_class::<Cron>()?;
    m.add_function(wrap_pyfunction!(cron_next_many, m)?)?;
    m.add_function(wrap_pyfunction!(cron_firings_many, m)?)?;
    m.add_function(wrap_pyfunction!(cron_names, m)?)
}

fn year_unknown(year: i32) -> PyErr {
    CronYearUnknown::new_err((format!("the calendar has no data for {year}"), year))
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "cuptime._core")]
struct CronZone {
    zone: Arc<core::Zone>,
}

#[pymethods]
impl CronZone {
    #[new]
    fn new(tzif: &[u8]) -> PyResult<Self> {
        let zone = core::Zone::read(tzif).map_err(|fault| PyValueError::new_err(fault.to_string()))?;
        Ok(Self { zone: Arc::new(zone) })
    }

    #[staticmethod]
    fn fixed(offset_s: i32) -> PyResult<Self> {
        if offset_s.abs() > 86_400 {
            return Err(PyValueError::new_err("an offset is at most a day"));
        }
        Ok(Self { zone: Arc::new(core::Zone::fixed(offset_s)) })
    }

    fn changes(&self, from_s: i64, until_s: i64) -> Vec<(i64, i32, i32)> {
        self.zone.changes(from_s, until_s)
    }

    fn local_s(&self, instant_s: i64) -> i64 {
        self.zone.local(instant_s)
    }

    fn memory_bytes(&self) -> usize {
        self.zone.memory_bytes()
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "cuptime._core")]
struct CronCalendar {
    calendar: Arc<core::Calendar>,
}

#[pymethods]
impl CronCalendar {
    #[new]
    fn new(week: u8, open_ended: bool, years: Vec<(i32, Vec<u16>, Vec<u16>)>) -> PyResult<Self> {
        let mut calendar = core::Calendar::new(week, open_ended);
        for (year, holidays, worked) in years {
            if !(1..=2_499).contains(&year) || holidays.iter().chain(&worked).any(|day| *day > 365) {
                return Err(PyValueError::new_err("years are 1 to 2499, days 0 to 365"));
            }
            calendar.set_year(year, &holidays, &worked);
        }
        Ok(Self { calendar: Arc::new(calendar) })
    }

    fn is_workday(&self, year: i32, month: u32, day: u32) -> PyResult<bool> {
        let day = day_of(year, month, day);
        self.calendar.is_workday(day, core::UnknownYear::Stop).map_err(year_unknown)
    }

    fn is_holiday(&self, year: i32, month: u32, day: u32) -> PyResult<bool> {
        let day = day_of(year, month, day);
        self.calendar.is_holiday(day, core::UnknownYear::Stop).map_err(year_unknown)
    }

    fn knows(&self, year: i32) -> bool {
        self.calendar.knows(year)
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "cuptime._core")]
struct Cron {
    schedule: Arc<core::Schedule>,
}

fn named<T>(found: Option<T>, kind: &str, name: &str) -> PyResult<T> {
    found.ok_or_else(|| PyValueError::new_err(format!("{name:?} is not a {kind}; see cron_names()")))
}

/// FNV-1a, so that the same schedule has the same hashed minutes on every machine and in every version.
fn seed_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn rule_of(
    calendar: Option<&CronCalendar>,
    condition: &str,
    roll: &str,
    shift: i32,
    plain_week: bool,
) -> PyResult<Option<core::DayRule>> {
    let condition = match condition {
        "any" => core::DayCondition::Any,
        "workday" => core::DayCondition::Workday,
        "restday" => core::DayCondition::Restday,
        "holiday" => core::DayCondition::Holiday,
        "not_holiday" => core::DayCondition::NotHoliday,
        other => return named(None, "condition", other),
    };
    let roll = match roll {
        "stay" => core::Roll::Stay,
        "before" => core::Roll::Before,
        "after" => core::Roll::After,
        other => return named(None, "roll", other),
    };
    if !(-366..=366).contains(&shift) {
        return Err(PyValueError::new_err("a shift is at most 366 work days"));
    }
    let Some(calendar) = calendar else {
        return if condition == core::DayCondition::Any && roll == core::Roll::Stay && shift == 0 {
            Ok(None)
        } else {
            Err(PyValueError::new_err("a condition needs a calendar"))
        };
    };
    let unknown = if plain_week { core::UnknownYear::PlainWeek } else { core::UnknownYear::Stop };
    let calendar = Arc::clone(&calendar.calendar);
    Ok(Some(core::DayRule { calendar, condition, roll, shift, unknown }))
}

#[pymethods]
impl Cron {
    #[new]
    #[pyo3(signature = (text, zone, *, dialect="ocps", dst="vixie", fields=0, seed=None, calendar=None,
                        condition="any", roll="stay", shift=0, plain_week=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        text: &str,
        zone: &CronZone,
        dialect: &str,
        dst: &str,
        fields: usize,
        seed: Option<&[u8]>,
        calendar: Option<&CronCalendar>,
        condition: &str,
        roll: &str,
        shift: i32,
        plain_week: bool,
    ) -> PyResult<Self> {
        let options = core::Options {
            dialect: named(Dialect::named(dialect), "dialect", dialect)?,
            policy: named(DstPolicy::named(dst), "DST policy", dst)?,
            fields: (fields > 0).then_some(fields),
            seed: seed_of(seed.unwrap_or_default()),
        };
        let rule = rule_of(calendar, condition, roll, shift, plain_week)?;
        let compiled = core::compile(text, options, Arc::clone(&zone.zone), rule);
        let schedule = compiled.map_err(|refusal| {
            let shown = refusal.to_string();
            CronParseError::new_err((shown, refusal.field, refusal.position, refusal.message, refusal.mend))
        })?;
        Ok(Self { schedule: Arc::new(schedule) })
    }

    #[pyo3(signature = (after_ms, anchor_ms=0))]
    fn next(&self, after_ms: i64, anchor_ms: i64) -> PyResult<Option<i64>> {
        plain(self.schedule.next(anchor_ms, checked(after_ms)?))
    }

    #[pyo3(signature = (from_ms, anchor_ms=0))]
    fn next_from(&self, from_ms: i64, anchor_ms: i64) -> PyResult<Option<i64>> {
        plain(self.schedule.next_from(anchor_ms, checked(from_ms)?))
    }

    #[pyo3(signature = (before_ms, anchor_ms=0))]
    fn previous(&self, before_ms: i64, anchor_ms: i64) -> PyResult<Option<i64>> {
        plain(self.schedule.previous(anchor_ms, checked(before_ms)?))
    }

    #[pyo3(signature = (at_ms, anchor_ms=0))]
    fn fires_at(&self, at_ms: i64, anchor_ms: i64) -> PyResult<bool> {
        Ok(self.schedule.fires_at(anchor_ms, checked(at_ms)?))
    }

    #[pyo3(signature = (after_ms, until_ms, limit, anchor_ms=0))]
    fn firings(
        &self,
        py: Python<'_>,
        after_ms: i64,
        until_ms: i64,
        limit: usize,
        anchor_ms: i64,
    ) -> PyResult<(Vec<i64>, Option<i32>)> {
        let (after_ms, limit) = (checked(after_ms)?, limit.min(FIRINGS_MAX));
        let schedule = &self.schedule;
        let (times, ended) = py.detach(|| schedule.firings(anchor_ms, after_ms, until_ms, limit));
        let unknown = match ended {
            Firing::UnknownYear(year) => Some(year),
            _ => None,
        };
        Ok((times, unknown))
    }

    fn never(&self) -> bool {
        self.schedule.never()
    }

    fn at_start(&self) -> bool {
        self.schedule.at_start()
    }

    fn same_times(&self, other: &Self) -> bool {
        self.schedule.same_times(&other.schedule)
    }

    fn masks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(pattern) = self.schedule.pattern() else { return Ok(None) };
        let masks = PyDict::new(py);
        for (name, mask) in [
            ("seconds", pattern.seconds),
            ("minutes", pattern.minutes),
            ("hours", u64::from(pattern.hours)),
            ("days", u64::from(pattern.days)),
            ("lasts", u64::from(pattern.lasts)),
            ("nearest", u64::from(pattern.nearest)),
            ("lasts_nearest", u64::from(pattern.lasts_nearest)),
            ("months", u64::from(pattern.months)),
            ("weekdays", u64::from(pattern.weekdays)),
            ("flags", u64::from(pattern.flags)),
        ] {
            masks.set_item(name, mask)?;
        }
        masks.set_item("nth", pattern.nth.to_vec())?;
        masks.set_item("years", pattern.years.as_ref().map(|years| years.to_vec()))?;
        Ok(Some(masks))
    }

    fn every(&self) -> Option<(i64, String)> {
        self.schedule.every().map(|every| (every.length_ms, every.text()))
    }
}

/// Far enough for every year that is computed, and no sum overflows.
fn checked(at_ms: i64) -> PyResult<i64> {
    if at_ms.abs() > 1 << 50 {
        return Err(PyValueError::new_err("an instant within 35,000 years of 1970 is wanted"));
    }
    Ok(at_ms)
}

fn plain(firing: Firing) -> PyResult<Option<i64>> {
    match firing {
        Firing::At(at_ms) => Ok(Some(at_ms)),
        Firing::Never => Ok(None),
        Firing::UnknownYear(year) => Err(year_unknown(year)),
    }
}

fn packed<'py>(py: Python<'py>, column: &[i64]) -> Bound<'py, PyBytes> {
    let mut bytes = Vec::with_capacity(size_of_val(column));
    for value in column {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    PyBytes::new(py, &bytes)
}

fn schedules_of(crons: &[Bound<'_, Cron>]) -> Vec<Arc<core::Schedule>> {
    crons.iter().map(|cron| Arc::clone(&cron.get().schedule)).collect()
}

#[pyfunction]
#[pyo3(signature = (crons, after_ms, anchor_ms=0))]
fn cron_next_many<'py>(
    py: Python<'py>,
    crons: Vec<Bound<'py, Cron>>,
    after_ms: i64,
    anchor_ms: i64,
) -> PyResult<Bound<'py, PyBytes>> {
    let after_ms = checked(after_ms)?;
    let schedules = schedules_of(&crons);
    let times: Vec<i64> = py.detach(|| {
        let one = |schedule: &Arc<core::Schedule>| match schedule.next(anchor_ms, after_ms) {
            Firing::At(at_ms) => at_ms,
            Firing::Never | Firing::UnknownYear(_) => NONE,
        };
        schedules.iter().map(one).collect()
    });
    Ok(packed(py, &times))
}

/// (schedule, after, until, limit, anchor) of each.
type Window<'py> = (Bound<'py, Cron>, i64, i64, usize, i64);

#[pyfunction]
fn cron_firings_many<'py>(
    py: Python<'py>,
    windows: Vec<Window<'py>>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let mut plain = Vec::with_capacity(windows.len());
    for (cron, after_ms, until_ms, limit, anchor_ms) in &windows {
        let schedule = Arc::clone(&cron.get().schedule);
        plain.push((schedule, checked(*after_ms)?, *until_ms, *limit, *anchor_ms));
    }
    let (counts, times) = py.detach(|| {
        let mut counts = Vec::with_capacity(plain.len());
        let mut times = Vec::new();
        for (schedule, after_ms, until_ms, limit, anchor_ms) in &plain {
            let limit = (*limit).min(FIRINGS_MAX.saturating_sub(times.len()));
            let (found, _) = schedule.firings(*anchor_ms, *after_ms, *until_ms, limit);
            counts.push(found.len() as i64);
            times.extend(found);
        }
        (counts, times)
    });
    Ok((packed(py, &counts), packed(py, &times)))
}

#[pyfunction]
fn cron_names() -> (Vec<(&'static str, &'static str)>, Vec<&'static str>) {
    let policy_name = |policy: DstPolicy| {
        core::dst::POLICIES.iter().find(|(_, known)| *known == policy).map_or("", |(name, _)| *name)
    };
    let dialects = core::dialect::DIALECTS
        .iter()
        .map(|(name, dialect)| (*name, policy_name(dialect.own_policy())))
        .collect();
    (dialects, core::dst::POLICIES.iter().map(|(name, _)| *name).collect())
}
