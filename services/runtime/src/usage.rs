//! What this process takes of its machine, as Linux tells it. Elsewhere nothing is known, and nothing is said.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use trailwarden_core::time::Timestamp;

/// The kernel's files are short; of `/proc/self/status` the beginning is enough.
const FILE_BYTES_MAX: u64 = 8_192;
/// Ticks a second in which Linux tells times to programs, on every architecture.
const TICKS_A_SECOND: u64 = 100;

/// Shares of what the process may have, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of all cores that it may use, since the last look.
    pub cpu_percent: Option<u64>,
    /// Of its container's limit, or of the machine's memory.
    pub memory_percent: Option<u64>,
}

/// Looks again and again, since processor time is a difference.
#[derive(Debug, Default)]
pub struct Meter {
    last: Option<(Timestamp, u64)>,
}

impl Meter {
    pub fn look(&mut self, now: Timestamp) -> Usage {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let ticks = text("/proc/self/stat").as_deref().and_then(ticks);
        let cpu_percent = match (self.last, ticks) {
            (Some((then, before)), Some(after)) => percent_of(now.since_ms(then), after.saturating_sub(before), cores),
            _ => None,
        };
        self.last = ticks.map(|ticks| (now, ticks));
        let limit = text("/sys/fs/cgroup/memory.max").as_deref().and_then(|text| text.trim().parse().ok());
        let limit = limit.or_else(|| kibibytes(&text("/proc/meminfo")?, "MemTotal:"));
        let held = text("/proc/self/status").and_then(|status| kibibytes(&status, "VmRSS:"));
        let memory_percent = held.zip(limit.filter(|limit| *limit > 0)).map(|(held, limit)| held * 100 / limit);
        Usage { cpu_percent, memory_percent }
    }
}

fn percent_of(took_ms: i64, ticks: u64, cores: u64) -> Option<u64> {
    let took_ms = u64::try_from(took_ms).ok().filter(|took| *took > 0)?;
    Some(ticks.saturating_mul(1_000 / TICKS_A_SECOND).saturating_mul(100) / took_ms / cores.max(1))
}

/// Processor time of a line of `/proc/<id>/stat`: fields 14 and 15, and the second field may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user.saturating_add(system))
}

/// Bytes of a line that tells KiB.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1_024))
}

fn text(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "capped by what stands before it")]
    File::open(Path::new(path)).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("17 (a) S 1"), None);
        assert_eq!(kibibytes("VmPeak: 9 kB\nVmRSS:\t  2048 kB\n", "VmRSS:"), Some(2 << 20));
        assert_eq!(kibibytes("VmRSS: many kB", "VmRSS:"), None);
        // Two cores at work for one second of two.
        assert_eq!(percent_of(2_000, 200, 2), Some(50));
        assert_eq!(percent_of(0, 200, 2), None);
        assert_eq!(percent_of(-5, 200, 2), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_takes_something() {
        let mut meter = Meter::default();
        assert_eq!(meter.look(Timestamp::from_millis(0)).cpu_percent, None);
        let usage = meter.look(Timestamp::from_millis(1_000));
        assert!(usage.cpu_percent.is_some() && usage.memory_percent.is_some_and(|percent| percent < 100), "{usage:?}");
    }
}
