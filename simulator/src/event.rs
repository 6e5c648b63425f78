//! A call as it reaches the own network: texts in the forms networks really send, and the truth beside them.

use std::fmt::{self, Write};

use screening::Fields;

use crate::stories::Story;

/// One call entering the network, and what it truly is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// Milliseconds since 1970-01-01 UTC on the country's own clock.
    pub time_ms: i64,
    /// An index into the country's trunks.
    pub trunk: usize,
    /// Number fields as text; empty where the call carries none.
    pub calling: String,
    pub presentation: String,
    pub called: String,
    pub redirecting: String,
    pub privacy: bool,
    pub truth: Truth,
}

/// What nobody but the country and its checkers knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Truth {
    pub story: Story,
    pub honest: bool,
    /// The called subscriber asked for no calls from abroad.
    pub opted_out: bool,
}

impl Event {
    /// The number fields as screening takes them in.
    #[inline]
    pub fn fields(&self) -> Fields<'_> {
        Fields {
            calling: &self.calling,
            presentation: &self.presentation,
            called: &self.called,
            redirecting: &self.redirecting,
            privacy: self.privacy,
        }
    }

    /// Empties every field for the next call; the texts keep their memory.
    #[inline]
    pub(crate) fn clear(&mut self, time_ms: i64, story: Story) {
        self.time_ms = time_ms;
        self.trunk = 0;
        for text in [&mut self.calling, &mut self.presentation, &mut self.called, &mut self.redirecting] {
            text.clear();
        }
        self.privacy = false;
        self.truth = Truth { story, honest: story.is_honest(), opted_out: false };
    }
}

impl Default for Event {
    fn default() -> Event {
        Event {
            time_ms: 0,
            trunk: 0,
            calling: String::new(),
            presentation: String::new(),
            called: String::new(),
            redirecting: String::new(),
            privacy: false,
            truth: Truth { story: Story::OwnCall, honest: true, opted_out: false },
        }
    }
}

/// Masked as numbers are everywhere: `+77272****34 to 8701****56`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from \"{}\"", self.truth.story.name(), Masked(&self.calling))?;
        if !self.presentation.is_empty() {
            write!(f, " presenting \"{}\"", Masked(&self.presentation))?;
        }
        write!(f, " to \"{}\"", Masked(&self.called))?;
        if !self.redirecting.is_empty() {
            write!(f, " diverted by \"{}\"", Masked(&self.redirecting))?;
        }
        if self.privacy {
            f.write_str(" asking for privacy")?;
        }
        write!(f, " at {} ms by trunk {}", self.time_ms, self.trunk)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number field as it was written, four digits hidden; short codes stay as they are.
struct Masked<'a>(&'a str);

impl fmt::Display for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.bytes().filter(u8::is_ascii_digit).count();
        let mut index = 0;
        for letter in self.0.chars() {
            let hidden = digits >= 7 && index + 6 >= digits && index + 2 < digits;
            let is_digit = letter.is_ascii_digit();
            f.write_char(if is_digit && hidden { '*' } else { letter })?;
            index += usize::from(is_digit);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_masked_numbers() {
        let event = Event {
            calling: "+7-727-250-12-34".into(),
            called: "87010001122".into(),
            presentation: "102".into(),
            ..Event::default()
        };
        let text = format!("{event:?}");
        assert!(text.contains("\"+7-727-2**-**-34\""), "{text}");
        assert!(text.contains("\"87010****22\"") && text.contains("\"102\""), "{text}");
    }
}
