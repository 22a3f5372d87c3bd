//! What an archive says of a request. Its bytes come from outside: lengths are held against what is there, nothing is reserved for what
//! they claim, and nothing is entered but the two sequences.

/// Group and element.
type Tag = (u16, u16);

const REFERENCED_INSTANCE: Tag = (0x0008, 0x1155);
const TRANSACTION: Tag = (0x0008, 0x1195);
const FAILURE_REASON: Tag = (0x0008, 0x1197);
const FAILED: Tag = (0x0008, 0x1198);
const COMMITTED: Tag = (0x0008, 0x1199);
const ITEM: Tag = (0xFFFE, 0xE000);
const ITEM_END: Tag = (0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = (0xFFFE, 0xE0DD);
const UNDEFINED: u32 = u32::MAX;
/// A sequence of somebody else's in an item may hold further ones.
const MOST_DEPTH: usize = 8;

/// What an archive commits itself to (PS3.4, table J.3-2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitmentReport {
    /// The UID of the request.
    pub transaction: String,
    /// SOP Instance UIDs.
    pub committed: Vec<String>,
    /// SOP Instance UIDs, each with the archive's reason (PS3.3, C.14.1.1); 0 where it gave none.
    pub failed: Vec<(String, u16)>,
}

impl CommitmentReport {
    /// Reads a data set in implicit VR little endian; `None` for what is none, or has no transaction.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut report = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let element = Element::take(&mut rest)?;
            match element.tag {
                TRANSACTION => report.transaction = text(element.value(&mut rest)?)?,
                COMMITTED => {
                    let items = items(element, &mut rest)?;
                    report.committed.extend(items.into_iter().map(|item| item.instance));
                }
                FAILED => {
                    let items = items(element, &mut rest)?;
                    report.failed.extend(items.into_iter().map(|item| (item.instance, item.reason)));
                }
                _ => element.skip(&mut rest, 0)?,
            }
        }
        (!report.transaction.is_empty()).then_some(report)
    }
}

/// An item of either sequence.
#[derive(Default)]
struct Item {
    instance: String,
    reason: u16,
}

/// The head of an element, whose value follows.
#[derive(Clone, Copy)]
struct Element {
    tag: Tag,
    length: u32,
}

impl Element {
    fn take(rest: &mut &[u8]) -> Option<Self> {
        let (head, after) = rest.split_first_chunk::<8>()?;
        *rest = after;
        let [a, b, c, d, e, f, g, h] = *head;
        let tag = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        Some(Self { tag, length: u32::from_le_bytes([e, f, g, h]) })
    }

    /// Its value, of a length that is told.
    fn value<'a>(self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (value, after) = rest.split_at_checked(self.length as usize)?;
        *rest = after;
        Some(value)
    }

    fn skip(self, rest: &mut &[u8], depth: usize) -> Option<()> {
        if self.length != UNDEFINED {
            return self.value(rest).map(|_| ());
        }
        // Only sequences and items may have no length.
        let end = if self.tag == ITEM { ITEM_END } else { SEQUENCE_END };
        if depth == MOST_DEPTH {
            return None;
        }
        loop {
            let inner = Self::take(rest)?;
            if inner.tag == end {
                return Some(());
            }
            inner.skip(rest, depth + 1)?;
        }
    }
}

/// The items of a sequence, whether or not it tells its length.
fn items(sequence: Element, rest: &mut &[u8]) -> Option<Vec<Item>> {
    let mut found = Vec::new();
    if sequence.length != UNDEFINED {
        let mut inner = sequence.value(rest)?;
        while !inner.is_empty() {
            let head = Element::take(&mut inner)?;
            found.push(item(head, &mut inner)?);
        }
        return Some(found);
    }
    loop {
        let head = Element::take(rest)?;
        if head.tag == SEQUENCE_END {
            return Some(found);
        }
        found.push(item(head, rest)?);
    }
}

fn item(head: Element, rest: &mut &[u8]) -> Option<Item> {
    if head.tag != ITEM {
        return None;
    }
    let mut item = Item::default();
    if head.length == UNDEFINED {
        loop {
            let element = Element::take(rest)?;
            if element.tag == ITEM_END {
                break;
            }
            note(&mut item, element, rest)?;
        }
    } else {
        let mut inner = head.value(rest)?;
        while !inner.is_empty() {
            let element = Element::take(&mut inner)?;
            note(&mut item, element, &mut inner)?;
        }
    }
    (!item.instance.is_empty()).then_some(item)
}

fn note(item: &mut Item, element: Element, rest: &mut &[u8]) -> Option<()> {
    match element.tag {
        REFERENCED_INSTANCE => item.instance = text(element.value(rest)?)?,
        FAILURE_REASON => item.reason = u16::from_le_bytes(element.value(rest)?.try_into().ok()?),
        _ => element.skip(rest, 1)?,
    }
    Some(())
}

/// A UID without what fills it up.
fn text(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    Some(text.trim_matches([' ', '\0']).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element((group, number): Tag, length: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
        bytes.extend(length.to_le_bytes());
        bytes.extend(value);
        bytes
    }

    fn whole(tag: Tag, value: &[u8]) -> Vec<u8> {
        element(tag, value.len() as u32, value)
    }

    fn open(tag: Tag, value: &[u8], end: Tag) -> Vec<u8> {
        [element(tag, UNDEFINED, value), whole(end, b"")].concat()
    }

    /// One committed, one failed with 0x0112; by lengths or by delimiters.
    fn report(by_lengths: bool) -> Vec<u8> {
        let put = |tag, value: &[u8], end| if by_lengths { whole(tag, value) } else { open(tag, value, end) };
        let class = whole((0x0008, 0x1150), b"1.2.840.10008.5.1.4.1.1.7\0");
        let strange =
            put((0x0009, 0x1001), &put(ITEM, &whole((0x0009, 0x1002), b"ab"), ITEM_END), SEQUENCE_END);
        let good = [class.clone(), whole(REFERENCED_INSTANCE, b"2.25.1")].concat();
        let bad =
            [class, whole(REFERENCED_INSTANCE, b"2.25.22\0"), whole(FAILURE_REASON, &[0x12, 0x01])].concat();
        let bad = [bad, strange.clone()].concat();
        [
            whole((0x0008, 0x0054), b"ARCHIVE "),
            whole(TRANSACTION, b"2.25.99\0"),
            put(FAILED, &put(ITEM, &bad, ITEM_END), SEQUENCE_END),
            put(COMMITTED, &put(ITEM, &good, ITEM_END), SEQUENCE_END),
            strange,
        ]
        .concat()
    }

    #[test]
    fn reports_are_read_in_either_form() {
        let expected = CommitmentReport {
            transaction: "2.25.99".to_owned(),
            committed: vec!["2.25.1".to_owned()],
            failed: vec![("2.25.22".to_owned(), 0x0112)],
        };
        for by_lengths in [true, false] {
            let bytes = report(by_lengths);
            assert_eq!(CommitmentReport::parse(&bytes).as_ref(), Some(&expected));
            // What is cut off is no report that says anything else.
            for part in (1..bytes.len()).filter_map(|cut| CommitmentReport::parse(&bytes[..cut])) {
                assert_eq!(part.transaction, expected.transaction);
                assert!(part.committed.iter().all(|uid| expected.committed.contains(uid)));
                assert!(part.failed.iter().all(|failed| expected.failed.contains(failed)));
            }
        }
    }

    #[test]
    fn what_is_no_report_is_none() {
        let nested = (0..20).fold(whole((0x0009, 0x1002), b"ab"), |inner, _| {
            open((0x0009, 0x1001), &open(ITEM, &inner, ITEM_END), SEQUENCE_END)
        });
        for (what, bytes) in [
            ("nothing", Vec::new()),
            ("no transaction", whole(COMMITTED, b"")),
            ("an empty transaction", whole(TRANSACTION, b"\0\0")),
            ("a length beyond the end", element(TRANSACTION, 4000, b"2.25.99\0")),
            ("a transaction without a length", element(TRANSACTION, UNDEFINED, b"2.25.99\0")),
            ("an item without an instance", [report(true), whole(COMMITTED, &whole(ITEM, b""))].concat()),
            ("no item", [report(true), whole(COMMITTED, &whole(TRANSACTION, b"2.25.1"))].concat()),
            ("nested without end", [report(true), nested].concat()),
        ] {
            assert_eq!(CommitmentReport::parse(&bytes), None, "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..400, by: u8) {
            let _ = CommitmentReport::parse(&bytes);
            bytes = report(by & 1 == 0);
            let at = at % bytes.len();
            bytes[at] ^= by;
            let _ = CommitmentReport::parse(&bytes);
        }
    }
}
