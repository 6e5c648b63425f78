//! tbd
use clap::Args;
#[derive(Args)]
pub struct SimulateArgs {}
pub fn simulate(_: &SimulateArgs, _: rules::Language, _: &mut impl std::io::Write) -> Result<(), String> {
    Ok(())
}
