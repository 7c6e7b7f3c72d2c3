//! Panics of what is being tested, caught and kept quiet: a broken invariant of the engine is a verdict, not noise.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Calls `f`; if it panics, nothing is printed and the message with its place comes back.
///
/// State that `f` shared with others is the caller's to throw away.
pub fn quietly<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| if QUIET.get() { hear(info) } else { loud(info) }));
    });
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    QUIET.set(before);
    result.map_err(|payload| HEARD.take().unwrap_or_else(|| text(payload.as_ref()).to_owned()))
}

fn hear(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
    let message = format!("{}{place}", text(info.payload()));
    // The first panic is the cause; a second one while unwinding aborts anyway.
    HEARD.set(Some(message));
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
        assert!(said.starts_with("node 1 is not node 2 ("), "{said}");
        assert!(said.contains("panics.rs:"), "{said}");
        assert_eq!(quietly(|| 7), Ok(7));
    }

    #[test]
    fn an_inner_call_hears_its_own_panic_and_the_outer_goes_on() {
        let said = quietly(|| quietly(|| panic!("inner")).expect_err("it panicked"));
        assert!(said.expect("the outer ends well").starts_with("inner"));
    }
}
