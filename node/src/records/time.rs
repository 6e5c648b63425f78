//! The time of a recorded call: RFC 3339, or a date and time in UTC, or seconds, ms, µs since 1970.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Milliseconds since 1970-01-01 UTC.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<i64>().ok().map(from_integer);
    }
    if let Some(ms) = plain(text.as_bytes()) {
        return Some(ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    let civil: DateTime = text.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// By its size: seconds until the year 5138, then ms until then, then µs.
pub fn from_integer(value: i64) -> i64 {
    match value.abs() {
        0..100_000_000_000 => value * 1000,
        100_000_000_000..100_000_000_000_000 => value,
        _ => value / 1000,
    }
}

/// `2026-03-02T08:15:30Z` and `2026-03-02T08:15:30.123Z`, which files of millions of rows are full of.
fn plain(text: &[u8]) -> Option<i64> {
    let fraction = match text.len() {
        20 => 0,
        24 if text[19] == b'.' => number(&text[20..23])?,
        _ => return None,
    };
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':'), (text.len() - 1, b'Z')];
    if marks.iter().any(|&(at, mark)| text[at] != mark) || !matches!(text[10], b'T' | b' ') {
        return None;
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    if !(1..=12).contains(&month) || !(1..=28).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None; // Rare days and wrong times: the library knows.
    }
    Some((days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second) * 1000 + fraction)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, &byte| byte.is_ascii_digit().then(|| n * 10 + i64::from(byte - b'0')))
}

/// Days since 1970-01-01 in the Gregorian calendar, years counted from March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_that_records_use() {
        let noon = 1_772_452_800_000; // date -u -d 2026-03-02T12:00:00Z +%s
        for text in [
            "2026-03-02T12:00:00Z",
            "2026-03-02T12:00:00.000Z",
            "2026-03-02 12:00:00",
            "2026-03-02 12:00:00Z",
            "2026-03-02T17:00:00+05:00",
            "1772452800",
            "1772452800000",
            "1772452800000000",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        assert_eq!(parse("2026-03-02T12:00:00.250Z"), Some(noon + 250));
        for text in ["", "yesterday", "2026-02-30T12:00:00Z", "2026-03-02T25:00:00Z", "12:00"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_short_way_agrees_with_the_library() {
        for days in 0..60_000 {
            let time = Timestamp::from_second(days * 86_400 + 3_661).unwrap();
            assert_eq!(parse(&time.to_string()), Some(time.as_millisecond()), "{time}");
        }
    }
}
