//! What happens in the country, how often, and what the screen may do about it. Data, no behaviour.
//!
//! Shares are in 100,000 of all calls. The treatments are those that local rules allow, without an exchange
//! with other operators: an honest call is to get exactly what its row says, from the mildest to the hardest,
//! and an attack at least its mildest. Where an attack's row begins below block, local rules cannot settle
//! it, and its words say why.

use call::{Label, Treatment};

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub story: Story,
    pub name: &'static str,
    pub honest: bool,
    /// In 100,000 calls.
    pub share: u32,
    /// The mildest and the hardest treatment allowed.
    pub mildest: Treatment,
    pub hardest: Treatment,
    /// What happens, in a sentence.
    pub words: &'static str,
}

/// The sum of all shares.
pub const WHOLE: u32 = 100_000;

const ALLOW: Treatment = Treatment::Allow;
const INTERNATIONAL: Treatment = Treatment::Mark(Label::International);
const SUSPECTED: Treatment = Treatment::Mark(Label::Suspected);
const WITHHOLD: Treatment = Treatment::Withhold;
const BLOCK: Treatment = Treatment::Block;

macro_rules! stories {
    (honest { $($h:ident $hname:literal $hshare:literal $hmildest:ident $hwords:literal)* }
     attacks { $($a:ident $aname:literal $ashare:literal $amildest:ident $awords:literal)* }) => {
        /// A kind of call that the country makes.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Story { $($h,)* $($a,)* }

        impl Story {
            pub const ALL: &'static [Story] = &[$(Story::$h,)* $(Story::$a,)*];
        }

        /// One row a story, in the order of [`Story::ALL`].
        pub const STORIES: &[Row] = &[
            $(Row { story: Story::$h, name: $hname, honest: true, share: $hshare,
                mildest: $hmildest, hardest: $hmildest, words: $hwords },)*
            $(Row { story: Story::$a, name: $aname, honest: false, share: $ashare,
                mildest: $amildest, hardest: BLOCK, words: $awords },)*
        ];
    };
}

stories! {
    honest {
        OwnCall "own-call" 41_000 ALLOW "an own subscriber calls somebody, at home or abroad"
        NationalCall "national-call" 27_000 ALLOW "another mobile operator's subscriber calls"
        FixedCall "fixed-call" 6_000 ALLOW "a fixed line calls"
        CompanyPbx "company-pbx" 4_500 ALLOW "a company's exchange shows an extension beside its main line"
        RussianCaller "russian-caller" 3_500 INTERNATIONAL "Russia calls: the same country code, another country"
        PortedCaller "ported-caller" 3_200 ALLOW "a ported number comes from another operator than its range's"
        ForeignCaller "foreign-caller" 3_000 INTERNATIONAL "somebody in another country calls"
        VoipCall "voip-call" 1_600 ALLOW "a VoIP subscriber calls"
        HomeRoamer "home-roamer" 1_200 WITHHOLD "a home mobile abroad calls home: only its operator could vouch for it"
        ForeignPbx "foreign-pbx" 700 INTERNATIONAL "a foreign exchange shows another number, a name, or only a From"
        BankAtHome "bank-at-home" 700 ALLOW "a bank calls its customer from a line that does call"
        DivertedAtHome "diverted-at-home" 600 ALLOW "a call is diverted within the country"
        VisitorElsewhere "visitor-elsewhere" 500 SUSPECTED "a foreign roamer in another home network calls"
        VisitorHere "visitor-here" 500 ALLOW "a foreign roamer in the own network calls"
        CloudPbx "cloud-pbx" 500 ALLOW "a company's registered number comes from its cloud exchange abroad"
        MachineAtHome "machine-at-home" 500 ALLOW "an alarm or a lift calls"
        BankCallCentre "bank-call-centre" 350 ALLOW "a bank's call centre abroad uses its registered numbers"
        TransitCall "transit-call" 350 ALLOW "a call passes through"
        EmergencyCall "emergency-call" 300 ALLOW "somebody calls for help, perhaps without a number"
        PrivateAtHome "private-at-home" 300 ALLOW "a home caller hides the number"
        WifiCalling "wifi-calling" 250 ALLOW "an own subscriber abroad calls over Wi-Fi, by the own core"
        DivertedAbroad "diverted-abroad" 150 WITHHOLD "a home number was diverted by a foreign one and comes back"
        RoamingNumber "roaming-number" 120 ALLOW "the leg to a visitor's roaming number, whatever its caller"
        PrivateAbroad "private-abroad" 80 INTERNATIONAL "a foreign caller hides the number"
        Embassy "embassy" 30 INTERNATIONAL "an embassy's exchange abroad, exempt from R08"
        AllowListed "allow-listed" 25 ALLOW "a number that rules would refuse, on the allow list"
        Ship "ship" 20 INTERNATIONAL "a ship calls by satellite"
        TestSim "test-sim" 15 INTERNATIONAL "the operator's own SIM abroad tests the way home, exempt from R12"
        OptedOut "opted-out" 10 BLOCK "a call from abroad to somebody who asked for none"
    }
    attacks {
        BankFromAbroad "bank-from-abroad" 700 BLOCK "a bank's fixed number from abroad"
        MobileFromAbroad "mobile-from-abroad" 450 WITHHOLD "a home mobile from abroad: looks like a roamer"
        HoppingCentre "hopping-centre" 350 INTERNATIONAL "a call centre with a new foreign number each call"
        FixedFromAbroad "fixed-from-abroad" 250 BLOCK "somebody's fixed or VoIP number from abroad"
        DoNotOriginate "do-not-originate" 200 BLOCK "a bank's hotline, by whatever trunk"
        NeighbourMobile "neighbour-mobile" 150 WITHHOLD "a mobile that differs from the victim's in the last digits"
        SpoofedNational "spoofed-on-national" 150 ALLOW "a home number by another operator's trunk: only its operator could deny it"
        LookAlike "look-alike" 100 INTERNATIONAL "a Russian code that looks like a home one"
        SpoofedPresentation "spoofed-presentation" 100 BLOCK "an honest foreign number shows a home fixed one"
        Unallocated "unallocated" 80 BLOCK "a home number nobody holds"
        NationalForm "national-form" 60 BLOCK "a home fixed number in national form from abroad"
        Malformed "malformed" 50 BLOCK "too short, too long, no such country, or no number at all in the field"
        NoNumber "no-number" 50 BLOCK "no calling number from abroad"
        SpoofedDiversion "spoofed-diversion" 50 WITHHOLD "a home mobile with a made-up foreign redirecting number"
        DivertedFixed "spoofed-diversion-fixed" 20 WITHHOLD "the same with a fixed number: R07 lets its cap pass"
        Unregistered "unregistered" 40 BLOCK "a dedicated trunk sends a number that is not its own, or no longer"
        ReserveCode "reserve-code" 30 BLOCK "a code of +7 that is never valid"
        ShortCodeCaller "short-code-caller" 30 BLOCK "102 or another short code as the caller"
        ServiceCaller "service-caller" 30 BLOCK "a freephone, premium or shared-service number as the caller"
        GreyRoute "grey-route" 30 SUSPECTED "foreign traffic by a national trunk: looks like visiting roamers"
        BlockListed "block-listed" 25 BLOCK "a number the hunters have confirmed"
        HiddenNumber "hidden-number" 15 INTERNATIONAL "an attacker asks that the number not be shown"
        MachineFromAbroad "machine-from-abroad" 15 BLOCK "a machine's number from abroad: machines do not roam"
        SpoofedTransit "spoofed-on-transit" 10 ALLOW "a home number passing through: no rule of the border asks there"
        ExpiredExemption "expired-exemption" 10 BLOCK "a closed consulate's number, whose exemption is over"
        SpoofedExempt "spoofed-exempt" 5 INTERNATIONAL "an embassy's number by somebody else: what an exemption costs"
    }
}

impl Story {
    #[inline]
    pub fn row(self) -> &'static Row {
        &STORIES[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }

    #[inline]
    pub fn is_honest(self) -> bool {
        self.row().honest
    }

    /// Whether the table allows a treatment.
    #[inline]
    pub fn allows(self, treatment: Treatment) -> bool {
        let row = self.row();
        (row.mildest..=row.hardest).contains(&treatment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_a_whole_and_most_calls_are_honest() {
        assert_eq!(STORIES.iter().map(|row| row.share).sum::<u32>(), WHOLE);
        let honest: u32 = STORIES.iter().filter(|row| row.honest).map(|row| row.share).sum();
        assert_eq!(honest, 97_000);
        assert!(STORIES.iter().all(|row| row.share > 0));
    }

    #[test]
    fn no_honest_call_may_be_cut() {
        for row in STORIES.iter().filter(|row| row.honest && row.story != Story::OptedOut) {
            assert!(row.hardest < Treatment::Block, "{}", row.name);
        }
    }

    #[test]
    fn rows_stand_in_the_order_of_stories() {
        for (row, &story) in STORIES.iter().zip(Story::ALL) {
            assert_eq!(row.story, story);
        }
    }
}
