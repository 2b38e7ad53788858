//! featurizer
