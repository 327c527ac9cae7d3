//! Where a caller works: for real, or to try things out.

use std::borrow::Cow;

use super::channel::text_enum;

text_enum! {
    /// Outside production a message leaves only to an address on the tenant's allow-list, or through the sandbox.
    Environment {
        Production => "production",
        Sandbox => "sandbox",
    }
}

impl Environment {
    /// What a caller calls something that there is once: what is tried out uses up no name of production.
    pub fn own(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Production => Cow::Borrowed(name),
            Self::Sandbox => Cow::Owned(format!("{self}:{name}")),
        }
    }
}
