//! What the operator has told us about the organisation. Empty on a first run; never written by logs.

use std::collections::BTreeSet;

/// Names that the operator vouches for. An attacker cannot write here, so benign claims may rest on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Accounts of the organisation: sharing with them is not exposure.
    pub accounts: BTreeSet<String>,
    /// Principals (ARNs) that are automation: CI, deployment, audit tooling.
    pub automation: BTreeSet<String>,
    /// Principals (ARNs) that administer: people who may do privileged work by hand.
    pub administrators: BTreeSet<String>,
    /// Principals (ARNs) never acted upon automatically: break-glass, the executor, CI deploy roles.
    pub protected: BTreeSet<String>,
}
