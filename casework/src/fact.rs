//! A fact of fraud as the register holds it.

use lending::Sum;

use crate::Identifier;

lending::names! {
    /// How the fraud was done.
    FactKind {
        /// Payment in advance for goods or services that do not exist.
        AdvancePayment = "advance-payment",
        /// A call in the name of a bank.
        BankCall = "bank-call",
        /// A call in the name of the police or another authority.
        AuthorityCall = "authority-call",
        /// An online loan in the victim's name.
        LoanInName = "loan-in-name",
        Investment = "investment",
        Phishing = "phishing",
        /// In the name of a relative or an acquaintance.
        Acquaintance = "acquaintance",
        Other = "other",
    }
}

lending::names! {
    /// Who somebody is in a fact.
    PersonKind {
        Victim = "victim",
        Suspect = "suspect",
        /// Lends his account or card.
        Drop = "drop",
        CallCentreWorker = "call-centre-worker",
    }
}

lending::names! {
    /// The state of the proceedings.
    Proceedings {
        Registered = "registered",
        Investigated = "investigated",
        Suspended = "suspended",
        InCourt = "in-court",
        Sentenced = "sentenced",
        Terminated = "terminated",
    }
}

/// A fact of fraud. `victim_phone` is the victim's own: it links nobody, it leads to who called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// In the register of offences; unique.
    pub number: String,
    pub kind: FactKind,
    /// Ms since 1970.
    pub at_ms: i64,
    pub region: String,
    /// Of the police, whose fact it is; empty where the file does not say.
    pub unit: String,
    pub method: String,
    pub victim: Option<lending::Iin>,
    pub victim_phone: Option<Identifier>,
    pub damage: Option<Sum>,
    pub recovered: Option<Sum>,
    pub proceedings: Proceedings,
    /// Who reported it: a police department, a bank, the citizen himself.
    pub source: String,
    /// What the fraudsters used.
    pub identifiers: Vec<Identifier>,
}
