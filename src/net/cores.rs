//! The cores that this process shares with others: which thread runs where and when, and how busy they are.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A core of its own for each of `threads`, if there are exactly as many cores as threads that this process may use;
/// empty otherwise: which cores other processes leave free is better known to the system.
#[must_use]
pub fn cores_for(threads: usize) -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else { return Vec::new() };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    if cores.len() == threads { cores } else { Vec::new() }
}

/// Keeps the calling thread on this core from now on. A system that refuses moves it as it likes.
pub fn stay_on(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    // Speed is all that is lost.
    let _ = sched_setaffinity(None, &only);
}

/// Has the calling thread wait its turn from now on, instead of interrupting what runs on its core whenever bytes
/// arrive: PostgreSQL, if it is on the same machine, gets done what it is at, and more bytes are there by then. A
/// system that refuses schedules it as any other.
pub fn wait_in_turn() {
    // Speed is all that is lost.
    let _ = scheduler::set_self_policy(scheduler::Policy::Batch, 0);
}

/// What all cores of the machine have done, from look to look.
#[derive(Debug, Default)]
pub struct CoreTime {
    /// Idle, and in all, since the machine started, in the system's ticks.
    seen: Option<(u64, u64)>,
}

impl CoreTime {
    /// Share of the time since the last look, from 0 to 1, in which the cores had nothing to run; `None` at the first,
    /// and where the system does not tell.
    pub fn idle_share(&mut self) -> Option<f64> {
        let mut line = String::new();
        BufReader::new(File::open("/proc/stat").ok()?).read_line(&mut line).ok()?;
        self.look(&line)
    }

    /// `line` is the one of all cores: user, nice, system, idle, iowait, irq, softirq, steal, and what is counted in
    /// user already (proc_stat(5)).
    fn look(&mut self, line: &str) -> Option<f64> {
        let ticks: Vec<u64> = line.strip_prefix("cpu ")?.split_whitespace().take(8).flat_map(str::parse).collect();
        let now = (ticks.get(3..5)?.iter().sum(), ticks.iter().sum());
        let before = self.seen.replace(now)?;
        let (idle, all): (u64, u64) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
        #[expect(clippy::cast_precision_loss, reason = "ticks of less than a second")]
        (all > 0).then(|| idle as f64 / all as f64)
    }
}

/// How much of a core the calling thread has had, from look to look.
#[derive(Debug)]
pub struct OwnTime {
    seen: (Instant, Duration),
}

impl OwnTime {
    #[must_use]
    pub fn of_this_thread() -> Self {
        Self { seen: Self::now() }
    }

    /// Share of the time since the last look, from 0 to 1, in which the thread ran.
    pub fn share(&mut self) -> f64 {
        let now = Self::now();
        let before = std::mem::replace(&mut self.seen, now);
        let (wall, ran) = (now.0 - before.0, now.1.saturating_sub(before.1));
        if wall.is_zero() { 0.0 } else { ran.div_duration_f64(wall).min(1.0) }
    }

    fn now() -> (Instant, Duration) {
        let ran = clock_gettime(ClockId::ThreadCPUTime);
        (Instant::now(), Duration::try_from(ran).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_get_a_core_each_only_if_there_are_exactly_enough() {
        let cores = std::thread::available_parallelism().expect("known").get();
        assert_eq!(cores_for(cores).len(), cores);
        assert!(cores_for(cores + 1).is_empty());
        std::thread::spawn(|| {
            let core = cores_for(std::thread::available_parallelism().expect("known").get())[0];
            stay_on(core);
            assert_eq!(cores_for(1), [core]);
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn a_thread_has_had_the_share_of_a_core_that_it_ran() {
        let mut time = OwnTime::of_this_thread();
        std::thread::sleep(Duration::from_millis(20));
        assert!(time.share() < 0.5, "it slept");
        let until = OwnTime::now().1 + Duration::from_millis(5);
        while OwnTime::now().1 < until {}
        assert!(time.share() > 0.0);
    }

    #[test]
    fn cores_are_as_idle_as_they_were_since_the_last_look() {
        let mut cores = CoreTime::default();
        assert_eq!(cores.look("cpu  100 0 100 5000 0 0 0 0 0 0\n"), None, "there is nothing to compare with");
        assert_eq!(cores.look("cpu  140 10 125 5015 5 0 3 2 40 10\n"), Some(0.2), "guests' time is the user's too");
        assert_eq!(cores.look("cpu  140 10 125 5015 5 0 3 2 40 10\n"), None, "no time has passed");
        assert_eq!(cores.look("cpu0 1 1 1 1 1 1 1 1\n"), None);
        assert_eq!(cores.look("cpu  1 2 x\n"), None);
        assert!(CoreTime::default().idle_share().is_none());
    }
}
