//! The digest by which a checker knows that a person got what was meant for that person.

/// First 16 bytes of BLAKE3 over the address, the message id and each part of the content, every part preceded by its
/// length in bytes (u64, little-endian).
///
/// `address` is an e-mail address as sent, or the digits of a phone number without `+`. `content` is, for e-mail, the
/// subject and the HTML after `{{params.…}}` were put in; for SMS the text; for WhatsApp the type-specific object as
/// compact JSON with sorted keys.
pub fn digest(address: &str, message_id: &str, content: &[&str]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in [address, message_id].iter().chain(content) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    first
}
