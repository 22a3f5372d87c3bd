//! Documents as batches of cells, made by the threads that read them.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use nightread_domain::JobError;
use nightread_table::{Batch, Column, Form, Located, Unfit};

use super::told::Told;
use crate::services::results::documents::{Documents, Entry, Named, bare};

/// The cells of some documents.
#[derive(Debug)]
pub(super) struct Piece {
    pub batch: Batch,
    pub told: Told,
    /// A document held what the columns were not made for.
    pub is_new: bool,
}

/// The documents that are wanted, in the given form.
pub(super) fn pieces(
    documents: &Documents,
    form: &Form,
    wanted: impl Fn(&Named) -> bool + Send + 'static,
) -> BoxStream<'static, Result<Piece, JobError>> {
    let (own, form) = (documents.clone(), form.clone());
    let columns: Arc<[Column]> = form.columns().into();
    let make = move |found| piece(&form, &columns, own.judged(found));
    documents.batches(wanted, make).boxed()
}

fn piece(form: &Form, columns: &[Column], entries: impl Iterator<Item = Entry>) -> Piece {
    let mut piece = Piece { batch: Batch::new(columns), told: Told::default(), is_new: false };
    for Entry { path, etag, document } in entries {
        let document = match document {
            Ok(document) => document,
            Err(why) => {
                piece.told.unread(path.name(), &why);
                continue;
            }
        };
        let etag = bare(&etag);
        let located = Located { path: path.name(), etag: &etag, document: &document };
        match form.add(&located, &mut piece.batch) {
            Ok(()) => {}
            Err(Unfit::New) => piece.is_new = true,
            Err(Unfit::Twice(what)) => {
                piece
                    .told
                    .unread(path.name(), &format!("it has {what} twice, and a wide table one place for it"));
            }
        }
    }
    piece.told.documents = piece.batch.documents() as u64;
    piece.told.rows = piece.batch.rows() as u64;
    piece
}
