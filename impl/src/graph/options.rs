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
    /// Options without which the node would be another one; they stand in its `json:` file name.
    pub strong: Vec<(Box<str>, Plain)>,
    /// What the header named when the backing was opened from it, and the file name that gave.
    pub opened_backing: Option<(Box<str>, Box<str>)>,
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
