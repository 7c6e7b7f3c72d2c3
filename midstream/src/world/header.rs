//! What a write changes in the header of a qcow2 image, for readers of a run: a header is written for many reasons.

/// What the header of a qcow2 image begins with.
const MAGIC: &[u8] = b"QFI\xfb";
/// Its numbers, by the names and places that the qcow2 specification gives them: offset, bytes, name.
const FIELDS: [(usize, usize, &str); 15] = [
    (4, 4, "version"),
    (8, 8, "backing_file_offset"),
    (16, 4, "backing_file_size"),
    (20, 4, "cluster_bits"),
    (24, 8, "size"),
    (32, 4, "crypt_method"),
    (36, 4, "l1_size"),
    (40, 8, "l1_table_offset"),
    (48, 8, "refcount_table_offset"),
    (56, 4, "refcount_table_clusters"),
    (60, 4, "nb_snapshots"),
    (64, 8, "snapshots_offset"),
    (72, 8, "incompatible_features"),
    (80, 8, "compatible_features"),
    (88, 8, "autoclear_features"),
];
/// Where the last of them ends.
const FIELDS_END: u64 = 96;
/// As far as anybody looks for a backing name.
const HEADER_BYTES_MAX: usize = 4096;

/// What a write of `bytes` at `offset` changes in the header of a file that holds `before`: each number and the backing
/// name, with what was there and what is. Nothing if the write does not touch these, or is not to such an image.
pub(super) fn changes(before: &[u8], offset: u64, bytes: &[u8]) -> Option<String> {
    let len = before.len().max(usize::try_from(offset).ok()?.checked_add(bytes.len())?);
    let old = before.get(..len.min(HEADER_BYTES_MAX)).unwrap_or(before);
    let new = written(old, offset, bytes);
    if offset >= HEADER_BYTES_MAX as u64 || !new.starts_with(MAGIC) {
        return None;
    }
    if !old.starts_with(MAGIC) {
        return Some("header: a new image".to_owned());
    }
    let mut changes: Vec<String> = FIELDS.iter().filter_map(|field| change(field, old, &new)).collect();
    let [was, is] = [old, &new].map(backing);
    if was != is {
        changes.push(format!("backing {} → {}", named(was), named(is)));
    }
    let is_within = offset < FIELDS_END || !changes.is_empty();
    let changes = if changes.is_empty() { "as it was".to_owned() } else { changes.join(", ") };
    is_within.then(|| format!("header: {changes}"))
}

/// The first bytes of a file behind a write.
fn written(old: &[u8], offset: u64, bytes: &[u8]) -> Vec<u8> {
    let mut new = old.to_vec();
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(HEADER_BYTES_MAX);
    let bytes = &bytes[..bytes.len().min(HEADER_BYTES_MAX - from)];
    new.resize(new.len().max(from + bytes.len()), 0);
    new[from..from + bytes.len()].copy_from_slice(bytes);
    new
}

fn change((at, len, name): &(usize, usize, &str), old: &[u8], new: &[u8]) -> Option<String> {
    let [was, is] = [old, new].map(|header| number(header, *at, *len));
    (was != is).then(|| format!("{name} {was:#x} → {is:#x}"))
}

/// A number of big-endian bytes; 0 past the end.
fn number(header: &[u8], at: usize, len: usize) -> u64 {
    let bytes = header.get(at..at + len).unwrap_or_default();
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The backing name that a header has.
fn backing(header: &[u8]) -> &[u8] {
    let [at, len] =
        [(8, 8), (16, 4)].map(|(at, len)| usize::try_from(number(header, at, len)).unwrap_or(usize::MAX));
    if at == 0 { &[] } else { header.get(at..at.saturating_add(len)).unwrap_or_default() }
}

fn named(name: &[u8]) -> String {
    if name.is_empty() {
        "none".to_owned()
    } else {
        String::from_utf8_lossy(name).escape_default().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(autoclear: u64, name: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..4].copy_from_slice(MAGIC);
        header[88..96].copy_from_slice(&autoclear.to_be_bytes());
        if !name.is_empty() {
            header[8..16].copy_from_slice(&128u64.to_be_bytes());
            header[16..20].copy_from_slice(&(name.len() as u32).to_be_bytes());
            header[128..128 + name.len()].copy_from_slice(name);
        }
        header
    }

    #[test]
    fn a_write_of_one_number_says_what_it_was_and_is() {
        let change = changes(&header(1, b""), 88, &[0; 8]);
        assert_eq!(change.as_deref(), Some("header: autoclear_features 0x1 → 0x0"));
    }

    #[test]
    fn another_backing_name_is_named() {
        let change = changes(&header(0, b"a.img"), 0, &header(0, b"b.img"));
        assert_eq!(change.as_deref(), Some("header: backing a.img → b.img"));
        let change = changes(&header(0, b"a\n"), 0, &header(0, b"")).expect("it is a header");
        assert!(change.ends_with("backing_file_size 0x2 → 0x0, backing a\\n → none"), "{change}");
    }

    #[test]
    fn a_write_of_what_was_there_or_of_something_else_says_so() {
        let image = header(0, b"a.img");
        assert_eq!(changes(&[], 0, &image).as_deref(), Some("header: a new image"));
        assert_eq!(changes(&image, 0, &image).as_deref(), Some("header: as it was"));
        assert_eq!(changes(&image, 256, &[7; 64]), None, "an extension, or nothing at all");
        assert_eq!(changes(&[0; 512], 0, &[1; 512]), None, "a raw image");
        assert_eq!(changes(&image, u64::MAX, &[1; 512]), None);
    }

    #[test]
    fn a_header_that_lies_about_its_name_has_none() {
        let mut image = header(0, b"a.img");
        image[16..20].fill(0xff);
        assert_eq!(
            changes(&image, 88, &1u64.to_be_bytes()).as_deref(),
            Some("header: autoclear_features 0x0 → 0x1")
        );
    }
}
