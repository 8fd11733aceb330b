//! What the demo says: in place on a terminal, line by line anywhere else.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::meter::Figures;
use super::visit::Kind;
use super::workload::Tally;
use crate::report::figures::{self, time};
use crate::stats::{Times, TimesSummary};

/// How often figures are new where they are drawn in place, and where each is a line.
const IN_PLACE: Duration = Duration::from_secs(1);
const LINES: Duration = Duration::from_secs(5);

/// Where the demo shows itself. Clones draw in the same place.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    bar: ProgressBar,
    is_terminal: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        Self { bar, is_terminal: io::stdout().is_terminal() }
    }

    /// How long a period should be.
    pub(super) fn period(&self) -> Duration {
        if self.is_terminal { IN_PLACE } else { LINES }
    }

    /// Lines that stay.
    pub(super) fn say(&self, text: &str) {
        // Nobody may be reading any more; the demo ends all the same.
        self.bar.suspend(|| writeln!(io::stdout(), "{text}")).ok();
    }

    /// A step of the preparations.
    pub(super) fn step(&self, text: &str) {
        if self.is_terminal {
            self.bar.set_style(style("  {spinner:.cyan} {msg}"));
            self.bar.enable_steady_tick(Duration::from_millis(100));
            self.bar.set_message(text.to_owned());
        } else {
            self.say(text);
        }
    }

    /// The show begins with a welcome. `lasting` is what `--for` said.
    ///
    /// What is drawn begins with an empty line: a terminal that shows `^C` moves everything down by one, so that
    /// clearing misses the first line.
    pub(super) fn begin(&self, welcome: &str, lasting: Option<Duration>) {
        self.bar.disable_steady_tick();
        self.clear();
        let gap = if self.is_terminal { "" } else { "\n" };
        self.say(&format!("{welcome}{gap}"));
        self.bar.reset();
        if let Some(lasting) = lasting {
            self.bar.set_length(millis(lasting));
            let total = humantime::format_duration(lasting);
            self.bar.set_style(style(&format!("\n  {{bar:50.cyan/blue}}  {{elapsed}} of {total}\n{{msg}}")));
        } else {
            self.bar.set_style(style("\n  {spinner:.cyan} {elapsed_precise}\n{msg}"));
        }
        self.bar.set_message("");
    }

    /// The time goes on.
    pub(super) fn advance(&self, begun: Instant) {
        self.bar.set_position(millis(begun.elapsed()));
        self.bar.tick();
    }

    /// A period is over.
    pub(super) fn show(&self, figures: &Figures, backends: usize, begun: Instant) {
        if self.is_terminal {
            self.bar.set_message(panel(figures, backends));
        } else {
            self.say(&line(figures, backends, begun.elapsed()));
        }
    }

    /// What moved is taken away; what was said stays.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Log lines go to standard error without tearing what is drawn.
impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─")
}

fn panel(figures: &Figures, backends: usize) -> String {
    format!(
        "\n  {:>6} clients    {:>3} of {backends} backends in use    {:>4} waiting    {:>7} transactions/s\n\n\
         \x20                      p50        p95        p99\n{}\n{}\n\n\
         \x20 Figures are those of the last second; in use and waiting are the highest seen in it.",
        HumanCount(u64::try_from(figures.clients).unwrap_or(u64::MAX)).to_string(),
        figures.peak.in_use,
        figures.peak.waiting,
        HumanCount(figures.tps()).to_string(),
        row("transaction", &figures.transaction),
        row("wait", &figures.wait),
    )
}

fn row(name: &str, times: &TimesSummary) -> String {
    let TimesSummary { p50, p95, p99, .. } = times;
    format!("  {name:<13} {:>10} {:>10} {:>10}", time(*p50), time(*p95), time(*p99))
}

fn line(figures: &Figures, backends: usize, at: Duration) -> String {
    let three = |p: &TimesSummary| format!("p50 {} p95 {} p99 {}", time(p.p50), time(p.p95), time(p.p99));
    format!(
        "{:>4}s  {} clients, {} of {backends} backends in use, {} waiting, {} transactions/s; transaction {}; wait {}",
        at.as_secs(),
        figures.clients,
        figures.peak.in_use,
        figures.peak.waiting,
        HumanCount(figures.tps()),
        three(&figures.transaction),
        three(&figures.wait),
    )
}

/// What remains on the screen at the end. `counted` is the most connections that PostgreSQL itself reported.
pub(super) fn summary(whole: &Figures, tally: &Tally, clients: usize, backends: usize, counted: i64) -> String {
    let mut text = format!(
        "\n{} clients shared {backends} backends for {:.1} s\n\n",
        HumanCount(u64::try_from(clients).unwrap_or(u64::MAX)),
        whole.lasted.as_secs_f64()
    );
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<16} {value}");
    };
    fact("transactions", format!("{}, {} a second", HumanCount(whole.transactions), HumanCount(whole.tps())));
    fact("errors", tally.errors.to_string());
    // Of what is at work only samples are known: what they missed was not seen.
    let in_use = whole.peak.in_use;
    fact(
        "connections",
        format!("{counted} to PostgreSQL, the most that it counted; {in_use} of {backends} seen in use at once"),
    );
    let share = percent(whole.waited, whole.transactions);
    fact("waited", format!("{} of the transactions ({share})", HumanCount(whole.waited)));
    fact(
        "traffic",
        format!(
            "{} from clients, {} to them",
            HumanBytes(whole.bytes_from_clients),
            HumanBytes(whole.bytes_to_clients)
        ),
    );
    let _ = writeln!(text, "\n  {:<14} {:>9} {:>10} {:>10} {:>10}", "in pgweir", "count", "p50", "p95", "p99");
    let _ = writeln!(text, "{}", counted_row("transaction", whole.transactions, &whole.transaction, "with a backend"));
    let _ = writeln!(text, "{}", counted_row("wait", whole.transactions, &whole.wait, "for a backend"));
    let _ = writeln!(text, "\n  {:<14} {:>9} {:>10} {:>10} {:>10}", "as clients saw", "count", "p50", "p95", "p99");
    for (kind, visits) in Kind::ALL.iter().zip(&tally.visits) {
        let _ = writeln!(text, "{}", of_clients(*kind, visits));
    }
    if tally.errors > 0 {
        let _ = writeln!(text, "\nThere were errors, and there should be none:");
        for (message, count) in &tally.messages {
            let _ = writeln!(text, "  {count:>6} × {message}");
        }
        let listed: u64 = tally.messages.values().sum();
        if listed < tally.errors {
            let _ = writeln!(text, "  {:>6} × something else", tally.errors - listed);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn of_clients(kind: Kind, visits: &Times) -> String {
    let visits = visits.summary();
    counted_row(kind.name(), visits.count, &visits, kind.is_what())
}

fn counted_row(name: &str, count: u64, times: &TimesSummary, remark: &str) -> String {
    let TimesSummary { p50, p95, p99, .. } = times;
    let count = HumanCount(count).to_string();
    format!("  {name:<14} {count:>9} {:>10} {:>10} {:>10}   {remark}", time(*p50), time(*p95), time(*p99))
}

fn percent(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a share of a hundred is shown to a tenth")]
    let share = part as f64 / whole.max(1) as f64;
    figures::percent(share * 100.0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::meter::Peak;
    use super::*;

    #[test]
    fn the_summary_does_not_contradict_itself_where_samples_missed_something() {
        let whole = Figures {
            lasted: Duration::from_secs(5),
            clients: 50,
            peak: Peak { in_use: 7, waiting: 0 },
            transactions: 28_944,
            waited: 160,
            transaction: TimesSummary::default(),
            wait: TimesSummary::default(),
            bytes_from_clients: 0,
            bytes_to_clients: 0,
        };
        let text = summary(&whole, &Tally::default(), 50, 10, 10);
        assert!(text.contains("160 of the transactions (0.6 %)\n"), "{text}");
        assert!(text.contains("10 to PostgreSQL, the most that it counted; 7 of 10 seen in use at once"), "{text}");
    }
}
