//! Delivery receipts: what became of a message, as TLVs (SMPP 3.4 section 5.3.2) or in the text (appendix B).

use crate::wire::Deliver;

/// message_state (section 5.2.28).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MessageState {
    Enroute,
    Delivered,
    Expired,
    Deleted,
    Undeliverable,
    Accepted,
    Unknown,
    Rejected,
}

impl MessageState {
    pub const ALL: [MessageState; 8] = [
        MessageState::Enroute,
        MessageState::Delivered,
        MessageState::Expired,
        MessageState::Deleted,
        MessageState::Undeliverable,
        MessageState::Accepted,
        MessageState::Unknown,
        MessageState::Rejected,
    ];

    pub fn name(self) -> &'static str {
        match self {
            MessageState::Enroute => "enroute",
            MessageState::Delivered => "delivered",
            MessageState::Expired => "expired",
            MessageState::Deleted => "deleted",
            MessageState::Undeliverable => "undeliverable",
            MessageState::Accepted => "accepted",
            MessageState::Unknown => "unknown",
            MessageState::Rejected => "rejected",
        }
    }

    /// Whether nothing more will happen to the message. `Accepted` is "read for the subscriber by customer service": final.
    pub fn is_final(self) -> bool {
        self != MessageState::Enroute
    }

    fn from_octet(octet: u8) -> Option<MessageState> {
        MessageState::ALL.get(usize::from(octet).checked_sub(1)?).copied()
    }

    /// As appendix B shortens them. SMSCs cut and spell them their own way, so the beginning counts.
    fn from_word(word: &str) -> Option<MessageState> {
        let word = word.to_ascii_uppercase();
        let known = [
            ("DELIV", MessageState::Delivered),
            ("ENROUTE", MessageState::Enroute),
            ("BUFFERED", MessageState::Enroute),
            ("EXPIRED", MessageState::Expired),
            ("DELETED", MessageState::Deleted),
            ("UNDELIV", MessageState::Undeliverable),
            ("FAILED", MessageState::Undeliverable),
            ("ACCEPTD", MessageState::Accepted),
            ("ACCEPTED", MessageState::Accepted),
            ("REJECT", MessageState::Rejected),
            ("UNKNOWN", MessageState::Unknown),
        ];
        known.into_iter().find(|(beginning, _)| word.starts_with(beginning)).map(|(_, state)| state)
    }
}

/// What a receipt says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// As the SMSC writes it here; see [`spellings`].
    pub message_id: String,
    pub state: MessageState,
    /// Who the message went to: source_addr of the receipt, digits alone.
    pub recipient: String,
    /// user_message_reference of the message, where the SMSC gives it back (section 5.3.2.17).
    pub reference: Option<u16>,
}

impl Receipt {
    /// None: it is no receipt, or says not of what or not what.
    pub fn of(deliver: &Deliver) -> Option<Receipt> {
        // Bits 5 to 2 of esm_class: 0001 a delivery receipt, 1000 an intermediate notification (section 5.2.12).
        if deliver.esm_class & 0x3c != 0x04 && deliver.esm_class & 0x3c != 0x20 {
            return None;
        }
        let text = String::from_utf8_lossy(&deliver.short_message);
        let id = match &deliver.receipted_message_id {
            Some(id) if !id.is_empty() => id.clone(),
            _ => field(&text, "id")?.to_owned(),
        };
        let state = deliver.message_state.and_then(MessageState::from_octet);
        let state = state.or_else(|| MessageState::from_word(field(&text, "stat")?))?;
        let recipient = deliver.source.chars().filter(char::is_ascii_digit).collect();
        Some(Receipt { message_id: id, state, recipient, reference: deliver.user_message_reference })
    }
}

/// The value after `name:`, to the next space. Names are of small letters, but not at every SMSC.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let words = text.split_ascii_whitespace();
    let found = words.filter_map(|word| word.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// A message_id as it is compared: small letters, no zeros in front.
pub fn plain(id: &str) -> String {
    let id = id.trim().to_ascii_lowercase();
    let short = id.trim_start_matches('0');
    if short.is_empty() && !id.is_empty() { "0".to_owned() } else { short.to_owned() }
}

/// What the id of a receipt may have been in the answer to its submit_sm, the likeliest first: the same, or the number written
/// in hex in one of them and in decimal in the other, as many SMSCs do.
pub fn spellings(id: &str) -> Vec<String> {
    let id = plain(id);
    let mut found = vec![id.clone()];
    let decimal = id.parse::<u128>().ok().filter(|_| id.bytes().all(|byte| byte.is_ascii_digit()));
    found.extend(decimal.map(|number| format!("{number:x}")));
    let hex = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    found.extend(u128::from_str_radix(&id, 16).ok().filter(|_| hex).map(|number| number.to_string()));
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(esm_class: u8, text: &str) -> Option<Receipt> {
        let short_message = text.as_bytes().to_vec();
        Receipt::of(&Deliver {
            esm_class,
            short_message,
            source: "+77011234567".to_owned(),
            ..Deliver::default()
        })
    }

    #[test]
    fn the_text_form_is_read() {
        // Appendix B of the standard, and what is seen of it.
        let text = "id:0123456789 sub:001 dlvrd:001 submit date:0809011130 done date:0809011131 stat:DELIVRD err:000 text:id:7";
        let found = receipt(0x04, text).unwrap();
        assert_eq!((found.message_id.as_str(), found.state), ("0123456789", MessageState::Delivered));
        assert_eq!((found.recipient.as_str(), found.reference), ("77011234567", None));
        for (text, state) in [
            ("id:1 stat:UNDELIV err:001", MessageState::Undeliverable),
            ("id:1 stat:EXPIRED", MessageState::Expired),
            ("ID:1 Stat:REJECTD", MessageState::Rejected),
            ("id:1 stat:ACCEPTD", MessageState::Accepted),
            ("id:1 stat:DELETED", MessageState::Deleted),
            ("id:1 stat:UNKNOWN", MessageState::Unknown),
            ("id:1 stat:ENROUTE", MessageState::Enroute),
        ] {
            assert_eq!(receipt(0x04, text).unwrap().state, state, "{text}");
        }
        for nothing in ["", "id: stat:DELIVRD", "id:1", "stat:DELIVRD", "id:1 stat:MAYBE", "hello"] {
            assert_eq!(receipt(0x04, nothing), None, "{nothing}");
        }
        assert_eq!(receipt(0x00, "id:1 stat:DELIVRD"), None, "a text from somebody is no receipt");
    }

    #[test]
    fn parameters_go_before_the_text() {
        let deliver = Deliver {
            esm_class: 0x04,
            short_message: b"id:1 stat:DELIVRD".to_vec(),
            receipted_message_id: Some("AB".to_owned()),
            message_state: Some(5),
            user_message_reference: Some(7),
            ..Deliver::default()
        };
        let found = Receipt::of(&deliver).unwrap();
        assert_eq!((found.message_id.as_str(), found.state), ("AB", MessageState::Undeliverable));
        assert_eq!(found.reference, Some(7));
    }

    #[test]
    fn an_id_in_hex_is_the_same_in_decimal() {
        assert!(spellings("0000000255").contains(&"ff".to_owned()));
        assert!(spellings("00FF").contains(&"255".to_owned()));
        assert_eq!(spellings("00FF")[0], plain("ff"));
        assert_eq!(spellings("a-1"), ["a-1"]);
        assert_eq!(plain("000"), "0");
        assert!(spellings(&"9".repeat(64)).len() <= 2, "too large for a number");
    }
}
