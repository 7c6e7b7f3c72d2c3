//! What histories are made with: a tape of random numbers, and other orders in which the same may be seen.

pub mod spoil;
pub mod world;

/// Random numbers in a row. When they are used up, every choice is the first.
pub struct Tape {
    numbers: Vec<u16>,
    next: usize,
}

impl Tape {
    pub fn new(numbers: Vec<u16>) -> Tape {
        Tape { numbers, next: 0 }
    }

    /// A number below `of`.
    pub fn below(&mut self, of: usize) -> usize {
        let number = self.numbers.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(number) % of.max(1)
    }

    /// True once in so many.
    pub fn once_in(&mut self, of: usize) -> bool {
        // The first choice is that nothing special happens.
        self.below(of) == of - 1
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineKind {
    /// A client sends a command, or a guest begins a request.
    Begins,
    /// The client gets its reply, or the request ends.
    Ends,
    /// A job's event.
    Event,
    /// Anything else, which holds its place.
    Mark,
}

pub fn kind_of(line: &str) -> LineKind {
    match line.split(' ').next().unwrap_or_default() {
        ">" | "read" | "write" | "discard" | "flush" => LineKind::Begins,
        "<" | "end" => LineKind::Ends,
        "!" => LineKind::Event,
        _ => LineKind::Mark,
    }
}

/// Who a line is about: a client, or a guest's request.
pub fn party(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words[0] {
        ">" | "<" => format!("client {}", words[1]),
        "!" => format!("job {}", words[1]),
        _ => words.get(1).copied().unwrap_or_default().to_owned(),
    }
}

/// The same run as others may see it: what begins is seen earlier, what ends is seen later. Whoever was between two
/// observations before is between them still, so it is as right as it was.
pub fn widened(lines: &[String], tape: &mut Tape) -> Vec<String> {
    let mut lines = lines.to_vec();
    for _ in 0..lines.len() {
        let at = tape.below(lines.len() - 1);
        let (first, second) = (&lines[at], &lines[at + 1]);
        let is_other = party(first) != party(second);
        let holds = kind_of(first) == LineKind::Mark || kind_of(second) == LineKind::Mark;
        let widens = kind_of(first) == LineKind::Ends && kind_of(second) != LineKind::Ends
            || kind_of(second) == LineKind::Begins && kind_of(first) != LineKind::Begins
            || kind_of(first) == kind_of(second) && kind_of(first) != LineKind::Event;
        if is_other && !holds && widens {
            lines.swap(at, at + 1);
        }
    }
    lines
}
