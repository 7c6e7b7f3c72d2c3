//! The threads of a live daemon that serve its exports.

/// In which threads a live daemon serves its exports.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Threads {
    /// In that of its monitor.
    Main,
    /// All in one iothread, where their nodes stay.
    One,
    /// In so many by turns, and in that of the monitor; the nodes go wherever they are asked for.
    Several(u32),
}

/// Three in eight wide worlds have none but that of the monitor.
pub(super) const THREADS: [Threads; 8] = {
    use Threads::{Main, One, Several};
    [Main, Main, Main, One, One, One, Several(1), Several(2)]
};

impl Threads {
    /// How many iothreads there are.
    pub fn count(self) -> u32 {
        match self {
            Threads::Main => 0,
            Threads::One => 1,
            Threads::Several(count) => count,
        }
    }

    /// The options of the export with a number, as JSON with a comma before it.
    pub fn of_export(self, number: u32) -> String {
        match self {
            Threads::Main => String::new(),
            Threads::One => r#","iothread":"io0","fixed-iothread":true"#.to_owned(),
            Threads::Several(count) => match number % (count + 1) {
                0 => String::new(),
                thread => format!(r#","iothread":"io{}""#, thread - 1),
            },
        }
    }
}
