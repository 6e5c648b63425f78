//! Bytes of an SMSC: the stream is cut, every PDU and receipt read, and a session answers without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smpp::wire::Frames;
use smpp::{Inbound, Receipt, Session, Settings};

fuzz_target!(|data: &[u8]| {
    let mut frames = Frames::default();
    frames.push(data);
    while let Ok(Some(pdu)) = frames.take() {
        if let Inbound::Deliver(deliver) = &pdu
            && let Some(receipt) = Receipt::of(deliver)
        {
            assert!(!receipt.message_id.is_empty());
            assert!(!smpp::receipt::spellings(&receipt.message_id).is_empty());
        }
    }
    let (system_id, password, system_type) = ("q".to_owned(), "p".to_owned(), String::new());
    let settings =
        Settings { system_id, password, system_type, window: 4, per_second: 0, enquire_link_ms: 1000, response_ms: 500 };
    let mut session: Session<u8> = Session::new(settings, 0);
    for (n, piece) in data.chunks(61).enumerate() {
        session.read(piece, n as u64 * 100);
        session.tick(n as u64 * 100);
        while session.next_event().is_some() {}
        assert_eq!(session.window_used(), 0, "nothing was submitted");
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(cut) = smpp::text::parts(text, smpp::Long::Udh16, 7)
    {
        assert!(cut.parts.iter().all(|part| part.len() <= 160));
    }
});
