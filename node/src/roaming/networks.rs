//! Which network an address of a VLR or SGSN belongs to, and so what an HLR's record says of its subscriber.
//!
//! A VLR is home where its number or name begins as one of those listed; any other is abroad, in the country of the
//! longest prefix that the table has for it.

use exchange::{Method, Status, WhyUnknown};

use super::{Whereabouts, country};

/// Home VLRs and the countries of others.
#[derive(Clone)]
pub struct Networks {
    home: Vec<String>,
    countries: Vec<(String, [u8; 2])>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Home,
    Abroad(Option<[u8; 2]>),
}

impl Networks {
    /// `home`: beginnings of the home network's VLR and SGSN numbers or names; `countries`: beginnings of others' and
    /// ISO 3166-1 alpha-2 codes. A `+` in front is passed over. The error is a line for whoever wrote them.
    pub fn new(
        home: &[impl AsRef<str>],
        countries: &[(impl AsRef<str>, impl AsRef<str>)],
    ) -> Result<Networks, String> {
        let beginning = |text: &str| {
            let text = text.trim();
            let text = text.strip_prefix('+').unwrap_or(text);
            match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
                true => Ok(text.to_owned()),
                false => Err(format!("\"{text}\" is not the beginning of a VLR's number or name")),
            }
        };
        // Without one everybody would be abroad, and no forged call from abroad be found.
        if home.is_empty() {
            return Err("no home VLR is given: every subscriber would be roaming".to_owned());
        }
        let home = home.iter().map(|text| beginning(text.as_ref())).collect::<Result<_, _>>()?;
        let countries = countries
            .iter()
            .map(|(prefix, code)| {
                let code = code.as_ref();
                let wrong = || format!("\"{code}\" is not a country: two capital letters of ISO 3166-1");
                Ok((beginning(prefix.as_ref())?, country(code).ok_or_else(wrong)?))
            })
            .collect::<Result<_, String>>()?;
        Ok(Networks { home, countries })
    }

    fn place(&self, node: &str) -> Place {
        let node = node.strip_prefix('+').unwrap_or(node);
        if self.home.iter().any(|beginning| node.starts_with(beginning)) {
            return Place::Home;
        }
        let covering = self.countries.iter().filter(|(beginning, _)| node.starts_with(beginning));
        Place::Abroad(covering.max_by_key(|(beginning, _)| beginning.len()).map(|&(_, code)| code))
    }

    /// What the HLR's record of a subscriber says, lines of a name, a tab and a value. `last_known`: whether a node
    /// that gave the subscriber up (purged him) still says where he is. The error is a fault of the record.
    pub fn read(&self, record: &str, digits: &str, last_known: bool) -> Result<Whereabouts, &'static str> {
        let field = |name: &str| {
            let mut pairs = record.lines().filter_map(|line| line.split_once('\t'));
            pairs.find(|&(found, _)| found == name).map(|(_, value)| value)
        };
        if field("id").is_none() {
            return Err("a reply that is no record of a subscriber");
        }
        if field("msisdn") != Some(digits) {
            return Err("a record of another subscriber");
        }
        let node = |address: &str, purged: &str| {
            let is_known = last_known || field(purged) != Some("1");
            field(address)
                .filter(|address| is_known && !address.is_empty())
                .map(|address| self.place(address))
        };
        // The HLR does not say which of the two is newer. Whoever may be abroad is: better a forged call that
        // passes than a traveller who cannot call.
        let nodes = [node("vlr_number", "ms_purged_cs"), node("sgsn_number", "ms_purged_ps")];
        let abroad = nodes.iter().flatten().find_map(|&place| match place {
            Place::Abroad(visited) => Some(visited),
            Place::Home => None,
        });
        let says = |status| Whereabouts::new(Method::Hlr, status);
        Ok(match abroad {
            Some(visited) => Whereabouts { visited, ..says(Status::Roaming) },
            None if nodes.iter().any(Option::is_some) => says(Status::NotRoaming),
            None => Whereabouts::unknown(Method::Hlr, WhyUnknown::NotRegistered),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Networks {
        let countries = [("+90", "TR"), ("9", "IN"), ("7", "RU"), ("sgsn-istanbul", "TR")];
        Networks::new(&["7701000", "msc-home-"], &countries).unwrap()
    }

    fn read(more: &str, last_known: bool) -> Result<Whereabouts, &'static str> {
        let record = format!("\nid\t1\nimsi\t401010000000001\nmsisdn\t77011234567\nnam_cs\t1{more}");
        networks().read(&record, "77011234567", last_known)
    }

    #[test]
    fn the_longest_beginning_names_the_country() {
        let networks = networks();
        for (node, place) in [
            ("77010001234", Place::Home),
            ("+77010001234", Place::Home),
            ("msc-home-2", Place::Home),
            ("905321230000", Place::Abroad(Some(*b"TR"))),
            ("919810000000", Place::Abroad(Some(*b"IN"))),
            ("77020001234", Place::Abroad(Some(*b"RU"))),
            ("447700900000", Place::Abroad(None)),
            ("", Place::Abroad(None)),
        ] {
            assert_eq!(networks.place(node), place, "{node}");
        }
    }

    #[test]
    fn a_record_becomes_an_answer() {
        let is = |more: &str, status, visited| {
            let found = read(more, false).unwrap();
            assert_eq!((found.status, found.visited, found.reason), (status, visited, None), "{more}");
        };
        is("\nvlr_number\t905321230000\nms_purged_cs\t0", Status::Roaming, Some(*b"TR"));
        is("\nvlr_number\t447700900000", Status::Roaming, None);
        is("\nvlr_number\t77010000001\nms_purged_cs\t0", Status::NotRoaming, None);
        is("\nsgsn_number\tsgsn-istanbul", Status::Roaming, Some(*b"TR"));
        // The VLR at home may not have heard yet that he left.
        is("\nvlr_number\t77010000001\nsgsn_number\tsgsn-istanbul", Status::Roaming, Some(*b"TR"));
        is(
            "\nvlr_number\t77010000001\nsgsn_number\tsgsn-istanbul\nms_purged_ps\t1",
            Status::NotRoaming,
            None,
        );
    }

    #[test]
    fn who_is_registered_nowhere_is_unknown_unless_the_last_place_counts() {
        let nowhere = Whereabouts::unknown(Method::Hlr, WhyUnknown::NotRegistered);
        assert_eq!(read("", false), Ok(nowhere));
        assert_eq!(read("", true), Ok(nowhere));
        let purged = "\nvlr_number\t905321230000\nms_purged_cs\t1";
        assert_eq!(read(purged, false), Ok(nowhere));
        assert_eq!(read(purged, true).unwrap().status, Status::Roaming);
    }

    #[test]
    fn another_subscribers_record_is_no_answer() {
        assert!(networks().read("\nid\t1\nmsisdn\t77011234567", "77011234568", false).is_err());
        assert!(networks().read("\nid\t1", "77011234567", false).is_err());
        assert!(networks().read("", "77011234567", false).is_err());
        assert!(networks().read("id msisdn", "77011234567", false).is_err());
    }

    #[test]
    fn settings_that_would_mislead_are_refused() {
        let none: [(&str, &str); 0] = [];
        assert!(Networks::new(&[] as &[&str], &none).is_err());
        for home in ["", " ", "+", "a b", "é"] {
            assert!(Networks::new(&[home], &none).is_err(), "{home:?}");
        }
        for (prefix, code) in [("", "TR"), ("90", "tr"), ("90", "TUR"), ("90", ""), ("90", "Т1")] {
            assert!(Networks::new(&["77"], &[(prefix, code)]).is_err(), "{prefix} {code}");
        }
    }
}
