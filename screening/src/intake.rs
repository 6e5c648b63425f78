//! From what the wire or a record carried to a call.

use call::{Call, TrunkId};
use numbering::{Party, Why};

use crate::Policy;

/// The number fields of a call as text, empty where there is none.
#[derive(Clone, Copy, Default, Debug)]
pub struct Fields<'a> {
    /// Network number: P-Asserted-Identity, Calling Party Number.
    pub calling: &'a str,
    /// Presentation number: From, Generic Number.
    pub presentation: &'a str,
    pub called: &'a str,
    pub redirecting: &'a str,
    /// The caller's network asked that the number not be shown.
    pub privacy: bool,
}

fn is_name(party: Party) -> bool {
    matches!(party, Party::Malformed(bad) if bad.why == Why::NotANumber)
}

impl Policy {
    /// Normalises the fields of a call that came by a trunk at `time_ms`.
    #[inline]
    pub fn intake(&self, time_ms: i64, trunk: TrunkId, fields: &Fields) -> Call {
        let Fields { calling, presentation, called, redirecting, privacy } = *fields;
        let ingress = self.trunk(trunk);
        let mut national_form = false;
        let mut read = |text: &str| {
            if text.is_empty() {
                return Party::Absent;
            }
            let normalised = self.plan.normalise(text, &ingress.dialling);
            national_form |= normalised.national_form;
            normalised.party
        };
        let network = read(calling);
        let mut presented = if presentation == calling { network } else { read(presentation) };
        let (called, redirecting) = (read(called), read(redirecting));
        // Where no network number is carried, the presentation number is A. Restricted is not absent, and a
        // user part may be a name: beside a number that is no number to judge.
        let calling = match network {
            Party::Absent => std::mem::take(&mut presented),
            name if is_name(name) && presented.number().is_some() => std::mem::take(&mut presented),
            network => network,
        };
        if is_name(presented) {
            presented = Party::Absent;
        }
        if presented == calling {
            presented = Party::Absent;
        }
        let class = ingress.class;
        Call {
            time_ms,
            trunk,
            class,
            calling,
            presentation: presented,
            called,
            redirecting,
            privacy,
            national_form,
        }
    }
}
