//! Wire scripts: `tests/wire/*/*.pt` run on PostgreSQL first, then through pgweir, and any difference is a bug.
//!
//! `PGWEIR_SCRIPT=name` runs the scripts whose path contains the name. Go next to [`script`] for the format, to
//! [`run`](mod@run) for what is recorded, to [`compare`] for how a difference is shown.

mod compare;
mod messages;
mod run;
mod script;
mod tokens;

use std::path::{Path, PathBuf};

use tokio::time::Instant;

use crate::harness::{self, Cluster, Proxy, pgweir, postgres};
use run::Transcript;
use script::Script;

/// Scripts of one area that may wait for the whole guard; then its other scripts are not tried.
const ENOUGH: usize = 3;

/// One libtest test for each folder of scripts.
macro_rules! areas {
    ($($area:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $area() {
            run_area(stringify!($area)).await;
        })*

        #[test]
        fn every_folder_of_scripts_has_its_test() {
            let known = [$(stringify!($area)),*];
            for folder in listing(&scripts_folder()) {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                assert!(!folder.is_dir() || known.contains(&name.as_str()), "tests/wire/{name} is run by no test");
            }
        }
    };
}

areas!(
    simple,
    extended,
    pipeline,
    prepared,
    copy,
    settings,
    login,
    cancel,
    errors,
    notify,
    function_call,
    large,
    state
);

#[test]
fn there_are_at_least_sixty_scripts() {
    let count = listing(&scripts_folder()).iter().filter(|path| path.is_dir()).flat_map(|area| listing(area)).count();
    assert!(count >= 60, "only {count} scripts");
}

async fn run_area(area: &str) {
    let wanted = std::env::var_os("PGWEIR_SCRIPT").unwrap_or_default().to_string_lossy().into_owned();
    let cluster = postgres().await;
    let mut bench = Bench::default();
    let mut failures = Vec::new();
    let (mut tried, mut hanging) = (0, 0);
    for path in listing(&scripts_folder().join(area)) {
        if !path.to_string_lossy().contains(&wanted) {
            continue;
        }
        tried += 1;
        if hanging >= ENOUGH {
            failures.push("… the other scripts were not tried".to_owned());
            break;
        }
        let begun = Instant::now();
        if let Err(failure) = bench.try_script(&path, cluster).await {
            failures.push(failure);
            hanging += usize::from(begun.elapsed() >= harness::GUARD);
        }
    }
    assert!(failures.is_empty(), "{} of {tried} scripts in {area} fail\n\n{}", failures.len(), failures.join("\n\n"));
    assert!(tried > 0 || !wanted.is_empty(), "no scripts in {area}");
}

/// After this, nothing is believed of what tables and functions do.
const FORGETS: &str = "drop extension if exists w_none";

/// Size of the pool, and keys of the configuration.
type Kind = (usize, Vec<(String, String)>);

/// The proxies that an area's scripts share, so that what one script leaves behind meets the next.
#[derive(Default)]
struct Bench {
    proxies: Vec<(Kind, Proxy)>,
}

impl Bench {
    async fn try_script(&mut self, path: &Path, cluster: &Cluster) -> Result<(), String> {
        let script = script::load(path, cluster.version().await)?;
        for sql in &script.setup {
            cluster.execute(sql).await;
        }
        let result = self.passes(&script, cluster).await;
        // Sessions of a failed pass may still hold locks: let the next scripts go on all the same.
        for sql in script.teardown.iter().filter(|_| result.is_ok()) {
            cluster.execute(sql).await;
        }
        result
    }

    async fn passes(&mut self, script: &Script, cluster: &Cluster) -> Result<(), String> {
        let direct = run::run(script, cluster.address(), cluster, true).await?;
        if harness::proxy::binary().is_none() {
            return Ok(());
        }
        for size in [script.backends.unwrap_or(1), 5] {
            let kind = (size, script.config.clone());
            let address = self.proxy(&kind).await;
            if let Some((_, proxy)) = self.proxies.iter().find(|(other, _)| *other == kind && !script.setup.is_empty())
            {
                // What its setup defines has been defined past pgweir.
                proxy.wire().await.query(FORGETS).await;
            }
            let compared = match run::run(script, address, cluster, false).await {
                Ok(proxied) => report(script, size, &direct, &proxied),
                Err(failure) => Err(format!("{failure}\n  through pgweir with {size} backends")),
            };
            if compared.is_err() {
                // The next script must not suffer for this one.
                self.proxies.retain(|(other, _)| *other != kind);
                return compared;
            }
        }
        Ok(())
    }

    async fn proxy(&mut self, kind: &Kind) -> std::net::SocketAddr {
        if let Some((_, proxy)) = self.proxies.iter().find(|(other, _)| other == kind) {
            return proxy.address();
        }
        let (size, config) = kind;
        let builder = config.iter().fold(pgweir().pool_size(*size), |builder, (key, value)| builder.set(key, value));
        let proxy = builder.start().await;
        let address = proxy.address();
        self.proxies.push((kind.clone(), proxy));
        address
    }
}

fn report(script: &Script, size: usize, direct: &Transcript, proxied: &Transcript) -> Result<(), String> {
    match compare::difference(direct, proxied) {
        None => Ok(()),
        Some(difference) => Err(format!("{}, with {size} backends, differs\n{difference}", script.name)),
    }
}

fn scripts_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire")
}

/// Folders and scripts in a folder, by name.
fn listing(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = entries.filter(|path| path.is_dir() || path.extension() == Some("pt".as_ref())).collect();
    paths.sort();
    paths
}
