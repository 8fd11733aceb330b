//! The command line: what pgweir is told to do, and exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::app;
use crate::config::{self, LogFormat, Sources};

/// A PostgreSQL connection pooling proxy that applications cannot tell from PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "pgweir", version, about)]
struct Arguments {
    #[command(flatten)]
    from: From,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
struct From {
    /// The configuration file.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// PostgreSQL's address, in place of a file; DATABASE_URL does the same.
    #[arg(long, global = true, value_name = "postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients (what it does when nothing is said).
    Run,
    /// Print the effective configuration and where each value comes from, or every mistake in it.
    Check {
        /// The configuration file; the same as --config.
        file: Option<PathBuf>,
    },
}

/// Does what the command line says. Nothing else in the program reads arguments or prints to standard output.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { from, command } = Arguments::parse();
    match command.unwrap_or(Command::Run) {
        Command::Run => run(Sources::of_process(from.config, from.url)),
        Command::Check { file } => check(&Sources::of_process(file.or(from.config), from.url)),
    }
}

fn run(sources: Sources) -> ExitCode {
    let loaded = match config::load(&sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => return fail(&mistakes),
    };
    if let Err(error) = start_log(&loaded.config.log) {
        return fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(app::run(loaded.config, sources)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("pgweir cannot start: {error:#}")),
    }
}

#[expect(clippy::print_stdout, reason = "its output is what the command is for")]
fn check(sources: &Sources) -> ExitCode {
    match config::load(sources) {
        Ok(loaded) => {
            println!("{}", config::effective(&loaded));
            ExitCode::SUCCESS
        }
        Err(mistakes) => fail(&mistakes),
    }
}

fn fail(reason: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::FAILURE
}

fn start_log(log: &config::Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match log.format {
        LogFormat::Json => lines.json().init(),
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
    Ok(())
}
