//! A table in a terminal: columns as wide as their content.

use std::fmt::Write as _;

/// Prints rows, the first one with the names of the columns. The last column is not filled up.
pub(super) fn print<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in rows {
        let mut line = String::new();
        for (text, width) in row.iter().zip(widths) {
            // Into a string nothing fails.
            let _ = write!(line, "{text:<width$}  ");
        }
        out!("{}", line.trim_end());
    }
}
