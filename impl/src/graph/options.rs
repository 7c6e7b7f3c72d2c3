//! What the operator said of a node that its driver does not need to run: how it is shown, and how it caches.

/// The options of a node beside its driver's own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeOptions {
    /// What requests full of zeroes become.
    pub detect_zeroes: DetectZeroes,
    /// Whether discards reach the host (`discard: unmap`).
    pub unmap: bool,
    /// `cache.direct`.
    pub direct: bool,
    /// `cache.no-flush`.
    pub no_flush: bool,
    /// `force-share`: whoever else writes is borne.
    pub force_share: bool,
    /// Every option that was given, flat, without children.
    pub given: Vec<(Box<str>, Plain)>,
    /// What the header named when the backing was opened from it, and the file name that gave.
    pub opened_backing: Option<(Box<str>, Box<str>)>,
}

impl NodeOptions {
    /// The options without which the node would be another one; they stand in its `json:` file name.
    pub(crate) fn strong(&self, driver: &str) -> impl Iterator<Item = &(Box<str>, Plain)> {
        let names = strong_names(driver);
        self.given.iter().filter(move |(given, _)| names.iter().any(|name| is_part_of(given, name)))
    }

    /// The value that an option was given.
    pub(crate) fn given(&self, name: &str) -> Option<&Plain> {
        self.given.iter().find(|(given, _)| **given == *name).map(|(_, value)| value)
    }
}

/// Which options of a driver make a node what it is.
pub(crate) fn strong_names(driver: &str) -> &'static [&'static str] {
    match driver {
        "raw" => &["offset", "size"],
        "throttle" => &["throttle-group"],
        "nbd" => &["server", "export", "tls-creds", "tls-hostname"],
        "null-co" => &["size", "read-zeroes"],
        "blkdebug" => &["align", "inject-error", "set-state"],
        _ => &[],
    }
}

/// Whether a flat name is that option, or a part of it: `server.path` of `server`.
pub(crate) fn is_part_of(given: &str, option: &str) -> bool {
    given.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Which of its 512 buckets a dictionary of QEMU's keeps a key in: the hash of Samba's small database, by remainder. Of
/// several options it looks at those in the first bucket first.
pub(crate) fn bucket(key: &str) -> u32 {
    let start = 0x238f_13af_u32.wrapping_mul(key.len() as u32);
    let mixed = key
        .bytes()
        .enumerate()
        .fold(start, |sum, (i, byte)| sum.wrapping_add(u32::from(byte) << (i as u32 * 5 % 24)));
    mixed.wrapping_mul(1_103_515_243).wrapping_add(12345) % 512
}

/// `detect-zeroes`.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum DetectZeroes {
    /// Data stays data.
    #[default]
    Off,
    /// A write of zeroes becomes a request for zeroes.
    On,
    /// And that one may free the space.
    Unmap,
}

impl DetectZeroes {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            DetectZeroes::Off => "off",
            DetectZeroes::On => "on",
            DetectZeroes::Unmap => "unmap",
        }
    }
}

/// The value of an option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plain {
    /// Text.
    Text(Box<str>),
    /// A number.
    Int(i64),
    /// A truth.
    Bool(bool),
}
