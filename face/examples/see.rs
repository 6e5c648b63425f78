//! Prints what the engine sees in pictures, and how alike they are: `cargo run -p face --example see MODELS PICTURE…`.

use std::time::Instant;

use face::{Embedding, Engine, MODEL_FILES};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let models = args.next().ok_or("see MODELS PICTURE…")?;
    let read =
        |file: &str| std::fs::read(format!("{models}/{file}")).map_err(|error| format!("{file}: {error}"));
    let files: Vec<Vec<u8>> = MODEL_FILES.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let engine = Engine::load(files.try_into().expect("as many"), 1).map_err(|fault| fault.to_string())?;
    println!("{}", engine.versions());
    let mut known: Vec<(String, Embedding)> = Vec::new();
    for path in args {
        let bytes = std::fs::read(&path)?;
        let start = Instant::now();
        let seen = engine.see(&bytes);
        let ms = start.elapsed().as_millis();
        match seen {
            Err(fault) => println!("{path}: {fault:?}, {ms} ms"),
            Ok(seen) => {
                println!(
                    "{path}: yaw {:.0} pitch {:.0} roll {:.0} eyes {:.2} smile {:.2} size {:.2} alive {:.2}, {ms} ms",
                    seen.yaw, seen.pitch, seen.roll, seen.eyes_open, seen.smile, seen.size, seen.alive
                );
                for (other, embedding) in &known {
                    println!("    {:.2} {other}", seen.embedding.similarity(embedding));
                }
                known.push((path, seen.embedding));
            }
        }
    }
    Ok(())
}
