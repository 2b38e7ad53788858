//! Window maths.
