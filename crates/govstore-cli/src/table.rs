//! Tables without lines: they read well, and `awk` can cut them.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

use super::paint;

/// How a column is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Text, in lines if the terminal is too narrow.
    Wrapped(&'static str),
    /// Text that is never cut.
    Text(&'static str),
    /// Figures, set to the right.
    Figure(&'static str),
    /// Figures close to the next ones.
    Dense(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Wrapped(title) | Self::Text(title) | Self::Figure(title) | Self::Dense(title) => title,
        }
    }

    /// Blanks before the next column.
    fn gap(self) -> u16 {
        if matches!(self, Self::Dense(_)) { 1 } else { 2 }
    }
}

/// A table of `rows`, as wide as the terminal at most; as wide as it needs to be where there is none.
pub fn table<const N: usize>(columns: [Column; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width() == Some(0) {
        table.force_no_tty(); // a terminal that doesn't know its size
    }
    table.set_header(columns.map(|column| paint::strong(column.title())));
    table.add_rows(rows);
    for (column, set) in columns.iter().zip(table.column_iter_mut()) {
        set.set_padding((0, column.gap()));
        match column {
            Column::Wrapped(_) => {}
            Column::Text(_) => {
                set.set_constraint(ColumnConstraint::ContentWidth);
            }
            Column::Figure(_) | Column::Dense(_) => {
                set.set_constraint(ColumnConstraint::ContentWidth).set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}
