//! Degrees to planar metres, near an origin.
//!
//! Equirectangular: metres east shrink with the cosine of the origin's latitude, and with nothing else, so a distance
//! is off by the change of that cosine over the park: at most `|dlat| * tan(|lat| + |dlat|)` of itself, which is
//! 0.4 % at 20 km from an origin at 52 degrees. The sphere in place of the ellipsoid adds up to 0.6 %. Riders do not
//! ride straight lines; that error is far larger.

/// Mean radius of the Earth, metres (IUGG R1).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// (metres east, metres north) of a place, both in degrees, seen from `origin`. The way round is the shorter one, so a
/// park may lie across the 180th meridian.
pub fn project(origin: (f64, f64), place: (f64, f64)) -> (f64, f64) {
    let (latitude, longitude) = origin;
    let east_degrees = (place.1 - longitude + 540.0).rem_euclid(360.0) - 180.0;
    let x_m = EARTH_RADIUS_M * east_degrees.to_radians() * latitude.to_radians().cos();
    let y_m = EARTH_RADIUS_M * (place.0 - latitude).to_radians();
    (x_m, y_m)
}

/// The place, in degrees, that [`project`] puts at these metres.
pub fn unproject(origin: (f64, f64), (x_m, y_m): (f64, f64)) -> (f64, f64) {
    let (latitude, longitude) = origin;
    let across = (EARTH_RADIUS_M * latitude.to_radians().cos()).max(f64::MIN_POSITIVE);
    let east_degrees = longitude + (x_m / across).to_degrees();
    (latitude + (y_m / EARTH_RADIUS_M).to_degrees(), (east_degrees + 540.0).rem_euclid(360.0) - 180.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Great-circle metres by the haversine formula.
    fn haversine_m(a: (f64, f64), b: (f64, f64)) -> f64 {
        let (dlat, dlon) = ((b.0 - a.0).to_radians(), (b.1 - a.1).to_radians());
        let h = (dlat / 2.0).sin().powi(2)
            + a.0.to_radians().cos() * b.0.to_radians().cos() * (dlon / 2.0).sin().powi(2);
        2.0 * EARTH_RADIUS_M * h.sqrt().asin()
    }

    proptest! {
        #[test]
        fn a_place_comes_back(
            lat in -60.0..60.0f64, lon in -179.9..179.9f64, north in -0.3..0.3f64, east in -0.3..0.3f64,
        ) {
            let place = (lat + north, (lon + east + 540.0).rem_euclid(360.0) - 180.0);
            let again = unproject((lat, lon), project((lat, lon), place));
            prop_assert!(haversine_m(place, again) < 0.001, "{place:?} {again:?}");
        }

        #[test]
        fn distances_are_within_the_bound(
            lat in -60.0..60.0f64, lon in -179.0..179.0f64,
            near in prop::collection::vec((-0.18..0.18f64, -0.18..0.18f64), 2),
        ) {
            let origin = (lat, lon);
            let [a, b] = [near[0], near[1]].map(|(dlat, dlon)| (lat + dlat, lon + dlon));
            let ((ax, ay), (bx, by)) = (project(origin, a), project(origin, b));
            let (planar_m, sphere_m) = ((ax - bx).hypot(ay - by), haversine_m(a, b));
            let dlat = (a.0 - lat).abs().max((b.0 - lat).abs()).to_radians();
            let bound = dlat * (lat.to_radians().abs() + dlat).tan() + 1e-5;
            prop_assert!((planar_m - sphere_m).abs() <= bound * sphere_m + 0.01, "{planar_m} {sphere_m} {bound}");
        }
    }

    #[test]
    fn the_antimeridian_is_a_place_like_any_other() {
        let (x_m, y_m) = project((0.0, 179.9), (0.0, -179.9));
        assert!((x_m - 22_239.0).abs() < 1.0 && y_m == 0.0, "{x_m} {y_m}");
        assert_eq!(project((31.0, 121.0), (31.0, 121.0)), (0.0, 0.0));
    }
}
