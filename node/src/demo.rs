//! tbd
use clap::Args;
#[derive(Args)]
pub struct DemoArgs {}
pub fn demo(_: &DemoArgs, _: rules::Language) -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}
