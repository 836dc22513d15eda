//! News about long work, on standard error: bars on a terminal, plain lines elsewhere.

use std::collections::{HashMap, HashSet};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cenote_image::{Digest, Progress};
use cenote_kernel::build;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::flags::size::Size;

/// Says in one line what is about to take a while.
pub fn announce(text: &str) {
    // Nobody is left to read it, so nobody misses it.
    let _ = writeln!(io::stderr(), "cenote: {text}");
}

/// How the layers of an image arrive, as suits standard error.
pub fn of_layers(quiet: bool) -> Box<dyn Progress> {
    match (quiet, io::stderr().is_terminal()) {
        (true, _) => Box::new(cenote_image::Silent),
        (false, true) => Box::new(Bars::default()),
        (false, false) => Box::new(Lines::default()),
    }
}

/// One bar for each layer.
#[derive(Debug, Default)]
struct Bars {
    all: MultiProgress,
    layers: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Bars {
    fn with(&self, layer: &Digest, act: impl FnOnce(&ProgressBar)) {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = layers.get(layer) {
            act(bar);
        }
    }
}

impl Progress for Bars {
    fn layer_started(&self, layer: &Digest, size: u64) {
        let style =
            ProgressStyle::with_template("{prefix} {bar:30} {bytes:>10} of {total_bytes} {msg}");
        let bar = ProgressBar::new(size).with_prefix(layer.short());
        let bar = style
            .map(|style| bar.clone().with_style(style))
            .unwrap_or(bar);
        let bar = self.all.add(bar);
        self.layers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(*layer, bar);
    }

    fn layer_advanced(&self, layer: &Digest, bytes: u64) {
        self.with(layer, |bar| bar.inc(bytes));
    }

    fn layer_finished(&self, layer: &Digest) {
        self.with(layer, |bar| bar.finish_with_message("done"));
    }
}

/// One line at the beginning and the end of each layer.
#[derive(Debug, Default)]
struct Lines {
    arriving: Mutex<HashSet<Digest>>,
}

impl Progress for Lines {
    fn layer_started(&self, layer: &Digest, size: u64) {
        self.arriving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(*layer);
        announce(&format!("layer {}: {}", layer.short(), Size(size)));
    }

    fn layer_finished(&self, layer: &Digest) {
        let arrived = self
            .arriving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(layer);
        announce(&format!(
            "layer {}: {}",
            layer.short(),
            if arrived { "done" } else { "is here already" }
        ));
    }
}

/// How a kernel is built, as suits standard error.
pub fn of_build() -> Box<dyn build::Progress> {
    if io::stderr().is_terminal() {
        Box::new(Work::default())
    } else {
        Box::new(Stages)
    }
}

/// The stage, how many steps it has done, how long it has taken and what it does now.
#[derive(Debug)]
struct Work {
    line: ProgressBar,
}

/// How often the time is shown anew.
const TICK: Duration = Duration::from_millis(200);

impl Default for Work {
    fn default() -> Self {
        let line = ProgressBar::new_spinner();
        Self { line }
    }
}

impl build::Progress for Work {
    fn stage(&self, text: &str, steps: Option<u64>) {
        self.line.reset();
        let total = steps.map_or(String::new(), |steps| format!(" of about {steps}"));
        let style = format!("{{prefix}}, {{elapsed}}, {{pos}}{total} steps: {{wide_msg}}");
        if let Ok(style) = ProgressStyle::with_template(&style) {
            self.line.set_style(style);
        }
        self.line.set_prefix(text.to_owned());
        self.line.set_message("");
        self.line.enable_steady_tick(TICK);
    }

    fn step(&self, line: &str) {
        self.line.inc(1);
        let words: Vec<&str> = line.split_whitespace().collect();
        self.line.set_message(words.join(" "));
    }

    fn notice(&self, text: &str) {
        self.line.suspend(|| announce(text));
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}

/// A line for each stage.
#[derive(Debug)]
struct Stages;

impl build::Progress for Stages {
    fn stage(&self, text: &str, _steps: Option<u64>) {
        announce(text);
    }

    fn step(&self, _: &str) {}

    fn notice(&self, text: &str) {
        announce(text);
    }
}
