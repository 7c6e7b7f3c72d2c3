//! Texts of lines, as traces and histories are: lines left out, said twice, exchanged, cut off; bytes and numbers changed.

use crate::random::Random;

/// Numbers at the ends of things.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "511",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "36028797018963967",
    "1e308",
    "0.5",
];

/// The text, changed in a few places.
pub fn mutated(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..1 + random.below(5) {
        let (at, other) = (random.index(lines.len()), random.index(lines.len()));
        match random.below(7) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(other, lines[at].clone()),
            2 => lines.swap(at, other),
            3 => {
                let len = random.index(lines[at].len() + 1);
                lines[at].truncate(len);
            }
            4 if !lines[at].is_empty() => {
                let place = random.index(lines[at].len());
                lines[at][place] = random.any() as u8;
            }
            _ => change_number(&mut lines[at], random),
        }
    }
    lines.join(&b'\n')
}

/// Puts another number in the place of one.
fn change_number(line: &mut Vec<u8>, random: &mut Random) {
    let starts: Vec<usize> = (0..line.len())
        .filter(|at| line[*at].is_ascii_digit() && (*at == 0 || !line[*at - 1].is_ascii_digit()))
        .collect();
    if starts.is_empty() {
        return;
    }
    let start = *random.pick(&starts);
    let len = line[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    line.splice(start..start + len, random.pick(&NUMBERS).bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_comes_and_a_seed_decides_it() {
        let text = b"{\"a\":12}\n{\"b\":3}\n{\"c\":456}";
        let all: Vec<Vec<u8>> = (0..200).map(|seed| mutated(text, &mut Random::new(seed))).collect();
        assert!(all.iter().any(|mutated| mutated.windows(19).any(|part| part == b"9223372036854775807")));
        assert!(all.iter().any(|mutated| mutated.split(|byte| *byte == b'\n').count() > 3));
        assert_eq!(all[7], mutated(text, &mut Random::new(7)));
    }
}
