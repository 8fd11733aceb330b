//! The command line: what pgweir is told to do, and exit codes.

mod digest;
mod hash_password;
mod words;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use crate::app;
use crate::config::{self, LogFormat, Mistakes, Sources};
use crate::demo::{self, Plan};
use crate::report::{self, By, Wish};
use hash_password::Form;

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
#[derive(Debug, Default, clap::Args)]
struct From {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// PostgreSQL's address, in place of a file; DATABASE_URL does the same.
    #[arg(long, value_name = "postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    url: Option<String>,
}

/// Which pgweir is asked.
#[derive(Debug, clap::Args)]
struct Asked {
    /// The configuration file of a pgweir that runs on this machine.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address of pgweir itself, with somebody who may enter its console; DATABASE_URL does the same.
    #[arg(long, value_name = "postgres://USER:PASSWORD@HOST:PORT")]
    url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients (what it does when nothing is said).
    Run(From),
    /// Print the effective configuration and where each value comes from, or every mistake in it.
    Check {
        /// The configuration file; the same as --config.
        file: Option<PathBuf>,
        #[command(flatten)]
        from: From,
    },
    /// Ask a running pgweir what it has seen: patterns by time, what is repeated, what is slow.
    Report(Report),
    /// Show pgweir at work: a throw-away PostgreSQL, pgweir in front of it and many clients on few backends.
    Demo(Demo),
    /// Read SQL from standard input and print its pattern: digest, fingerprint, normalised text, and what it touches.
    Digest {
        #[arg(long, value_enum, default_value_t = digest::Format::Text)]
        format: digest::Format,
    },
    /// Read a password from standard input and print its secret, as PostgreSQL stores it.
    ///
    /// The secret can stand for the password in `[[users]]`. PostgreSQL must then hold the same one, salt and all, or it
    /// refuses the login: run the ALTER ROLE that is printed to standard error. Without that, give the password for
    /// PostgreSQL itself as `backend_password`.
    HashPassword {
        /// Whose password it is: the role that ALTER ROLE names. Md5 secrets depend on it.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// The old form, for servers and clients that know no SCRAM-SHA-256.
        #[arg(long, requires = "user")]
        md5: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Report {
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    what: What,
}

#[derive(Debug, clap::Args)]
struct What {
    /// What patterns are listed by, the greatest first.
    #[arg(long, value_enum, default_value_t = By::Total)]
    by: By,
    /// How many patterns are listed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    top: u32,
    /// Only the last `15m`, `1h` or `1d`; without it, since pgweir started.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Only statements in this database.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Only statements of this user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only what this application had; all figures are its own.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    #[arg(long, value_enum, default_value_t = report::Format::Table)]
    format: report::Format,
    /// Columns of the table [default: the terminal's, or 140].
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,
}

#[derive(Debug, clap::Args)]
struct Demo {
    /// End after this time, `30s` or `2m`, with a summary; without it, Ctrl-C ends it.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
    /// Clients that work at the same time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    clients: u16,
    /// Backends that they share.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    backends: u16,
    /// Where pgweir listens on 127.0.0.1 [default: 6432, or any that is free].
    #[arg(long)]
    port: Option<u16>,
}

/// Does what the command line says. Nothing else in the program reads arguments, and only the demo prints to standard
/// output too.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { from: before, command } = Arguments::parse();
    // What was said before the command counts, too.
    let sources = |config: Option<PathBuf>, url: Option<String>| {
        Sources::of_process(config.or_else(|| before.config.clone()), url.or_else(|| before.url.clone()))
    };
    match command.unwrap_or_else(|| Command::Run(From::default())) {
        Command::Run(from) => run(sources(from.config, from.url)),
        Command::Check { file, from } => check(&sources(file.or(from.config), from.url)),
        Command::Report(Report { asked, what }) => tell(&sources(asked.config, asked.url), what),
        Command::Demo(demo) => show(&demo),
        Command::Digest { format } => digest(format),
        Command::HashPassword { user, md5 } => hash_password(user.as_deref(), md5),
    }
}

fn run(sources: Sources) -> ExitCode {
    let loaded = match config::load(&sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => return fail(&mistakes),
    };
    let set_level = match start_log(&loaded.config.log) {
        Ok(set_level) => set_level,
        Err(error) => return fail(&error),
    };
    for warning in app::exposed(&loaded, sources.file.as_deref()) {
        tracing::warn!("{warning}");
    }
    let ran = control_runtime().context("no runtime");
    match ran.and_then(|runtime| runtime.block_on(app::run(loaded.config, sources, set_level))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if tracing::enabled!(tracing::Level::ERROR) => {
            tracing::error!("pgweir cannot start: {error:#}");
            ExitCode::FAILURE
        }
        Err(error) => fail(&format!("pgweir cannot start: {error:#}")),
    }
}

fn control_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn check(sources: &Sources) -> ExitCode {
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            let of_files = mistakes.rest().map(app::unusable).unwrap_or_default();
            return fail(&mistakes.and(of_files));
        }
    };
    for warning in app::exposed(&loaded, sources.file.as_deref()) {
        eprintln!("warning: {warning}");
    }
    if let Some(mistakes) = Mistakes::of(app::unusable(&loaded)) {
        return fail(&mistakes);
    }
    say(&config::effective(&loaded));
    ExitCode::SUCCESS
}

fn tell(sources: &Sources, wanted: What) -> ExitCode {
    let What { by, top, since, database, user, app, format, width } = wanted;
    let top = usize::try_from(top).unwrap_or(usize::MAX);
    let wish = Wish { by, top, since, database, user, application: app };
    let width = width.map_or_else(report::terminal_width, usize::from);
    let told = control_runtime().map(|runtime| runtime.block_on(report::run(sources, &wish, format, width)));
    match told {
        Ok(Ok(report)) => {
            say(&report);
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => fail(&format!("{error:#}")),
        Err(error) => fail(&error),
    }
}

/// Success only if no client saw an error.
fn show(demo: &Demo) -> ExitCode {
    let plan = Plan {
        lasting: demo.lasting,
        clients: demo.clients.into(),
        backends: demo.backends.into(),
        port: demo.port,
        path: std::env::var_os("PATH"),
    };
    match control_runtime().map(|runtime| runtime.block_on(demo::run(plan))) {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => fail(&format!("the demo cannot go on: {error:#}")),
        Err(error) => fail(&error),
    }
}

/// The secret on standard output; what PostgreSQL must be told for it to be of use there beside it.
fn hash_password(user: Option<&str>, md5: bool) -> ExitCode {
    let form = user.filter(|_| md5).map_or(Form::ScramSha256, |user| Form::Md5 { user: user.to_owned() });
    match hash_password::secret(&form) {
        Ok(secret) => {
            say(&secret);
            eprintln!("-- PostgreSQL lets it in only where it holds the same secret:");
            eprintln!("{}", hash_password::statement_for_the_server(user, &secret));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn digest(format: digest::Format) -> ExitCode {
    match digest::described(format) {
        Ok(described) => {
            say(&described);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("{error:#}")),
    }
}

/// Writes a command's output. A reader that has had enough, as `head` has, is no failure.
fn say(output: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{output}");
}

fn fail(reason: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::FAILURE
}

/// Returns what changes the level.
fn start_log(log: &config::Log) -> anyhow::Result<impl Fn(&str) -> anyhow::Result<()> + use<>> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&log.level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let log_lines = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Json => log_lines.with(lines.json()).init(),
        LogFormat::Text => {
            log_lines.with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).init();
        }
    }
    Ok(move |level: &str| Ok(handle.reload(EnvFilter::try_new(level)?)?))
}
