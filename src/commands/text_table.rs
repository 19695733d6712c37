//! Plain text tables for a terminal: aligned columns, two spaces between, no frames.
//!
//! Not a layout engine: a cell is one line, width is counted in characters. The invariant: no trailing spaces.

use std::fmt;

use hanok_registry::one_line;

/// Rows under a header.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextTable {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl TextTable {
    /// A table with a header; a title that begins with `>` is a column of numbers, set to the right.
    pub(crate) fn new(titles: &[&str]) -> Self {
        let right = titles.iter().map(|title| title.starts_with('>')).collect();
        let header = titles.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
        Self { rows: vec![header], right }
    }

    /// Appends a row; what would change its line is written as an escape.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell.into().replace('\n', " ")).into_owned()).collect());
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let fill = " ".repeat(widths.get(column).map_or(0, |width| width - cell.chars().count()));
                if column > 0 {
                    line.push_str("  ");
                }
                if self.right.get(column) == Some(&true) {
                    line.push_str(&fill);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&fill);
                }
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = TextTable::new(&["name", ">count"]);
        table.row(["digits", "7"]);
        table.row(["é", "1234567"]);
        assert_eq!(table.to_string(), "name      count\ndigits        7\né       1234567\n");
    }
}
