//! Panics, caught and kept quiet, each with its place: a broken invariant of what is judged is a verdict, not noise.
//!
//! A panic that comes from elsewhere (specification, scheduler, workload) says nothing about it. Whoever
//! catches one raises it again, up to where the run's seed or file is known.

use crate::terminal::complain;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::{Component, Path};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// A panic that was caught.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panic {
    message: String,
    /// File and line.
    place: Option<(String, u32)>,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some((file, line)) => write!(f, "{} ({file}:{line})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Panic {
    /// Whether it was raised in a source file below these two folders, one in the other, wherever the workspace lies.
    pub fn is_below(&self, folders: [&str; 2]) -> bool {
        self.place.as_ref().is_some_and(|(file, _)| leads_through(file, folders))
    }

    /// Whether the world or the specification stopped, and not what runs in that world.
    pub fn is_of_harness(&self) -> bool {
        self.place.as_ref().is_some_and(|(file, _)| is_ours(file))
    }

    /// Raises it again, for whoever called.
    pub fn raise(self) -> ! {
        // Nobody up there listens quietly: then this is the last chance to say it.
        if !QUIET.get() {
            complain(format_args!("panic: {self}"));
        }
        panic::resume_unwind(Box::new(self))
    }
}

/// Calls `f`; if it panics, nothing is printed and the panic comes back.
///
/// State that `f` shared with others is the caller's to throw away.
pub fn quietly<T>(f: impl FnOnce() -> T) -> Result<T, Panic> {
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| if QUIET.get() { keep(info) } else { loud(info) }));
    });
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    QUIET.set(before);
    result.map_err(|payload| match payload.downcast::<Panic>() {
        Ok(raised) => *raised,
        Err(payload) => {
            let unseen = || Panic { message: text(payload.as_ref()).to_owned(), place: None };
            CAUGHT.take().unwrap_or_else(unseen)
        }
    })
}

fn keep(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|l| (l.file().to_owned(), l.line()));
    // The last panic is the one that is caught: one raised while unwinding aborts.
    CAUGHT.set(Some(Panic { message: text(info.payload()).to_owned(), place }));
}

/// Paths begin as the one of this file does, wherever this crate was compiled from.
fn is_ours(file: &str) -> bool {
    let root = file!().strip_suffix("midstream/src/panics.rs");
    let root = root.unwrap_or_else(|| file!().trim_end_matches("src/panics.rs"));
    let ours = ["midstream/src/", "model/src/", "src/"];
    file.strip_prefix(root).is_some_and(|rest| ours.iter().any(|ours| rest.starts_with(ours)))
}

fn leads_through(file: &str, folders: [&str; 2]) -> bool {
    let parts: Vec<Component<'_>> = Path::new(file).components().collect();
    parts.windows(2).any(|pair| pair == folders.map(|folder| Component::Normal(folder.as_ref())))
}

fn text(payload: &dyn Any) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return text;
    }
    payload.downcast_ref::<String>().map_or("a panic without a message", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_comes_back_as_its_message_and_place() {
        let values = [1, 2];
        let said =
            quietly(|| assert!(values[0] == values[1], "node {} is not node {}", values[0], values[1]));
        let said = said.expect_err("1 is not 2");
        assert!(said.is_below(["midstream", "src"]), "{said}");
        let said = said.to_string();
        assert!(said.starts_with("node 1 is not node 2 ("), "{said}");
        assert!(said.contains("panics.rs:"), "{said}");
        assert_eq!(quietly(|| 7), Ok(7));
    }

    #[test]
    fn an_inner_call_sees_its_own_panic_and_the_outer_goes_on() {
        let said = quietly(|| quietly(|| panic!("inner")).expect_err("it panicked"));
        assert!(said.expect("the outer ends well").to_string().starts_with("inner"));
    }

    #[test]
    fn a_panic_that_is_raised_again_keeps_its_message_and_place() {
        let mut first = None;
        let said = quietly(|| {
            let inner = quietly(|| panic!("inner")).expect_err("it panicked");
            first = Some(inner.clone());
            inner.raise()
        });
        assert_eq!(said, Err(first.expect("it was caught")));
    }

    #[test]
    fn a_place_is_named_by_its_folders() {
        let is_engine = |file| leads_through(file, ["impl", "src"]);
        for file in ["impl/src/job/stream.rs", "/home/u/midstream/impl/src/lib.rs"] {
            assert!(is_engine(file), "{file}");
        }
        for file in
            ["model/src/chain.rs", "sim/src/implement.rs", "sim/src/impl.rs", "/rustc/1/core/src/a.rs"]
        {
            assert!(!is_engine(file), "{file}");
        }
    }
}
