//! IAM policy documents, as far as a decision needs them.
