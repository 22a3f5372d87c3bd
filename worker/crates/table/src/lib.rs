//! Tables of result documents.
//!
//! [`Form`] says which columns a table has and makes cells of documents, [`Batch`] holds the cells of some documents, and
//! [`Writer`] writes batches as Parquet, CSV or JSON lines. What is undefined is [`Cell::Null`], never 0.

mod batch;
mod cell;
mod column;
mod columns;
mod dataset;
mod export;
mod form;
mod write;

pub use self::batch::Batch;
pub use self::cell::{Cell, Kind};
pub use self::column::{Column, Level, Located};
pub use self::dataset::{DataSet, DataSetError, Kept, Staged, Survey};
pub use self::export::{Export, Exporter};
pub use self::form::{Contents, Form, Unfit};
pub use self::write::{Format, WriteError, Writer};
