//! The way from a client's database and user to its pool, made when first asked for and kept up by reloads.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::DashMap;
use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::budgets::Budgets;
use crate::auth::{BackendCredential, BackendLogin};
use crate::backend::{Administration, Dialer, Endpoint, Login, Outage, Target};
use crate::clients::{Clients, Names};
use crate::config::{self, Config, PoolMode};
use crate::insight::{Insight, Tags};
use crate::net::ServerTls;
use crate::notify::{self, Hub, Plan};
use crate::pool::{Blueprint, Emptiness, Pool, PoolKey, Pools, PoolsExhausted};
use crate::prepared::{Allowance, Registry};
use crate::proxy::{Limits, Route};
use crate::session::{Functions, Hold, LimitsMet, Measuring, ReadTags, Rules, Sequences};
use crate::settings::{Profiles, Startups};
use crate::sql::{Lexing, Patterns};
use crate::stats::{Limit, LimitHits};

/// Every route in use, and what they are made of.
#[derive(Debug)]
pub struct Routes {
    routes: DashMap<PoolKey, Arc<Route>>,
    /// Those of sessions that have logged in before a reload.
    former: Mutex<Vec<Weak<Route>>>,
    pools: Arc<Pools<Dialer>>,
    administration: Arc<Administration>,
    budgets: Budgets,
    hub: Arc<Hub>,
    registry: Arc<Registry>,
    profiles: Arc<Profiles>,
    insight: Arc<Insight>,
    tls: ArcSwapOption<ServerTls>,
    limit_hits: Arc<LimitHits>,
    clients: Arc<Clients>,
}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub enum NoRoute {
    #[error("database \"{0}\" does not exist")]
    NoDatabase(String),
    #[error(transparent)]
    TooManyPools(#[from] PoolsExhausted),
}

impl Routes {
    #[must_use]
    pub fn new(
        config: &Config,
        tls: Option<ServerTls>,
        tasks: TaskTracker,
        hub: Arc<Hub>,
        insight: Arc<Insight>,
    ) -> Self {
        let limit_hits = Arc::new(LimitHits::default().counting(Limit::MaxPatterns, insight.met()));
        let hits = Arc::clone(&limit_hits);
        let pools = Arc::new(Pools::new(config.limits.pools, config.limits.waiters, tasks, hits));
        let registry = Registry::new(config.limits.statements, config.limits.statement_memory)
            .counting(limit_hits.counter(Limit::Statements), limit_hits.counter(Limit::StatementMemory));
        let profiles = Profiles::new(config.limits.profiles).counting(limit_hits.counter(Limit::Profiles));
        Self {
            routes: DashMap::new(),
            former: Mutex::default(),
            administration: Arc::new(Administration::new(Arc::clone(&pools))),
            pools,
            budgets: Budgets::default(),
            hub,
            registry: Arc::new(registry),
            profiles: Arc::new(profiles),
            insight,
            tls: ArcSwapOption::from_pointee(tls),
            limit_hits,
            clients: Arc::new(Clients::new(config.listen.max_clients)),
        }
    }

    /// Who is connected, on all routes.
    #[must_use]
    pub fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    #[must_use]
    pub fn pools(&self) -> &Arc<Pools<Dialer>> {
        &self.pools
    }

    /// Where everybody counts who keeps a limit.
    #[must_use]
    pub fn limit_hits(&self) -> &Arc<LimitHits> {
        &self.limit_hits
    }

    #[must_use]
    pub fn administration(&self) -> &Administration {
        &self.administration
    }

    /// The backends that listen for many sessions.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// What is known of the statements that clients send.
    #[must_use]
    pub fn patterns(&self) -> &Arc<Patterns> {
        self.insight.patterns()
    }

    /// What is known of statements that have run.
    #[must_use]
    pub fn insight(&self) -> &Arc<Insight> {
        &self.insight
    }

    #[must_use]
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// The route of a client's database and user.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn open(
        &self,
        config: &Config,
        database: &str,
        user: &str,
        credential: &BackendCredential,
    ) -> Result<Arc<Route>, NoRoute> {
        let key = PoolKey { database: database.to_owned(), user: user.to_owned() };
        if let Some(route) = self.routes.get(&key)
            && self.pools.get(&key).is_some()
        {
            return Ok(Arc::clone(route.value()));
        }
        let endpoint = self.endpoint(config, database, user, credential)?;
        let target = Arc::new(Target::new(endpoint, login_of(credential)));
        let settings = config.pool_for(database, user);
        if self.pools.is_full() {
            self.forget_disused(Emptiness::Now);
        }
        let pool = self.pools.open::<PoolsExhausted>(&key, || {
            Ok(Blueprint {
                manager: Dialer {
                    target: Arc::clone(&target),
                    profiles: Arc::clone(&self.profiles),
                    startups: Arc::new(Startups::new(config.limits.profiles)),
                    statements: AtomicUsize::new(config.limits.backend_statements),
                    compiled: Arc::default(),
                    holders: Arc::clone(self.hub.holders()),
                    outage: Outage::default(),
                    passing_over: Outage::default(),
                    defaults: ArcSwapOption::empty(),
                    notices: ArcSwapOption::empty(),
                },
                config: settings.clone(),
                budget: self.budgets.of(&target.endpoint().hosts, config.server.max_connections),
                backoff: config.server.backoff.clone(),
            })
        })?;
        let names = Names { database: database.into(), user: user.into() };
        let route = Arc::new(Route {
            names: Arc::new(names),
            database: database.to_owned(),
            user: user.to_owned(),
            target: Arc::clone(&pool.manager().target),
            hub: Arc::clone(&self.hub),
            rules: Arc::new(self.rules(config, &settings, &pool)),
            startups: Arc::clone(&pool.manager().startups),
            limits: ArcSwap::from_pointee(Limits::new(&settings, &config.limits)),
            administration: Arc::clone(&self.administration),
            limit_hits: Arc::clone(&self.limit_hits),
            place: self.insight.place(database, user),
            insight: Arc::clone(&self.insight),
            clients: Arc::clone(&self.clients),
            pool,
        });
        self.routes.insert(key, Arc::clone(&route));
        Ok(route)
    }

    /// Where a client's backends are, and who they log in as.
    ///
    /// # Errors
    /// [`NoRoute::NoDatabase`].
    pub fn endpoint(
        &self,
        config: &Config,
        database: &str,
        user: &str,
        credential: &BackendCredential,
    ) -> Result<Endpoint, NoRoute> {
        let place = config.database_for(database).ok_or_else(|| NoRoute::NoDatabase(database.to_owned()))?;
        Ok(self.endpoint_at(config, place, credential.user.clone().unwrap_or_else(|| user.to_owned())))
    }

    pub(super) fn endpoint_at(&self, config: &Config, place: config::Target, user: String) -> Endpoint {
        Endpoint {
            hosts: place.hosts,
            dbname: place.dbname,
            user,
            tls: self.tls.load().as_deref().cloned(),
            tls_mode: config.server.tls.mode,
            connect_timeout: config.server.connect_timeout,
            keepalive: config.server.keepalive.clone(),
        }
    }

    /// Brings all routes and pools to a new configuration; sessions live on.
    pub fn reconfigure(
        &self,
        config: &Config,
        tls: Option<ServerTls>,
        credential: impl Fn(&str) -> Option<BackendCredential>,
        now: Instant,
    ) {
        self.tls.store(tls.map(Arc::new));
        self.insight.reconfigure(&config.insight);
        self.insight.set_budgets(config.budgets);
        self.pools.set_limits(config.limits.pools, config.limits.waiters);
        let pools = self.pools.all();
        self.budgets.set_max(&pools, config.server.max_connections, now);
        self.pools.reconfigure(now, |key| Some(config.pool_for(&key.database, &key.user)));
        for pool in &pools {
            let dialer = pool.manager();
            pool.set_backoff(config.server.backoff.clone());
            dialer.statements.store(config.limits.backend_statements, Ordering::Relaxed);
            let known = credential(&pool.key().user);
            let mut logs_in_otherwise =
                known.as_ref().is_some_and(|credential| dialer.target.set_login(login_of(credential)));
            // Who may not log in any more is served on, by those that they had.
            let user = match known {
                Some(credential) => credential.user.unwrap_or_else(|| pool.key().user.clone()),
                None => dialer.target.endpoint().user.clone(),
            };
            if let Some(place) = config.database_for(&pool.key().database)
                && dialer.target.move_to(self.endpoint_at(config, place, user))
            {
                pool.retire_all(now);
                logs_in_otherwise = true;
            }
            if logs_in_otherwise {
                dialer.startups.forget();
            }
        }
        self.budgets.follow(&pools);
        // Sessions that start from now on get new rules: modes and limits of a session are fixed at its login.
        let mut former = self.former.lock();
        former.extend(self.routes.iter().map(|route| Arc::downgrade(&route)));
        self.routes.clear();
        former.retain(|route| {
            let Some(route) = route.upgrade() else { return false };
            let settings = config.pool_for(&route.database, &route.user);
            route.limits.store(Arc::new(Limits::new(&settings, &config.limits)));
            true
        });
        self.hub.reconfigure(notify::Limits::of(&config.limits), |key| {
            self.pools.get(&key.pool).map(|pool| Plan::of(&pool))
        });
    }

    /// Once a second. A pool that nobody uses stays known with its figures until its place is needed, but for one that
    /// never had a backend: clients may name databases that do not exist.
    pub fn maintain(&self, now: Instant) {
        self.pools.maintain(now);
        self.forget_disused(Emptiness::Always);
    }

    /// Forgets pools that are empty, with their routes, where no session is on its way there.
    fn forget_disused(&self, when: Emptiness) {
        self.routes.retain(|_, route| Arc::strong_count(route) > 1 || !route.pool.is_empty(when));
        self.pools.forget(when);
    }

    /// Forgets a route that was made after a configuration that holds no more.
    pub fn discard(&self, route: &Arc<Route>) {
        self.routes.retain(|_, known| !Arc::ptr_eq(known, route));
    }

    fn rules(&self, config: &Config, settings: &config::Pool, pool: &Pool<Dialer>) -> Rules {
        let compiled = Arc::clone(&pool.manager().compiled);
        if settings.mode == PoolMode::Session {
            compiled.note_unread();
        }
        Rules {
            hold: match settings.mode {
                PoolMode::Session => Hold::Session,
                PoolMode::Statement => Hold::Statement,
                PoolMode::Transaction => Hold::Transaction,
            },
            promote_unnamed: settings.promote_unnamed,
            allowance: Allowance {
                statements: config.limits.client_statements,
                memory: config.limits.client_statement_memory,
            },
            pipeline: config.limits.pipeline,
            registry: Arc::clone(&self.registry),
            scope: FixedState::with_seed(0).hash_one(pool.key()),
            profiles: Arc::clone(&self.profiles),
            patterns: Arc::clone(self.insight.patterns()),
            functions: Arc::new(Functions::new(config.limits.patterns, &config.session.stateful_functions, compiled)),
            measuring: self.measuring(),
            channels_asked_late: AtomicBool::new(false),
            sequences: match settings.sequences {
                config::Sequences::Auto => Sequences::Auto { asked: AtomicBool::new(false) },
                config::Sequences::Off => Sequences::Off,
                config::Sequences::Pin => Sequences::Pin,
            },
            met: LimitsMet {
                client_statements: self.limit_hits.counter(Limit::ClientStatements),
                client_statement_memory: self.limit_hits.counter(Limit::ClientStatementMemory),
                pipeline: self.limit_hits.counter(Limit::Pipeline),
            },
        }
    }

    fn measuring(&self) -> Option<Measuring> {
        let insight = &self.insight;
        let tags: Arc<dyn ReadTags> = Arc::new(TagReader(Arc::clone(insight.tags())));
        let texts = insight.plans().is_some();
        insight.is_enabled().then(|| Measuring { tags: Some(tags), parameters: insight.samples_parameters(), texts })
    }
}

/// Gives sessions insight's reading of tags.
#[derive(Debug)]
struct TagReader(Arc<Tags>);

impl ReadTags for TagReader {
    fn read(&self, text: &[u8], lexing: &Lexing) -> u32 {
        self.0.read(text, lexing)
    }
}

/// What backends of this credential log in with.
#[must_use]
pub fn login_of(credential: &BackendCredential) -> Login {
    match &credential.login {
        BackendLogin::Password(password) => Login::Password(password.clone()),
        BackendLogin::Md5Hash(hash) => Login::Md5Hash(*hash),
        // The keys come with a client's login.
        BackendLogin::ScramPassThrough | BackendLogin::None => Login::None,
    }
}
