//! The people of a load test: each follows from a number, so that what somebody should have got can be worked out from the
//! address alone, without asking the database that is under test.

use serde_json::{Value, json};

const FIRST_NAMES: [&str; 12] = [
    "Anita",
    "Bilal",
    "Chloé",
    "Dev",
    "Élodie",
    "Farah",
    "Gavin",
    "Hema",
    "Irfan",
    "Jean-Marc",
    "Kavita",
    "Lindsay",
];
/// Some have to be escaped in HTML.
const LAST_NAMES: [&str; 9] = [
    "Ramgoolam",
    "O'Neil",
    "Dupont & fils",
    "Appadoo",
    "Li Wan Po",
    "Beeharry",
    "D'Unienville",
    "Jugnauth",
    "Mohamed",
];
const PRODUCTS: [&str; 5] = ["private motor", "home & contents", "travel", "marine hull", "health \"plus\""];

const NUMBERS: &str = "2305";
/// Distinct numbers.
pub(crate) const PHONES: u64 = 10_000_000;

/// A person of the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Person {
    index: u64,
    refused: bool,
}

/// An amount in minor units, and a date.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renewal {
    pub(crate) premium_minor: u64,
    pub(crate) year: u64,
    pub(crate) month: u64,
    pub(crate) day: u64,
}

impl Person {
    /// Person number `index`; of every hundred, the sandbox refuses the first `fail_percent`.
    pub(crate) const fn number(index: u64, fail_percent: u64) -> Self {
        Self { index, refused: index % 100 < fail_percent }
    }

    /// Whose address or number this is.
    pub(crate) fn of_address(address: &str) -> Option<Self> {
        if let Some(digits) = address.trim_start_matches('+').strip_prefix(NUMBERS) {
            let index = digits.parse().ok()?;
            return (digits.len() == 7).then_some(Self { index, refused: false });
        }
        let (local, _) = address.split_once('@')?;
        let (refused, digits) = match local.strip_prefix("rejected.") {
            Some(rest) => (true, rest),
            None => (false, local),
        };
        let index = digits.strip_prefix('p')?.parse().ok()?;
        let person = Self { index, refused };
        (person.address() == address).then_some(person)
    }

    pub(crate) const fn index(self) -> u64 {
        self.index
    }

    /// Whether the sandbox refuses this address.
    pub(crate) const fn is_refused(self) -> bool {
        self.refused
    }

    pub(crate) fn address(self) -> String {
        let Self { index, refused } = self;
        format!("{}p{index:09}@mail{}.example", if refused { "rejected." } else { "" }, index % 7)
    }

    /// What this person's address begins with, and the next people's are greater than.
    pub(crate) fn prefix(self) -> String {
        format!("p{:09}", self.index)
    }

    /// A mobile number of Mauritius; there are as many as there may be people of a load test by SMS.
    pub(crate) fn phone(self) -> String {
        format!("+{NUMBERS}{:07}", self.index % PHONES)
    }

    pub(crate) fn first_name(self) -> &'static str {
        FIRST_NAMES[self.pick(12, 1)]
    }

    pub(crate) fn name(self) -> String {
        format!("{} {}", self.first_name(), LAST_NAMES[self.pick(9, 12)])
    }

    pub(crate) fn product(self) -> &'static str {
        PRODUCTS[self.pick(5, 3)]
    }

    pub(crate) fn policy_number(self) -> String {
        format!("MTR-{:08}", self.index * 7 + 1)
    }

    pub(crate) const fn renewal(self) -> Renewal {
        let i = self.index;
        Renewal {
            premium_minor: 90_000 + i * 37 % 9_000_000,
            year: 2027,
            month: 1 + i / 28 % 12,
            day: 1 + i % 28,
        }
    }

    pub(crate) fn agent(self) -> String {
        format!("agent {:03}", self.pick(400, 11))
    }

    /// What the contact's row holds beside name and address.
    pub(crate) fn attributes(self) -> Value {
        let Renewal { premium_minor, year, month, day } = self.renewal();
        json!({
            "first_name": self.first_name(),
            "policy_number": self.policy_number(),
            "product": self.product(),
            "premium": {"minor": premium_minor, "currency": "MUR"},
            "expiry_date": format!("{year}-{month:02}-{day:02}"),
            "agent": self.agent(),
        })
    }

    /// All variables of the letter.
    pub(crate) fn variables(self) -> Value {
        let mut variables = self.attributes();
        variables["name"] = self.name().into();
        variables
    }

    #[expect(clippy::cast_possible_truncation, reason = "below `of`")]
    const fn pick(self, of: u64, stride: u64) -> usize {
        (self.index / stride % of) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_known_by_the_address_alone() {
        for index in [0, 1, 99, 100, 123_456_789] {
            let person = Person::number(index, 1);
            assert_eq!(person.is_refused(), index % 100 == 0);
            assert_eq!(Person::of_address(&person.address()), Some(person));
            let by_phone = Person::of_address(&person.phone());
            assert_eq!(by_phone.map(Person::index), Some(index % PHONES), "{}", person.phone());
        }
        for strange in [
            "",
            "p1@mail1.example",
            "p000000001@mail2.example",
            "x000000001@mail1.example",
            "p000000001",
            "+230512345",
            "+33612345678",
        ] {
            assert_eq!(Person::of_address(strange), None, "{strange}");
        }
    }
}
