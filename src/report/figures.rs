//! Figures for people: about three digits, and a unit.

use std::time::Duration;

/// `85 µs`, `1.24 ms`, `31.4 ms`, `2.50 s`, `3 min 20 s`, `5 h 12 min`, rounded.
#[must_use]
pub fn time(duration: Duration) -> String {
    let in_units_of = |nanos: u128| (duration.as_nanos() + nanos / 2) / nanos;
    match in_units_of(1_000) {
        0 => "0".to_owned(),
        micros @ 1..1_000 => format!("{micros} µs"),
        1_000..9_995 => {
            let hundredths = in_units_of(10_000);
            format!("{}.{:02} ms", hundredths / 100, hundredths % 100)
        }
        9_995..999_950 => {
            let tenths = in_units_of(100_000);
            format!("{}.{} ms", tenths / 10, tenths % 10)
        }
        999_950..99_995_000 => {
            let hundredths = in_units_of(10_000_000);
            format!("{}.{:02} s", hundredths / 100, hundredths % 100)
        }
        99_995_000..3_599_500_000 => {
            let seconds = in_units_of(1_000_000_000);
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
        _ => {
            let minutes = in_units_of(60_000_000_000);
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

/// The same of milliseconds.
#[must_use]
pub fn millis(millis: f64) -> String {
    time(Duration::try_from_secs_f64(millis.max(0.0) / 1000.0).unwrap_or(Duration::MAX))
}

/// `1,234,567`
#[must_use]
pub fn count(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    if count < 0 { format!("-{shown}") } else { shown }
}

/// Of a hundred: `41 %`, `3.2 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    if share >= 9.95 { format!("{share:.0} %") } else { format!("{share:.1} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_about_three_digits_and_are_rounded() {
        let shown = |micros| time(Duration::from_micros(micros));
        assert_eq!(shown(0), "0");
        assert_eq!(shown(85), "85 µs");
        assert_eq!(shown(1_249), "1.25 ms");
        assert_eq!(shown(10_392), "10.4 ms");
        assert_eq!(shown(62_299), "62.3 ms");
        assert_eq!(shown(2_506_000), "2.51 s");
        assert_eq!(shown(200_000_000), "3 min 20 s");
        assert_eq!(shown(18_759_000_000), "5 h 13 min");
        assert_eq!(millis(12.345), "12.3 ms");
        assert_eq!(millis(0.000_7), "1 µs");
    }

    #[test]
    fn what_is_rounded_up_to_the_next_unit_has_that_unit() {
        let shown = |micros| time(Duration::from_micros(micros));
        assert_eq!([9_994, 9_995].map(shown), ["9.99 ms", "10.0 ms"]);
        assert_eq!([999_949, 999_950].map(shown), ["999.9 ms", "1.00 s"]);
        assert_eq!([99_994_999, 99_995_000].map(shown), ["99.99 s", "1 min 40 s"]);
        assert_eq!([3_599_499_999, 3_599_500_000].map(shown), ["59 min 59 s", "1 h 0 min"]);
        assert_eq!(time(Duration::from_nanos(999_500)), "1.00 ms");
    }

    #[test]
    fn shares_are_rounded() {
        assert_eq!(percent(160.0 / 28_944.0 * 100.0), "0.6 %");
        assert_eq!([9.94, 9.95, 33.4].map(percent), ["9.9 %", "10 %", "33 %"]);
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!([0, 999, 1000, -1_234_567].map(count), ["0", "999", "1,000", "-1,234,567"]);
    }
}
