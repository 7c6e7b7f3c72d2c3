//! SHA-256 as results name it: most contents of a corpus are the same few, so each is worked out once.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Mutex;
use xxhash_rust::xxh3::xxh3_128;

/// What has been worked out so far, by a fingerprint that is much cheaper. Only speed depends on it.
static KNOWN: Mutex<BTreeMap<u128, String>> = Mutex::new(BTreeMap::new());

/// The first `digits` hexadecimal digits of the hash.
pub fn hash(bytes: &[u8], digits: usize) -> String {
    let fingerprint = xxh3_128(bytes);
    let known = || KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(text) = known().get(&fingerprint) {
        return text[..digits].to_owned();
    }
    let text: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    known().insert(fingerprint, text.clone());
    text[..digits].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        for _ in 0..2 {
            assert_eq!(hash(b"abc", 24), "ba7816bf8f01cfea414140de");
        }
    }
}
