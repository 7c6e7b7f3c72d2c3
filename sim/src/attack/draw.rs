//! The inputs of a round: so many of one kind, from its seed.

use super::Kind;
use super::material::Material;
use super::victim::{EXPORT_BYTES, FILES, NAMES};
use hostile::nbd_reply::{self, Wanted};
use hostile::qmp_command::Commands;
use hostile::random::Random;
use hostile::{image, lines, nbd, qmp_text};

/// How many inputs a round has: as many as take about half a second.
fn count(kind: Kind) -> u64 {
    match kind {
        Kind::QmpBytes => 400,
        Kind::QmpCommands => 150,
        Kind::NbdBytes | Kind::NbdRequests | Kind::NbdServers => 60,
        Kind::ImageBytes | Kind::ImageFields => 12,
        Kind::Traces => 20,
        Kind::Histories => 40,
    }
}

/// The inputs.
pub(super) fn inputs(kind: Kind, seed: u64, material: &Material) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    (0..count(kind)).map(|_| input(kind, material, &mut random)).collect()
}

fn input(kind: Kind, material: &Material, random: &mut Random) -> Vec<u8> {
    match kind {
        Kind::QmpBytes => qmp_text::bytes(random),
        Kind::QmpCommands => {
            let commands = Commands { schema: &material.schema, names: &NAMES, files: &FILES };
            commands.draw(random).to_string().into_bytes()
        }
        Kind::NbdBytes => nbd::stream(EXPORT_BYTES, random),
        Kind::NbdRequests => nbd::extreme_requests(EXPORT_BYTES, random),
        Kind::NbdServers => server(random),
        Kind::ImageBytes => {
            let mut bytes = random.pick(&material.images).clone();
            match random.below(8) {
                0 => bytes = image::noise_behind_a_start(random),
                1 => image::noise_behind_the_header(&mut bytes, random),
                _ => (0..1 + random.below(4)).for_each(|_| image::by_bytes(&mut bytes, random)),
            }
            bytes
        }
        Kind::ImageFields => {
            let mut bytes = random.pick(&material.images).clone();
            (0..1 + random.below(3)).for_each(|_| image::by_structure(&mut bytes, random));
            bytes
        }
        Kind::Traces | Kind::Histories => {
            let texts = if kind == Kind::Traces { &material.traces } else { &material.histories };
            let text = random.pick(texts);
            lines::mutated(text, random)
        }
    }
}

/// A server whose client reads its disk from the start: it asks what is there, and then for that.
fn server(random: &mut Random) -> Vec<u8> {
    let piece = *random.pick(&[64_u32 << 10, 1 << 20]);
    let count = 1 + random.below(8);
    let request = |cookie: u64| {
        let asks = cookie.is_multiple_of(2) == random.one_in(8);
        let (wanted, len) = if asks { (Wanted::Status, EXPORT_BYTES as u32) } else { (Wanted::Data, piece) };
        (wanted, cookie, (cookie - 1) / 2 * u64::from(piece), len)
    };
    let requests: Vec<_> = (1..=count).map(request).collect();
    nbd_reply::stream(EXPORT_BYTES, &requests, random)
}
