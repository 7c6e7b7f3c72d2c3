//! The engine's synchronisation: a few small primitives, over a shim that is std or loom.
//!
//! Nothing outside this folder holds a lock across an await.

pub mod ending;
pub(crate) mod gate;
pub(crate) mod range_lock;
pub(crate) mod shim;
pub(crate) mod signal;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets others run once: a yield point where nothing else would be one.
#[derive(Debug, Default)]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Ready when either is; the first wins a tie.
pub async fn either<A, B>(first: A, second: B)
where
    A: Future<Output = ()>,
    B: Future<Output = ()>,
{
    let mut first = std::pin::pin!(first);
    let mut second = std::pin::pin!(second);
    std::future::poll_fn(|context| match first.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => second.as_mut().poll(context),
    })
    .await;
}

/// Runs futures side by side, `most` of them at a time. After an error none begins any more; those that have begun end
/// before this does. Answers the first error.
pub(crate) async fn side_by_side<F, E>(mut waiting: impl Iterator<Item = F>, most: usize) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut begun: Vec<Pin<Box<F>>> = Vec::with_capacity(most);
    let mut result = Ok(());
    std::future::poll_fn(|context| {
        loop {
            let mut at = 0;
            while at < begun.len() {
                match begun[at].as_mut().poll(context) {
                    Poll::Pending => at += 1,
                    Poll::Ready(answer) => {
                        drop(begun.remove(at));
                        result = std::mem::replace(&mut result, Ok(())).and(answer);
                    }
                }
            }
            let next = if begun.len() < most && result.is_ok() { waiting.next() } else { None };
            match next {
                Some(next) => begun.push(Box::pin(next)),
                None if begun.is_empty() => return Poll::Ready(()),
                None => return Poll::Pending,
            }
        }
    })
    .await;
    result
}
