//! What an SMSC answered (command_status, section 5.1.3), and what it asks of the sender.

use std::fmt;

/// A command_status.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Status(pub u32);

/// What to do after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// It was taken.
    None,
    /// Send less for a while, then this one again: it was not taken.
    Throttle,
    /// Not taken, and no fault of the message: this one again after a while.
    Later,
    /// Not taken, and never will be.
    Never,
}

impl Status {
    pub const OK: Status = Status(0);
    pub const INVALID_COMMAND_LENGTH: Status = Status(0x02);
    pub const INVALID_COMMAND: Status = Status(0x03);
    pub const SYSTEM_ERROR: Status = Status(0x08);
    pub const THROTTLED: Status = Status(0x58);
    /// ESME_RX_T_APPN: the receiver cannot take it now; it is to be sent again.
    pub const TEMPORARY_APPLICATION_ERROR: Status = Status(0x64);

    /// The table of docs/lending.md. What the standard reserves for vendors (from 0x400 on) says nothing by itself: it is tried
    /// again until the text's time is over.
    pub fn remedy(self) -> Remedy {
        match self.0 {
            0x00 => Remedy::None,
            // ESME_RMSGQFUL, ESME_RTHROTTLED.
            0x14 | 0x58 => Remedy::Throttle,
            // RINVBNDSTS, RSYSERR, RSUBMITFAIL, RX_T_APPN, RUNKNOWNERR.
            0x04 | 0x08 | 0x45 | 0x64 | 0xff => Remedy::Later,
            0x400.. => Remedy::Later,
            _ => Remedy::Never,
        }
    }

    /// As the standard writes it; of others the number.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "ESME_ROK",
            0x01 => "ESME_RINVMSGLEN",
            0x02 => "ESME_RINVCMDLEN",
            0x03 => "ESME_RINVCMDID",
            0x04 => "ESME_RINVBNDSTS",
            0x05 => "ESME_RALYBND",
            0x06 => "ESME_RINVPRTFLG",
            0x07 => "ESME_RINVREGDLVFLG",
            0x08 => "ESME_RSYSERR",
            0x0a => "ESME_RINVSRCADR",
            0x0b => "ESME_RINVDSTADR",
            0x0c => "ESME_RINVMSGID",
            0x0d => "ESME_RBINDFAIL",
            0x0e => "ESME_RINVPASWD",
            0x0f => "ESME_RINVSYSID",
            0x14 => "ESME_RMSGQFUL",
            0x15 => "ESME_RINVSERTYP",
            0x43 => "ESME_RINVESMCLASS",
            0x45 => "ESME_RSUBMITFAIL",
            0x48 => "ESME_RINVSRCTON",
            0x49 => "ESME_RINVSRCNPI",
            0x50 => "ESME_RINVDSTTON",
            0x51 => "ESME_RINVDSTNPI",
            0x53 => "ESME_RINVSYSTYP",
            0x58 => "ESME_RTHROTTLED",
            0x61 => "ESME_RINVSCHED",
            0x62 => "ESME_RINVEXPIRY",
            0x64 => "ESME_RX_T_APPN",
            0x65 => "ESME_RX_P_APPN",
            0x66 => "ESME_RX_R_APPN",
            0xc0 => "ESME_RINVOPTPARSTREAM",
            0xc1 => "ESME_ROPTPARNOTALLWD",
            0xfe => "ESME_RDELIVERYFAILURE",
            0xff => "ESME_RUNKNOWNERR",
            _ => return None,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "status 0x{:08x}", self.0),
        }
    }
}
