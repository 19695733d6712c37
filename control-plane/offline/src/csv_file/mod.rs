//! CSV files (RFC 4180, with a header line): columns of cells by name, and tables as text.

mod reader;
mod text;

pub(crate) use reader::CsvTable;
pub(crate) use text::{cell_text, leaf_texts};
