//! Limits that the operating system sets for this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::disable_transparent_huge_pages;

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
}
