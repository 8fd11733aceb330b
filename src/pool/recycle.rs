//! When a backend is thrown away or looked at before it is used. Pure: every moment is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::BackendId;
use crate::config::{Pool, PrePing};

/// Width of the spread of ages to each side, in thousandths.
const SPREAD: u64 = 100;

/// The ages and idle times of one pool's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecyclePolicy {
    /// Age at which a backend is closed, before the spread; `None` is never.
    pub recycle: Option<Duration>,
    /// Idleness after which a backend that need not be kept is closed; `None` is never.
    pub idle_timeout: Option<Duration>,
    pub pre_ping: PrePing,
}

impl RecyclePolicy {
    #[must_use]
    pub fn of(config: &Pool) -> Self {
        Self { recycle: config.recycle, idle_timeout: config.idle_timeout, pre_ping: config.pre_ping }
    }

    /// When a backend opened at `born` is too old: within 10 % of `recycle`, the same for the same id, so that backends
    /// opened together are not all closed together.
    #[must_use]
    pub fn expiry(&self, id: BackendId, born: Instant) -> Option<Instant> {
        let thousandths = 1000 - SPREAD + scatter(id.get()) % (2 * SPREAD + 1);
        let age = self.recycle?.checked_mul(u32::try_from(thousandths).ok()?)? / 1000;
        born.checked_add(age)
    }

    /// Whether a backend idle since `since` may be leased without a ping.
    #[must_use]
    pub fn is_fresh(&self, since: Instant, now: Instant) -> bool {
        match self.pre_ping {
            PrePing::Always => false,
            PrePing::Never => true,
            PrePing::IdleLongerThan(limit) => now.saturating_duration_since(since) <= limit,
        }
    }

    /// Backends idle since this moment or longer are not fresh.
    #[must_use]
    pub fn stale_before(&self, now: Instant) -> Instant {
        match self.pre_ping {
            PrePing::Always | PrePing::Never => now,
            PrePing::IdleLongerThan(limit) => now.checked_sub(limit).unwrap_or(now),
        }
    }

    /// Whether a backend idle since `since` may be closed, if it need not be kept.
    #[must_use]
    pub fn idle_too_long(&self, since: Instant, now: Instant) -> bool {
        self.idle_timeout.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
    }
}

/// Spreads consecutive numbers over all of `u64` (the finishing step of splitmix64).
pub(super) fn scatter(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
