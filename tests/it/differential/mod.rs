//! Random programs of several sessions, run on PostgreSQL itself and through pgweir: every reply must be the same.
//!
//! A program is made from a seed. A difference is shrunk and printed as a wire script (see `tests/wire/README.md`).
//!
//!     cargo test --test it differential
//!     PGWEIR_DIFFERENTIAL=2000..2500 cargo test --test it differential     # these seeds
//!     PGWEIR_DIFFERENTIAL_FEATURES=Pids,Listen …                           # programs of these alone
//!     PGWEIR_DIFFERENTIAL_KIND=everything …                                # also what is known to be missing
//!
//! [`features`] says what programs may contain and what is missing yet, [`statements`] is their vocabulary,
//! [`generator`] makes steps of it, [`run`] does them, [`shrink`] finds the few that matter.

mod features;
mod generator;
mod program;
pub mod rng;
mod run;
mod shrink;
mod statements;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use generator::{Generator, Kind};
use program::{Cast, Step};
use run::{Difference, Recording, Side};

use crate::harness::{Cluster, Frame, pgweir, postgres};

/// Steps of one program.
const STEPS: usize = 50;

/// Both sides of a comparison.
struct Bench {
    cluster: &'static Cluster,
    direct: Side,
    pooled: Side,
}

impl Bench {
    async fn make(name: &str) -> Self {
        let cluster = postgres().await;
        static ROLES: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        let roles = "create role differ_user login noinherit; create role differ_a; create role differ_b; \
            grant differ_a, differ_b to differ_user";
        ROLES.get_or_init(|| cluster.execute(roles)).await;
        Self {
            cluster,
            direct: Side::make(cluster, &format!("differ_{name}_direct")).await,
            pooled: Side::make(cluster, &format!("differ_{name}_pooled")).await,
        }
    }

    /// Runs the recorded steps through a fresh pgweir.
    async fn pooled(&self, cast: &Cast, recording: &Recording, timeout: &str) -> Option<Difference> {
        let pins = cast.backends.to_string();
        let proxy = pgweir().pool_size(cast.backends).set("pool.max_pinned", &pins).set("pool.timeout", timeout);
        let proxy = proxy.start().await;
        let difference = run::pooled((proxy.address(), &self.pooled), cast, recording).await;
        drop(proxy);
        difference
    }

    async fn generated(&self, cast: &Cast, mut generator: Generator) -> Recording {
        run::direct((self.cluster.address(), &self.direct), cast, |view| generator.next(view)).await
    }

    async fn repeated(&self, cast: &Cast, steps: &[Step]) -> Recording {
        let mut steps = steps.iter().cloned();
        run::direct((self.cluster.address(), &self.direct), cast, |_| steps.next()).await
    }

    /// A seed's program with this many backends: nothing, or what differs, for people.
    async fn try_seed(&self, seed: u64, kind: Kind, backends: Option<usize>) -> Option<Finding> {
        let cast = generator::cast(seed, kind, backends);
        let recording = self.generated(&cast, Generator::new(seed, kind, STEPS)).await;
        let difference = self.pooled(&cast, &recording, "'5s'").await?;
        let cause = signature(&difference, &recording);
        let steps: Vec<Step> = recording.done.iter().take(difference.at + 1).map(|done| done.step.clone()).collect();
        let shown = shrink::shrink(steps, async |fewer| {
            let recording = self.repeated(&cast, fewer).await;
            let again = self.pooled(&cast, &recording, "'500ms'").await;
            again.is_some_and(|again| signature(&again, &recording).1 == cause.1)
        })
        .await;
        let recording = self.repeated(&cast, &shown).await;
        let (difference, shown) = match self.pooled(&cast, &recording, "'500ms'").await {
            Some(again) => (again, recording.done.iter().map(|done| done.step.clone()).collect()),
            None => (difference, shown),
        };
        let title = format!("seed {seed}, {kind:?}, {} sessions, {} backends", cast.startups.len(), cast.backends);
        Some(Finding { cause: cause.0, text: described(&title, &cast, &shown, &difference) })
    }
}

/// A difference, shrunk.
struct Finding {
    /// What is alike in differences that have one cause.
    cause: String,
    text: String,
}

/// The first frames that differ, as a cause to group by (with the statement) and to keep while shrinking.
fn signature(difference: &Difference, recording: &Recording) -> (String, String) {
    let pairs = difference.direct.iter().map(Some).chain([None]).zip(difference.pgweir.iter().map(Some).chain([None]));
    let first = pairs.into_iter().find(|(one, other)| one != other);
    let shown = |frame: Option<&Frame>| match frame {
        // This one names the limit, which is another one while shrinking.
        Some(frame) if frame.field(b'C').is_some_and(|code| code == "53300") => frame.summary(),
        Some(frame) if matches!(frame.tag(), b'E' | b'N') => {
            format!("{} {}", frame.summary(), frame.field(b'M').unwrap_or_default())
        }
        Some(frame) if frame.tag() == b'D' => frame.name(),
        Some(frame) => frame.summary(),
        None => "–".to_owned(),
    };
    let (one, other) = first.unwrap_or_default();
    let pair = format!("{} | {} {}", shown(one), shown(other), difference.trouble.as_deref().unwrap_or_default());
    let step = recording.done.get(difference.at).map(|done| format!("{:?}", done.step.deed)).unwrap_or_default();
    (format!("{step}: {pair}"), pair)
}

fn described(title: &str, cast: &Cast, steps: &[Step], difference: &Difference) -> String {
    let mut text = format!("# {title}\n{}", program::script(cast, steps));
    let summaries = |frames: &[Frame]| frames.iter().map(Frame::summary).collect::<Vec<_>>().join(" ");
    let _ = writeln!(text, "# direct: {}", summaries(&difference.direct));
    let _ = writeln!(text, "# pgweir: {}", summaries(&difference.pgweir));
    for (one, other) in difference.direct.iter().zip(&difference.pgweir).filter(|(one, other)| one != other).take(1) {
        let _ = writeln!(text, "#   direct {}\n#   pgweir {}", one.detail(), other.detail());
    }
    if let Some(trouble) = &difference.trouble {
        let _ = writeln!(text, "# {trouble}");
    }
    text
}

/// Seeds that were asked for, or the usual ones.
fn seeds(usual: Range<u64>) -> Range<u64> {
    let Some(asked) = std::env::var_os("PGWEIR_DIFFERENTIAL") else { return usual };
    let asked = asked.to_string_lossy();
    let (start, end) = asked.split_once("..").unwrap_or((&asked, ""));
    let start = start.parse().expect("PGWEIR_DIFFERENTIAL=SEED or FIRST..END");
    start..end.parse().unwrap_or(start + 1)
}

fn kind(usual: Kind) -> Kind {
    match std::env::var_os("PGWEIR_DIFFERENTIAL_KIND") {
        Some(kind) if kind == "everything" => Kind::Everything,
        Some(kind) if kind == "freed" => Kind::Freed,
        _ => usual,
    }
}

/// Runs all programs; one finding for each cause.
async fn compare(name: &str, kind: Kind, seeds: Range<u64>, backends: &[Option<usize>]) {
    let bench = Bench::make(name).await;
    let mut findings: BTreeMap<String, String> = BTreeMap::new();
    for seed in seeds {
        for backends in backends {
            if let Some(finding) = bench.try_seed(seed, kind, *backends).await {
                eprintln!("{}", finding.text);
                findings.entry(finding.cause).or_insert(finding.text);
            }
        }
    }
    let texts: Vec<String> = findings.into_values().collect();
    assert!(texts.is_empty(), "{} differences\n\n{}", texts.len(), texts.join("\n"));
}

#[tokio::test]
async fn sessions_that_share_fewer_backends_get_what_postgresql_answers() {
    compare("carried", kind(Kind::Carried), seeds(0..12), &[Some(1), Some(2), Some(5)]).await;
}

#[tokio::test]
async fn sessions_that_keep_their_backends_get_what_postgresql_answers() {
    compare("pinned", kind(Kind::Pinned), seeds(100..120), &[None]).await;
}

#[tokio::test]
async fn sessions_that_free_their_backends_get_what_postgresql_answers() {
    compare("freed", kind(Kind::Freed), seeds(200..215), &[Some(2)]).await;
}
