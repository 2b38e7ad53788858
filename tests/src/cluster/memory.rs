//! Resident memory of processes over a run, and whether it stays where it was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::resident_bytes;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Memory counts as flat where the later half of a run holds at most so much more than the earlier half, most against most.
pub const GROWTH_MAX: f64 = 0.05;

/// The most that a process held in each quarter of a run, MiB.
pub type Quarters = [f64; 4];

/// Looks at processes again and again, until asked for what it saw.
pub struct Memory {
    names: Vec<&'static str>,
    looks: Arc<Mutex<Vec<Vec<u64>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Memory {
    pub fn watch(processes: Vec<(&'static str, u32)>) -> Self {
        let names = processes.iter().map(|(name, _)| *name).collect();
        let looks = Arc::new(Mutex::new(Vec::new()));
        let held = looks.clone();
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            loop {
                ticks.tick().await;
                let look = processes.iter().map(|(_, id)| resident_bytes(*id)).collect();
                held.lock().unwrap().push(look);
            }
        });
        Self { names, looks, task }
    }

    /// By process.
    pub fn quarters(self) -> BTreeMap<&'static str, Quarters> {
        self.task.abort();
        let looks = self.looks.lock().unwrap();
        let of = |place: usize| quarters(&looks.iter().map(|look| look[place]).collect::<Vec<_>>());
        self.names.iter().enumerate().map(|(place, name)| (*name, of(place))).collect()
    }
}

fn quarters(bytes: &[u64]) -> Quarters {
    std::array::from_fn(|quarter| {
        let part = &bytes[bytes.len() * quarter / 4..bytes.len() * (quarter + 1) / 4];
        part.iter().max().map_or(0.0, |most| (*most as f64 / f64::from(1 << 20) * 10.0).round() / 10.0)
    })
}

/// How much more the later half held than the earlier, as a share of the earlier: most against most.
pub fn growth([first, second, third, fourth]: Quarters) -> f64 {
    third.max(fourth) / first.max(second) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_most_against_most() {
        let mib = |values: [u64; 8]| quarters(&values.map(|value| value << 20));
        let even = mib([10, 40, 10, 40, 10, 41, 40, 10]);
        assert_eq!(even, [40.0, 40.0, 41.0, 40.0]);
        assert!(growth(even) <= GROWTH_MAX);
        assert!(growth(mib([40, 40, 40, 40, 40, 40, 40, 43])) > GROWTH_MAX);
        assert!(growth(mib([40, 40, 40, 40, 30, 30, 30, 30])) < 0.0);
    }
}
