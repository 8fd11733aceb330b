//! The life of the process: start, signals, end.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::files::room_for_clients;
use super::{Running, named_files, start};
use crate::config::{self, Config, Mistakes, Sources};
use crate::net;

/// Runs pgweir until SIGTERM (drain) or SIGINT (at once); SIGHUP re-reads `sources`. `set_level` changes what is logged.
///
/// # Errors
/// It could not be started.
pub async fn run(
    config: Config,
    sources: Sources,
    set_level: impl Fn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut hang_up = signal(SignalKind::hangup()).context("SIGHUP")?;
    let (before, files) = net::raise_open_files();
    net::take_small_pages();
    let running = start(config).await?;
    announce(&running, before, files);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => {
                tracing::info!("SIGINT: ending at once");
                running.end().await;
                return Ok(());
            }
            _ = hang_up.recv() => reload(&running, &sources, &set_level),
        }
    }
    let timeout = running.server.config.current().process.shutdown_timeout;
    tracing::info!(clients = running.server.clients.logged_in(), "SIGTERM: draining, for at most {timeout:?}");
    let interrupted = async {
        interrupt.recv().await;
    };
    running.drain(timeout, interrupted).await;
    Ok(())
}

/// One line that says where pgweir is and what bounds it.
fn announce(running: &Running, files_before: u64, files: u64) {
    let config = running.server.config.current();
    let mut addresses: Vec<String> = running.addresses().iter().map(ToString::to_string).collect();
    addresses.extend(running.unix_socket().map(|path| path.display().to_string()));
    let databases: Vec<&str> = config.databases.keys().map(String::as_str).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        addresses = addresses.join(","),
        databases = if databases.is_empty() { "*".to_owned() } else { databases.join(",") },
        mode = config.pool.mode.word(),
        size = config.pool.size,
        max_overflow = config.pool.max_overflow,
        workers = config.process.workers,
        max_clients = config.listen.max_clients,
        open_files = files,
        control = if running.control.is_on() { "on" } else { "off: no [control] in the configuration" },
        "pgweir is ready"
    );
    let room = room_for_clients(&config, files);
    if room < config.listen.max_clients {
        tracing::warn!(
            open_files = files,
            before = files_before,
            max_clients = config.listen.max_clients,
            "the system allows fewer open files than listen.max_clients needs, and pgweir no more than {room} clients; \
             raise the hard limit (ulimit -Hn)"
        );
    }
}

fn reload(running: &Running, sources: &Sources, set_level: &impl Fn(&str) -> anyhow::Result<()>) {
    let usable = |loaded| match Mistakes::of(named_files::unusable(&loaded)) {
        Some(mistakes) => Err(mistakes),
        None => Ok(loaded),
    };
    let loaded = match config::load(sources).and_then(usable) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            tracing::error!("SIGHUP: the configuration has mistakes, and the old one stays in force:\n{mistakes}");
            return;
        }
    };
    if let Err(error) = set_level(&loaded.config.log.level) {
        tracing::error!("SIGHUP: log.level stays as it was: {error:#}");
    }
    match running.reload(&loaded.config) {
        Ok(restart) if restart.is_empty() => {}
        Ok(restart) => tracing::warn!(keys = restart.join(", "), "SIGHUP: these changes need a restart"),
        Err(error) => tracing::error!("SIGHUP: the old configuration stays in force: {error:#}"),
    }
}
