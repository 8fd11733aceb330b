//! What has changed: a span of time against the one before it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::insight::{Filter, Insight, Shared, State};
use super::names::Place;
use super::tally::Tally;
use super::view::{Change, Trend};
use super::windows::Span;
use crate::sql::Digest;

/// Executions in a span that say something about its times, and ones that make a statement frequent.
const SOME: u64 = 20;
const MANY: u64 = 100;
/// What is slower has taken this many times as long, and so much longer.
const SLOWER: f64 = 1.5;
const NOTICEABLY: Duration = Duration::from_millis(1);
/// What is more frequent was executed this many times as often.
const MORE: f64 = 2.0;

impl Insight {
    /// Patterns that are new, slower or more frequent in the last `period` than in the one before, which are of whole
    /// minutes; the ones that took most time first. Nothing, as long as there is no period before.
    #[must_use]
    pub fn trends(&self, period: Duration, filter: &Filter) -> Vec<Trend> {
        let shared = self.shared();
        let mut state = shared.state();
        let state = &mut *state;
        let Some(until) = state.until else { return Vec::new() };
        let ago = |time: Duration| until.checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH);
        let (from, before) = (ago(period), ago(period * 2));
        if !state.windows.reach_before(from) && state.hours.as_ref().is_none_or(|hours| !hours.reach_before(from)) {
            return Vec::new();
        }
        let minute = Duration::from_secs(60);
        let (_, now) = shared.span(state, &(from..until + minute));
        let end = from.checked_sub(minute).unwrap_or(from) + Duration::from_nanos(1);
        let (_, was) = shared.span(state, &(before..end));
        let mut all = BTreeMap::new();
        for (key, tally) in &now {
            if let Some(trend) = shared.trend(state, (*key, tally), &was, filter, from) {
                all.insert((std::cmp::Reverse(tally.total().sum()), *key), trend);
            }
        }
        all.into_values().collect()
    }
}

impl Shared {
    fn trend(
        &self,
        state: &State,
        (key, tally): ((Option<Digest>, Place), &Tally),
        was: &Span,
        filter: &Filter,
        from: SystemTime,
    ) -> Option<Trend> {
        let change = change(tally, was.get(&key), state.table.first_seen(key) >= Some(from))?;
        let now = self.filtered_row(state, key, tally, filter)?;
        now.pattern.as_ref()?;
        let before = was.get(&key).and_then(|tally| self.filtered_row(state, key, tally, &Filter::default()));
        Some(Trend { change, now, before })
    }
}

fn change(now: &Tally, was: Option<&Tally>, is_new: bool) -> Option<Change> {
    let Some(was) = was else { return is_new.then_some(Change::New) };
    let (mean, mean_before) = (now.total().times().mean, was.total().times().mean);
    let slower = mean.as_secs_f64() > mean_before.as_secs_f64() * SLOWER && mean > mean_before + NOTICEABLY;
    if slower && now.calls >= SOME && was.calls >= SOME {
        return Some(Change::Slower);
    }
    let more = now.calls as f64 > was.calls as f64 * MORE && now.calls >= MANY;
    more.then_some(Change::MoreFrequent)
}
