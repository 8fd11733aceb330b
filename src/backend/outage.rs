//! What the log says of a PostgreSQL that does not let a pool in: that it begins, at most once a minute, that it goes
//! on, as often, and that it is over. One that lets in some and not others is away again and again. Pure: moments are
//! arguments.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often it is said that it begins or goes on.
const REMINDER: Duration = Duration::from_secs(60);

/// Whether the last attempt to connect failed.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Spoken>);

#[derive(Debug, Default)]
struct Spoken {
    lasting: Option<Lasting>,
    /// When it was last said that one begins or goes on.
    said: Option<Instant>,
}

#[derive(Debug)]
struct Lasting {
    since: Instant,
    failures: u64,
    told: bool,
}

/// Something to be said, of so many attempts that have failed one after the other, in so long a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tidings {
    pub(super) failures: u64,
    pub(super) lasted: Duration,
}

impl Outage {
    /// An attempt has failed.
    pub(super) fn failed(&self, now: Instant) -> Option<Tidings> {
        let Spoken { lasting, said } = &mut *self.0.lock();
        let lasting = lasting.get_or_insert(Lasting { since: now, failures: 0, told: false });
        lasting.failures += 1;
        if said.is_some_and(|said| now < said + REMINDER) {
            return None;
        }
        *said = Some(now);
        lasting.told = true;
        Some(lasting.tidings(now))
    }

    /// An attempt has succeeded: what is over now, if anything is that was told.
    pub(super) fn succeeded(&self, now: Instant) -> Option<Tidings> {
        let lasting = self.0.lock().lasting.take()?;
        lasting.told.then(|| lasting.tidings(now))
    }
}

impl Lasting {
    fn tidings(&self, now: Instant) -> Tidings {
        Tidings { failures: self.failures, lasted: now.saturating_duration_since(self.since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_when_it_begins_once_a_minute_and_when_it_is_over() {
        let (outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let tidings = |failures, seconds| Some(Tidings { failures, lasted: Duration::from_secs(seconds) });
        assert_eq!(outage.succeeded(at(0)), None);
        let told: Vec<_> = (0..=120).filter_map(|second| outage.failed(at(second))).collect();
        assert_eq!(told.into_iter().map(Some).collect::<Vec<_>>(), [tidings(1, 0), tidings(61, 60), tidings(121, 120)]);
        assert_eq!(outage.succeeded(at(130)), tidings(121, 130));
        assert_eq!(outage.succeeded(at(131)), None);
    }

    #[test]
    fn one_that_comes_and_goes_is_told_once_a_minute() {
        let (outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut told = 0;
        for second in (0..120).step_by(2) {
            told += usize::from(outage.failed(at(second)).is_some());
            told += usize::from(outage.succeeded(at(second + 1)).is_some());
        }
        assert_eq!(told, 4);
    }
}
