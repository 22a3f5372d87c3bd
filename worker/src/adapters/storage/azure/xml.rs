//! What the service says in XML.

use nightread_domain::announcement::without_mark;

/// The text of an element in the service's XML, without an XML parser: two marks and what is between them.
pub(super) fn element<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(without_mark(body)).ok()?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    Some(value.trim()).filter(|value| !value.is_empty())
}
