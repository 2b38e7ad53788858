//! Links: "this credential was issued by that one". Sessions joined by links are one lineage.

use serde::{Deserialize, Serialize};

/// Something a lineage runs through.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Node {
    /// A credential: access key id, or `console:<principal>`.
    Session(String),
    /// All sessions of a principal that is one person or job: an IAM user's ARN, the root user.
    Principal(String),
    /// An instance (`i-…`) whose role's sessions carry its id as session name.
    Instance(String),
}

/// `parent` issued, or took hold of, `child`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Link {
    pub parent: Node,
    pub child: Node,
}
