//! Every bound of the crate, in one place. Sizes are bytes unless said.

/// Longest source of one part (an MJML document, an SMS text).
pub const SOURCE_BYTES: usize = 256 * 1024;
/// Longest rendered part. Mail clients clip HTML at about 100 KiB; the bound protects the process, not the layout.
pub const OUTPUT_BYTES: usize = 1024 * 1024;
/// Longest rendered subject, in characters.
pub const SUBJECT_CHARS: usize = 500;
/// Longest rendered SMS, in characters: ten concatenated segments of the seven-bit alphabet.
pub const SMS_CHARS: usize = 1530;
/// Longest rendered title of a notification, its message, and one of its data, in characters.
pub const TITLE_CHARS: usize = 255;
pub const MESSAGE_CHARS: usize = 10_000;
pub const DATUM_CHARS: usize = 2_000;
/// Data of a notification.
pub const DATA: usize = 32;
/// Blocks (`{{#if}}`, `{{#each}}`, ..) inside one another.
pub const BLOCK_DEPTH: usize = 12;
/// Blocks in one part.
pub const BLOCKS: usize = 300;
/// Loops (`{{#each}}`) inside one another.
pub const LOOP_DEPTH: usize = 2;
/// Rounds of one loop.
pub const LOOP_ITEMS: usize = 500;
/// Writes of one rendered part, and the things that its loops look at, round by round.
pub const STEPS: usize = 50_000;
/// Longest text that a helper takes.
pub const HELPER_BYTES: usize = 2 * 1024;
/// Helper calls inside one another, as in `{{upper (default name "x")}}`.
pub const CALL_DEPTH: usize = 4;
/// Elements inside one another in MJML, and in HTML that a text part is derived from.
pub const ELEMENT_DEPTH: usize = 64;
