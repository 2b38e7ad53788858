//! Where calls come from. All addresses are out of ranges that nobody holds: 198.18.0.0/15 (RFC 2544),
//! 240.0.0.0/4 (RFC 1112) and 2001:db8::/32 (RFC 3849), whatever the network is used for, so that an
//! address alone says nothing.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::names::mix;

/// A network somebody is in: an IPv4 /24 or an IPv6 /64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    high: u64,
    is_ipv6: bool,
    /// Hosts in use; an office's shared address has one or two, a carrier's network many.
    hosts: u8,
}

impl Network {
    /// Any network; `hosts` is how many addresses of it are in use, 1 to 250.
    pub fn any(rng: &mut ChaCha8Rng, hosts: u8) -> Self {
        let is_ipv6 = rng.random_bool(0.12);
        Self { high: rng.random(), is_ipv6, hosts: hosts.clamp(1, 250) }
    }

    /// An address of this network.
    pub fn address(&self, rng: &mut ChaCha8Rng) -> String {
        let host = (self.high % 200) as u8 / 4 + rng.random_range(1..=self.hosts.min(200));
        let bytes = self.high.to_be_bytes();
        if self.is_ipv6 {
            let [a, b, c, d, e, f, ..] = bytes;
            let (low, lower) = (mix(self.high ^ u64::from(host)), mix(u64::from(host) + 7));
            return format!(
                "2001:db8:{:x}:{:x}:{:x}:{:x}:{:x}:{:x}",
                u16::from_be_bytes([a, b]) | 1,
                u16::from_be_bytes([c, d]),
                u16::from_be_bytes([e, f]) | 1,
                low & 0xffff | 1,
                (low >> 16) & 0xffff | 1,
                lower & 0xffff | 1,
            );
        }
        if bytes[0] < 24 {
            return format!("198.{}.{}.{host}", 18 + bytes[1] % 2, bytes[2]);
        }
        format!("{}.{}.{}.{host}", 240 + bytes[0] % 15, bytes[1], bytes[2])
    }
}

/// Hosting, VPN exits, hotels, carriers, cloud ranges: what attackers and travelling or vendor staff use alike.
/// One in four is of a small stock of busy networks that many meet.
pub fn foreign_network(rng: &mut ChaCha8Rng) -> Network {
    if rng.random_bool(0.25) {
        let one: u64 = rng.random_range(0..48);
        return Network { high: mix(0xf0e1 ^ one), is_ipv6: one.is_multiple_of(9), hosts: 120 };
    }
    let hosts = rng.random_range(1..60);
    Network::any(rng, hosts)
}

impl Network {
    /// Where a function's calls come from: the provider's own addresses, a few for each function.
    pub fn of_function(account: &str, name: &str) -> Self {
        let high = account.bytes().chain(name.bytes()).fold(5, |sum, byte| mix(sum ^ u64::from(byte)));
        Self { high, is_ipv6: false, hosts: 4 }
    }
}
