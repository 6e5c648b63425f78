//! What carries a load: datagrams from one socket a trunk, or connections that stay open.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use qalqan::udp::{Inbox, Outbox};
use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::corpus::TRUNKS;

pub trait Wire {
    /// Appends a request of a trunk to what is sent next.
    fn write(&mut self, trunk: usize, request: &mut dyn FnMut(&mut Vec<u8>));
    fn send(&mut self) -> io::Result<()>;
    /// Hands over every answer that is there.
    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<()>;
}

/// One UDP socket a trunk.
pub struct Datagrams {
    target: SocketAddr,
    sockets: Vec<Socket>,
    outboxes: Vec<Outbox>,
    inbox: Inbox,
}

impl Datagrams {
    pub fn open(target: SocketAddr, patience: Duration) -> io::Result<Datagrams> {
        let sockets: io::Result<Vec<Socket>> = TRUNKS
            .iter()
            .map(|(address, _)| {
                let socket =
                    qalqan::udp::open(format!("{address}:0").parse().expect("an address"), patience)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect();
        let outboxes = TRUNKS.iter().map(|_| Outbox::default()).collect();
        Ok(Datagrams { target, sockets: sockets?, outboxes, inbox: Inbox::new() })
    }
}

impl Wire for Datagrams {
    fn write(&mut self, trunk: usize, request: &mut dyn FnMut(&mut Vec<u8>)) {
        request(self.outboxes[trunk].buffer());
        self.outboxes[trunk].commit(self.target);
    }

    fn send(&mut self) -> io::Result<()> {
        for (socket, outbox) in self.sockets.iter().zip(&mut self.outboxes) {
            if !outbox.is_empty() {
                outbox.send(socket);
            }
        }
        Ok(())
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        for socket in &self.sockets {
            let received = self.inbox.receive(socket)?;
            (0..received).for_each(|index| each(self.inbox.message(index).0));
        }
        Ok(())
    }
}

/// Connections a trunk; calls take them in turn.
const EACH: usize = 4;

pub struct Streams {
    connections: Vec<Connection>,
    turn: usize,
    piece: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    out: Vec<u8>,
    held: Vec<u8>,
}

impl Streams {
    pub fn open(target: SocketAddr, is_tls: bool) -> io::Result<Streams> {
        let config = is_tls.then(config);
        let connect = |address: &str| -> io::Result<Connection> {
            let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
            let source: SocketAddr = format!("{address}:0").parse().expect("an address");
            socket.bind(&source.into())?;
            socket.connect(&target.into())?;
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let name = ServerName::try_from("qalqan.example").expect("a name");
            let tls = config.clone().map(|config| ClientConnection::new(config, name)).transpose();
            let tls = tls.map_err(io::Error::other)?;
            Ok(Connection { stream: socket.into(), tls, out: Vec::new(), held: Vec::new() })
        };
        let sources = TRUNKS.iter().flat_map(|(address, _)| [*address; EACH]);
        let connections: io::Result<Vec<Connection>> = sources.map(connect).collect();
        Ok(Streams { connections: connections?, turn: 0, piece: vec![0; 1 << 18] })
    }
}

impl Wire for Streams {
    fn write(&mut self, trunk: usize, request: &mut dyn FnMut(&mut Vec<u8>)) {
        self.turn += 1;
        request(&mut self.connections[trunk * EACH + self.turn % EACH].out);
    }

    fn send(&mut self) -> io::Result<()> {
        self.connections.iter_mut().try_for_each(Connection::send)
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let piece = &mut self.piece;
        self.connections.iter_mut().try_for_each(|connection| connection.receive(piece, each))
    }
}

impl Connection {
    fn send(&mut self) -> io::Result<()> {
        let mut taken = 0;
        match &mut self.tls {
            None => taken = written(self.stream.write(&self.out))?,
            Some(tls) => {
                // rustls takes what its own buffer has room for.
                taken += tls.writer().write(&self.out)?;
                while tls.wants_write() {
                    match tls.write_tls(&mut self.stream) {
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        self.out.drain(..taken);
        Ok(())
    }

    fn receive(&mut self, piece: &mut [u8], each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        loop {
            let n = match &mut self.tls {
                None => written(self.stream.read(piece))?,
                Some(tls) => {
                    written(tls.read_tls(&mut self.stream))?;
                    tls.process_new_packets().map_err(io::Error::other)?;
                    written(tls.reader().read(piece))?
                }
            };
            if n == 0 {
                break;
            }
            self.held.extend_from_slice(&piece[..n]);
        }
        let mut at = 0;
        // Answers have no body.
        while let Some(end) = self.held[at..].windows(4).position(|four| four == b"\r\n\r\n") {
            each(&self.held[at..at + end + 4]);
            at += end + 4;
        }
        self.held.drain(..at);
        Ok(())
    }
}

fn written(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// A client that takes any certificate: what is measured is the server.
fn config() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("the usual versions");
    Arc::new(builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth())
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
