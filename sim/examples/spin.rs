//! tmp
use sim::choice::*;
use sim::host::SimHost;
use sim::scheduler::*;
struct Chance(u64);
impl Strategy for Chance {
    fn choose(&mut self, _: Point, of: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % of as u64) as u32
    }
    fn pick(&mut self, p: Point, o: &[Point]) -> usize {
        self.choose(p, o.len() as u32) as usize
    }
}
async fn yield_once() {
    let mut y = false;
    std::future::poll_fn(move |c| {
        c.waker().wake_by_ref();
        if std::mem::replace(&mut y, true) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
fn main() {
    let t = std::time::Instant::now();
    let n = 100_000u64;
    let mut steps = 0;
    for seed in 0..n {
        let mut c = Choices::new(Box::new(Chance(seed)));
        let mut s = Scheduler::new(SimHost::default());
        let ts: Vec<_> = (0..3)
            .map(|i| {
                s.spawn(
                    Point::new("task #", [i, 0, 0]),
                    Box::pin(async {
                        for _ in 0..30 {
                            yield_once().await
                        }
                    }),
                )
            })
            .collect();
        s.run(&ts, 1000, Some(&mut c));
        steps += s.steps();
    }
    let e = t.elapsed().as_secs_f64();
    println!("{:.0} runs/s {:.1} ns/step", n as f64 / e, e * 1e9 / steps as f64);
    let t = std::time::Instant::now();
    let mut bytes = 0;
    for seed in 0..20_000u64 {
        let mut c = Choices::new(Box::new(Chance(seed)));
        let s = sim::workload::scenario::Scenario::draw(&mut c);
        bytes += s.files().iter().map(|f| f.len()).sum::<usize>();
        if seed < 1 {
            println!("{:#?} tape {}", (&s.guests, &s.clients, &s.faults), c.tape().len());
        }
        if false {
            for t in s.setup() {
                println!("{t}")
            }
        }
    }
    for seed in 0..300u64 {
        let mut c = Choices::new(Box::new(Chance(seed)));
        let s = sim::workload::scenario::Scenario::draw(&mut c);
        let d = format!("/tmp/imgs/{seed}");
        std::fs::create_dir_all(&d).unwrap();
        for (f, i) in s.files().iter().zip(&s.images) {
            std::fs::write(format!("{d}{}", i.path), f).unwrap();
        }
    }
    println!("{:.1} us/scenario, {} bytes", t.elapsed().as_secs_f64() * 1e6 / 20e3, bytes / 20_000);
}
