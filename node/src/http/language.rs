//! Which language an asker reads: Accept-Language (RFC 9110 section 12.5.4).

use hyper::header::{ACCEPT_LANGUAGE, HeaderMap};
use rules::Language;

/// The language of a request; `usual` where it names none of ours.
pub fn of(headers: &HeaderMap, usual: Language) -> Language {
    let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    choose(accepted.unwrap_or(""), usual)
}

/// The language asked for most that there is; `usual` where none of them is.
pub fn choose(accepted: &str, usual: Language) -> Language {
    let mut best = (0, usual);
    for range in accepted.split(',') {
        let (tag, weight) = match range.split_once(';') {
            Some((tag, parameter)) => (tag.trim(), weight(parameter)),
            None => (range.trim(), 1000),
        };
        let primary = tag.split('-').next().unwrap_or("").to_ascii_lowercase();
        let language = if primary == "*" { Some(usual) } else { Language::from_code(&primary) };
        // Of two with one weight the first is meant: a later one has to be wanted more.
        if let Some(language) = language
            && weight > best.0
        {
            best = (weight, language);
        }
    }
    best.1
}

/// `q=0.8` in thousandths; what is no weight counts as none.
fn weight(parameter: &str) -> u32 {
    let value = parameter.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.trim().strip_prefix('='));
    let value: f32 = value.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0);
    (value.clamp(0.0, 1.0) * 1000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_wanted_most_is_taken() {
        let choose = |accepted| choose(accepted, Language::En).code();
        assert_eq!(choose("ru"), "ru");
        assert_eq!(choose("kk-KZ, ru;q=0.8"), "kk");
        assert_eq!(choose("de, ru;q=0.2, kk;q=0.7"), "kk");
        assert_eq!(choose("ru;q=0, kk;q=0.1"), "kk");
        assert_eq!(choose("*"), "en");
        assert_eq!(choose("de"), "en");
        assert_eq!(choose(""), "en");
        assert_eq!(choose("RU-ru;Q=1.0"), "ru");
        assert_eq!(choose("ru;q=NaN;;=,,"), "en");
    }
}
