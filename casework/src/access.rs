//! Who may do and see what in the register.
//!
//! A thing belongs to a unit, and may be assigned to an investigator or addressed to an operator or a bank. Investigators and heads
//! work within their units, operators and banks with what is addressed to them or came from them; an auditor sees who looked, and
//! never what they saw.

lending::names! {
    Role {
        Investigator = "investigator",
        Head = "head",
        Operator = "operator",
        Bank = "bank",
        Auditor = "auditor",
    }
}

lending::names! {
    /// What is done with the register.
    Act {
        ImportFacts = "import-facts",
        SearchFacts = "search-facts",
        SeeFact = "see-fact",
        ChangeFact = "change-fact",
        AssignFact = "assign-fact",
        SeeLinks = "see-links",
        Cut = "cut",
        SeeGroups = "see-groups",
        ConfirmGroup = "confirm-group",
        KeepPerson = "keep-person",
        SeePerson = "see-person",
        KeepSeizure = "keep-seizure",
        HandOver = "hand-over",
        SeeSeizure = "see-seizure",
        MakeRequest = "make-request",
        SeeRequest = "see-request",
        AnswerRequest = "answer-request",
        /// Something that an operator or a bank, or the police itself, came across.
        Report = "report",
        SeeReport = "see-report",
        CheckReport = "check-report",
        ImportCentres = "import-centres",
        SeeCentre = "see-centre",
        /// Confirm a call centre, or dismiss it.
        JudgeCentre = "judge-centre",
        ConfirmIdentifier = "confirm-identifier",
        SeeConfirmed = "see-confirmed",
        SeeLooks = "see-looks",
        /// Numbers without anybody in them.
        SeeStatistics = "see-statistics",
    }
}

/// Units of the police that a client works in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Units {
    All,
    These(Vec<String>),
}

impl Units {
    /// Names with spaces between them; `*` is all.
    pub fn parse(text: &str) -> Units {
        match text.trim() {
            "*" => Units::All,
            text => Units::These(text.split_whitespace().map(str::to_owned).collect()),
        }
    }

    pub fn hold(&self, unit: &str) -> bool {
        match self {
            Units::All => true,
            Units::These(units) => units.iter().any(|known| known == unit),
        }
    }

    /// The unit of what is entered without one: the only one, if there is one only.
    pub fn only(&self) -> Option<&str> {
        match self {
            Units::These(units) if units.len() == 1 => Some(&units[0]),
            _ => None,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'r> {
    pub id: &'r str,
    pub role: Role,
    pub units: &'r Units,
}

/// Where a thing belongs.
#[derive(Clone, Copy, Default, Debug)]
pub struct Place<'p> {
    pub unit: &'p str,
    /// The investigator whose it is.
    pub assigned: Option<&'p str>,
    /// The operator or bank it is addressed to, or came from.
    pub outside: Option<&'p str>,
}

/// Whether somebody may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    Allowed,
    Refused,
    /// Not even that it exists is said.
    Hidden,
}

impl Reader<'_> {
    /// Whether this is for the role at all, whatever it is done with.
    pub fn may_ever(&self, act: Act) -> bool {
        use Act::*;
        if act == SeeStatistics {
            return true;
        }
        match self.role {
            Role::Auditor => act == SeeLooks,
            Role::Operator | Role::Bank => {
                matches!(act, SeeRequest | AnswerRequest | Report | SeeReport)
            }
            Role::Investigator => !matches!(act, AssignFact | ConfirmIdentifier | AnswerRequest | SeeLooks),
            Role::Head => !matches!(act, AnswerRequest | SeeLooks),
        }
    }

    /// Whether this may be done with what belongs there; none: with nothing that there is.
    pub fn may(&self, act: Act, place: Option<Place>) -> Right {
        if !self.may_ever(act) {
            return Right::Refused;
        }
        let Some(place) = place else { return Right::Hidden };
        let is_allowed = match self.role {
            Role::Auditor => false,
            Role::Operator | Role::Bank => place.outside == Some(self.id),
            // A report is of no unit yet.
            Role::Investigator | Role::Head if matches!(act, Act::SeeReport | Act::CheckReport) => true,
            Role::Investigator | Role::Head => self.units.hold(place.unit) || place.assigned == Some(self.id),
        };
        match self.role {
            _ if is_allowed => Right::Allowed,
            // Whom else the police asks is not for those who are asked.
            Role::Operator | Role::Bank => Right::Hidden,
            _ => Right::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fact_is_seen_in_its_unit_or_by_whom_it_is_assigned_to() {
        let almaty = Units::parse("almaty");
        let reader = |role, id, units| Reader { id, role, units };
        let fact = Place { unit: "astana", assigned: Some("ivan"), outside: None };
        let see = |reader: Reader| reader.may(Act::SeeFact, Some(fact));
        assert_eq!(see(reader(Role::Investigator, "aigul", &almaty)), Right::Refused);
        assert_eq!(see(reader(Role::Investigator, "ivan", &almaty)), Right::Allowed);
        let both = Units::parse("almaty astana");
        assert_eq!(see(reader(Role::Investigator, "aigul", &both)), Right::Allowed);
        assert_eq!(see(reader(Role::Head, "head", &Units::All)), Right::Allowed);
        assert_eq!(see(reader(Role::Auditor, "auditor", &Units::All)), Right::Refused);
        assert_eq!(see(reader(Role::Bank, "ivan", &Units::All)), Right::Refused);
        let ivan = reader(Role::Investigator, "ivan", &almaty);
        assert_eq!(ivan.may(Act::AssignFact, Some(fact)), Right::Refused);
        assert_eq!(ivan.may(Act::SeeFact, None), Right::Hidden);
    }

    #[test]
    fn an_operator_knows_of_no_request_but_its_own() {
        let none = Units::parse("");
        let operator = Reader { id: "alpha", role: Role::Operator, units: &none };
        let to = |outside| Place { unit: "almaty", assigned: None, outside: Some(outside) };
        assert_eq!(operator.may(Act::AnswerRequest, Some(to("alpha"))), Right::Allowed);
        assert_eq!(operator.may(Act::SeeRequest, Some(to("beta"))), Right::Hidden);
        assert_eq!(operator.may(Act::SeeRequest, None), Right::Hidden);
        // What it reported is its own and the police's.
        let report = Place { outside: Some("alpha"), ..Place::default() };
        let almaty = Units::parse("almaty");
        let aigul = Reader { id: "aigul", role: Role::Investigator, units: &almaty };
        assert_eq!(operator.may(Act::SeeReport, Some(report)), Right::Allowed);
        assert_eq!(aigul.may(Act::CheckReport, Some(report)), Right::Allowed);
        assert_eq!(operator.may(Act::CheckReport, Some(report)), Right::Refused);
    }

    proptest! {
        #[test]
        fn nobody_sees_more_than_the_role_lets_him(
            role in 0..Role::ALL.len(), act in 0..Act::ALL.len(), units in "[ab*]?", unit in "[ab]",
            assigned in proptest::option::of("[xy]"), outside in proptest::option::of("[xy]"),
        ) {
            let (role, act, units) = (Role::ALL[role], Act::ALL[act], Units::parse(&units));
            let place = Place { unit: &unit, assigned: assigned.as_deref(), outside: outside.as_deref() };
            let reader = Reader { id: "x", role, units: &units };
            let right = reader.may(act, Some(place));
            if right == Right::Allowed {
                prop_assert!(role != Role::Auditor);
                prop_assert!(reader.may_ever(act));
                let is_report = matches!(act, Act::SeeReport | Act::CheckReport);
                let inside = is_report || units.hold(&unit) || assigned.as_deref() == Some("x");
                let police = matches!(role, Role::Investigator | Role::Head);
                let is_his = if police { inside } else { outside.as_deref() == Some("x") };
                prop_assert!(is_his);
            }
            // A head may whatever an investigator of the same units may.
            let head = Reader { role: Role::Head, ..reader };
            let investigator = Reader { role: Role::Investigator, ..reader };
            prop_assert!(investigator.may(act, Some(place)) != Right::Allowed || head.may(act, Some(place)) == Right::Allowed);
        }
    }
}
