//! A session that others' statements mention while it has no backend: a connection of its own stands in for that, so
//! that it can be signalled and is listed as any idle session. It costs nothing while nobody is mentioned.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use super::Route;
use super::active::{Active, Ownership, Rest};
use super::ending::{Ending, report_frame};
use super::serve::Serve;
use crate::backend::{Report, StandIn};
use crate::clients::{Backend, Client, Demand, KeptBackend};
use crate::pool::Berth;

/// How long a statement waits for those that it mentions.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many that are idle one statement can mean.
const MOST: usize = 4;
/// Settings by which such a connection is known.
const SHOWN: [&[u8]; 2] = [b"application_name", b"client_encoding"];

/// Those whom the statement at hand mentions keep their backends, or are given something that stands in for them.
pub(super) type StandingIn = Pin<Box<dyn Future<Output = Vec<KeptBackend>> + Send>>;

impl Serve {
    /// Does what those demand who mention this session.
    pub(super) fn heed_mentions(&self, active: &mut Active) -> Result<(), Ending> {
        match self.handle.demand() {
            Demand::Nothing => {}
            Demand::Open if matches!(active.ownership, Ownership::Leased { .. }) => self.handle.is_not_stood_in(),
            Demand::Open => {
                let profile = self.session.profile();
                let shown = SHOWN.into_iter().filter_map(|name| Some((name, profile.get(name)?.into()))).collect();
                tokio::spawn(stand_in(Arc::clone(&self.route), Arc::clone(&self.handle), shown));
            }
            Demand::End(words) => {
                // In the middle of a frame nothing can be said.
                if !matches!(active.backend_rest, Rest::Forward(_)) {
                    active.to_client.push(&report_frame(&Report::new(&words)));
                }
                return Err(Ending::Passed);
            }
        }
        Ok(())
    }

    /// Waits until these processes' sessions can be found, as far as they can.
    pub(super) fn poll_mentioned(&self, given: &[i32], active: &mut Active, cx: &mut Context<'_>) -> Poll<()> {
        let standing_in = active.standing_in.get_or_insert_with(|| {
            let others = given.iter().filter(|given| **given != self.handle.pid);
            // Those that have a backend keep it until the others have something, too.
            let kept = others.filter_map(|given| Some(self.route.clients.find(*given)?.keep_backend()));
            let kept: Vec<KeptBackend> = kept.collect();
            Box::pin(async move {
                let idle = kept.iter().filter(|kept| kept.backend().is_none()).take(MOST);
                let answers: Vec<_> = idle.filter_map(KeptBackend::ask_for_it).collect();
                let all = async {
                    for answer in answers {
                        // Nothing is ever sent.
                        let _ = answer.await;
                    }
                };
                // Who is not there by then is not found.
                let _ = timeout(PATIENCE, all).await;
                kept
            })
        });
        let Poll::Ready(kept) = standing_in.as_mut().poll(cx) else { return Poll::Pending };
        active.standing_in = None;
        active.mentioned.extend(kept);
        Poll::Ready(())
    }
}

async fn stand_in(route: Arc<Route>, client: Arc<Client>, shown: Vec<(&'static [u8], Box<[u8]>)>) {
    let berth = Berth::new(route.pool.budget());
    let (endpoint, login) = (route.target.endpoint(), route.target.login());
    let shown: Vec<(&[u8], &[u8])> = shown.iter().map(|(name, value)| (*name, &**value)).collect();
    let opening = async {
        berth.acquire().await;
        StandIn::open(&endpoint, login, &shown).await
    };
    let opened = timeout(PATIENCE, Box::pin(opening)).await;
    let stand_in = match opened {
        Ok(Ok(stand_in)) => stand_in,
        Ok(Err(refusal)) => return not_found(&client, &refusal),
        Err(elapsed) => return not_found(&client, &elapsed),
    };
    let backend = Backend { server: stand_in.key.server, process: stand_in.key.pid };
    let not_needed = client.is_stood_in_by(backend);
    match stand_in.stand(not_needed).await {
        Some(report) => client.is_terminated(report.body()),
        None => client.is_spared(),
    }
}

/// Nothing stands in for an idle client: statements about it find nobody.
fn not_found(client: &Client, why: &dyn std::fmt::Display) {
    tracing::warn!(pid = client.pid, %why, "an idle session could not be given a process for a statement about it");
    client.is_not_stood_in();
}
