//! What rules about orders need beyond the language: metres between places, and windows of local time.
use super::Answer;
use crate::program::FaultKind;
use crate::time::{self, Timestamp};
use crate::value::Value;

/// Mean radius of the earth, metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// `geo.distance_m(latitude, longitude, latitude, longitude)`: along a great circle (haversine).
pub(super) fn distance_m(args: &[Value]) -> Answer {
    let [Value::Double(lat_a), Value::Double(lng_a), Value::Double(lat_b), Value::Double(lng_b)] = args
    else {
        return Err(FaultKind::NoOverload);
    };
    let sound = |lat: f64, lng: f64| (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lng);
    if !sound(*lat_a, *lng_a) || !sound(*lat_b, *lng_b) {
        return Err(FaultKind::Range);
    }
    let (half_lat, half_lng) = ((lat_b - lat_a).to_radians() / 2.0, (lng_b - lng_a).to_radians() / 2.0);
    let chord =
        half_lat.sin().powi(2) + lat_a.to_radians().cos() * lat_b.to_radians().cos() * half_lng.sin().powi(2);
    Ok(Value::Double(2.0 * EARTH_RADIUS_M * chord.clamp(0.0, 1.0).sqrt().asin()))
}

/// `time.in_window(instant, '09:00', '12:30', 'Asia/Shanghai')`: from the first minute to before the second; a window
/// whose end is before its start passes midnight. An int is milliseconds since 1970.
pub(super) fn in_window(args: &[Value]) -> Answer {
    let (instant, [Value::Str(from), Value::Str(to), Value::Str(zone)]) = args.split_at(1.min(args.len()))
    else {
        return Err(FaultKind::NoOverload);
    };
    let instant = match instant {
        [Value::Timestamp(instant)] => *instant,
        [Value::Int(ms)] => Timestamp::new(ms.div_euclid(1_000), ms.rem_euclid(1_000) as u32 * 1_000_000)
            .ok_or(FaultKind::Range)?,
        _ => return Err(FaultKind::NoOverload),
    };
    let offset = time::zone_offset_seconds(zone, instant).ok_or(FaultKind::Conversion)?;
    let second = instant.civil(offset).second_of_day;
    let (from, to) = (second_of_day(from)?, second_of_day(to)?);
    Ok(Value::Bool(if from <= to { (from..to).contains(&second) } else { second >= from || second < to }))
}

/// `hh:mm`, up to `24:00`.
pub(crate) fn second_of_day(text: &str) -> Result<i64, FaultKind> {
    let (hour, minute) = text.split_once(':').ok_or(FaultKind::Conversion)?;
    let number = |part: &str| -> Option<i64> {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    match (number(hour), number(minute)) {
        (Some(24), Some(0)) => Ok(86_400),
        (Some(hour @ 0..=23), Some(minute @ 0..=59)) => Ok(hour * 3_600 + minute * 60),
        _ => Err(FaultKind::Conversion),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degree_of_latitude_is_111_km() {
        let at = |v: [f64; 4]| distance_m(&v.map(Value::Double));
        let Ok(Value::Double(metres)) = at([31.0, 121.0, 32.0, 121.0]) else { panic!("no number") };
        assert!((metres - 111_195.0).abs() < 1.0, "{metres}");
        assert_eq!(at([91.0, 0.0, 0.0, 0.0]).unwrap_err(), FaultKind::Range);
        assert_eq!(at([f64::NAN, 0.0, 0.0, 0.0]).unwrap_err(), FaultKind::Range);
    }

    #[test]
    fn windows_are_local_and_may_pass_midnight() {
        let inside = |text: &str, from: &str, to: &str, zone: &str| {
            let instant = Value::Timestamp(Timestamp::parse(text).unwrap());
            in_window(&[instant, Value::str(from), Value::str(to), Value::str(zone)]).map(|v| v.to_string())
        };
        let morning = "2026-03-01T01:30:00Z";
        assert_eq!(inside(morning, "09:00", "10:00", "Asia/Shanghai").unwrap(), "true");
        assert_eq!(inside(morning, "09:00", "09:30", "+08:00").unwrap(), "false");
        assert_eq!(inside(morning, "22:00", "02:00", "UTC").unwrap(), "true");
        assert_eq!(inside(morning, "00:00", "24:00", "UTC").unwrap(), "true");
        assert_eq!(inside(morning, "9:00", "10:00", "UTC").unwrap_err(), FaultKind::Conversion);
        assert_eq!(inside(morning, "09:00", "10:00", "Mars/Base").unwrap_err(), FaultKind::Conversion);
    }
}
