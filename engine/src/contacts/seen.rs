//! Who came before in a file, in bounded memory: a hash a person, and beside it the hash of the reference of their first
//! row. Two people mistaken for one cost the second the longer way into the database and nothing else.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::BuildHasher,
};

/// 36 MB. Everybody beyond counts as seen: their rows take the longer way.
const PEOPLE: usize = (1 << 21) / 8 * 7;

/// The hash where there is none.
const NO_REFERENCE: i64 = 0;

#[derive(Debug)]
pub(super) struct Seen {
    first_references: HashMap<u64, i64>,
    most: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self { first_references: HashMap::new(), most: PEOPLE }
    }
}

/// A row's person, compared with those of the rows above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sighting {
    /// Whether the person may have come before.
    pub(super) again: bool,
    /// Equal for equal references.
    pub(super) reference: Option<i64>,
    /// Of the first row of a person that came before.
    pub(super) first_reference: Option<i64>,
}

impl Seen {
    pub(super) fn note(&mut self, person: &str, reference: Option<&str>) -> Sighting {
        let reference =
            reference.map(|text| self.hash(text).cast_signed()).filter(|hash| *hash != NO_REFERENCE);
        let full = self.first_references.len() >= self.most;
        let first_reference = match self.first_references.entry(self.hash(person)) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(_) if full => Some(NO_REFERENCE),
            Entry::Vacant(place) => {
                place.insert(reference.unwrap_or(NO_REFERENCE));
                None
            }
        };
        Sighting {
            again: first_reference.is_some(),
            reference,
            first_reference: first_reference.filter(|hash| *hash != NO_REFERENCE),
        }
    }

    fn hash(&self, text: &str) -> u64 {
        self.first_references.hasher().hash_one(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_of_a_person_is_told_from_the_others() {
        let mut seen = Seen::default();
        let first = seen.note("a@example.com", Some("P-1"));
        assert_eq!((first.again, first.first_reference), (false, None));
        let other = seen.note("b@example.com", None);
        assert_eq!((other.again, other.reference), (false, None));
        let same = seen.note("a@example.com", Some("P-1"));
        assert!(same.again && same.reference == first.reference && same.first_reference == first.reference);
        let another = seen.note("a@example.com", Some("P-2"));
        assert!(another.again && another.reference != first.reference);
        // A first row without a reference repeats nothing.
        let later = seen.note("b@example.com", Some("P-1"));
        assert!(later.again && later.first_reference.is_none());
    }

    #[test]
    fn memory_is_bounded_and_nobody_is_missed() {
        let mut seen = Seen { most: 1_000, ..Seen::default() };
        let person = |n: usize| n.to_string();
        assert_eq!((0..3_000).filter(|n| seen.note(&person(*n), None).again).count(), 2_000);
        assert!((0..3_000).all(|n| seen.note(&person(n), None).again));
        assert_eq!(seen.first_references.len(), 1_000);
    }
}
