//! Partitions: all activities of one principal of one account go one way, in order.

use crate::hash::hash64_of;

/// The partition of a caller, below `partitions`. Fixed for the life of a deployment: state and order hang on it.
pub fn partition_of(account: &str, principal: &str, partitions: u16) -> u16 {
    (hash64_of([account, principal]) % u64::from(partitions.max(1))) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_keeps_its_way_and_callers_spread() {
        let of = |number: u32| partition_of("111122223333", &format!("arn:aws:iam::111122223333:role/r{number}"), 16);
        assert_eq!(of(7), of(7));
        let mut counts = [0_u32; 16];
        (0..1_600).for_each(|number| counts[usize::from(of(number))] += 1);
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
        assert_eq!(partition_of("1", "2", 0), 0);
    }
}
