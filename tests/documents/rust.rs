//! A file of Rust taken apart into comments, strings and names, as far as words need it.

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A comment without its marks.
    Comment(&'a str),
    /// What a string says, escapes as they are written.
    Text(&'a str),
    /// An identifier or a keyword.
    Name(&'a str),
}

/// Every part with the line on which it begins.
pub(super) fn parts(text: &str) -> Vec<(usize, Part<'_>)> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(c) = text[at..].chars().next() {
        let (part, end) = part(text, at, c);
        found.extend(part.map(|part| (line, part)));
        line += text[at..end].matches('\n').count();
        at = end;
    }
    found
}

/// The part that begins at a place, and where it ends.
fn part(text: &str, at: usize, c: char) -> (Option<Part<'_>>, usize) {
    let rest = &text[at..];
    let until = |mark: &str, from: usize| {
        rest[from..].find(mark).map_or(text.len(), |found| at + from + found + mark.len())
    };
    if rest.starts_with("//") {
        let end = rest.find('\n').map_or(text.len(), |found| at + found);
        return (Some(Part::Comment(text[at..end].trim_start_matches(['/', '!']))), end);
    }
    if rest.starts_with("/*") {
        let end = until("*/", 2);
        return (Some(Part::Comment(&text[at + 2..end])), end);
    }
    if let Some(hashes) = raw_string(rest) {
        let begin = rest.find('"').unwrap() + 1;
        let end = until(&format!("\"{}", "#".repeat(hashes)), begin);
        return (Some(Part::Text(&text[at + begin..end - 1 - hashes])), end);
    }
    if c == '"' {
        let mut escaped = false;
        let close = rest[1..].find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let end = close.map_or(text.len(), |found| at + 1 + found + 1);
        return (Some(Part::Text(&text[at + 1..end - 1])), end);
    }
    if c == '\'' {
        return (None, at + character_or_lifetime(rest));
    }
    if c.is_alphabetic() || c == '_' {
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        return (Some(Part::Name(&rest[..length])), at + length);
    }
    (None, at + c.len_utf8())
}

/// How many hashes a raw string has that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a character literal, or of the quote of a lifetime.
fn character_or_lifetime(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |found| 3 + found + 1),
        Some((at, c)) if rest[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1,
    }
}
