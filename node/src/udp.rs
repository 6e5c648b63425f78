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
/// From one buffer to the next: were it a power of two, the heads of all would compete for the same lines of the caches.
const STRIDE: usize = DATAGRAM + 17 * 64;
/// The kernel's queue of a socket, in bytes of its own memory, about 2.3 kB a message: 455 wait at most, for less than
/// 5 ms. What comes beyond is dropped there, before it costs anything, and counted ([`dropped`]).
const QUEUE: usize = 1 << 20;

/// A UDP socket that several workers can open on one address.
pub fn open(address: SocketAddr, patience: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Linux doubles what it is asked for, and gives no more than net.core.rmem_max.
    let _ = socket.set_recv_buffer_size(QUEUE / 2);
    let _ = socket.set_send_buffer_size(8 << 20);
    socket.set_read_timeout(Some(patience))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Datagrams that found the kernel's queue full since the socket was opened; counts on from 0 after 2^32.
pub fn dropped(socket: &Socket) -> Option<u32> {
    // The last of the nine words of SK_MEMINFO_VARS, linux/sock_diag.h.
    const DROPS: usize = 8;
    let mut words = [0u32; DROPS + 1];
    let mut length = size_of_val(&words) as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes.
    let outcome = unsafe {
        let to = words.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, to, &mut length)
    };
    (outcome == 0 && length as usize == size_of_val(&words)).then_some(words[DROPS])
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
            buffers: vec![0; BATCH * STRIDE],
            vectors: Vec::with_capacity(BATCH),
            addresses,
            headers,
            received: 0,
        };
        for index in 0..BATCH {
            let buffer = inbox.buffers[index * STRIDE..].as_mut_ptr();
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
        let start = index * STRIDE;
        (&self.buffers[start..start + length], address(&self.addresses[index]))
    }
}

/// Answers to be sent in one go, one after the other in one buffer.
///
/// Answers to one peer that are of one length leave as one large packet that the kernel, or the network card, cuts
/// apart again (`UDP_SEGMENT`, udp(7)): the way through the kernel is walked once for all of them.
pub struct Outbox {
    bytes: Vec<u8>,
    messages: Vec<Message>,
    /// The kernel, and the way to the peer, can cut.
    cuts: bool,
    vectors: Vec<libc::iovec>,
    addresses: Vec<(libc::sockaddr_in6, u32)>,
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
}

struct Message {
    start: usize,
    end: usize,
    to: SocketAddr,
}

/// A control message that says how long each piece is.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    piece: u16,
    _padding: [u8; 6],
}

/// So many are worth sorting by peer and length.
pub const CROWD: usize = 8;
/// Longer ones could be more than the way to the peer takes in one piece.
const LONGEST_PIECE: usize = 1200;
/// What one large packet may hold: both are less than the kernel's limits.
const MOST_PIECES: usize = 64;
const MOST_BYTES: usize = 60_000;

// As for the inbox: pointers into its own vectors, set anew before each use.
unsafe impl Send for Outbox {}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox {
            bytes: Vec::new(),
            messages: Vec::new(),
            cuts: true,
            vectors: Vec::new(),
            addresses: Vec::new(),
            controls: Vec::new(),
            headers: Vec::new(),
        }
    }
}

impl Outbox {
    /// Every message is a packet of its own.
    pub fn without_cutting() -> Outbox {
        Outbox { cuts: false, ..Outbox::default() }
    }

    /// The buffer that the next message is appended to; [`Outbox::commit`] ends the message.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where the next message begins in the buffer.
    pub fn start(&self) -> usize {
        self.messages.last().map_or(0, |message| message.end)
    }

    /// Takes what was appended since the last commit as a message to `to`.
    pub fn commit(&mut self, to: SocketAddr) {
        let (start, end) = (self.start(), self.bytes.len());
        if end > start {
            self.messages.push(Message { start, end, to });
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
        // Few leave in the order they were made in.
        if self.cuts && self.messages.len() >= CROWD {
            self.messages.sort_unstable_by_key(|message| (message.to, message.end - message.start));
        }
        self.lay_out();
        let (mut sent, mut failed) = (0, 0);
        while sent < self.headers.len() {
            let rest = &mut self.headers[sent..];
            // SAFETY: the headers point into vectors of this outbox that do not change during the call.
            let taken =
                unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            if taken > 0 {
                sent += taken as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            let pieces = rest[0].msg_hdr.msg_iovlen;
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                // This way takes no large packets: each message by itself from now on, the ones that are left first.
                _ if pieces > 1
                    && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE)) =>
                {
                    let left =
                        self.headers[sent..].iter().map(|header| header.msg_hdr.msg_iovlen).sum::<usize>();
                    self.messages.drain(..self.messages.len() - left);
                    self.cuts = false;
                    self.lay_out();
                    sent = 0;
                }
                // The first one cannot be sent; the others may.
                _ => {
                    sent += 1;
                    failed += pieces;
                }
            }
        }
        self.bytes.clear();
        self.messages.clear();
        failed
    }

    /// Makes a packet of each message, or of those next to each other that can be cut apart again.
    fn lay_out(&mut self) {
        let Outbox { bytes, messages, cuts, vectors, addresses, controls, headers } = self;
        vectors.clear();
        addresses.clear();
        controls.clear();
        headers.clear();
        // Nothing grows while pointers to it are taken.
        vectors.extend(messages.iter().map(|message| {
            let bytes = &bytes[message.start..message.end];
            libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() }
        }));
        addresses.reserve(messages.len());
        controls.reserve(messages.len());
        let mut at = 0;
        while at < messages.len() {
            let (length, to) = (messages[at].end - messages[at].start, messages[at].to);
            let most = MOST_PIECES.min(MOST_BYTES / length);
            let alike = |message: &&Message| message.end - message.start == length && message.to == to;
            let pieces = match *cuts && length <= LONGEST_PIECE {
                true => messages[at..].iter().take(most).take_while(alike).count(),
                false => 1,
            };
            addresses.push(raw_address(to));
            let address = addresses.last_mut().expect("just pushed");
            // SAFETY: all zero is a valid header.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = (&raw mut address.0).cast();
            header.msg_hdr.msg_namelen = address.1;
            header.msg_hdr.msg_iov = &raw mut vectors[at];
            header.msg_hdr.msg_iovlen = pieces as _;
            if pieces > 1 {
                controls.push(Control::of(length as u16));
                let control = controls.last_mut().expect("just pushed");
                header.msg_hdr.msg_control = (&raw mut *control).cast();
                header.msg_hdr.msg_controllen = size_of::<Control>() as _;
            }
            headers.push(header);
            at += pieces;
        }
    }
}

impl Control {
    fn of(piece: u16) -> Control {
        // SAFETY: all zero is a valid control message.
        let mut header: libc::cmsghdr = unsafe { zeroed() };
        header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<u16>()) as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        Control { header, piece, _padding: [0; 6] }
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
