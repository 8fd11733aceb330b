//! What is counted of statements, against what clients did and what PostgreSQL's own pg_stat_statements says.

mod against_pgss;
mod counting;
mod privacy;

use std::time::SystemTime;

use pgweir::app::{self, Running};
use pgweir::config::check_text;
use pgweir::insight::Filter;
use pgweir::insight::view::{Row, Summary};
use pgweir::sql::{Digest, Lexing};

use crate::harness::{Cluster, WireClient, postgres};

/// A pgweir in this process, whose counts can be asked.
struct World {
    running: Running,
}

impl World {
    async fn start(more: &str) -> Self {
        Self::in_front_of(postgres().await, more).await
    }

    async fn in_front_of(cluster: &Cluster, more: &str) -> Self {
        let text = format!(
            "[server]\nhost = '127.0.0.1'\nport = {}\n[server.tls]\nmode = 'disable'\n[listen]\nauth = 'trust'\n\
             address = '127.0.0.1:0'\n[[users]]\nname = '*'\n[process]\nworkers = 2\n{more}\n",
            cluster.port()
        );
        let config = check_text("test", &text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}")).config;
        Self { running: Box::pin(app::start(config)).await.expect("pgweir starts") }
    }

    async fn client(&self) -> WireClient {
        WireClient::login(self.running.addresses()[0], "postgres", "postgres").await
    }

    async fn driver(&self) -> tokio_postgres::Client {
        let url = format!("postgres://postgres@{}/postgres", self.running.addresses()[0]);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("login");
        tokio::spawn(connection);
        client
    }

    /// Everything that clients did before their last statement.
    fn summary(&self) -> Summary {
        self.running.insight().merge(SystemTime::now());
        self.running.insight().summary(&Filter::default())
    }

    /// The row of a text's pattern.
    fn row(&self, text: &str) -> Row {
        let (summary, digest) = (self.summary(), Digest::of(text.as_bytes(), &Lexing::default()));
        let found = summary.rows.iter().find(|row| row.pattern.as_ref().is_some_and(|name| name.digest == digest));
        let texts = || summary.rows.iter().filter_map(|row| Some(row.pattern.as_ref()?.text.clone()));
        found.cloned().unwrap_or_else(|| panic!("{text} is not among {:?}", texts().collect::<Vec<_>>()))
    }
}

/// When it has been answered, all that this client did before has been counted.
async fn settle(client: &mut WireClient) {
    client.query("select 'the last'").await;
}
