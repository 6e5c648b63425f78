//! PDUs (SMPP 3.4 section 4) on a stream of bytes.
//!
//! The stream is cut by command_length here and each PDU is read by itself. A body that cannot be read is
//! [`Inbound::Malformed`]: its header still says what it was and answers, and the next PDU begins where the length says.

use bytes::{Buf, BytesMut};
use rusmpp_core::command::owned::Command;
use rusmpp_core::decode::owned::DecodeWithLength;
use rusmpp_core::encode::Length;
use rusmpp_core::encode::owned::Encode;
use rusmpp_core::pdus::owned::{BindTransceiver, DeliverSmResp, Pdu, SubmitSm};
use rusmpp_core::tlvs::owned::{MessageSubmissionRequestTlvValue, Tlv, TlvValue};
use rusmpp_core::types::owned::{AnyOctetString, COctetString, EmptyOrFullCOctetString, OctetString};
use rusmpp_core::values::owned::MessagePayload;
use rusmpp_core::values::{InterfaceVersion, UserMessageReference};
use rusmpp_core::{CommandId, CommandStatus};

use crate::status::Status;

const HEADER: usize = 16;
/// Longer than any PDU of 3.4 (a message_payload of 64 KiB, and the rest): who announces more speaks something else.
const LONGEST: usize = 70_000;

/// An address with its type of number and numbering plan (sections 5.2.5, 5.2.6).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Address {
    pub ton: u8,
    pub npi: u8,
    /// At most 20 characters of ASCII.
    pub digits: String,
}

/// A message to be submitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submit {
    pub source: Address,
    pub destination: Address,
    pub data_coding: u8,
    pub has_header: bool,
    pub is_payload: bool,
    pub octets: Vec<u8>,
    /// How long the SMSC is to try, seconds; as a relative time (section 7.1.1).
    pub validity_s: u64,
    pub reference: Option<u16>,
}

/// What of a deliver_sm counts here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Deliver {
    pub sequence: u32,
    pub esm_class: u8,
    pub source: String,
    pub destination: String,
    pub data_coding: u8,
    /// short_message, or message_payload where that is empty.
    pub short_message: Vec<u8>,
    pub receipted_message_id: Option<String>,
    pub message_state: Option<u8>,
    pub user_message_reference: Option<u16>,
}

/// A PDU of the SMSC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inbound {
    BindResp {
        sequence: u32,
        status: Status,
        system_id: String,
    },
    SubmitResp {
        sequence: u32,
        status: Status,
        message_id: String,
    },
    Deliver(Box<Deliver>),
    EnquireLink {
        sequence: u32,
    },
    EnquireLinkResp {
        sequence: u32,
    },
    Unbind {
        sequence: u32,
    },
    UnbindResp {
        sequence: u32,
    },
    GenericNack {
        sequence: u32,
        status: Status,
    },
    /// alert_notification: nothing is answered (section 4.12).
    Notification,
    /// A request that an ESME that sends texts does not know, or an answer to nothing it asked.
    Other {
        command: u32,
        sequence: u32,
    },
    /// The header was read, the body was not.
    Malformed {
        command: u32,
        sequence: u32,
        status: Status,
    },
}

/// A length that no PDU has: the stream cannot be cut any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost(pub u32);

/// A stream being cut into PDUs.
#[derive(Default, Debug)]
pub struct Frames {
    bytes: BytesMut,
}

impl Frames {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next PDU, if all of it has come.
    ///
    /// # Errors
    ///
    /// `command_length` below 16 or above 70,000 octets: close the connection.
    pub fn take(&mut self) -> Result<Option<Inbound>, Lost> {
        let Some(length) = self.bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return Ok(None);
        };
        if !(HEADER..=LONGEST).contains(&(length as usize)) {
            return Err(Lost(length));
        }
        if self.bytes.len() < length as usize {
            return Ok(None);
        }
        let mut pdu = self.bytes.split_to(length as usize);
        pdu.advance(4);
        Ok(Some(read(pdu)))
    }
}

/// Reads a PDU without its length.
fn read(mut pdu: BytesMut) -> Inbound {
    let word = |at: usize| u32::from_be_bytes([pdu[at], pdu[at + 1], pdu[at + 2], pdu[at + 3]]);
    let (command, status, sequence) = (word(0), Status(word(4)), word(8));
    let length = pdu.len();
    // What has no body that counts is known by its header, whatever somebody appends to it.
    match CommandId::from(command) {
        CommandId::EnquireLink => return Inbound::EnquireLink { sequence },
        CommandId::EnquireLinkResp => return Inbound::EnquireLinkResp { sequence },
        CommandId::Unbind => return Inbound::Unbind { sequence },
        CommandId::UnbindResp => return Inbound::UnbindResp { sequence },
        CommandId::GenericNack => return Inbound::GenericNack { sequence, status },
        CommandId::AlertNotification => return Inbound::Notification,
        // An answer that is an error has no body in 3.4 (section 4.4.2), and something in its place at some SMSCs.
        CommandId::SubmitSmResp if status != Status::OK => {
            return Inbound::SubmitResp { sequence, status, message_id: String::new() };
        }
        CommandId::BindTransceiverResp if status != Status::OK => {
            return Inbound::BindResp { sequence, status, system_id: String::new() };
        }
        CommandId::SubmitSmResp | CommandId::BindTransceiverResp | CommandId::DeliverSm => {}
        _ => return Inbound::Other { command, sequence },
    }
    let Ok((whole, _)) = Command::decode(&mut pdu, length) else {
        return Inbound::Malformed { command, sequence, status };
    };
    match whole.pdu() {
        Some(Pdu::SubmitSmResp(body)) => {
            Inbound::SubmitResp { sequence, status, message_id: body.message_id().as_str().to_owned() }
        }
        Some(Pdu::BindTransceiverResp(body)) => {
            Inbound::BindResp { sequence, status, system_id: body.system_id.as_str().to_owned() }
        }
        Some(Pdu::DeliverSm(body)) => {
            let mut deliver = Deliver {
                sequence,
                esm_class: u8::from(body.esm_class),
                source: body.source_addr.as_str().to_owned(),
                destination: body.destination_addr.as_str().to_owned(),
                data_coding: u8::from(body.data_coding),
                short_message: body.short_message().as_ref().to_vec(),
                ..Deliver::default()
            };
            for value in body.tlvs().iter().filter_map(Tlv::value) {
                match value {
                    TlvValue::ReceiptedMessageId(id) => {
                        deliver.receipted_message_id = Some(id.as_str().to_owned());
                    }
                    TlvValue::MessageState(state) => deliver.message_state = Some(u8::from(*state)),
                    TlvValue::UserMessageReference(reference) => {
                        deliver.user_message_reference = Some(reference.value);
                    }
                    TlvValue::MessagePayload(payload) if deliver.short_message.is_empty() => {
                        deliver.short_message = payload.value.as_ref().to_vec();
                    }
                    _ => {}
                }
            }
            Inbound::Deliver(Box::new(deliver))
        }
        _ => Inbound::Malformed { command, sequence, status },
    }
}

/// Appends a PDU.
fn write(out: &mut Vec<u8>, status: Status, sequence: u32, pdu: Pdu) {
    let command = Command::new(CommandStatus::from(status.0), sequence, pdu);
    let length = 4 + command.length();
    let mut bytes = BytesMut::with_capacity(length);
    bytes.extend_from_slice(&(length as u32).to_be_bytes());
    command.encode(&mut bytes);
    out.extend_from_slice(&bytes);
}

/// A string of at most `MAX` - 1 characters of ASCII; what is longer or other was refused with the configuration.
fn c_string<const MAX: usize>(text: &str) -> COctetString<1, MAX> {
    let mut bytes: Vec<u8> =
        text.bytes().filter(|byte| byte.is_ascii() && *byte != 0).take(MAX - 1).collect();
    bytes.push(0);
    COctetString::from_vec(bytes).unwrap_or_else(|_| COctetString::null())
}

pub(crate) fn bind(out: &mut Vec<u8>, sequence: u32, (system_id, password): (&str, &str), system_type: &str) {
    let body = BindTransceiver {
        system_id: c_string(system_id),
        password: c_string(password),
        system_type: c_string(system_type),
        interface_version: InterfaceVersion::Smpp3_4,
        ..BindTransceiver::default()
    };
    write(out, Status::OK, sequence, Pdu::BindTransceiver(body));
}

pub(crate) fn submit(out: &mut Vec<u8>, sequence: u32, submit: &Submit) {
    let mut body = SubmitSm::builder()
        .source_addr_ton(submit.source.ton.into())
        .source_addr_npi(submit.source.npi.into())
        .source_addr(c_string(&submit.source.digits))
        .dest_addr_ton(submit.destination.ton.into())
        .dest_addr_npi(submit.destination.npi.into())
        .destination_addr(c_string(&submit.destination.digits))
        .esm_class((if submit.has_header { 0x40 } else { 0 }).into())
        .validity_period(relative(submit.validity_s))
        .registered_delivery(1.into())
        .data_coding(submit.data_coding.into())
        .build();
    if submit.is_payload {
        let octets = AnyOctetString::from_slice(&submit.octets);
        body.push_tlv(MessageSubmissionRequestTlvValue::MessagePayload(MessagePayload::new(octets)));
    } else {
        // A part has at most 160 octets of the 254 that fit.
        body.set_short_message(OctetString::from_slice(&submit.octets).unwrap_or_default());
    }
    if let Some(reference) = submit.reference {
        let reference = UserMessageReference::new(reference);
        body.push_tlv(MessageSubmissionRequestTlvValue::UserMessageReference(reference));
    }
    write(out, Status::OK, sequence, Pdu::SubmitSm(body));
}

/// A relative time, `YYMMDDhhmmss000R`; a month is not relied on, so the longest is 30 days and some.
fn relative(seconds: u64) -> EmptyOrFullCOctetString<17> {
    let (days, seconds) = ((seconds / 86_400).min(30), seconds % 86_400);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let text = format!("0000{days:02}{hours:02}{minutes:02}{seconds:02}000R");
    EmptyOrFullCOctetString::from_string(text).unwrap_or_else(|_| EmptyOrFullCOctetString::null())
}

pub(crate) fn deliver_resp(out: &mut Vec<u8>, sequence: u32, status: Status) {
    // message_id is unused and there all the same (section 4.6.2).
    write(out, status, sequence, Pdu::DeliverSmResp(DeliverSmResp::default()));
}

pub(crate) fn enquire_link(out: &mut Vec<u8>, sequence: u32) {
    write(out, Status::OK, sequence, Pdu::EnquireLink);
}

pub(crate) fn enquire_link_resp(out: &mut Vec<u8>, sequence: u32) {
    write(out, Status::OK, sequence, Pdu::EnquireLinkResp);
}

pub(crate) fn unbind(out: &mut Vec<u8>, sequence: u32) {
    write(out, Status::OK, sequence, Pdu::Unbind);
}

pub(crate) fn unbind_resp(out: &mut Vec<u8>, sequence: u32) {
    write(out, Status::OK, sequence, Pdu::UnbindResp);
}

pub(crate) fn nack(out: &mut Vec<u8>, sequence: u32, status: Status) {
    write(out, status, sequence, Pdu::GenericNack);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of section 3.2.2, as bind_transceiver (its id is 9).
    #[test]
    fn a_bind_has_the_bytes_of_the_standard() {
        let mut out = Vec::new();
        bind(&mut out, 1, ("SMPP3TEST", "secret08"), "SUBMIT1");
        let mut expected = vec![0, 0, 0, 0x2f, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1];
        expected.extend(b"SMPP3TEST\0secret08\0SUBMIT1\0\x34\0\0\0");
        assert_eq!(out, expected);
    }

    #[test]
    fn a_submit_has_the_fields_of_the_standard_in_their_order() {
        let mut out = Vec::new();
        let message = Submit {
            source: Address { ton: 5, npi: 0, digits: "Qalqan".to_owned() },
            destination: Address { ton: 1, npi: 1, digits: "77011234567".to_owned() },
            data_coding: 8,
            has_header: true,
            is_payload: false,
            octets: vec![5, 0, 3, 7, 2, 1, 0x04, 0x9b],
            validity_s: 180,
            reference: Some(0x0102),
        };
        submit(&mut out, 3, &message);
        let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 3];
        expected
            .extend(b"\0\x05\x00Qalqan\0\x01\x0177011234567\0\x40\0\0\x00000000000300000R\0\x01\0\x08\0\x08");
        expected.extend([5, 0, 3, 7, 2, 1, 0x04, 0x9b, 0x02, 0x04, 0, 2, 1, 2]);
        expected[3] = expected.len() as u8;
        assert_eq!(out, expected);
    }

    #[test]
    fn the_stream_goes_on_after_a_malformed_pdu() {
        let mut frames = Frames::default();
        let mut bytes = vec![0, 0, 0, 20, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4];
        bytes.extend([0, 0, 0, 16, 0, 0, 0, 0x15, 0, 0, 0, 0, 0, 0, 0, 10]);
        // Octet by octet, as a stream may come.
        let mut found = Vec::new();
        for byte in bytes {
            frames.push(&[byte]);
            found.extend(frames.take().unwrap());
        }
        assert_eq!(
            found,
            [
                Inbound::Malformed { command: 5, sequence: 9, status: Status::OK },
                Inbound::EnquireLink { sequence: 10 }
            ]
        );
        for length in [0_u32, 15, 70_001, u32::MAX] {
            let mut frames = Frames::default();
            frames.push(&length.to_be_bytes());
            assert_eq!(frames.take(), Err(Lost(length)));
        }
    }

    #[test]
    fn an_answer_is_read_with_and_without_a_body() {
        let mut frames = Frames::default();
        frames.push(b"\0\0\0\x13\x80\0\0\x04\0\0\0\0\0\0\0\x01a1\0");
        frames.push(b"\0\0\0\x10\x80\0\0\x04\0\0\0\x58\0\0\0\x02");
        frames.push(b"\0\0\0\x10\x80\0\0\x04\0\0\0\0\0\0\0\x03");
        let answer = |sequence, status, id: &str| {
            Ok(Some(Inbound::SubmitResp { sequence, status: Status(status), message_id: id.to_owned() }))
        };
        assert_eq!(frames.take(), answer(1, 0, "a1"));
        assert_eq!(frames.take(), answer(2, 0x58, ""));
        assert_eq!(
            frames.take(),
            Ok(Some(Inbound::Malformed { command: 0x8000_0004, sequence: 3, status: Status::OK }))
        );
    }
}
