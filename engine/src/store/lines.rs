//! Lines in the text format of `COPY … FROM STDIN`.

use uuid::Uuid;

#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    pub(crate) fn line(&mut self, fields: impl FnOnce(&mut Self)) {
        fields(self);
        // In the place of the separator behind the last field.
        self.bytes.pop();
        self.bytes.push(b'\n');
    }

    pub(crate) fn text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.escaped(text),
            None => self.bytes.extend_from_slice(b"\\N"),
        }
        self.bytes.push(b'\t');
    }

    pub(crate) fn uuid(&mut self, id: Uuid) {
        let text = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes().to_owned();
        self.bytes.extend_from_slice(&text);
        self.bytes.push(b'\t');
    }

    pub(crate) fn integer(&mut self, integer: i64) {
        self.text(Some(&integer.to_string()));
    }

    pub(crate) fn boolean(&mut self, is: bool) {
        self.text(Some(if is { "t" } else { "f" }));
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    fn escaped(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t' | 0)) {
            self.bytes.extend_from_slice(&rest[..at]);
            self.bytes.extend_from_slice(match rest[at] {
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                // No text of Postgres can hold it.
                _ => b"",
            });
            rest = &rest[at + 1..];
        }
        self.bytes.extend_from_slice(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_its_field_or_line() {
        let mut lines = Lines::default();
        lines.line(|line| {
            line.text(Some("a\tb\nc\\d\re\0f"));
            line.text(None);
            line.integer(-7);
            line.uuid(Uuid::nil());
            line.boolean(true);
        });
        let expected = "a\\tb\\nc\\\\d\\ref\t\\N\t-7\t00000000-0000-0000-0000-000000000000\tt\n";
        assert_eq!(lines.bytes(), expected.as_bytes());
    }
}
