//! One gate a file; each is a function of the application and what is around it.

pub mod confirmed_identifier;
pub mod cooling_off;
pub mod living_face;
pub mod phone_freshness;
pub mod phone_possession;
pub mod self_ban;
pub mod several_applications;
pub mod suspicious_call;
