//! Tables for spreadsheets: CSV as in RFC 4180.

/// A line of quoted cells. A spreadsheet would run a cell that begins like a formula, so it gets an
/// apostrophe.
pub(crate) fn line<const N: usize>(cells: [&str; N]) -> String {
    cells.map(cell).join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let mark = if is_formula { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_and_no_spreadsheet_takes_it_for_a_formula() {
        for (text, quoted) in [
            ("app", "\"app\""),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
        ] {
            assert_eq!(line([text, ""]), format!("{quoted},\"\"\r\n"));
        }
    }
}
