//! A thing that facts share: one value however it was written down.

use std::fmt;
use std::net::IpAddr;

use numbering::{Dialling, Party, Plan};

lending::names! {
    /// What an identifier is.
    IdentifierKind {
        Phone = "phone",
        Imei = "imei",
        Imsi = "imsi",
        Ip = "ip",
        Account = "account",
        Card = "card",
        Wallet = "wallet",
        Web = "web",
        Messenger = "messenger",
        Email = "email",
    }
}

/// An identifier in its one form. `Display` and `Debug` are masked; [`Identifier::reveal`] gives it whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    kind: IdentifierKind,
    value: String,
}

/// Why a text is no identifier of a kind. No message holds any of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdentifierFault {
    Empty,
    NotAPhone,
    NotAnImei,
    ImeiCheckDigit,
    NotAnImsi,
    NotAnIp,
    NotAnAccount,
    IbanCheckDigits,
    NotACard,
    CardCheckDigit,
    NotAWallet,
    NotAnAddress,
    NotAMessenger,
    NotAnEmail,
}

impl fmt::Display for IdentifierFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IdentifierFault::Empty => "it is empty",
            IdentifierFault::NotAPhone => {
                "it is no phone number of the plan, nor a full one such as +77011234567"
            }
            IdentifierFault::NotAnImei => "an IMEI has 14 to 16 digits",
            IdentifierFault::ImeiCheckDigit => {
                "the last digit of this IMEI does not fit the others: look for a slip"
            }
            IdentifierFault::NotAnImsi => "an IMSI has 14 or 15 digits",
            IdentifierFault::NotAnIp => "it is no IP address",
            IdentifierFault::NotAnAccount => "an account has 5 to 34 letters and digits",
            IdentifierFault::IbanCheckDigits => {
                "the check digits of this IBAN do not fit the rest: look for a slip"
            }
            IdentifierFault::NotACard => "a card has 12 to 19 digits",
            IdentifierFault::CardCheckDigit => {
                "the last digit of this card does not fit the others: look for a slip"
            }
            IdentifierFault::NotAWallet => "a wallet has 8 to 128 letters and digits",
            IdentifierFault::NotAnAddress => "it is no web address, such as example.org/shop",
            IdentifierFault::NotAMessenger => "say whose name it is, such as telegram:name or t.me/name",
            IdentifierFault::NotAnEmail => "it is no e-mail address",
        })
    }
}

/// What people and programs put between characters, or copy along with them, without meaning anything by it.
fn is_filler(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}')
}

/// Without fillers, full-width forms as ASCII, every dash as `-`.
fn clean(text: &str) -> String {
    let plain = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' => '-',
        c => c,
    };
    text.chars().filter(|&c| !is_filler(c)).map(plain).collect()
}

/// Digits alone, where nothing but separators stands between them.
fn digits(text: &str) -> Option<String> {
    let fine = |c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | '/' | '_');
    text.chars().all(fine).then(|| text.chars().filter(char::is_ascii_digit).collect())
}

/// The check of ISO/IEC 7812-1 annex B, of 3GPP TS 23.003 annex B too.
fn is_luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(n, byte)| {
            let digit = u32::from(byte - b'0') << (n % 2);
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// ISO 7064 MOD 97-10 over an IBAN (ISO 13616).
fn is_iban(text: &str) -> bool {
    let (head, rest) = text.split_at(4);
    let remainder = rest.bytes().chain(head.bytes()).fold(0u32, |sum, byte| match byte {
        b'0'..=b'9' => (sum * 10 + u32::from(byte - b'0')) % 97,
        _ => (sum * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    remainder == 1
}

impl Identifier {
    /// Reads an identifier of a kind, in any of the ways it is written; phone numbers by a plan's home forms too.
    pub fn read(kind: IdentifierKind, text: &str, plan: &Plan) -> Result<Identifier, IdentifierFault> {
        let text = clean(text);
        if text.is_empty() {
            return Err(IdentifierFault::Empty);
        }
        let value = match kind {
            IdentifierKind::Phone => phone(&text, plan)?,
            IdentifierKind::Imei => imei(&text)?,
            IdentifierKind::Imsi => {
                let digits = digits(&text).filter(|digits| matches!(digits.len(), 14 | 15));
                digits.ok_or(IdentifierFault::NotAnImsi)?
            }
            IdentifierKind::Ip => ip(&text)?,
            IdentifierKind::Account => account(&text)?,
            IdentifierKind::Card => {
                let digits = digits(&text).filter(|digits| (12..=19).contains(&digits.len()));
                let digits = digits.ok_or(IdentifierFault::NotACard)?;
                if is_luhn(&digits) { digits } else { return Err(IdentifierFault::CardCheckDigit) }
            }
            IdentifierKind::Wallet => wallet(&text)?,
            IdentifierKind::Web => web(&text)?,
            IdentifierKind::Messenger => messenger(&text, plan)?,
            IdentifierKind::Email => email(&text)?,
        };
        Ok(Identifier { kind, value })
    }

    /// One that [`Identifier::reveal`] gave, and a register kept.
    pub fn kept(kind: IdentifierKind, value: String) -> Identifier {
        Identifier { kind, value }
    }

    pub fn kind(&self) -> IdentifierKind {
        self.kind
    }

    /// The whole value, for those who may read it.
    pub fn reveal(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.value.chars().count().min(8) / 2;
        write!(f, "{} ", self.kind.name())?;
        self.value.chars().take(shown).try_for_each(|c| write!(f, "{c}"))?;
        f.write_str("…")
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads identifiers that link nobody, one a line: a phone, or a kind and what it is, such as `web shop.example`; the error has
/// every fault with its line.
pub fn read_public(text: &str, plan: &Plan) -> Result<Vec<Identifier>, Vec<(u64, IdentifierFault)>> {
    let (mut read, mut bad) = (Vec::new(), Vec::new());
    for (n, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
        let named =
            line.split_once(' ').and_then(|(kind, rest)| Some((IdentifierKind::from_name(kind)?, rest)));
        let (kind, text) = named.unwrap_or((IdentifierKind::Phone, line));
        match Identifier::read(kind, text, plan) {
            Ok(identifier) => read.push(identifier),
            Err(fault) => bad.push((n as u64 + 1, fault)),
        }
    }
    if bad.is_empty() { Ok(read) } else { Err(bad) }
}

fn phone(text: &str, plan: &Plan) -> Result<String, IdentifierFault> {
    let text = text.trim_start_matches("tel:");
    let bare: String = text.chars().filter(|c| !matches!(c, '(' | ')' | '-' | '.' | '/')).collect();
    let dialling = Dialling { national: true, international_prefixes: vec!["00".to_owned()] };
    match plan.normalise(&bare, &dialling).party {
        Party::Number(number) => Ok(number.reveal().to_string()),
        // A hotline: facts name it often, so it links nobody, yet it may be named.
        Party::Short(_) => Ok(bare),
        _ => Err(IdentifierFault::NotAPhone),
    }
}

/// Type allocation code and serial number: neither check digit nor software version tells two telephones apart
/// (3GPP TS 23.003 section 6.2).
fn imei(text: &str) -> Result<String, IdentifierFault> {
    let digits = digits(text).ok_or(IdentifierFault::NotAnImei)?;
    match digits.len() {
        15 if !is_luhn(&digits) && !digits.ends_with('0') => Err(IdentifierFault::ImeiCheckDigit),
        // Networks send 0 in the place of the check digit.
        14..=16 => Ok(digits[..14].to_owned()),
        _ => Err(IdentifierFault::NotAnImei),
    }
}

fn ip(text: &str) -> Result<String, IdentifierFault> {
    let text = text.trim_start_matches('[').trim_end_matches(']');
    let address: IpAddr = text.parse().map_err(|_| IdentifierFault::NotAnIp)?;
    Ok(address.to_canonical().to_string())
}

fn account(text: &str) -> Result<String, IdentifierFault> {
    let text: String = text.chars().filter(|c| !matches!(c, '-' | '.' | '/')).collect();
    let text = text.to_ascii_uppercase();
    let text = text.trim_start_matches("IBAN").trim_start_matches(':');
    if !(5..=34).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(IdentifierFault::NotAnAccount);
    }
    let head = text.as_bytes();
    let is_like_iban =
        head[..2].iter().all(u8::is_ascii_uppercase) && head[2..4].iter().all(u8::is_ascii_digit);
    match is_like_iban && !is_iban(text) {
        true => Err(IdentifierFault::IbanCheckDigits),
        false => Ok(text.to_owned()),
    }
}

/// Base58 tells cases apart; hexadecimal and Bech32 (BIP 173) do not.
fn wallet(text: &str) -> Result<String, IdentifierFault> {
    if !(8..=128).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(IdentifierFault::NotAWallet);
    }
    let lower = text.to_ascii_lowercase();
    let one_case = ["0x", "bc1", "tb1", "ltc1"].iter().any(|head| lower.starts_with(head));
    Ok(if one_case { lower } else { text.to_owned() })
}

/// Host and path; what the browser does without a difference is left out.
fn web(text: &str) -> Result<String, IdentifierFault> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = url::Url::parse(&whole).map_err(|_| IdentifierFault::NotAnAddress)?;
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")).unwrap_or("");
    let host = host.trim_end_matches('.').trim_start_matches("www.");
    if !host.contains('.') {
        return Err(IdentifierFault::NotAnAddress);
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{host}{port}{}", url.path().trim_end_matches('/')))
}

fn messenger(text: &str, plan: &Plan) -> Result<String, IdentifierFault> {
    let lower = text.to_lowercase();
    let bare = lower.trim_start_matches("https://").trim_start_matches("http://").trim_start_matches("www.");
    let hosts = [
        ("t.me/", "telegram"),
        ("telegram.me/", "telegram"),
        ("wa.me/", "whatsapp"),
        ("instagram.com/", "instagram"),
        ("vk.com/", "vk"),
    ];
    let by_host = hosts.iter().find_map(|(host, service)| Some((*service, bare.strip_prefix(host)?)));
    let (service, name) = by_host.or_else(|| bare.split_once(':')).ok_or(IdentifierFault::NotAMessenger)?;
    let name = name.split(['?', '#']).next().unwrap_or("").trim_matches(['@', '/']);
    let fine = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+'))
    };
    if !fine(service) || !fine(name) {
        return Err(IdentifierFault::NotAMessenger);
    }
    // A name that is a number is that number, however it was written.
    let is_number = name.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-'));
    let name =
        if is_number { phone(name, plan).unwrap_or_else(|_| name.to_owned()) } else { name.to_owned() };
    Ok(format!("{service}:{name}"))
}

fn email(text: &str) -> Result<String, IdentifierFault> {
    let text = text.to_lowercase();
    let text = text.trim_start_matches("mailto:");
    let (name, host) = text.rsplit_once('@').ok_or(IdentifierFault::NotAnEmail)?;
    let is_host = host.contains('.') && !host.starts_with('.') && !host.ends_with('.');
    match !name.is_empty() && !name.contains('@') && is_host && text.len() <= 254 {
        true => Ok(format!("{name}@{host}")),
        false => Err(IdentifierFault::NotAnEmail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan() -> Plan {
        Plan::parse(include_str!("../../plans/kz.toml")).unwrap()
    }

    fn read(kind: IdentifierKind, text: &str) -> Result<String, IdentifierFault> {
        Identifier::read(kind, text, &plan()).map(|identifier| identifier.reveal().to_owned())
    }

    #[test]
    fn ten_ways_to_write_a_number_are_one() {
        for text in [
            "+77011234567",
            "77011234567",
            "8 701 123 45 67",
            "8(701)123-45-67",
            "7011234567",
            "+7 (701) 123-45-67",
            "tel:+77011234567",
            "8–701–123–45–67",
            "\u{200e}+7\u{a0}701\u{a0}1234567\u{202c}",
            "+７７０１１２３４５６７",
            "0077011234567",
            "+7.701.123.45.67",
        ] {
            assert_eq!(read(IdentifierKind::Phone, text).as_deref(), Ok("+77011234567"), "{text}");
        }
        assert_eq!(read(IdentifierKind::Phone, "call me"), Err(IdentifierFault::NotAPhone));
        assert_eq!(read(IdentifierKind::Phone, " \u{200b} "), Err(IdentifierFault::Empty));
    }

    #[test]
    fn an_imei_is_its_first_fourteen_digits() {
        // 3GPP TS 23.003 annex B: the check digit of 49015420323751 is 8.
        for text in
            ["490154203237518", "49-015420-323751-8", "49015420323751", "4901542032375101", "490154203237510"]
        {
            assert_eq!(read(IdentifierKind::Imei, text).as_deref(), Ok("49015420323751"), "{text}");
        }
        assert_eq!(read(IdentifierKind::Imei, "490154203237519"), Err(IdentifierFault::ImeiCheckDigit));
        assert_eq!(read(IdentifierKind::Imei, "49015420"), Err(IdentifierFault::NotAnImei));
    }

    #[test]
    fn accounts_and_cards_are_checked() {
        // The example of the IBAN registry for Kazakhstan.
        for text in ["KZ86125KZT5004100100", "kz86 125k zt50 0410 0100", "IBAN KZ86125KZT5004100100"] {
            assert_eq!(read(IdentifierKind::Account, text).as_deref(), Ok("KZ86125KZT5004100100"), "{text}");
        }
        assert_eq!(
            read(IdentifierKind::Account, "KZ87125KZT5004100100"),
            Err(IdentifierFault::IbanCheckDigits)
        );
        assert_eq!(
            read(IdentifierKind::Account, "40817810099910004312").as_deref(),
            Ok("40817810099910004312")
        );
        assert_eq!(read(IdentifierKind::Card, "4111 1111 1111 1111").as_deref(), Ok("4111111111111111"));
        assert_eq!(read(IdentifierKind::Card, "4111 1111 1111 1112"), Err(IdentifierFault::CardCheckDigit));
    }

    #[test]
    fn names_in_the_net_have_one_form() {
        for text in
            ["t.me/Bank_Help", "https://t.me/bank_help?start=1", "telegram:@BANK_HELP", "Telegram: bank_help"]
        {
            assert_eq!(read(IdentifierKind::Messenger, text).as_deref(), Ok("telegram:bank_help"), "{text}");
        }
        for text in ["wa.me/77011234567", "whatsapp:+7 701 123-45-67", "WhatsApp:87011234567"] {
            assert_eq!(
                read(IdentifierKind::Messenger, text).as_deref(),
                Ok("whatsapp:+77011234567"),
                "{text}"
            );
        }
        assert_eq!(read(IdentifierKind::Messenger, "@bank_help"), Err(IdentifierFault::NotAMessenger));
        for text in ["https://www.Shop-Kz.example/", "shop-kz.example", "HTTP://shop-kz.example:80/"] {
            assert_eq!(read(IdentifierKind::Web, text).as_deref(), Ok("shop-kz.example"), "{text}");
        }
        assert_eq!(read(IdentifierKind::Web, "банк.example").as_deref(), Ok("xn--80ab2al.example"));
        assert_eq!(read(IdentifierKind::Web, "nothing"), Err(IdentifierFault::NotAnAddress));
        assert_eq!(read(IdentifierKind::Email, "mailto:Ivan@Example.ORG").as_deref(), Ok("ivan@example.org"));
        assert_eq!(read(IdentifierKind::Email, "ivan@"), Err(IdentifierFault::NotAnEmail));
        assert_eq!(read(IdentifierKind::Ip, "::ffff:192.0.2.7").as_deref(), Ok("192.0.2.7"));
        assert_eq!(read(IdentifierKind::Ip, "[2001:DB8:0:0::1]").as_deref(), Ok("2001:db8::1"));
        assert_eq!(read(IdentifierKind::Ip, "192.0.2.256"), Err(IdentifierFault::NotAnIp));
        let eth = "0xDE709F2102306220921060314715629080E2FB77";
        assert_eq!(read(IdentifierKind::Wallet, eth), Ok(eth.to_lowercase()));
    }

    #[test]
    fn it_is_masked_where_it_is_shown() {
        let identifier = Identifier::read(IdentifierKind::Phone, "+77011234567", &plan()).unwrap();
        assert_eq!(format!("{identifier} {identifier:?}"), "phone +770… phone +770…");
    }

    proptest! {
        #[test]
        fn what_is_read_reads_the_same_again(kind in 0..10usize, text in "\\PC{0,40}") {
            let kind = IdentifierKind::ALL[kind];
            if let Ok(value) = read(kind, &text) {
                prop_assert_eq!(read(kind, &value), Ok(value.clone()));
            }
        }

        #[test]
        fn a_slip_of_one_digit_in_a_card_is_seen(body in "[0-9]{15}", place in 0..15usize, by in 1..10u8) {
            let check = (0..10).map(|n| format!("{body}{n}")).find(|card| is_luhn(card)).unwrap();
            prop_assert!(read(IdentifierKind::Card, &check).is_ok());
            let mut bytes = check.into_bytes();
            bytes[place] = b'0' + (bytes[place] - b'0' + by) % 10;
            prop_assert_eq!(read(IdentifierKind::Card, std::str::from_utf8(&bytes).unwrap()), Err(IdentifierFault::CardCheckDigit));
        }
    }
}
