//! Where a caller works: for real, or to try things out.

use super::channel::text_enum;

text_enum! {
    /// Outside production a message leaves only to an address on the tenant's allow-list, or through the sandbox.
    Environment {
        Production => "production",
        Sandbox => "sandbox",
    }
}
