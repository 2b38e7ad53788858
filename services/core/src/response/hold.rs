//! Who holds what stands: two cases may ask for the same effect, such as one key that is inactive. The first of ours that
//! puts it there keeps what was there before; whoever comes later and finds it standing holds it too; and only the last who
//! leaves takes it back, to what was there before the first.
//!
//! A [`Hold`] is one effect's, stored apart from the lives of actions and moved by compare-and-set. A life says in its own
//! state that it holds, after it has joined here and before it applies anything; it leaves here before its own undoing is
//! stored. So whoever dies in between is followed by somebody who does the same again, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Actions that hold one effect.
const HOLDERS_MAX: usize = 64;

/// One effect, and the actions that want it to stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    holders: BTreeSet<String>,
    /// What the first of them captured before it applied, by name: what the last goes back to.
    before: BTreeMap<String, Value>,
}

/// What came of joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It holds the effect, alone or with others.
    Held,
    /// The effect stands and none of ours put it there: it is not ours to take back.
    Foreign,
    /// As many hold it as may.
    Full,
}

/// What came of leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nobody else holds the effect: it has to be taken back. The leaver stays until that is done.
    Last,
    /// These hold it still.
    Others(Vec<String>),
}

impl Hold {
    /// `key` has captured what it needs and found the effect standing, or not. `captured`: becomes what was there before the
    /// first, where others hold it already. `is_open`: whether another action is on its way or stands; one that is neither has
    /// died on its way out and holds nothing.
    pub fn join(
        &mut self,
        key: &str,
        stands: bool,
        captured: &mut BTreeMap<String, Value>,
        is_open: impl Fn(&str) -> bool,
    ) -> Joined {
        let is_again = self.holders.contains(key);
        self.holders.retain(|holder| holder == key || is_open(holder));
        let others = self.holders.len() - usize::from(is_again);
        if others == 0 && !is_again {
            if stands {
                return Joined::Foreign;
            }
            self.before.clone_from(captured);
        }
        if self.holders.len() >= HOLDERS_MAX && !is_again {
            return Joined::Full;
        }
        self.holders.insert(key.to_owned());
        captured.extend(self.before.iter().map(|(name, value)| (name.clone(), value.clone())));
        Joined::Held
    }

    /// `key` wants the effect no more.
    pub fn leave(&mut self, key: &str, is_open: impl Fn(&str) -> bool) -> Left {
        self.holders.retain(|holder| holder == key || is_open(holder));
        let others: Vec<String> = self.holders.iter().filter(|holder| *holder != key).cloned().collect();
        if others.is_empty() {
            return Left::Last;
        }
        self.holders.remove(key);
        Left::Others(others)
    }

    /// `key` has come to its end.
    pub fn forget(&mut self, key: &str) {
        self.holders.remove(key);
        if self.holders.is_empty() {
            self.before.clear();
        }
    }

    /// Actions that hold it, as far as it is known here.
    pub fn holders(&self) -> impl Iterator<Item = &str> {
        self.holders.iter().map(String::as_str)
    }
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
