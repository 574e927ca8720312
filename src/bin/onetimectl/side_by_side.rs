//! Reads many accounts on all processors. Nothing is changed by it.

use std::num::NonZero;
use std::sync::mpsc::sync_channel;
use std::thread::{self, available_parallelism};

/// How many are worked on before they are given on.
const BATCH: usize = 512;

/// More threads would wait for the kernel rather than work.
const MAX_THREADS: usize = 8;

/// Does `work` for each, on all processors, while `take` takes the results: in
/// order, and never far ahead.
pub(crate) fn side_by_side<T: Sync, R: Send, A>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    take: impl FnOnce(&mut dyn Iterator<Item = R>) -> A,
) -> A {
    let threads = available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let work = &work;
    // A thread that panics ends its channel, and at the end of the scope the program.
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|nth| {
                let (done, results) = sync_channel(1);
                scope.spawn(move || {
                    let mine = items.chunks(BATCH).skip(nth).step_by(threads);
                    let mut batches = mine.map(|batch| batch.iter().map(work).collect::<Vec<_>>());
                    // Until nobody wants to know any more.
                    batches.all(|batch| done.send(batch).is_ok())
                });
                results
            })
            .collect();
        take(&mut workers.iter().cycle().map_while(|worker| worker.recv().ok()).flatten())
    })
}
