//! From the text of a point back to the point.
//!
//! A number standing alone becomes a `#`, up to three of them; one that touches a letter or digit belongs to the name.
//! Templates live as long as the process, so there is a bound on how many different ones traces may bring in.

use crate::choice::Point;
use seam::escape::steers;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// A name is at most so long.
const NAME_BYTES_MAX: usize = 120;
/// Traces bring in at most so many different templates. The simulator has fewer than a hundred.
const TEMPLATES_MAX: usize = 1_000;

static TEMPLATES: Mutex<Templates> = Mutex::new(Templates::new(TEMPLATES_MAX));

/// The point's text, which leads back to it.
///
/// # Panics
///
/// If it does not: then the name of that point in the source needs mending.
pub(super) fn text(point: Point) -> String {
    let text = point.to_string();
    let back = parse(&text);
    assert_eq!(
        back.as_ref().map(|p| p.to_string()),
        Ok(point.to_string()),
        "the point {} cannot be written to a trace",
        point.name
    );
    let (template, of) = split(&text);
    assert_eq!(
        (template.as_str(), used(&template, point.of)),
        (point.name, of),
        "{text} reads as another point"
    );
    text
}

/// Reads a point.
pub(super) fn parse(text: &str) -> Result<Point, String> {
    if text.len() > NAME_BYTES_MAX {
        return Err(format!("a name of {} bytes, more than {NAME_BYTES_MAX}", text.len()));
    }
    if let Some(c) = text.chars().find(|c| steers(*c) || *c == '#') {
        return Err(format!("{} in a name", character(c)));
    }
    let (template, of) = split(text);
    let name = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner).intern(template)?;
    Ok(Point { name, of })
}

/// A character as a text shows it that must not have it.
pub(super) fn character(c: char) -> String {
    if steers(c) { format!("control character U+{:04X}", u32::from(c)) } else { format!("`{c}`") }
}

/// The numbers a template does not use are 0, so that equal texts are equal points.
fn used(template: &str, of: [u32; 3]) -> [u32; 3] {
    let count = template.matches('#').count();
    std::array::from_fn(|i| if i < count { of[i] } else { 0 })
}

fn split(text: &str) -> (String, [u32; 3]) {
    let mut template = String::with_capacity(text.len());
    let mut of = [0; 3];
    let mut count = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let in_word = |c: char| c.is_ascii_alphanumeric();
        let end = if rest.starts_with(in_word) { rest.find(|c| !in_word(c)) } else { rest.find(in_word) };
        let (token, after) = rest.split_at(end.unwrap_or(rest.len()));
        match plain_number(token) {
            Some(number) if count < of.len() => {
                of[count] = number;
                count += 1;
                template.push('#');
            }
            _ => template.push_str(token),
        }
        rest = after;
    }
    (template, of)
}

/// A number as `Display` writes it: no sign, no leading zero.
fn plain_number(token: &str) -> Option<u32> {
    let digits = token.bytes().all(|b| b.is_ascii_digit());
    (digits && (token == "0" || !token.starts_with('0'))).then(|| token.parse().ok()).flatten()
}

/// Names that live as long as the process.
struct Templates {
    known: BTreeSet<&'static str>,
    count_max: usize,
}

impl Templates {
    const fn new(count_max: usize) -> Self {
        Templates { known: BTreeSet::new(), count_max }
    }

    fn intern(&mut self, template: String) -> Result<&'static str, String> {
        if let Some(known) = self.known.get(template.as_str()) {
            return Ok(known);
        }
        if self.known.len() >= self.count_max {
            return Err(format!("more than {} different names", self.count_max));
        }
        let kept: &'static str = Box::leak(template.into_boxed_str());
        self.known.insert(kept);
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_leads_back_to_its_point() {
        let points = [
            Point::new("crash", [0; 3]),
            Point::new("client # command # device", [1, 3, 0]),
            Point::new("disk top.qcow2 write #", [17, 0, 0]),
            Point::new("job:stream0 worker #/#", [4_294_967_295, 2, 0]),
            Point::new("", [0; 3]),
        ];
        for point in points {
            assert_eq!(parse(&text(point)), Ok(point));
        }
    }

    #[test]
    fn numbers_that_display_never_writes_stay_part_of_the_name() {
        assert_eq!(parse("a 007 4294967296").map(|p| (p.name, p.of)), Ok(("a 007 4294967296", [0; 3])));
        assert_eq!(parse("1 2 3 4").map(|p| (p.name, p.of)), Ok(("# # # 4", [1, 2, 3])));
    }

    #[test]
    #[should_panic(expected = "reads as another point")]
    fn a_template_whose_number_touches_a_letter_is_refused() {
        text(Point::new("stream#", [0; 3]));
    }

    #[test]
    fn hostile_names_are_refused() {
        assert!(parse(&"x".repeat(NAME_BYTES_MAX + 1)).is_err());
        assert_eq!(parse("a\u{1b}[2J"), Err("control character U+001B in a name".to_owned()));
        assert_eq!(parse("client #"), Err("`#` in a name".to_owned()));
    }

    #[test]
    fn names_without_end_are_refused() {
        let mut templates = Templates::new(2);
        assert_eq!(templates.intern("a".to_owned()), Ok("a"));
        assert_eq!(templates.intern("b".to_owned()), Ok("b"));
        assert_eq!(templates.intern("c".to_owned()), Err("more than 2 different names".to_owned()));
        assert_eq!(templates.intern("a".to_owned()), Ok("a"));
    }
}
