//! Queues in front of the workers: datagrams the kernel holds for them, and those it had no room for.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Page;
use crate::config::{Listen, Transport};

/// Sums over the sockets of each address (workers share it), from /proc/net/udp and udp6.
pub fn write(page: &mut Page, listen: &[Listen]) {
    let udp = listen.iter().filter(|listen| listen.transport == Transport::Udp);
    let addresses: Vec<SocketAddr> = udp.map(|listen| listen.address).collect();
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let rows: Vec<Row> = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(row).collect();
    let mut metric = |name: &str, kind: &str, help: &str, of: fn(&Row) -> u64| {
        page.head(name, kind, help);
        for address in &addresses {
            let sum: u64 = rows.iter().filter(|row| row.address == *address).map(of).sum();
            page.value(name, &[("address", &address.to_string())], sum);
        }
    };
    let help = "Bytes of datagrams that wait for a worker.";
    metric("qalqan_udp_queue_bytes", "gauge", help, |row| row.queued);
    let help = "Datagrams the kernel had no room for: calls that went on unjudged.";
    metric("qalqan_udp_dropped_datagrams_total", "counter", help, |row| row.dropped);
}

struct Row {
    address: SocketAddr,
    queued: u64,
    dropped: u64,
}

/// `sl local_address rem_address st tx_queue:rx_queue … drops`, numbers in hex but for the drops.
fn row(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let queued = fields.get(4)?.split_once(':')?.1;
    // Words of the address are printed as the machine holds them.
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into()
        }
        _ => return None,
    };
    Some(Row {
        address: SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?),
        queued: u64::from_str_radix(queued, 16).ok()?,
        dropped: fields.last()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_queue_of_a_socket_in_what_the_kernel_says() {
        for ip in ["127.0.0.1", "::1"] {
            let receiver = std::net::UdpSocket::bind((ip, 0)).unwrap();
            let address = receiver.local_addr().unwrap();
            let sender = std::net::UdpSocket::bind((ip, 0)).unwrap();
            sender.send_to(&[0; 1000], address).unwrap();
            let mut page = Page(String::new());
            write(&mut page, &[Listen { transport: Transport::Udp, address }]);
            let line = page.0.lines().find(|line| line.starts_with("qalqan_udp_queue_bytes{")).unwrap();
            let queued: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(queued >= 1000, "{line}");
        }
    }
}
