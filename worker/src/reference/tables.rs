//! The page of tables, from their columns.

use std::collections::BTreeSet;
use std::fmt::Write;

use nightread_table::{Column, Contents, Form, Level};

use super::schemas::described;
use super::{MADE, row};

/// Stand for any label and any component in the names of the wide form.
const LABEL: &str = "<label>";
const INDEX: usize = 0;

pub(super) fn page() -> String {
    let long = Form::Long.columns();
    let contents = Contents {
        labels: BTreeSet::from([LABEL.to_owned()]),
        measurements: BTreeSet::from([LABEL.to_owned()]),
        components: BTreeSet::from([INDEX]),
        segments: BTreeSet::from([LABEL.to_owned()]),
    };
    let wide = Form::Wide(contents).columns();
    let mut text = format!(
        "# Tables\n\n{MADE}\n\n`nightread results table` writes these columns, in this order: [make tables](../how-to/tables.md). \
         A value that is not defined is null; in CSV the field is empty. Times are in UTC, to the microsecond. Lists and matrices of a \
         document are JSON text (in JSON lines they are what they were). Numbers of the network are of single precision, as it gives them: \
         compare them as such.\n\n\
         The **long** form has a row for each finding and measurement of a radiograph, component of a scan and segment of a CT volume, and one row for a document \
         without any: a study that failed. The **wide** form has a row for each document.\n\n\
         ## Of the document, in both forms\n\n{HEAD}"
    );
    rows(&mut text, long.iter().filter(|column| column.level == Level::Document));
    let _infallible = write!(
        text,
        "\n## Of a finding, a measurement, a component or a segment, in the long form\n\n{HEAD}"
    );
    rows(&mut text, long.iter().filter(|column| column.level == Level::Item));
    let _infallible = write!(
        text,
        "\n## Of each label, measurement, component and segment, in the wide form\n\n`<label>` stands for every label of the documents, `{INDEX}` \
         for every index of a component.\n\n{HEAD}"
    );
    let known: BTreeSet<&str> = long.iter().map(|column| column.name.as_str()).collect();
    rows(&mut text, wide.iter().filter(|column| !known.contains(column.name.as_str())));
    text
}

const HEAD: &str = "| column | type | field | meaning |\n|---|---|---|---|\n";

fn rows<'c>(text: &mut String, columns: impl Iterator<Item = &'c Column>) {
    for column in columns {
        let field = if column.field.is_empty() { String::new() } else { format!("`{}`", column.field) };
        let meaning =
            if column.meaning.is_empty() { described(column.field) } else { column.meaning.to_owned() };
        row(text, &[&format!("`{}`", column.name), column.kind.as_str(), &field, &meaning]);
    }
}
