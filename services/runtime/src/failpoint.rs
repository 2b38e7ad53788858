//! Places where a test lets a process die, to prove that nothing is lost or doubled when it does.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static ARMED: OnceLock<Armed> = OnceLock::new();

#[derive(Debug)]
struct Armed {
    name: String,
    passes_left: AtomicU64,
}

/// Arms one place for the life of the process: it dies there, without clean-up, when it comes by for the `nth` time (from 1).
pub fn arm(name: &str, nth: u64) {
    // A second call is without effect: one process dies once.
    let _ = ARMED.set(Armed { name: name.to_owned(), passes_left: AtomicU64::new(nth) });
}

/// A place that can be armed; costs one load otherwise.
#[expect(clippy::disallowed_methods, reason = "dying without clean-up is what it is for")]
pub fn hit(name: &str) {
    let Some(armed) = ARMED.get() else { return };
    if armed.name == name && armed.passes_left.fetch_sub(1, Ordering::Relaxed) == 1 {
        std::process::abort();
    }
}
