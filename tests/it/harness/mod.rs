//! What every test stands on: a throw-away PostgreSQL ([`postgres`]), the real `pgweir` binary ([`pgweir`]) and a raw
//! protocol client ([`wire`]). It holds no test and knows nothing of what a single test wants to show.
//!
//! Go next to [`postgres`](mod@postgres) for the cluster, to [`proxy`] for the binary, to [`wire`] for bytes, to
//! [`relay`] for what is between pgweir and PostgreSQL.

pub mod frame;
pub mod postgres;
pub mod proxy;
pub mod relay;
pub mod tls;
pub mod wire;

pub use frame::Frame;
pub use postgres::{Cluster, own_postgres, postgres};
pub use proxy::{Builder, Proxy, pgweir};
pub use relay::Relay;
pub use wire::WireClient;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The longest that anything in a test is waited for. It ends a hanging test with an explanation; nothing is ever
/// asserted about being faster than this.
pub const GUARD: Duration = Duration::from_secs(30);

/// Waits for `future`, or panics saying that `what` did not happen.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(GUARD, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing within {GUARD:?}"),
    }
}

/// Asks `question` until it answers yes; panics after [`GUARD`]. For facts that only a third party (usually
/// `pg_stat_activity`) can tell and that nothing announces.
pub async fn eventually(what: &str, mut question: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !question().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(what, asked).await;
}

/// Runs a program to its end with this input. Blocks.
#[must_use]
pub fn fed(program: &mut Command, input: &str) -> Output {
    let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("it starts");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// The SQLSTATE of the first error among these frames.
#[must_use]
pub fn code(frames: &[Frame]) -> Option<String> {
    frames.iter().find(|frame| frame.tag() == b'E').and_then(|frame| frame.field(b'C'))
}
