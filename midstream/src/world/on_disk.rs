//! A request of a simulated disk as readers of a run see it.

/// A request that a simulated disk has completed, or has under way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OnDisk {
    /// The step at which it was completed.
    pub step: u64,
    /// The step at which it was submitted.
    pub since: u64,
    /// The word for it.
    pub what: &'static str,
    /// On which file.
    pub file: String,
    /// Its bytes: from where on, and how many.
    pub range: Option<(u64, u64)>,
    /// What these hold, as far as anybody knows.
    pub holds: String,
    /// Who asked for it, once somebody has looked that up.
    pub by: String,
}

impl OnDisk {
    /// What was asked for: `write /a 0x400+0x200 (g0.0.1)`.
    pub fn asked(&self) -> String {
        let OnDisk { what, file, range, holds, .. } = self;
        let range = range.map(|(offset, len)| format!(" {offset:#x}+{len:#x}")).unwrap_or_default();
        let holds = if holds.is_empty() { String::new() } else { format!(" ({holds})") };
        format!("{what} {file}{range}{holds}")
    }

    /// Who asked for what, and since when, if others came between.
    pub fn line(&self) -> String {
        let OnDisk { step, since, by, .. } = self;
        let since = if since + 2 >= *step { String::new() } else { format!(", since {since}") };
        format!("{by}: {}{since}", self.asked())
    }
}
