//! Plain CSV, as labels and lists of pairs are written.

/// The rows of a plain CSV with their line numbers: no quotes, empty lines and remarks left out.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(n, line)| (n, line.split(',').map(str::trim).collect()))
}
