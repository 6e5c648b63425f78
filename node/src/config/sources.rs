//! Which trunk a packet came by: source addresses, no two trunks claiming one.

use std::net::IpAddr;

use call::TrunkId;
use ipnet::IpNet;

/// Ranges of addresses in order, each with its trunk.
#[derive(Clone, Default)]
pub struct Sources(Vec<(u128, u128, TrunkId)>);

impl Sources {
    /// Takes networks that do not overlap, or overlap within one trunk.
    pub fn new(claims: impl Iterator<Item = (IpNet, TrunkId)>) -> Sources {
        let mut ranges: Vec<_> =
            claims.map(|(net, trunk)| (word(net.network()), word(net.broadcast()), trunk)).collect();
        // Of two that begin together the wider one comes last, where the search looks first.
        ranges.sort_by_key(|&(from, to, _)| (from, to));
        // One trunk may name a network and an address in it; only the outer one is needed.
        let mut apart: Vec<(u128, u128, TrunkId)> = Vec::with_capacity(ranges.len());
        for (from, to, trunk) in ranges {
            match apart.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => apart.push((from, to, trunk)),
            }
        }
        Sources(apart)
    }

    #[inline]
    pub fn trunk(&self, source: IpAddr) -> Option<TrunkId> {
        let source = word(source);
        let after = self.0.partition_point(|&(from, _, _)| from <= source);
        let &(_, to, trunk) = self.0.get(after.checked_sub(1)?)?;
        (source <= to).then_some(trunk)
    }
}

/// IPv4 in its IPv6-mapped form, so that one order holds both.
#[inline]
fn word(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether two networks share an address, IPv4 within IPv6 among them.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    word(a.network()) <= word(b.broadcast()) && word(b.network()) <= word(a.broadcast())
}

/// An address, or a network in CIDR form without host bits.
pub fn parse(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    match text.parse::<IpNet>() {
        Ok(net) if net.trunc() == net => Ok(net),
        Ok(net) => Err(format!(
            "source \"{text}\" is an address in a network: write {} for the network",
            net.trunc()
        )),
        Err(_) => Err(format!("source \"{text}\" is not an address or a network, such as 198.51.100.0/24")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_trunk_of_an_address() {
        let net = |text: &str, trunk: u16| (parse(text).unwrap(), TrunkId(trunk));
        let sources = Sources::new(
            [
                net("198.51.100.0/24", 1),
                net("127.0.0.11", 2),
                net("2001:db8::/32", 3),
                net("198.51.100.7", 1),
                net("203.0.113.0/25", 4),
            ]
            .into_iter(),
        );
        let trunk = |text: &str| sources.trunk(text.parse().unwrap()).map(|trunk| trunk.0);
        assert_eq!(trunk("198.51.100.255"), Some(1));
        assert_eq!(trunk("198.51.101.0"), None);
        assert_eq!(trunk("127.0.0.11"), Some(2));
        assert_eq!(trunk("127.0.0.12"), None);
        assert_eq!(trunk("2001:db8::1"), Some(3));
        assert_eq!(trunk("203.0.113.128"), None);
        assert_eq!(trunk("::ffff:203.0.113.1"), Some(4));
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in ["198.51.100.0/33", "198.51.100", "gw.example", "198.51.100.7/24"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
