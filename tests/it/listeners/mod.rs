//! Shared listening backends in front of a real PostgreSQL, driven as a session drives them.
//! This file holds the world they live in; go next to `hearing` or `life`.

mod hearing;
mod life;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use pgweir::backend::{Endpoint, Holders, Login, Target};
use pgweir::clients::{Client, Clients, Seat};
use pgweir::config::{Backoff, Host, Keepalive, ServerTlsMode};
use pgweir::notify::{Channel, Hub, Limits, ListenKey, NotHeard, Plan, Subscriber, Ticket, TooManyListeners, When};
use pgweir::pool::{Budget, PoolKey};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::harness::{Cluster, postgres, within};

const LIMITS: Limits = Limits { notifications: 1 << 20, channels: 100, listeners: 10 };

/// A hub for one database of a cluster.
struct World {
    hub: Arc<Hub>,
    holders: Arc<Holders>,
    clients: Arc<Clients>,
    plan: Plan,
    database: String,
    cluster: &'static Cluster,
}

struct Session {
    client: Arc<Client>,
    subscriber: Subscriber,
    _seat: Seat,
}

/// One thing that a client would read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mail {
    Missed,
    Note { pid: i32, channel: Vec<u8>, payload: Vec<u8> },
}

fn plan(cluster: &Cluster, user: &str, database: &str, login: Login) -> Plan {
    let endpoint = Endpoint {
        hosts: vec![host(cluster)],
        dbname: database.to_owned(),
        user: user.to_owned(),
        tls: None,
        tls_mode: ServerTlsMode::Disable,
        connect_timeout: Duration::from_secs(10),
        keepalive: Keepalive { idle: None, interval: None, retries: None },
    };
    Plan {
        target: Arc::new(Target::new(endpoint, login)),
        budget: Budget::new(None),
        backoff: Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(100) },
        timeout: Duration::from_secs(25),
        idle_timeout: None,
    }
}

fn host(cluster: &Cluster) -> Host {
    Host::Tcp { name: "127.0.0.1".to_owned(), port: cluster.port() }
}

fn hub(limits: Limits) -> (Arc<Hub>, Arc<Holders>) {
    let holders = Arc::new(Holders::default());
    (Hub::new(Handle::current(), CancellationToken::new(), Arc::clone(&holders), limits), holders)
}

impl World {
    /// In a database of its own, so that nobody else's backends are counted.
    async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = postgres().await;
        let database = format!("listeners_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        cluster.execute(&format!("create database {database}")).await;
        Self::of(cluster, LIMITS, plan(cluster, "postgres", &database, Login::None))
    }

    fn of(cluster: &'static Cluster, limits: Limits, plan: Plan) -> Self {
        let (hub, holders) = hub(limits);
        let database = plan.target.endpoint().dbname.clone();
        Self { hub, holders, clients: Arc::new(Clients::new(10_000)), plan, database, cluster }
    }

    fn key(&self, encoding: Option<&str>) -> ListenKey {
        let pool = PoolKey { database: self.database.clone(), user: "postgres".to_owned() };
        ListenKey { pool, encoding: encoding.map(|name| name.as_bytes().into()) }
    }

    fn try_session(&self, encoding: Option<&str>) -> Result<Session, TooManyListeners> {
        let mut seat = self.clients.seat().expect("a seat");
        let client = seat.log_in(pgweir::clients::Identity::of("postgres", "postgres"), false, [0; 32]);
        let subscriber = self.hub.subscriber(&self.key(encoding), self.plan.clone(), &client)?;
        Ok(Session { client, subscriber, _seat: seat })
    }

    fn session(&self) -> Session {
        self.try_session(None).expect("a listener")
    }

    async fn listening(&self, channels: &[&str]) -> Session {
        let mut session = self.session();
        for channel in channels {
            session.listen(channel).await.expect("LISTEN");
        }
        session
    }

    async fn notifier(&self) -> tokio_postgres::Client {
        self.cluster.connect("postgres", &self.database).await
    }

    /// Shared backends that PostgreSQL knows in this database.
    async fn backends(&self) -> i64 {
        let sql = format!(
            "select count(*) from pg_stat_activity where application_name = 'pgweir listen' and datname = '{}'",
            self.database
        );
        self.cluster.count(&sql).await
    }

    async fn kill_backends(&self) {
        let sql = format!(
            "select pg_terminate_backend(pid, 20000) from pg_stat_activity \
             where application_name = 'pgweir listen' and datname = '{}'",
            self.database
        );
        self.cluster.execute(&sql).await;
    }
}

impl Session {
    /// Waits until the client is signalled and `look` finds something.
    async fn until<T>(&self, what: &str, mut look: impl FnMut(&Subscriber) -> Option<T>) -> T {
        let looking = poll_fn(|cx| {
            self.client.listen(cx.waker());
            let _ = self.client.take_signals();
            look(&self.subscriber).map_or(Poll::Pending, Poll::Ready)
        });
        within(what, looking).await
    }

    async fn settled(&self, ticket: &Ticket) -> Result<(), NotHeard> {
        self.until("a ticket is settled", |_| ticket.outcome()).await
    }

    /// LISTEN as a transaction of its own.
    async fn listen(&mut self, channel: &str) -> Result<(), NotHeard> {
        self.listen_bytes(channel.as_bytes()).await
    }

    async fn listen_bytes(&mut self, channel: &[u8]) -> Result<(), NotHeard> {
        let ticket = self.subscriber.listen(Channel::new(channel).expect("a name"), When::Now);
        let outcome = self.settled(&ticket).await;
        if outcome.is_ok() {
            self.subscriber.commit()
        } else {
            self.subscriber.rollback()
        }
        outcome
    }

    fn unlisten(&mut self, channel: &str) {
        self.subscriber.unlisten(name(channel));
        self.subscriber.commit();
    }

    async fn barrier(&self) {
        self.settled(&self.subscriber.barrier()).await.expect("a barrier");
    }

    fn mail(&self) -> Vec<Mail> {
        let mut bytes = Vec::new();
        self.subscriber.take(&mut bytes, usize::MAX).expect("room");
        read_mail(&bytes)
    }

    /// Everything that comes until there are `count` pieces.
    async fn wait_for_mail(&self, count: usize) -> Vec<Mail> {
        let mut mail = Vec::new();
        self.until("notifications", |_| {
            mail.extend(self.mail());
            (mail.len() >= count).then_some(())
        })
        .await;
        mail
    }

    /// Payloads of what has come by now.
    async fn heard(&self) -> Vec<String> {
        self.barrier().await;
        payloads(&self.mail())
    }
}

fn name(channel: &str) -> Channel {
    Channel::new(channel.as_bytes()).expect("a name")
}

fn read_mail(mut bytes: &[u8]) -> Vec<Mail> {
    let mut mail = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let (body, next) = rest.split_at(length);
        bytes = next;
        match head[0] {
            b'A' => {
                let (pid, strings) = body.split_first_chunk().expect("a process id");
                let mut strings = strings.split(|byte| *byte == 0).map(<[u8]>::to_vec);
                let (channel, payload) = (strings.next().expect("channel"), strings.next().expect("payload"));
                mail.push(Mail::Note { pid: i32::from_be_bytes(*pid), channel, payload });
            }
            b'N' => mail.push(Mail::Missed),
            tag => panic!("a frame of type {tag}"),
        }
    }
    mail
}

fn payloads(mail: &[Mail]) -> Vec<String> {
    let text = |mail: &Mail| match mail {
        Mail::Missed => "(missed)".to_owned(),
        Mail::Note { payload, .. } => String::from_utf8_lossy(payload).into_owned(),
    };
    mail.iter().map(text).collect()
}

async fn process_id(client: &tokio_postgres::Client) -> i32 {
    client.query_one("select pg_backend_pid()", &[]).await.expect("a row").get(0)
}
