//! Figures for people: about three digits, and a unit.

use std::time::Duration;

/// `85 µs`, `1.24 ms`, `31.4 ms`, `2.50 s`, `3 min 20 s`, `5 h 12 min`.
#[must_use]
pub fn time(duration: Duration) -> String {
    let micros = duration.as_micros();
    let seconds = duration.as_secs();
    match micros {
        0 => "0".to_owned(),
        1..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10),
        10_000..1_000_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        1_000_000..100_000_000 => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
        _ if seconds < 3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
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
    fn times_have_about_three_digits() {
        let shown = |micros| time(Duration::from_micros(micros));
        assert_eq!(shown(0), "0");
        assert_eq!(shown(85), "85 µs");
        assert_eq!(shown(1_249), "1.24 ms");
        assert_eq!(shown(31_450), "31.4 ms");
        assert_eq!(shown(2_506_000), "2.50 s");
        assert_eq!(shown(200_000_000), "3 min 20 s");
        assert_eq!(shown(18_720_000_000), "5 h 12 min");
        assert_eq!(millis(12.345), "12.3 ms");
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!([0, 999, 1000, -1_234_567].map(count), ["0", "999", "1,000", "-1,234,567"]);
    }
}
