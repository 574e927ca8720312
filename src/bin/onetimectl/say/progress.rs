//! How far a run over many users has come: a bar on standard error, if that is
//! a terminal and the run takes long enough for somebody to wonder.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A shorter run shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Progress {
    bar: ProgressBar,
    since: Instant,
    on_terminal: bool,
}

impl Progress {
    /// Of so many users.
    pub(crate) fn of(users: usize) -> Self {
        let length = u64::try_from(users).unwrap_or(u64::MAX);
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        let template = "{wide_bar} {pos} of {len} users, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("##-"));
        }
        Self { bar, since: Instant::now(), on_terminal: std::io::stderr().is_terminal() }
    }

    /// One more is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
        let more = self.bar.length().is_some_and(|length| self.bar.position() < length);
        if more && self.on_terminal && self.bar.is_hidden() && self.since.elapsed() >= PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Does something to the terminal, with the bar out of its way.
    pub(crate) fn beside<R>(&self, work: impl FnOnce() -> R) -> R {
        self.bar.suspend(work)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Writes with the bar out of the way.
pub(crate) struct ProgressOutput<'a, W> {
    pub(crate) progress: &'a Progress,
    pub(crate) out: W,
}

impl<W: Write> Write for ProgressOutput<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.progress.beside(|| self.out.write(bytes))
    }

    // A line in one piece, as `println!` writes it: other processes may write
    // to the same file.
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.progress.beside(|| self.out.write_all(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.progress.beside(|| self.out.flush())
    }
}
