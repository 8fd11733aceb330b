//! When to try again while the server does not let us in. Pure: moments and chance are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::recycle::scatter;
use crate::config::Backoff;

/// What the latest connects have taught about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// It lets us in, or nobody has tried.
    #[default]
    Up,
    /// It did not: one probe at a time, none before `until`.
    Down { failures: u32, until: Instant },
    /// It answered with a refusal: who waits may ask again at once, but nothing is opened ahead of
    /// need before `until`.
    Refusing { until: Instant },
}

impl Reach {
    /// After a connect that found the server down. Only the probe counts as a further failure: of many connects
    /// that were under way together, the later failures teach nothing.
    pub fn fail(&mut self, backoff: &Backoff, now: Instant, chance: u64) {
        let failures = match *self {
            Self::Down { until, .. } if now < until => return,
            Self::Down { failures, .. } => failures.saturating_add(1),
            Self::Up | Self::Refusing { .. } => 1,
        };
        *self = Self::Down { failures, until: now + delay(backoff, failures, chance) };
    }

    /// After a connect that the server refused for good.
    pub fn refuse(&mut self, backoff: &Backoff, now: Instant) {
        *self = Self::Refusing { until: now + backoff.longest };
    }

    /// Connects that may be begun for waiters while `connecting` are under way; at most `room`.
    #[must_use]
    pub fn allows(self, connecting: usize, room: usize, now: Instant) -> usize {
        match self {
            Self::Up | Self::Refusing { .. } => room,
            Self::Down { until, .. } if now < until => 0,
            Self::Down { .. } => room.min(1_usize.saturating_sub(connecting)),
        }
    }

    /// Connects that may be begun for nobody in particular, so that a server that came back is noticed also then.
    #[must_use]
    pub fn allows_ahead(self, connecting: usize, now: Instant) -> usize {
        match self {
            Self::Up => usize::MAX,
            Self::Down { until, .. } | Self::Refusing { until } if now < until => 0,
            Self::Down { .. } | Self::Refusing { .. } => 1_usize.saturating_sub(connecting),
        }
    }

    /// When the next probe is due.
    #[must_use]
    pub fn retry_at(self) -> Option<Instant> {
        match self {
            Self::Down { until, .. } => Some(until),
            Self::Up | Self::Refusing { .. } => None,
        }
    }
}

/// Doubles from `first` up to `longest`; the upper half of it is left to chance, so that pools do not knock together.
fn delay(backoff: &Backoff, failures: u32, chance: u64) -> Duration {
    let doubled = backoff.first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = doubled.min(backoff.longest);
    let fixed = whole / 2;
    let loose = u64::try_from((whole - fixed).as_nanos()).unwrap_or(u64::MAX);
    fixed + Duration::from_nanos(scatter(chance) % loose.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

    #[test]
    fn delays_double_up_to_the_longest_and_never_fall_below_half() {
        for failures in 1..70 {
            for chance in 0..50 {
                let whole = BACKOFF.first.saturating_mul(2_u32.saturating_pow(failures - 1)).min(BACKOFF.longest);
                let got = delay(&BACKOFF, failures, chance);
                assert!(got >= whole / 2 && got <= whole, "{failures} failures: {got:?} of {whole:?}");
            }
        }
    }

    #[test]
    fn connects_that_fail_together_count_as_one_failure() {
        let now = Instant::now();
        let mut reach = Reach::default();
        for _ in 0..5 {
            reach.fail(&BACKOFF, now, 1);
        }
        assert!(matches!(reach, Reach::Down { failures: 1, .. }));
        let due = reach.retry_at().unwrap();
        reach.fail(&BACKOFF, due, 1);
        assert!(matches!(reach, Reach::Down { failures: 2, .. }));
    }

    #[test]
    fn a_server_that_is_down_gets_one_probe_at_a_time_and_only_when_due() {
        let now = Instant::now();
        let mut reach = Reach::default();
        assert_eq!(reach.allows(3, 7, now), 7);
        reach.fail(&BACKOFF, now, 1);
        assert_eq!(reach.allows(0, 7, now), 0);
        let due = reach.retry_at().unwrap();
        assert_eq!((reach.allows(0, 7, due), reach.allows(1, 7, due), reach.allows(0, 0, due)), (1, 0, 0));
    }
}
