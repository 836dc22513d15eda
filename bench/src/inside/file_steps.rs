//! What `guest_files` does in its container: `file_steps write|read|remove FOLDER WORKERS FILES` does it to small files,
//! `file_steps dd ARGUMENT...` runs dd. Both print the seconds that it took.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{bail, ensure};
use cenote_bench::small_files::SmallFiles;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let seconds = match words[..] {
        ["dd", ref arguments @ ..] => {
            let begun = Instant::now();
            let mut dd = Command::new("dd");
            let ended = dd.args(arguments).stderr(Stdio::null()).status()?;
            ensure!(ended.success(), "dd {}: {ended}", arguments.join(" "));
            begun.elapsed().as_secs_f64()
        }
        [step, place, workers, files] => {
            let (place, files) = (
                Path::new(place),
                SmallFiles {
                    workers: workers.parse()?,
                    files: files.parse()?,
                },
            );
            match step {
                "write" => files.write(place)?,
                "read" => files.read(place)?,
                "remove" => files.remove(place).map(|()| 0.0)?,
                _ => bail!("no step `{step}`"),
            }
        }
        _ => bail!("a container of `guest_files` runs this"),
    };
    println!("{seconds}");
    Ok(())
}
