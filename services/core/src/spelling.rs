//! Which known word is meant by one that is not known.

/// The `count` known words that differ from a word by the fewest letters, nearest first.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>, count: usize) -> Vec<&'k str> {
    let mut known: Vec<_> = known.into_iter().collect();
    known.sort_by_cached_key(|name| (edits(word, name), *name));
    known.truncate(count);
    known
}

/// Letters to add, drop or change to make one word the other.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (place, byte) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], place + 1);
        for (column, other) in right.bytes().enumerate() {
            let changed = diagonal + usize::from(byte != other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first() {
        assert_eq!(nearest("stepz", ["undo", "steps", "checks"], 2), ["steps", "checks"]);
        assert!(nearest("x", [], 3).is_empty());
    }
}
