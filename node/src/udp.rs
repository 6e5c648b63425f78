//! Batches of datagrams: one system call receives up to 64, one sends as many.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Messages a batch holds.
pub const BATCH: usize = 64;
/// The largest datagram there is.
const DATAGRAM: usize = 65_536;

/// A UDP socket that several workers can open on one address.
pub fn open(address: SocketAddr, patience: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A busy second must not be lost in the kernel's queue; the kernel gives what it may.
    let _ = socket.set_recv_buffer_size(8 << 20);
    let _ = socket.set_send_buffer_size(8 << 20);
    socket.set_read_timeout(Some(patience))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Room for one batch received.
pub struct Inbox {
    buffers: Vec<u8>,
    vectors: Vec<libc::iovec>,
    addresses: Vec<libc::sockaddr_in6>,
    headers: Vec<libc::mmsghdr>,
    received: usize,
}

// The raw pointers inside point into the inbox's own vectors, which never grow.
unsafe impl Send for Inbox {}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox::new()
    }
}

impl Inbox {
    pub fn new() -> Inbox {
        // SAFETY: all zero is a valid value of these C structures.
        let (addresses, headers) = unsafe { (vec![zeroed(); BATCH], vec![zeroed(); BATCH]) };
        let mut inbox = Inbox {
            buffers: vec![0; BATCH * DATAGRAM],
            vectors: Vec::with_capacity(BATCH),
            addresses,
            headers,
            received: 0,
        };
        for index in 0..BATCH {
            let buffer = inbox.buffers[index * DATAGRAM..].as_mut_ptr();
            inbox.vectors.push(libc::iovec { iov_base: buffer.cast(), iov_len: DATAGRAM });
        }
        for index in 0..BATCH {
            let header = &mut inbox.headers[index].msg_hdr;
            header.msg_name = (&raw mut inbox.addresses[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in6>() as u32;
            header.msg_iov = &raw mut inbox.vectors[index];
            header.msg_iovlen = 1;
        }
        inbox
    }

    /// Waits for a datagram and takes those that are there; 0 when the socket's patience ran out.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        // The kernel wrote how long each address was; only headers of the last batch need it back.
        for header in &mut self.headers[..self.received] {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in6>() as u32;
        }
        self.received = 0;
        // SAFETY: every header points to a buffer and an address of this inbox, as long as their lengths say.
        let n = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE as _,
                std::ptr::null_mut(),
            )
        };
        if n < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                // An ICMP refusal of an answer we sent: the peer is gone, the socket is fine.
                io::ErrorKind::ConnectionRefused => Ok(0),
                _ => Err(error),
            };
        }
        self.received = n as usize;
        Ok(self.received)
    }

    /// A datagram of the batch and where it came from.
    pub fn message(&self, index: usize) -> (&[u8], SocketAddr) {
        debug_assert!(index < self.received);
        let length = self.headers[index].msg_len as usize;
        let start = index * DATAGRAM;
        (&self.buffers[start..start + length], address(&self.addresses[index]))
    }
}

/// Answers to be sent in one go, one after the other in one buffer.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    messages: Vec<(usize, SocketAddr)>,
    vectors: Vec<libc::iovec>,
    addresses: Vec<(libc::sockaddr_in6, u32)>,
    headers: Vec<libc::mmsghdr>,
}

// As for the inbox: pointers into its own vectors, set anew before each use.
unsafe impl Send for Outbox {}

impl Outbox {
    /// The buffer that the next message is appended to; [`Outbox::commit`] ends the message.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where the next message begins in the buffer.
    fn start(&self) -> usize {
        self.messages.last().map_or(0, |&(end, _)| end)
    }

    /// Takes what was appended since the last commit as a message to `to`.
    pub fn commit(&mut self, to: SocketAddr) {
        if self.bytes.len() > self.start() {
            self.messages.push((self.bytes.len(), to));
        }
    }

    /// What was appended since the last commit.
    pub fn uncommitted(&self) -> &[u8] {
        &self.bytes[self.start()..]
    }

    /// Drops what was appended since the last commit.
    pub fn discard(&mut self) {
        self.bytes.truncate(self.start());
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Sends every message; gives how many the kernel did not take.
    pub fn send(&mut self, socket: &Socket) -> usize {
        let n = self.messages.len();
        self.vectors.clear();
        self.addresses.clear();
        self.headers.clear();
        let mut start = 0;
        for &(end, to) in &self.messages {
            let bytes = &self.bytes[start..end];
            self.vectors.push(libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() });
            self.addresses.push(raw_address(to));
            start = end;
        }
        for index in 0..n {
            // SAFETY: all zero is a valid header.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = (&raw mut self.addresses[index].0).cast();
            header.msg_hdr.msg_namelen = self.addresses[index].1;
            header.msg_hdr.msg_iov = &raw mut self.vectors[index];
            header.msg_hdr.msg_iovlen = 1;
            self.headers.push(header);
        }
        let mut sent = 0;
        let mut failed = 0;
        while sent < n {
            // SAFETY: the headers point into vectors of this outbox that do not change during the call.
            let taken = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), self.headers[sent..].as_mut_ptr(), (n - sent) as u32, 0)
            };
            if taken > 0 {
                sent += taken as usize;
            } else if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                // The first one cannot be sent; the others may.
                sent += 1;
                failed += 1;
            }
        }
        self.bytes.clear();
        self.messages.clear();
        failed
    }
}

fn address(raw: &libc::sockaddr_in6) -> SocketAddr {
    if i32::from(raw.sin6_family) == libc::AF_INET {
        // SAFETY: the kernel wrote a sockaddr_in, which is smaller and aligned no more strictly.
        let raw = unsafe { &*(&raw const *raw).cast::<libc::sockaddr_in>() };
        let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
        SocketAddr::new(ip.into(), u16::from_be(raw.sin_port))
    } else {
        let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
        SocketAddrV6::new(ip, u16::from_be(raw.sin6_port), raw.sin6_flowinfo, raw.sin6_scope_id).into()
    }
}

fn raw_address(address: SocketAddr) -> (libc::sockaddr_in6, u32) {
    let mut raw = MaybeUninit::<libc::sockaddr_in6>::zeroed();
    // SAFETY: zeroed bytes are a valid sockaddr_in6, and a sockaddr_in fits into its place.
    unsafe {
        match address {
            SocketAddr::V4(v4) => {
                *raw.as_mut_ptr().cast() = libc::sockaddr_in {
                    sin_family: libc::AF_INET as u16,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                    sin_zero: [0; 8],
                };
                (raw.assume_init(), size_of::<libc::sockaddr_in>() as u32)
            }
            SocketAddr::V6(v6) => {
                *raw.as_mut_ptr() = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as u16,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                (raw.assume_init(), size_of::<libc::sockaddr_in6>() as u32)
            }
        }
    }
}
