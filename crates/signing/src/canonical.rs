//! The text that is signed.

use aws_lc_rs::digest::{Context, Digest, SHA256};

/// The parts of a signed message, as they stand on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// Absolute path of the request, without host; the same for the response.
    pub uri: &'a str,
    /// The Client-Id header.
    pub client_id: &'a str,
    /// The literal text of Request-Time or Response-Time.
    pub time: &'a str,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

impl Content<'_> {
    /// The pieces in order; joined they are the signed text. The method is always POST.
    pub fn pieces(&self) -> [&[u8]; 8] {
        [
            b"POST ",
            self.uri.as_bytes(),
            b"\n",
            self.client_id.as_bytes(),
            b".",
            self.time.as_bytes(),
            b".",
            self.body,
        ]
    }

    /// SHA-256 of the signed text.
    pub fn digest(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        self.pieces().into_iter().for_each(|piece| context.update(piece));
        context.finish()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::digest;

    use super::*;

    #[test]
    fn the_text_is_the_documented_one() {
        let content = Content {
            uri: "/api/v1/x",
            client_id: "21",
            time: "2026-01-01T00:00:00+0000",
            body: b"{}",
        };
        let text = b"POST /api/v1/x\n21.2026-01-01T00:00:00+0000.{}";
        assert_eq!(content.pieces().concat(), text);
        assert_eq!(content.digest().as_ref(), digest(&SHA256, text).as_ref());
    }
}
