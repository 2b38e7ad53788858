//! Invented names and AWS-shaped ids.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of its own for every (seed, what, who, when): nothing drawn in one place shifts another.
pub fn stream(seed: u64, parts: &[u64]) -> ChaCha8Rng {
    let mut state = mix(seed ^ 0x9e37_79b9_7f4a_7c15);
    for part in parts {
        state = mix(state.rotate_left(17) ^ mix(part.wrapping_add(0x2545_f491_4f6c_dd1d)));
    }
    ChaCha8Rng::seed_from_u64(state)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// One of a list that is never empty.
pub fn pick<'a, T>(rng: &mut ChaCha8Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const HEX: &[u8] = b"0123456789abcdef";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

fn text(rng: &mut ChaCha8Rng, alphabet: &[u8], length: usize) -> String {
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        text.push(char::from(alphabet[(rng.next_u32() as usize) % alphabet.len()]));
    }
    text
}

pub fn hex(rng: &mut ChaCha8Rng, length: usize) -> String {
    text(rng, HEX, length)
}

pub fn upper(rng: &mut ChaCha8Rng, length: usize) -> String {
    text(rng, UPPER, length)
}

pub fn lower(rng: &mut ChaCha8Rng, length: usize) -> String {
    text(rng, LOWER, length)
}

/// `AROA…`, `AIDA…`, `AKIA…`, `ASIA…`: a prefix of four letters and 17 of base 32 for ids, 16 for keys.
pub fn unique_id(rng: &mut ChaCha8Rng, prefix: &str) -> String {
    let length = if matches!(prefix, "AKIA" | "ASIA") { 16 } else { 17 };
    format!("{prefix}{}", text(rng, BASE32, length))
}

/// A random UUID, version 4.
pub fn uuid(rng: &mut ChaCha8Rng) -> String {
    let (high, low) = (rng.next_u64(), rng.next_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

pub fn account_id(rng: &mut ChaCha8Rng) -> String {
    format!("{:012}", rng.random_range(100_000_000_000_u64..999_999_999_999))
}

pub const FIRST: &[&str] = &[
    "amara", "bela", "chiara", "dario", "eilidh", "farid", "greta", "hamza", "ines", "jonas", "keiko", "lars", "maya",
    "nadia", "oskar", "priya", "quentin", "rosa", "samir", "tove", "ulrike", "viktor", "wanda", "xenia", "yusuf",
    "zofia", "aidan", "bruno", "carmen", "dana", "elif", "finn", "gwen", "hugo", "ivan", "jelena", "kofi", "linh",
    "mateo", "noor", "olena", "pablo", "rahul", "sanne", "tariq", "una", "vera", "wei", "yara", "zeno",
];
pub const LAST: &[&str] = &[
    "abara",
    "becker",
    "castro",
    "dubois",
    "eriksen",
    "ferrari",
    "gupta",
    "hansen",
    "ito",
    "jansen",
    "kaya",
    "lindqvist",
    "moreau",
    "novak",
    "okafor",
    "petrov",
    "quinn",
    "rossi",
    "silva",
    "tanaka",
    "urban",
    "vargas",
    "weber",
    "xu",
    "yilmaz",
    "zhang",
    "ahmed",
    "brandt",
    "costa",
    "doyle",
    "evans",
    "fischer",
    "garcia",
    "horvat",
    "ibrahim",
    "jung",
    "kowalski",
    "larsen",
    "murphy",
    "nguyen",
    "olsen",
    "park",
    "reyes",
    "schmidt",
    "takeda",
    "ueda",
    "varga",
    "walsh",
    "young",
    "zeman",
];
pub const COMPANY: &[&str] = &[
    "alder", "birch", "cobalt", "delta", "ember", "fjord", "garnet", "harbour", "indigo", "juniper", "kestrel",
    "lumen", "meridian", "nimbus", "orchard", "pelican", "quarry", "ridge", "saffron", "tundra", "umber", "vela",
    "willow", "yarrow", "zephyr",
];
pub const PRODUCT: &[&str] = &[
    "orders",
    "billing",
    "search",
    "catalog",
    "ledger",
    "notify",
    "profile",
    "pricing",
    "media",
    "reports",
    "checkout",
    "inventory",
    "claims",
    "booking",
    "ingest",
    "gateway",
    "identity",
    "recommend",
    "fleet",
    "payments",
    "feed",
    "chat",
    "tickets",
    "metrics",
    "shipping",
    "archive",
    "forecast",
    "risk",
    "onboard",
    "survey",
];
pub const THING: &[&str] = &[
    "api",
    "worker",
    "batch",
    "stream",
    "etl",
    "cache",
    "jobs",
    "web",
    "sync",
    "loader",
    "indexer",
    "exporter",
    "scheduler",
    "events",
];
