//! The one place where everything that was written down comes together.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::hours::{Due, HOUR, Hours, hour_of, start_of};
use super::lists::{Cause, Help, List, Lists};
use super::names::{Names, Place, Places};
use super::plans::{Plans, Sample};
use super::recorder::{Entry, Recorder};
use super::repetitions::Repetitions;
use super::report::{PatternNames, log};
use super::slow::SlowLog;
use super::store::{Store, StoreFault};
use super::table::Table;
use super::tags::Tags;
use super::tally::Tally;
use super::view::{Repetition, Slow, Summary};
use super::windows::{Span, Windows};
use crate::config::{self, Budgets};
use crate::sql::Patterns;

/// Pairs of database and user, and applications, that are told apart.
const PLACES: usize = 10_000;
const APPLICATIONS: usize = 10_000;
const MOMENT: Duration = Duration::from_nanos(1);

/// Which of all that was counted one wants to see.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only so far back, in whole minutes; `None` is since the process started.
    pub since: Option<Duration>,
    pub database: Option<String>,
    pub user: Option<String>,
}

/// What a process knows of its statements. Methods may be called from any thread; those that report take as long as
/// there are patterns to copy.
#[derive(Debug)]
pub struct Insight {
    shared: Arc<Shared>,
    recorders: Mutex<Vec<Arc<Recorder>>>,
    enabled: bool,
    sample_parameters: bool,
    plans: Option<Arc<Plans>>,
}

/// What recorders may need, too.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) lists: Lists,
    pub(super) places: Places,
    pub(super) applications: Names,
    pub(super) tags: Arc<Tags>,
    pub(super) patterns: Arc<Patterns>,
    met: Arc<AtomicU64>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) table: Table,
    pub(super) names: PatternNames,
    pub(super) windows: Windows,
    slow: SlowLog,
    repetitions: Repetitions,
    pub(super) budgets: Budgets,
    pub(super) hours: Option<Hours>,
    due: Option<Due>,
    since: Option<SystemTime>,
    pub(super) until: Option<SystemTime>,
}

impl Insight {
    /// What the traits of statements are is `patterns`' to know.
    #[must_use]
    pub fn new(config: &config::Insight, patterns: Arc<Patterns>) -> Self {
        let state = State {
            table: Table::new(config.max_patterns),
            names: PatternNames::default(),
            windows: Windows::default(),
            slow: SlowLog::new(config.slow_log_size, config.slow_log_rate),
            repetitions: Repetitions::default(),
            budgets: Budgets::default(),
            hours: None,
            due: None,
            since: None,
            until: None,
        };
        let shared = Shared {
            state: Mutex::new(state),
            lists: Lists::default(),
            places: Places::new(PLACES),
            applications: Names::new(APPLICATIONS),
            tags: Arc::new(Tags::new(&config.tags)),
            patterns,
            met: Arc::default(),
        };
        Self {
            shared: Arc::new(shared),
            recorders: Mutex::default(),
            enabled: config.enabled,
            sample_parameters: config.sample_parameters,
            plans: (config.enabled && config.plans).then(|| Arc::new(Plans::new(config.max_plans))),
        }
    }

    /// What a changed configuration changes without a restart.
    pub fn reconfigure(&self, config: &config::Insight) {
        let mut state = self.shared.state.lock();
        state.table.set_limit(config.max_patterns);
        state.slow.reconfigure(config.slow_log_size, config.slow_log_rate);
    }

    /// How long executions should take.
    pub fn set_budgets(&self, budgets: Budgets) {
        self.shared.state.lock().budgets = budgets;
    }

    /// Whether anything is counted.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether bound values are shown.
    #[must_use]
    pub fn samples_parameters(&self) -> bool {
        self.sample_parameters
    }

    /// Plans of slow statements, where they are wanted.
    #[must_use]
    pub fn plans(&self) -> Option<&Arc<Plans>> {
        self.plans.as_ref()
    }

    #[must_use]
    pub fn patterns(&self) -> &Arc<Patterns> {
        &self.shared.patterns
    }

    #[must_use]
    pub fn tags(&self) -> &Arc<Tags> {
        &self.shared.tags
    }

    /// How often patterns had to make room.
    #[must_use]
    pub fn met(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.met)
    }

    /// One more worker's list.
    #[must_use]
    pub fn recorder(&self) -> Arc<Recorder> {
        let recorder = Arc::new(Recorder::new(Arc::clone(&self.shared)));
        self.recorders.lock().push(Arc::clone(&recorder));
        recorder
    }

    /// By what a database and user are recorded.
    #[must_use]
    pub fn place(&self, database: &str, user: &str) -> Place {
        self.shared.places.place(database, user)
    }

    /// By what an application is recorded.
    #[must_use]
    pub fn application(&self, name: &[u8]) -> u32 {
        self.shared.applications.number(name)
    }

    /// Merges once a second, and whenever workers have a lot, until [`stop`](Self::stop) is called. Blocks, so it wants a
    /// thread of its own: it takes its time where there are many patterns, or while somebody has a report made, and what
    /// one thread allocates and frees is used again, which what comes and goes with other threads is not.
    pub fn work(&self) {
        while let Some(cause) = self.shared.lists.wait() {
            self.merge(SystemTime::now());
            if cause == Cause::Second {
                self.report_slow();
                self.write_hours();
            }
        }
    }

    /// Lets whoever [works](Self::work) return.
    pub fn stop(&self) {
        self.shared.lists.stop();
    }

    /// Adds up what all workers have written down until now.
    pub fn merge(&self, now: SystemTime) {
        let recorders = self.recorders.lock().clone();
        let mut state = self.shared.state.lock();
        state.since.get_or_insert(now);
        state.until = Some(now);
        let State { windows, table, hours, names, due, .. } = &mut *state;
        if let (Some(start), Some(hours)) = (windows.turn(table, now), hours) {
            *due = hours.add_minute((start, windows), &self.shared, names).or_else(|| due.take());
        }
        self.shared.add_aside(&mut state, now);
        for recorder in recorders {
            if let Some(list) = recorder.take() {
                self.shared.add(&mut state, list, now);
            }
        }
        state.repetitions.end_silent(Instant::now(), now);
        self.shared.learn_names(&mut state);
    }

    /// Keeps hours in this file from now on, with those that are there.
    ///
    /// # Errors
    /// The file cannot be opened, or is none of ours.
    pub fn keep_hours(&self, file: &Path) -> Result<(), StoreFault> {
        self.shared.state.lock().hours = Some(Hours::new(Store::open(file)?));
        Ok(())
    }

    /// Writes what is due to be written. Blocks.
    pub fn write_hours(&self) {
        let due = self.shared.state.lock().due.take();
        due.into_iter().for_each(Due::write);
    }

    /// Writes all that was counted, also what could wait. To be called last; blocks.
    pub fn end_hours(&self) {
        let due = {
            let mut state = self.shared.state.lock();
            let State { hours, names, due, windows, table, .. } = &mut *state;
            let last = hours.as_mut().map(|hours| hours.end((windows, table), &self.shared, names));
            due.take().into_iter().chain(last.into_iter().flatten().flatten()).collect::<Vec<_>>()
        };
        due.into_iter().for_each(Due::write);
    }

    /// Takes slow executions from the workers, keeps them, and logs as many as a second may have. One whose pattern is
    /// being learnt waits for the next time.
    pub fn report_slow(&self) {
        let recorders = self.recorders.lock().clone();
        let mut lines = Vec::new();
        let suppressed = {
            let mut state = self.shared.state.lock();
            state.slow.refill();
            let mut ready = state.slow.take_unnamed();
            for recorder in recorders {
                let (slow, lost) = recorder.take_slow();
                state.slow.lost(lost);
                for slow in slow {
                    if self.shared.is_named(&state, &slow) { ready.push(slow) } else { state.slow.put_off(slow) }
                }
            }
            for mut slow in ready {
                let sent = slow.sent.take().map(|sent| *sent);
                if let Some(plans) = &self.plans {
                    let Slow { pattern, database, user, .. } = self.shared.slow(&state, &slow);
                    plans.offer(Sample { pattern, database, user, sent }, Instant::now());
                }
                if state.slow.add(slow.clone()) {
                    lines.push(self.shared.slow(&state, &slow));
                }
            }
            state.slow.take_suppressed()
        };
        for slow in &lines {
            log(slow);
        }
        if suppressed > 0 {
            tracing::warn!(suppressed, "slow statements were not logged: see insight.slow_log_rate");
        }
    }

    /// What was counted until the last merge.
    #[must_use]
    pub fn summary(&self, filter: &Filter) -> Summary {
        let own_statements = self.recorders.lock().iter().map(|recorder| recorder.own()).sum();
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let span = filter.since.zip(state.until).map(|(back, until)| {
            let from = until.checked_sub(back).unwrap_or(SystemTime::UNIX_EPOCH);
            self.shared.span(state, &(from..until + MOMENT))
        });
        let state = &*state;
        let row = |key, tally: &Tally| self.shared.filtered_row(state, key, tally, filter);
        let folded = state.table.folded();
        let since_start = Summary { since: state.since, until: state.until, rows: Vec::new(), folded, own_statements };
        let Some((first, sums)) = span else {
            // One at a time: sums of all patterns together take as much as the table.
            let patterns = state.table.rows().map(|(key, sums)| ((Some(key.digest), key.place), sums));
            let others = state.table.others().map(|(place, sums)| ((None, place), sums));
            let rows = patterns.chain(others).filter_map(|(key, sums)| row(key, &*sums.all()?));
            return Summary { rows: rows.collect(), ..since_start };
        };
        let rows = sums.iter().filter_map(|(key, tally)| row(*key, tally));
        Summary { since: first.or(state.since), rows: rows.collect(), ..since_start }
    }

    /// The latest slow executions, the last first.
    #[must_use]
    pub fn slow(&self, limit: usize) -> Vec<Slow> {
        let state = self.shared.state.lock();
        state.slow.latest(limit).map(|slow| self.shared.slow(&state, slow)).collect()
    }

    /// What sessions repeat, the most expensive first.
    #[must_use]
    pub fn repetitions(&self) -> Vec<Repetition> {
        let state = self.shared.state.lock();
        let findings = state.repetitions.findings();
        let mut all: Vec<Repetition> =
            findings.filter_map(|(subject, found)| self.shared.repetition(&state, *subject, found)).collect();
        all.sort_by_key(|repetition| std::cmp::Reverse(repetition.estimated_saving));
        all
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What was counted in a span of time, by minutes as far as they are known and by hours before; and since when.
    pub(super) fn span(&self, state: &mut State, span: &Range<SystemTime>) -> (Option<SystemTime>, Span) {
        let State { windows, table, hours, names, since, .. } = state;
        let minutes = windows.first(SystemTime::UNIX_EPOCH);
        let by_hours = hours.as_ref().filter(|_| minutes.is_none_or(|first| span.start < first));
        let Some(hours) = by_hours else {
            return (windows.first(span.start).max(*since), windows.span(table, span));
        };
        // From the first hour on whose minutes are all known; what is over of the hour at hand is in the hours. Of the
        // minute in which this process started, another may have counted some.
        let known = minutes.max(*since);
        let whole = known.map_or(0, |first| hour_of(first) + u64::from(start_of(hour_of(first)) < first));
        let border = start_of(whole);
        let late = border.min(windows.current().unwrap_or(border)).max(span.start);
        let mut sums = windows.span(table, &(late..span.end));
        let first = hours.add_to(&mut sums, (span.start, border.min(span.end + HOUR)), self, names);
        (first.or(minutes).map(|first| first.max(span.start)), sums)
    }

    /// Takes a worker's full list.
    pub(super) fn put_aside(&self, list: List) {
        let state = match self.lists.put_aside(list) {
            Help::No => None,
            Help::IfNobodyDoes => self.state.try_lock(),
            Help::Must => Some(self.state.lock()),
        };
        if let Some(mut state) = state {
            self.add_aside(&mut state, SystemTime::now());
        }
    }

    fn add_aside(&self, state: &mut State, now: SystemTime) {
        // No more than wait now: others want the state, too.
        for _ in 0..self.lists.waiting() {
            if let Some(list) = self.lists.next_aside() {
                self.add(state, list, now);
            }
        }
    }

    /// Adds up a list, whose memory is for the next.
    fn add(&self, state: &mut State, list: List, now: SystemTime) {
        for entry in &list {
            state.table.add(entry, |set, tell| self.tags.each(set, tell), now);
            if let Entry::Execution(execution) = entry {
                state.repetitions.see(execution, now);
            }
        }
        self.met.store(state.table.folded(), Ordering::Relaxed);
        self.lists.give_back(list);
    }
}
