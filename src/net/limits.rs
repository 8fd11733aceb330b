//! Limits that the operating system sets for this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, disable_transparent_huge_pages, sched_getaffinity, sched_setaffinity};

/// Raises the soft limit of open files to the hard one, since every client and every backend is a file.
///
/// Returns the soft limit before and now; `u64::MAX` stands for no limit. A system that refuses leaves both equal.
#[must_use = "the figures belong into the log: they bound the number of clients"]
pub fn raise_open_files() -> (u64, u64) {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(u64::MAX);
    let now = match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => before,
    };
    (before, now)
}

/// How many files may be open; `u64::MAX` where there is no limit.
#[must_use]
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Takes memory from the system in small pages from now on, also in processes that are started: the allocator asks for
/// huge ones, and then each thread that needs a little holds two megabytes. All that pgweir works on is a few megabytes
/// and is not found faster in huge pages.
pub fn take_small_pages() {
    // Memory is all that is lost.
    let _ = disable_transparent_huge_pages(true);
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let (before, now) = raise_open_files();
        assert!(now >= before);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(raise_open_files(), (now, now));
    }

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
}
