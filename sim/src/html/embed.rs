//! One file of a page, its styles, its scripts and its data.

use super::campaign::escaped;
use super::data::Page;
use serde::Serialize;
use std::io::{self, Write};

const FRAME: &str = include_str!("page/page.html");
const STYLES: &str = include_str!("page/page.css");
/// In the order in which they are run: the last one begins.
const SCRIPTS: [&str; 7] = [
    include_str!("page/dom.js"),
    include_str!("page/graph.js"),
    include_str!("page/disk.js"),
    include_str!("page/belief.js"),
    include_str!("page/lanes.js"),
    include_str!("page/lost.js"),
    include_str!("page/page.js"),
];

/// The page of a run as one file: HTML in UTF-8, which loads nothing.
pub fn page(page: &Page) -> String {
    let data = embedded(page);
    let title = if page.broken { format!("broken: {}", page.law) } else { format!("passed: {}", page.title) };
    let mut text = String::with_capacity(data.len() + 64 * 1024);
    let mut rest = FRAME;
    while let Some((before, after)) = rest.split_once("{{") {
        text += before;
        let (slot, after) = after.split_once("}}").expect("every slot of the frame is closed");
        match slot {
            "title" => text += &escaped(&title),
            "styles" => text += STYLES,
            "scripts" => SCRIPTS.iter().for_each(|script| text += script),
            "data" => text += &data,
            other => panic!("the frame has a slot `{other}` that nothing goes into"),
        }
        rest = after;
    }
    text + rest
}

/// A value as JSON that can stand within a `script` element: nothing in it ends the element or begins a comment there.
pub fn embedded(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut writer = NoTags(&mut bytes);
    serde_json::to_writer(&mut writer, value).expect("numbers, texts and lists can be written to memory");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// Writes `<`, `>` and `&` as JSON's escapes: outside of texts JSON has none of them.
struct NoTags<'a>(&'a mut Vec<u8>);

impl Write for NoTags<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            match byte {
                b'<' | b'>' | b'&' => self.0.extend(format!("\\u{byte:04x}").bytes()),
                _ => self.0.push(*byte),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_run_says_ends_the_script_or_the_title() {
        let hostile = "</script><script>alert(1)</script><!-- & \u{2028} \"";
        let heading =
            Page { title: hostile.to_owned(), law: hostile.to_owned(), broken: true, ..Page::default() };
        let text = page(&heading);
        assert!(!text.contains("alert(1)<"), "{text}");
        assert_eq!(text.matches("</script>").count(), 2, "the data's end and the scripts' end");
        assert!(text.contains("<title>broken: &lt;/script&gt;"), "{text}");
        let data: serde_json::Value = serde_json::from_str(&embedded(&heading)).expect("still JSON");
        assert_eq!(data["law"], hostile);
    }

    #[test]
    fn a_page_loads_nothing() {
        let text = page(&Page::default());
        for loads in ["src=", "href=\"http", "@import", "url(", "fetch(", "XMLHttpRequest"] {
            assert!(!text.contains(loads), "{loads}");
        }
    }
}
