//! Who waits for whom where a world does not go on, as far as its scheduler and its disks know.

use crate::choice::Point;
use crate::world::host::SimHost;
use crate::world::on_disk::OnDisk;
use crate::world::scheduler::Scheduler;
use std::collections::BTreeMap;

/// So many of the last steps show who kept the world busy.
const STEPS: usize = 1_000;
/// So many of those that ran in them are named.
const BUSIEST_MAX: usize = 4;

/// Why the world does not go on, and whose the last steps were; below, the requests under way, and the tasks that have not
/// ended and of which nothing else is reported.
pub fn waiting(
    why: &str,
    scheduler: &Scheduler,
    host: &SimHost,
    is_reported: &dyn Fn(Point) -> bool,
) -> String {
    let mut text = format!("{why}; {}", busiest(scheduler.ran(), host));
    for request in under_way(scheduler, host) {
        let OnDisk { by, since, .. } = &request;
        text += &format!("\n  {by} waits for the disk: {}, since step {since}", request.asked());
    }
    for task in scheduler.unfinished().filter(|task| !is_reported(*task)) {
        text += &format!("\n  {} has not ended", host.label(task));
    }
    text
}

/// The requests of the disks under way, with who asked for them.
pub fn under_way(scheduler: &Scheduler, host: &SimHost) -> Vec<OnDisk> {
    let mut requests: Vec<OnDisk> = {
        let core = host.core();
        (0..core.disks.names().len()).map(|index| core.disks.look(index, scheduler.steps())).collect()
    };
    ask_who(&mut requests, scheduler, host);
    requests
}

/// Looks up who asked for requests: whoever ran when they were submitted.
pub fn ask_who(requests: &mut [OnDisk], scheduler: &Scheduler, host: &SimHost) {
    for request in requests {
        let ran = scheduler.ran().get(request.since as usize);
        request.by = ran.map_or_else(|| "somebody".to_owned(), |point| host.label(*point));
    }
}

/// Who ran in the last steps, the busiest first. The requests of one kind to one disk are one.
fn busiest(ran: &[Point], host: &SimHost) -> String {
    let last = &ran[ran.len().saturating_sub(STEPS)..];
    let Some(only) = last.last() else { return "nothing has run".to_owned() };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for point in last {
        let is_disk = point.name.starts_with("disk #");
        let who = if is_disk { "the disks".to_owned() } else { host.label(*point) };
        *counts.entry(who).or_default() += 1;
    }
    if ran.len() < STEPS {
        return format!("what ran last was {}", host.label(*only));
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown: Vec<String> =
        counts.iter().take(BUSIEST_MAX).map(|(who, count)| format!("{who} ran in {count}")).collect();
    format!("of the last {} steps {}", last.len(), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::disk::{Disks, File};
    use seam::{Host, OpenMode};

    fn world() -> (Scheduler, SimHost) {
        let host = SimHost::new(Disks::new(vec![File::new("/a", vec![0; 4096])]));
        (Scheduler::new(host.clone()), host)
    }

    #[test]
    fn who_waits_for_a_disk_is_reported_with_what_it_asked_for() {
        let (mut scheduler, host) = world();
        let own = host.clone();
        let asks = async move {
            let disk = own.open("/a", OpenMode::ReadWrite).await.expect("it is there");
            let _written = disk.write(512, vec![1; 512]).await;
        };
        host.spawn("job copy 7", Box::pin(asks));
        assert!(scheduler.step_now() && scheduler.step_now() && scheduler.step_now());
        let idle = Point::new("guest # lane #", [1, 0, 0]);
        scheduler.spawn(idle, Box::pin(std::future::pending()));
        let text = waiting("nothing moves", &scheduler, &host, &|task| task.name == "job #");
        let expected = "nothing moves; what ran last was job copy\
                        \n  job copy waits for the disk: write /a 0x200+0x200, since step 2\
                        \n  g1.0 has not ended";
        assert_eq!(text, expected);
    }

    #[test]
    fn who_kept_the_world_busy_is_reported_at_the_bound() {
        let (mut scheduler, host) = world();
        let spins = async {
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                std::task::Poll::<()>::Pending
            })
            .await
        };
        host.spawn("job j0 0", Box::pin(spins));
        let rest = scheduler.run(&[], 1_500, None);
        assert_eq!(rest, crate::world::scheduler::Rest::Bound);
        let text = waiting("the bound of steps was reached", &scheduler, &host, &|_| true);
        assert_eq!(text, "the bound of steps was reached; of the last 1000 steps job j0 ran in 1000");
    }
}
