//! The one place where anything is decided: `choose` a number at a named point, or `pick` one of named options.
//!
//! A run is a pure function of its choices. The strategy behind says which; the choice log remembers them.

use std::fmt;

/// A place where something is decided, or an option that can be picked: a template with up to three numbers in it.
///
/// `Point::new("client # command # device", [1, 3, 0])` reads `client 1 command 3 device`.
/// The name is stable: it stands in traces. So that the text leads back to the point, a `#` stands alone between
/// spaces or other marks, never beside a letter or digit, and a number that belongs to the name never stands alone.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Point {
    /// The template; each `#` stands for the next number.
    pub name: &'static str,
    /// The numbers.
    pub of: [u32; 3],
}

impl Point {
    /// A point.
    #[inline]
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

/// One thing decided. Every decision is of the form: of so many, this one; and 0 is always the one to minimise to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// A number below `of`. 0 is nothing, none, the first, the smallest.
    Number {
        /// Where.
        at: Point,
        /// How many there were.
        of: u32,
        /// Which one.
        value: u32,
    },
    /// One of several named options. The first is to go on with what ran last.
    Option {
        /// Where.
        at: Point,
        /// How many there were.
        of: u32,
        /// Which one, as it stood among them. Replay goes by its name.
        value: u32,
        /// Its name.
        picked: Point,
    },
}

impl Decision {
    /// Where it was taken.
    pub fn at(&self) -> Point {
        match *self {
            Decision::Number { at, .. } | Decision::Option { at, .. } => at,
        }
    }

    /// How many possibilities there were.
    pub fn of(&self) -> u32 {
        match *self {
            Decision::Number { of, .. } | Decision::Option { of, .. } => of,
        }
    }

    /// Which one was taken; minimising goes towards 0.
    pub fn value(&self) -> u32 {
        match *self {
            Decision::Number { value, .. } | Decision::Option { value, .. } => value,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Number { at, of, value } => write!(f, "{at}: {value} of {of}"),
            Decision::Option { at, picked, .. } => write!(f, "{at}: {picked}"),
        }
    }
}

/// Says how choices are made: random, PCT, exhaustive, replay.
pub trait Strategy {
    /// A number below `of`, which is at least 2.
    fn choose(&mut self, at: Point, of: u32) -> u32;
    /// An index into `options`, which are at least 2 and all different.
    fn pick(&mut self, at: Point, options: &[Point]) -> usize;
    /// The same of a strategy that needs no names: one of so many, at least 2. `None` from one that goes by names, which has
    /// decided nothing then.
    fn pick_by_number(&mut self, at: Point, of: u32) -> Option<u32> {
        let _by_name = (at, of);
        None
    }
}

/// The choice log of one run.
pub struct Choices {
    strategy: Box<dyn Strategy + Send>,
    tape: Vec<Decision>,
}

impl Choices {
    /// A fresh choice log fed by `strategy`.
    pub fn new(strategy: Box<dyn Strategy + Send>) -> Self {
        // A small world decides a few hundred times; growing from nothing would copy the choice log eight times.
        Choices { strategy, tape: Vec::with_capacity(512) }
    }

    /// Decides a number below `of`. With one possibility there is nothing to decide and nothing is recorded.
    // A point is written in pieces. Where it is read as a whole at once, in a call, the processor waits for them.
    #[inline]
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
        let of = u32::try_from(options.len()).expect("options are made one by one, far below 2^32");
        self.tape.push(Decision::Option { at, of, value: index as u32, picked: options[index] });
        index
    }

    /// The same of so many options whose names the strategy does not need. `None`: it goes by names, and has decided nothing.
    /// What is decided is recorded by `picked`, which wants the name of that one.
    #[inline]
    pub(crate) fn pick_by_number(&mut self, at: &Point, options: usize) -> Option<Picked> {
        assert!(options > 0, "nothing on offer at {at}");
        if options == 1 {
            return Some(Picked { value: 0, of: 1 });
        }
        let of = u32::try_from(options).expect("options are made one by one, far below 2^32");
        let value = self.strategy.pick_by_number(*at, of)?;
        assert!(value < of, "{at}: option {value} of {of}");
        Some(Picked { value, of })
    }

    /// Records which option was picked by its number. With one option nothing was decided.
    #[inline]
    pub(crate) fn picked(&mut self, at: &Point, Picked { value, of }: Picked, name: &Point) {
        if of > 1 {
            self.tape.push(Decision::Option { at: *at, of, value, picked: *name });
        }
    }

    /// What was decided so far.
    pub fn tape(&self) -> &[Decision] {
        &self.tape
    }

    /// What was decided, at the end of a run.
    pub fn into_tape(self) -> Vec<Decision> {
        self.tape
    }
}

/// An option, picked by its number.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Picked {
    value: u32,
    of: u32,
}

impl Picked {
    /// Which one.
    pub(crate) fn index(self) -> usize {
        self.value as usize
    }
}

/// Draws numbers and entries of tables at named points.
#[derive(Debug)]
pub struct Draw<'a> {
    choices: &'a mut Choices,
}

impl Draw<'_> {
    /// Draws from these choices.
    pub fn new(choices: &mut Choices) -> Draw<'_> {
        Draw { choices }
    }

    /// A number below `of`.
    #[inline]
    pub fn below(&mut self, name: &'static str, of: [u32; 3], below: u32) -> u32 {
        self.choices.choose(Point::new(name, of), below)
    }

    /// One entry of a table. Minimising goes towards the first; one that stands there twice comes up twice as often.
    pub fn entry<T: Copy>(&mut self, name: &'static str, of: [u32; 3], table: &[T]) -> T {
        table[self.below(name, of, table.len() as u32) as usize]
    }
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choices").field("decided", &self.tape.len()).finish_non_exhaustive()
    }
}

/// Scatters a number over all 64 bits: the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
pub const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Last;

    impl Strategy for Last {
        fn choose(&mut self, _: Point, of: u32) -> u32 {
            of - 1
        }
        fn pick(&mut self, _: Point, options: &[Point]) -> usize {
            options.len() - 1
        }
    }

    #[test]
    fn a_point_reads_as_its_template_with_the_numbers_in_place() {
        assert_eq!(
            Point::new("client # command # device", [1, 3, 0]).to_string(),
            "client 1 command 3 device"
        );
        assert_eq!(Point::new("crash", [7, 7, 7]).to_string(), "crash");
    }

    #[test]
    fn only_real_decisions_reach_the_tape() {
        let at = Point::new("guest # offset", [1, 0, 0]);
        let tasks = [Point::new("task #", [1, 0, 0]), Point::new("task #", [2, 0, 0])];
        let mut choices = Choices::new(Box::new(Last));
        assert_eq!(choices.choose(at, 1), 0);
        assert_eq!(choices.choose(at, 9), 8);
        assert_eq!(choices.pick(at, &tasks[..1]), 0);
        assert_eq!(choices.pick(at, &tasks), 1);
        let expected = [
            Decision::Number { at, of: 9, value: 8 },
            Decision::Option { at, of: 2, value: 1, picked: tasks[1] },
        ];
        assert_eq!(choices.into_tape(), expected);
    }

    #[test]
    fn what_is_picked_by_number_is_recorded_by_name() {
        struct Second;
        impl Strategy for Second {
            fn choose(&mut self, _: Point, _: u32) -> u32 {
                1
            }
            fn pick(&mut self, _: Point, _: &[Point]) -> usize {
                1
            }
            fn pick_by_number(&mut self, _: Point, _: u32) -> Option<u32> {
                Some(1)
            }
        }
        let at = Point::new("schedule", [0; 3]);
        let tasks = [1, 2, 3].map(|task| Point::new("task #", [task, 0, 0]));
        let (mut by_name, mut by_number) = (Choices::new(Box::new(Second)), Choices::new(Box::new(Second)));
        for of in [1, 3, 2] {
            let index = by_name.pick(at, &tasks[..of]);
            let picked = by_number.pick_by_number(&at, of).expect("it needs no names");
            assert_eq!(picked.index(), index);
            by_number.picked(&at, picked, &tasks[index]);
        }
        assert_eq!(by_number.tape(), by_name.tape());
        assert_eq!(by_number.tape().len(), 2, "of one option nothing is decided");
        assert!(Choices::new(Box::new(Last)).pick_by_number(&at, 3).is_none(), "it goes by names");
    }

    #[test]
    #[should_panic(expected = "guest 1 offset: 9 is not below 9")]
    fn a_strategy_that_oversteps_is_caught_at_the_point() {
        struct Wild;
        impl Strategy for Wild {
            fn choose(&mut self, _: Point, of: u32) -> u32 {
                of
            }
            fn pick(&mut self, _: Point, _: &[Point]) -> usize {
                0
            }
        }
        Choices::new(Box::new(Wild)).choose(Point::new("guest # offset", [1, 0, 0]), 9);
    }
}
