//! The one place where everything that was written down comes together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::names::{Names, Place, Places};
use super::recorder::{Entry, Failed, Recorder};
use super::slow::{SlowExecution, SlowLog};
use super::table::Table;
use super::tags::Tags;
use super::tally::Tally;
use super::view::{PatternName, Row, Slow, Summary};
use crate::config;
use crate::sql::{Digest, Patterns};

/// Lists that may wait to be added up; whoever fills one more does it himself.
const ASIDE: usize = 16;
/// Pairs of database and user, and applications, that are told apart.
const PLACES: usize = 10_000;
const APPLICATIONS: usize = 10_000;
/// Between two mergers.
const SECOND: Duration = Duration::from_secs(1);

/// Which of all that was counted one wants to see.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only so far back, in whole minutes; `None` is since the process started.
    pub since: Option<Duration>,
    pub database: Option<String>,
    pub user: Option<String>,
    /// Patterns that are among those of this application; what is told of them is of all applications.
    pub application: Option<String>,
}

/// What a process knows of its statements. Methods may be called from any thread; those that report take as long as
/// there are patterns to copy.
#[derive(Debug)]
pub struct Insight {
    shared: Arc<Shared>,
    recorders: Mutex<Vec<Arc<Recorder>>>,
    enabled: bool,
    sample_parameters: bool,
}

/// What recorders may need, too.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    aside: Mutex<Vec<Vec<Entry>>>,
    filled: Notify,
    places: Places,
    applications: Names,
    tags: Arc<Tags>,
    patterns: Arc<Patterns>,
    met: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    table: Table,
    names: HashMap<Digest, Arc<PatternName>, RandomState>,
    slow: SlowLog,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Insight {
    /// What the traits of statements are is `patterns`' to know.
    #[must_use]
    pub fn new(config: &config::Insight, patterns: Arc<Patterns>) -> Self {
        let state = State {
            table: Table::new(config.max_patterns),
            names: HashMap::default(),
            slow: SlowLog::new(config.slow_log_size, config.slow_log_rate),
            since: None,
            until: None,
        };
        let shared = Shared {
            state: Mutex::new(state),
            aside: Mutex::default(),
            filled: Notify::new(),
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
        }
    }

    /// What a changed configuration changes without a restart.
    pub fn reconfigure(&self, config: &config::Insight) {
        let mut state = self.shared.state.lock();
        state.table.set_limit(config.max_patterns);
        state.slow.reconfigure(config.slow_log_size, config.slow_log_rate);
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

    /// Merges once a second, and whenever a worker has a lot, for as long as it is polled.
    pub async fn work(&self) -> std::convert::Infallible {
        let mut seconds = tokio::time::interval(SECOND);
        seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = seconds.tick() => {
                    self.merge(SystemTime::now());
                    self.report_slow();
                }
                () = self.shared.filled.notified() => self.merge(SystemTime::now()),
            }
        }
    }

    /// Adds up what all workers have written down until now.
    pub fn merge(&self, now: SystemTime) {
        let recorders = self.recorders.lock().clone();
        let mut state = self.shared.state.lock();
        state.since.get_or_insert(now);
        state.until = Some(now);
        self.shared.add_aside(&mut state, now);
        for recorder in recorders {
            let entries = recorder.take();
            self.shared.add(&mut state, &entries, now);
            recorder.give_back(entries);
        }
        self.shared.learn_names(&mut state);
    }

    /// Takes slow executions from the workers, keeps them, and logs as many as a second may have.
    fn report_slow(&self) {
        let recorders = self.recorders.lock().clone();
        let mut lines = Vec::new();
        let suppressed = {
            let mut state = self.shared.state.lock();
            state.slow.refill();
            for recorder in recorders {
                let (slow, lost) = recorder.take_slow();
                state.slow.lost(lost);
                for slow in slow {
                    if state.slow.add(slow.clone()) {
                        lines.push(self.shared.slow(&mut state, &slow));
                    }
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
        let mut sums: Vec<(Option<Digest>, Place, Tally)> = Vec::new();
        sums.extend(state.table.rows().filter_map(|(key, row)| Some((Some(key.digest), key.place, row.all()?))));
        sums.extend(state.table.others().filter_map(|(place, row)| Some((None, place, row.all()?))));
        let rows = sums.into_iter().filter_map(|(digest, place, tally)| {
            let (database, user) = self.shared.places.pair(place);
            let other = |wanted: &Option<String>, is: &str| wanted.as_ref().is_some_and(|wanted| wanted != is);
            if other(&filter.database, &database) || other(&filter.user, &user) {
                return None;
            }
            let application = filter.application.as_ref().map(|name| self.application(name.as_bytes()));
            if application.is_some_and(|application| !tally.applications.has(&application)) {
                return None;
            }
            let pattern = digest.map(|digest| self.shared.name(&mut state.names, digest));
            Some(self.shared.row(pattern, (database, user), &tally))
        });
        let rows = rows.collect();
        Summary { since: state.since, until: state.until, rows, folded: state.table.folded(), own_statements }
    }

    /// The latest slow executions, the last first.
    #[must_use]
    pub fn slow(&self, limit: usize) -> Vec<Slow> {
        let mut state = self.shared.state.lock();
        let latest: Vec<SlowExecution> = state.slow.latest(limit).cloned().collect();
        latest.iter().map(|slow| self.shared.slow(&mut state, slow)).collect()
    }
}

impl Shared {
    /// Takes a worker's full list.
    pub(super) fn put_aside(&self, entries: Vec<Entry>) {
        let mut aside = self.aside.lock();
        aside.push(entries);
        let crowded = aside.len() > ASIDE;
        drop(aside);
        if crowded {
            self.add_aside(&mut self.state.lock(), SystemTime::now());
        } else {
            self.filled.notify_one();
        }
    }

    fn add_aside(&self, state: &mut State, now: SystemTime) {
        let aside = std::mem::take(&mut *self.aside.lock());
        for entries in aside {
            self.add(state, &entries, now);
        }
    }

    fn add(&self, state: &mut State, entries: &[Entry], now: SystemTime) {
        for entry in entries {
            state.table.add(entry, |set, tell| self.tags.each(set, tell), now);
        }
        self.met.store(state.table.folded(), Ordering::Relaxed);
    }

    /// Names patterns while they are known; forgets the names of those that are counted no more.
    fn learn_names(&self, state: &mut State) {
        let State { table, names, .. } = state;
        for (key, _) in table.rows() {
            if !names.contains_key(&key.digest)
                && let Some(name) = self.known(key.digest)
            {
                names.insert(key.digest, name);
            }
        }
        if names.len() > table.len() * 2 + 16 {
            let counted: std::collections::HashSet<Digest> = table.rows().map(|(key, _)| key.digest).collect();
            names.retain(|digest, _| counted.contains(digest));
        }
    }

    fn known(&self, digest: Digest) -> Option<Arc<PatternName>> {
        let pattern = self.patterns.known_by(digest)?;
        let traits = &pattern.traits;
        Some(Arc::new(PatternName {
            digest,
            fingerprint: pattern.fingerprint.clone(),
            text: pattern.normalised.clone(),
            kind: traits.kind,
            reads: traits.reads.clone(),
            writes: traits.writes.clone(),
            shape: traits.shape,
        }))
    }

    fn name(&self, names: &mut HashMap<Digest, Arc<PatternName>, RandomState>, digest: Digest) -> Arc<PatternName> {
        if let Some(name) = names.get(&digest) {
            return Arc::clone(name);
        }
        // It was forgotten before anybody asked.
        self.known(digest).unwrap_or_else(|| {
            Arc::new(PatternName {
                digest,
                fingerprint: None,
                text: Box::default(),
                kind: crate::sql::Kind::Unknown,
                reads: Box::default(),
                writes: Box::default(),
                shape: crate::sql::Shape::default(),
            })
        })
    }

    fn row(&self, pattern: Option<Arc<PatternName>>, (database, user): (Arc<str>, Arc<str>), tally: &Tally) -> Row {
        let applications = tally.applications.sorted().into_iter();
        let tags = tally.tags.sorted().into_iter();
        Row {
            pattern,
            database,
            user,
            calls: tally.calls,
            errors: tally.errors,
            sqlstates: tally.sqlstates.sorted().into_iter().map(|(code, count)| (sqlstate(code), count)).collect(),
            cancelled: tally.cancelled,
            timed_out: tally.timed_out,
            rows: tally.rows,
            bytes_in: tally.bytes_in,
            bytes_out: tally.bytes_out,
            wait: tally.wait.times(),
            server: tally.server.times(),
            drain: tally.drain.times(),
            total: tally.total().times(),
            in_transaction: tally.in_transaction,
            extended: tally.extended,
            idle_after: tally.idle_after.times(),
            first_seen: tally.first_seen,
            last_seen: tally.last_seen,
            applications: applications
                .map(|(number, count)| (self.applications.text(number).as_ref().into(), count))
                .collect(),
            tags: tags
                .map(|(number, count)| {
                    let (key, value) = self.tags.single(number);
                    (key, value, count)
                })
                .collect(),
        }
    }

    fn slow(&self, state: &mut State, slow: &SlowExecution) -> Slow {
        let execution = &slow.execution;
        let (database, user) = self.places.pair(execution.place);
        let nothing = || {
            Arc::new(PatternName {
                digest: Digest::of(b"", &crate::sql::Lexing::default()),
                fingerprint: None,
                text: Box::default(),
                kind: crate::sql::Kind::Unknown,
                reads: Box::default(),
                writes: Box::default(),
                shape: crate::sql::Shape::default(),
            })
        };
        Slow {
            at: slow.at,
            pattern: execution.digest.map_or_else(nothing, |digest| self.name(&mut state.names, digest)),
            database,
            user,
            application: self.applications.text(execution.application).as_ref().into(),
            client: execution.client,
            wait: Duration::from_nanos(execution.wait),
            server: Duration::from_nanos(execution.server),
            drain: Duration::from_nanos(execution.drain),
            rows: execution.rows,
            sqlstate: execution.failed.map(|failed: Failed| sqlstate(failed.sqlstate())),
            tags: self.tags.set(execution.tags),
            parameters: slow.values.clone(),
        }
    }
}

fn sqlstate(code: [u8; 5]) -> Box<str> {
    String::from_utf8_lossy(&code).into()
}

/// One line for a slow execution.
fn log(slow: &Slow) {
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let tags: Vec<String> = slow.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let parameters = slow.parameters.as_ref().map(|values| {
        let shown =
            |value: &Option<Box<str>>| value.as_ref().map_or_else(|| "NULL".to_owned(), |value| format!("{value:?}"));
        values.iter().map(shown).collect::<Vec<_>>().join(", ")
    });
    tracing::warn!(
        digest = %slow.pattern.digest,
        statement = &*slow.pattern.text,
        database = &*slow.database,
        user = &*slow.user,
        application = &*slow.application,
        client = slow.client,
        wait_ms = millis(slow.wait),
        server_ms = millis(slow.server),
        drain_ms = millis(slow.drain),
        rows = slow.rows,
        sqlstate = slow.sqlstate.as_deref(),
        tags = (!tags.is_empty()).then(|| tags.join(",")),
        parameters,
        "a statement was slow"
    );
}
