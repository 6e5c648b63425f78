//! Mobile country codes (ITU-T E.212, the list of the ITU's Operational Bulletin) and the countries they are of.
//!
//! Several codes may be one country's (310 to 316), one code several countries' (340), and 901 is nobody's.

/// Country and code, the code most used first where a country has several.
const CODES: &str = "GR202 NL204 BE206 FR208 MC212 AD213 ES214 HU216 BA218 HR219 RS220 XK221 IT222 VA225 RO226 \
    CH228 CZ230 SK231 AT232 GB234 GB235 DK238 SE240 NO242 FI244 LT246 LV247 EE248 RU250 UA255 BY257 MD259 \
    PL260 DE262 GI266 PT268 LU270 IE272 IS274 AL276 MT278 CY280 GE282 AM283 BG284 TR286 FO288 GL290 SM292 SI293 MK294 \
    LI295 ME297 CA302 PM308 US310 US311 US312 US313 US314 US315 US316 PR330 VI332 MX334 JM338 GP340 MQ340 GF340 BL340 \
    MF340 BB342 AG344 KY346 VG348 BM350 GD352 MS354 KN356 LC358 VC360 CW362 SX362 BQ362 AW363 BS364 AI365 DM366 CU368 \
    DO370 HT372 TT374 TC376 AZ400 KZ401 BT402 IN404 IN405 IN406 PK410 AF412 LK413 MM414 LB415 JO416 SY417 IQ418 KW419 \
    SA420 YE421 OM422 AE424 AE430 AE431 IL425 BH426 QA427 MN428 NP429 IR432 UZ434 TJ436 KG437 TM438 JP440 JP441 \
    KR450 VN452 HK454 MO455 KH456 LA457 CN460 CN461 TW466 KP467 BD470 MV472 MY502 AU505 ID510 TL514 PH515 \
    TH520 SG525 BN528 NZ530 NR536 PG537 TO539 SB540 VU541 FJ542 WF543 AS544 KI545 NC546 PF547 CK548 WS549 FM550 MH551 \
    PW552 TV553 TK554 NU555 EG602 DZ603 MA604 TN605 LY606 GM607 SN608 MR609 ML610 GN611 CI612 BF613 NE614 TG615 BJ616 \
    MU617 LR618 SL619 GH620 NG621 TD622 CF623 CM624 CV625 ST626 GQ627 GA628 CG629 CD630 AO631 GW632 SC633 SD634 RW635 \
    ET636 SO637 DJ638 KE639 TZ640 UG641 BI642 MZ643 ZM645 MG646 RE647 YT647 ZW648 NA649 MW650 LS651 BW652 SZ653 \
    KM654 ZA655 ER657 SH658 SS659 BZ702 GT704 SV706 HN708 NI710 CR712 PA714 PE716 AR722 BR724 CL730 CO732 VE734 BO736 \
    GY738 EC740 GF742 PY744 SR746 UY748 FK750";

fn pairs() -> impl Iterator<Item = ([u8; 2], u16)> {
    CODES.split_ascii_whitespace().filter_map(|entry| {
        let (country, code) = entry.split_at_checked(2)?;
        Some((super::country(country)?, code.parse().ok()?))
    })
}

/// The country of a code; None where none has it, or several.
pub fn country_of(code: u16) -> Option<[u8; 2]> {
    let mut countries = pairs().filter(|&(_, found)| found == code).map(|(country, _)| country);
    let country = countries.next()?;
    countries.next().is_none().then_some(country)
}

/// A country's code, of several the one most used.
pub fn code_of(country: [u8; 2]) -> Option<u16> {
    pairs().find(|&(found, _)| found == country).map(|(_, code)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_a_country_and_a_code() {
        assert_eq!(pairs().count(), CODES.split_ascii_whitespace().count());
        assert!(pairs().all(|(_, code)| (202..=750).contains(&code)));
        let mut seen: Vec<_> = pairs().collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), pairs().count(), "one twice");
    }

    #[test]
    fn a_code_of_several_countries_names_none() {
        assert_eq!(country_of(262), Some(*b"DE"));
        assert_eq!(country_of(401), Some(*b"KZ"));
        assert_eq!(country_of(311), Some(*b"US"));
        assert_eq!(country_of(340), None);
        assert_eq!(country_of(901), None);
        assert_eq!(country_of(0), None);
        assert_eq!(code_of(*b"TR"), Some(286));
        assert_eq!(code_of(*b"US"), Some(310));
        assert_eq!(code_of(*b"GF"), Some(340));
        assert_eq!(code_of(*b"ZZ"), None);
    }
}
