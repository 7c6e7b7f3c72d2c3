//! The one place where anything is decided: `choose` a number at a named point, or `pick` one of named options.
//!
//! A run is a pure function of its choices. The strategy behind says which; the tape remembers them.

use std::fmt;

/// A place where something is decided, or an option that can be picked: a template with up to three numbers in it.
///
/// `Point::new("client # command # device", [1, 3, 0])` reads `client 1 command 3 device`.
/// The name is stable: it stands in traces.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Point {
    /// The template; each `#` stands for the next number.
    pub name: &'static str,
    /// The numbers.
    pub of: [u32; 3],
}

impl Point {
    /// A point.
    pub const fn new(name: &'static str, of: [u32; 3]) -> Self {
        Point { name, of }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.of.iter();
        for (i, part) in self.name.split('#').enumerate() {
            if i > 0 {
                write!(f, "{}", numbers.next().copied().unwrap_or_default())?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}

/// One thing decided.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// A number below `of`. 0 is always the plainest: nothing, none, the first, the smallest.
    Number {
        /// Where.
        at: Point,
        /// How many there were.
        of: u32,
        /// Which one.
        value: u32,
    },
    /// One of several named options. The first is the plainest: go on with what ran last.
    Option {
        /// Where.
        at: Point,
        /// Which one.
        picked: Point,
    },
}

/// Says how choices are made: random, PCT, exhaustive, replay.
pub trait Strategy {
    /// A number below `of`, which is at least 2.
    fn choose(&mut self, at: Point, of: u32) -> u32;
    /// An index into `options`, which are at least 2 and all different.
    fn pick(&mut self, at: Point, options: &[Point]) -> usize;
}

/// The tape of one run.
#[allow(missing_debug_implementations)]
pub struct Choices {
    strategy: Box<dyn Strategy + Send>,
    tape: Vec<Decision>,
}

impl Choices {
    /// A fresh tape fed by `strategy`.
    pub fn new(strategy: Box<dyn Strategy + Send>) -> Self {
        Choices { strategy, tape: Vec::new() }
    }

    /// Decides a number below `of`. With one possibility there is nothing to decide and nothing is recorded.
    pub fn choose(&mut self, at: Point, of: u32) -> u32 {
        assert!(of > 0, "nothing to choose from at {at}");
        if of == 1 {
            return 0;
        }
        let value = self.strategy.choose(at, of);
        assert!(value < of, "{at}: {value} is not below {of}");
        self.tape.push(Decision::Number { at, of, value });
        value
    }

    /// Decides one of `options`, by its index.
    pub fn pick(&mut self, at: Point, options: &[Point]) -> usize {
        assert!(!options.is_empty(), "nothing on offer at {at}");
        if options.len() == 1 {
            return 0;
        }
        let index = self.strategy.pick(at, options);
        assert!(index < options.len(), "{at}: option {index} of {}", options.len());
        self.tape.push(Decision::Option { at, picked: options[index] });
        index
    }

    /// What was decided so far.
    pub fn tape(&self) -> &[Decision] {
        &self.tape
    }
}
