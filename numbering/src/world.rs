//! Every assigned country code and the lengths its numbers can have.
//!
//! From the metadata of libphonenumber (the crate `rlibphonenumber`), asked once at start: a call never
//! waits for it. Whether a foreign range is allocated changes too often to judge by, so it is not asked.

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber};

pub(crate) struct CountryCode {
    pub digits: String,
    /// ISO 3166 code of the country, or of the first of those that share the code; `001` for a
    /// global service such as Inmarsat.
    pub region: String,
    /// Bit n set: a number of n digits with its country code is possible.
    pub lengths: u16,
}

pub(crate) fn country_codes() -> Vec<CountryCode> {
    let util = &*PHONE_NUMBER_UTIL;
    let mut codes: Vec<i32> = util.get_supported_calling_codes().collect();
    codes.sort_unstable();
    codes
        .into_iter()
        .map(|code| {
            let digits = code.to_string();
            let region = util
                .get_region_for_country_code(code)
                .map_or_else(String::new, |region| region.as_region_str().to_string());
            let lengths = (1..=15 - digits.len())
                .filter(|&national| {
                    let national_number = 10u64.pow(national as u32 - 1);
                    let number =
                        PhoneNumber { country_code: code, national_number, ..PhoneNumber::default() };
                    matches!(util.is_possible_number_with_reason(&number), Ok(NumberLengthType::IsPossible))
                })
                .fold(0u16, |mask, national| mask | 1 << (national + digits.len()));
            CountryCode { digits, region, lengths }
        })
        .collect()
}
