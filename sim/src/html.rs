//! One run as a page to look at: a file that needs no network and nothing beside it.
//!
//! The page is a function of the run's history and nothing else. What the judge believed at each step is found by showing
//! the history to a judge once more; so any history can be shown, whoever recorded it.
//!
//! `data` is what the page knows, as JSON; `build` makes it of a history, with `belief` for the judge's side, `cause` for
//! what led to what, `differs` for the sectors that break a law and `absent` for the flush that did not come; `embed` puts it all into one file. What the page does
//! with it is in `html/page/`: `page.js` where the reader is, `lanes.js`, `graph.js`, `disk.js` and `belief.js` a part each.

mod absent;
mod belief;
mod build;
pub mod campaign;
mod cause;
pub mod data;
mod differs;
mod embed;
mod grids;
pub mod index;
pub mod mermaid;
pub mod outcomes;
pub mod perfetto;
mod plots;

pub use build::{Heading, of_history, planned};
pub use embed::{embedded, page};
