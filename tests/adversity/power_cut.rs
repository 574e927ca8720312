//! The power is cut: what each operation writes is recorded, and replayed on a
//! simulated disk that loses, keeps or tears whatever no fsync had made durable.
//! Every store that can be found afterwards holds the old account or the new one,
//! and what had been reported by then.
//!
//! The disk is a hard one. Each change of a directory that was not synced is lost or
//! kept on its own, also if later ones are kept; a write is lost, kept, or torn
//! anywhere, with the file's new length or without, and leaves there what was there or
//! noise. Only a rename is atomic, and only
//! fsync makes anything durable: that of a file does not do so for its name. syncfs makes
//! everything durable. Of many accounts changed at once there are more crashes than can be
//! tried: those that hit one file or directory, and some by chance that hit several.

#![expect(clippy::single_range_in_vec_init, reason = "what arrived of a write is often one range")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::path::{Component, Path};

use regex::Regex;

use crate::common::{Figures, World, extent};
use crate::inject::{TRACE, run};
use crate::operations::{self, Operation, Victim};
use crate::snapshot::{ABOVE, Entry, STORE, Snapshot};

const SECTOR: usize = 512;
/// If a crash can leave more stores than these, some of them are tried.
const MOST_CRASHES: usize = 20_000;
const TRACED: &str = "trace=openat,mkdir,mkdirat,write,pwrite64,ftruncate,fsync,fdatasync,rename,\
                      renameat,renameat2,unlink,unlinkat,sendto,syncfs";

/// How it went with one operation.
#[derive(Default)]
struct Tally {
    writes: usize,
    synced: usize,
    needed: usize,
    crashes: usize,
    logins: usize,
    unsound: Vec<String>,
}

#[test]
fn whenever_the_power_is_cut_the_old_account_or_the_new_one_is_whole_and_what_was_reported_is_kept()
{
    campaign("power_cut", &operations::all());
}

#[test]
fn whenever_the_power_is_cut_onetimed_has_kept_what_it_has_said() {
    let mut operations = operations::by_onetimed();
    operations.retain(|operation| operation.victim == Victim::Onetimed);
    campaign("power_cut_onetimed", &operations);
}

#[track_caller]
fn campaign(name: &'static str, operations: &[Operation]) {
    let tallies = operations::side_by_side(operations, cut);
    let columns = [
        "operation",
        "changes of the disk",
        "files and directories synced",
        "of them missed if never synced",
        "different stores after a crash",
        "logins tried",
        "unsound",
    ];
    let mut figures = Figures::new(name, &columns);
    for (operation, tally) in operations.iter().zip(&tallies) {
        let Tally { writes, synced, needed, crashes, logins, unsound } = tally;
        figures.row(&[&operation.name, writes, synced, needed, crashes, logins, &unsound.len()]);
    }
    figures.publish();
    for (Operation { name, .. }, tally) in operations.iter().zip(tallies) {
        assert!(tally.unsound.is_empty(), "{name}:\n{}", tally.unsound.join("\n"));
        assert!(tally.needed > 0, "{name}: nothing here would notice a sync that is not done");
    }
}

fn cut(operation: &Operation) -> Tally {
    let world = operations::place();
    let log = record(&world, operation);
    let after = Snapshot::of(&world);
    let mut whole = Disk::holding(&operation.before);
    log.iter().for_each(|event| whole.happen(event));
    assert_eq!(whole.kept(), after, "{}: the log has all that was written", operation.name);

    let syncs = |it: &&Event| matches!(it, Event::Sync(_) | Event::SyncAll | Event::Told);
    let changes = log.iter().filter(|it| !syncs(it));
    let mut tally = Tally { writes: changes.count(), ..Tally::default() };
    let mut found = Vec::new();
    crashes(operation, &log, Torn::Anywhere, |crash, told, at| {
        if let Err(fault) = operation.outcome(&crash, told) {
            tally.unsound.push(format!("after {at}: {fault}; {:?}", crash.0.keys()));
        }
        found.push(crash);
    });
    tally.crashes = found.len();
    for crash in found.iter().step_by(found.len().div_ceil(extent(5, 100))) {
        operation.log_in(&world, crash, "a crash");
        tally.logins += 1;
    }
    let synced: BTreeSet<_> = log.iter().filter_map(Event::synced).collect();
    for path in &synced {
        let mut without = log.clone();
        without.retain(|event| event.synced().as_ref() != Some(path));
        let mut is_missed = false;
        crashes(operation, &without, Torn::Never, |crash, told, _| {
            is_missed |= operation.outcome(&crash, told).is_err();
        });
        tally.needed += usize::from(is_missed);
    }
    tally.synced = synced.len();
    tally
}

/// Every different store that can be there after a crash, whether the operation had
/// told of its success by then, and after which event.
fn crashes(
    operation: &Operation,
    log: &[Event],
    torn: Torn,
    mut each: impl FnMut(Snapshot, bool, &str),
) {
    let mut disk = Disk::holding(&operation.before);
    let (mut seen, mut told) = (HashSet::new(), false);
    for event in log {
        disk.happen(event);
        told |= matches!(event, Event::Told);
        disk.crashes(torn, |crash| {
            if seen.insert((crash.clone(), told)) {
                each(crash, told, &format!("{event:?}"));
            }
        });
    }
}

// --- what was done ---

/// What a program did, by paths below [`ABOVE`].
#[derive(Clone)]
enum Event {
    MakeDirectory(String),
    MakeFile(String),
    Write {
        path: String,
        at: Option<usize>,
        bytes: Vec<u8>,
    },
    Resize(String, usize),
    Rename(String, String),
    Unlink(String),
    Sync(String),
    /// Of the whole file system.
    SyncAll,
    /// It has said that it is done.
    Told,
}

impl Event {
    /// What it syncs.
    fn synced(&self) -> Option<String> {
        match self {
            Self::Sync(path) => Some(path.clone()),
            Self::SyncAll => Some("everything".to_owned()),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MakeDirectory(path) => write!(f, "mkdir {path}"),
            Self::MakeFile(path) => write!(f, "create {path}"),
            Self::Write { path, at, bytes } => {
                write!(f, "write {} bytes at {at:?} of {path}", bytes.len())
            }
            Self::Resize(path, length) => write!(f, "resize {path} to {length}"),
            Self::Rename(from, to) => write!(f, "rename {from} {to}"),
            Self::Unlink(path) => write!(f, "unlink {path}"),
            Self::Sync(path) => write!(f, "sync {path}"),
            Self::SyncAll => f.write_str("sync everything"),
            Self::Told => f.write_str("told"),
        }
    }
}

/// Runs the operation, and records what it does to the disk.
#[track_caller]
fn record(world: &World, operation: &Operation) -> Vec<Event> {
    operation.before.put(world);
    let mut strace = world.command("strace");
    strace.args(["-f", "-o", TRACE, "-y", "-xx", "-s", "65536", "-e", TRACED]);
    let run = run(world, operation, strace);
    assert!(operation.is_told(&run.stdout), "{}", run.text());
    let line = Regex::new(r"(?m)^\d+ +(\w+)\((.*)\) += \d+(?:<([^>]*)>)?$").expect("a pattern");
    let quoted = Regex::new(r#""([^"]*)""#).expect("a pattern");
    let (mut log, mut said) = (Vec::new(), String::new());
    for call in line.captures_iter(&world.read_text(TRACE)) {
        let [name, arguments] = [1, 2].map(|part| call.get(part).map_or("", |it| it.as_str()));
        let strings: Vec<_> = quoted.captures_iter(arguments).map(|it| unhex(&it[1])).collect();
        let descriptor = arguments.split(['<', '>']).nth(1).map(path_of).unwrap_or_default();
        let last = || arguments.rsplit(", ").next().and_then(|it| it.parse().ok());
        let named = |at: usize| {
            let name = String::from_utf8_lossy(&strings[at]).into_owned();
            below(&Path::new(&descriptor).join(name))
        };
        let held = below(Path::new(&descriptor));
        log.extend(match name {
            "openat" if arguments.contains("O_CREAT") => named(0).map(Event::MakeFile),
            "mkdir" | "mkdirat" => named(0).map(Event::MakeDirectory),
            "unlink" | "unlinkat" => named(0).map(Event::Unlink),
            "rename" | "renameat" | "renameat2" => {
                named(0).zip(named(1)).map(|(from, to)| Event::Rename(from, to))
            }
            "fsync" | "fdatasync" => held.map(Event::Sync),
            "syncfs" => Some(Event::SyncAll),
            "ftruncate" => held.zip(last()).map(|(path, length)| Event::Resize(path, length)),
            "pwrite64" => {
                held.map(|path| Event::Write { path, at: last(), bytes: strings[0].clone() })
            }
            "write" if arguments.starts_with("1<") => {
                let before = operation.is_told(&said);
                said.push_str(&String::from_utf8_lossy(&strings[0]));
                (!before && operation.is_told(&said)).then_some(Event::Told)
            }
            // What onetimed says to the program that asks.
            "sendto" if String::from_utf8_lossy(&strings[0]).contains("\"conclusion\":") => {
                Some(Event::Told)
            }
            "write" => held.map(|path| Event::Write { path, at: None, bytes: strings[0].clone() }),
            _ => None,
        });
    }
    log
}

/// `\x61\x62` as bytes.
fn unhex(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(digits, 16).expect("hex digits")).collect()
}

fn path_of(text: &str) -> String {
    String::from_utf8_lossy(&unhex(text)).into_owned()
}

/// The path below [`ABOVE`], if it is the store's or [`ABOVE`] itself.
fn below(path: &Path) -> Option<String> {
    assert!(path.components().all(|part| !matches!(part, Component::ParentDir)), "{path:?}");
    let path = path.strip_prefix(ABOVE).ok()?.to_str()?;
    (path.is_empty() || path.starts_with(STORE)).then(|| path.to_owned())
}

// --- the disk ---

/// How writes can be torn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Torn {
    Never,
    Anywhere,
}

/// Files and directories, the first of which is [`ABOVE`].
struct Disk {
    inodes: Vec<Inode>,
    /// What each path leads to now, were nothing to be lost.
    names: BTreeMap<String, usize>,
}

struct Inode {
    durable: Content,
    /// What a crash may lose, in order.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Content {
    Directory(BTreeMap<String, usize>),
    File(Vec<u8>),
}

enum Change {
    Link(String, usize),
    Unlink(String),
    Rename(String, String, usize),
    Resize(usize),
    Write(usize, Vec<u8>),
}

/// What is left of a change: the parts of a write that arrived, and whether the file
/// has the length that it was to have. Of any other change: all or nothing.
#[derive(Clone)]
struct Left {
    parts: Vec<Range<usize>>,
    length: bool,
    /// What is in the place of the parts that did not arrive.
    rest: Rest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Old,
    Noise,
}

impl Disk {
    /// A disk on which all of this is durable.
    fn holding(snapshot: &Snapshot) -> Self {
        let top = Inode { durable: Content::Directory(BTreeMap::new()), pending: Vec::new() };
        let mut disk = Self { inodes: vec![top], names: BTreeMap::from([(String::new(), 0)]) };
        for (path, entry) in &snapshot.0 {
            disk.make(
                path,
                match entry {
                    Entry::Directory => Content::Directory(BTreeMap::new()),
                    Entry::File(bytes) => Content::File(bytes.clone()),
                },
            );
        }
        disk.inodes.iter_mut().for_each(Inode::sync);
        disk
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::MakeDirectory(path) => self.make(path, Content::Directory(BTreeMap::new())),
            Event::MakeFile(path) if self.names.contains_key(path) => {}
            Event::MakeFile(path) => self.make(path, Content::File(Vec::new())),
            Event::Write { path, at, bytes } => {
                let inode = self.inode(path);
                let at = at.unwrap_or_else(|| inode.length());
                inode.pending.push(Change::Write(at, bytes.clone()));
            }
            Event::Resize(path, length) => self.inode(path).pending.push(Change::Resize(*length)),
            Event::Rename(from, to) => {
                let ((above, old), (_, new)) = (split(from), split(to));
                let moved = self.names.remove(from).expect("what is renamed is there");
                let change = Change::Rename(old.to_owned(), new.to_owned(), moved);
                self.inode(above).pending.push(change);
                self.names.insert(to.clone(), moved);
            }
            Event::Unlink(path) => {
                let (above, name) = split(path);
                self.inode(above).pending.push(Change::Unlink(name.to_owned()));
                self.names.remove(path);
            }
            Event::Sync(path) => self.inode(path).sync(),
            Event::SyncAll => self.inodes.iter_mut().for_each(Inode::sync),
            Event::Told => {}
        }
    }

    fn make(&mut self, path: &str, durable: Content) {
        let (above, name) = split(path);
        let new = self.inodes.len();
        self.inode(above).pending.push(Change::Link(name.to_owned(), new));
        self.inodes.push(Inode { durable, pending: Vec::new() });
        self.names.insert(path.to_owned(), new);
    }

    fn inode(&mut self, path: &str) -> &mut Inode {
        let number = self.names.get(path).unwrap_or_else(|| panic!("there is no {path}"));
        &mut self.inodes[*number]
    }

    /// The store if nothing is lost.
    fn kept(&self) -> Snapshot {
        let all = |inode: &Inode| inode.pending.iter().map(Change::kept).collect();
        self.left(&self.inodes.iter().map(all).collect::<Vec<_>>())
    }

    /// Every store that a crash can leave now; of too many, some.
    fn crashes(&self, torn: Torn, mut each: impl FnMut(Snapshot)) {
        let choices: Vec<Vec<Vec<Left>>> = self
            .inodes
            .iter()
            .map(|inode| inode.pending.iter().map(|change| change.left(inode, torn)).collect())
            .collect();
        let counts: Vec<Vec<usize>> =
            choices.iter().map(|inode| inode.iter().map(Vec::len).collect()).collect();
        let mut left = |picks: &[Vec<usize>]| {
            let of = |(inode, picks): (&Vec<Vec<Left>>, &Vec<usize>)| {
                inode.iter().zip(picks).map(|(choice, pick)| choice[*pick].clone()).collect()
            };
            each(self.left(&choices.iter().zip(picks).map(of).collect::<Vec<_>>()));
        };
        if let Some(all) = number(counts.iter().flatten()).filter(|all| *all <= MOST_CRASHES) {
            return (0..all).for_each(|nth| left(&nth_pick(&counts, nth)));
        }
        // What can be left of one file or directory, while all others are lost, or kept.
        for others in [0, 1] {
            for inode in 0..counts.len() {
                let all = number(&counts[inode]).expect("what pends of one file is not much");
                for nth in (0..all).step_by(all.div_ceil(extent(100, 5_000))) {
                    let mut picks: Vec<_> =
                        counts.iter().map(|inode| vec![others; inode.len()]).collect();
                    picks[inode] = nth_pick(&counts[inode..=inode], nth).swap_remove(0);
                    left(&picks);
                }
            }
        }
        let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..extent(500, 20_000) {
            let mut pick = |count: &usize| {
                // xorshift64
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                (chance % (*count as u64)) as usize
            };
            let picks: Vec<Vec<usize>> =
                counts.iter().map(|inode| inode.iter().map(&mut pick).collect()).collect();
            left(&picks);
        }
    }

    /// The store if that is left of what is pending.
    fn left(&self, left: &[Vec<Left>]) -> Snapshot {
        let contents: Vec<Content> = self
            .inodes
            .iter()
            .zip(left)
            .map(|(inode, left)| {
                let mut content = inode.durable.clone();
                for (change, left) in inode.pending.iter().zip(left) {
                    change.apply(&mut content, left);
                }
                content
            })
            .collect();
        let mut snapshot = Snapshot::default();
        walk(&contents, 0, "", &mut snapshot);
        snapshot
    }
}

/// How many ways there are to choose one of each; `None`: too many to count.
fn number<'c>(counts: impl IntoIterator<Item = &'c usize>) -> Option<usize> {
    counts.into_iter().try_fold(1_usize, |all, count| all.checked_mul(*count))
}

/// The choice with this number: its digits in the mixed base of the counts.
fn nth_pick(counts: &[Vec<usize>], nth: usize) -> Vec<Vec<usize>> {
    let mut rest = nth;
    let mut digit = |count: &usize| {
        let digit = rest % count;
        rest /= count;
        digit
    };
    counts.iter().map(|inode| inode.iter().map(&mut digit).collect()).collect()
}

fn walk(contents: &[Content], number: usize, path: &str, snapshot: &mut Snapshot) {
    let entry = match &contents[number] {
        Content::File(bytes) => Entry::File(bytes.clone()),
        Content::Directory(names) => {
            for (name, number) in names {
                let below = format!("{path}/{name}");
                walk(contents, *number, below.trim_start_matches('/'), snapshot);
            }
            Entry::Directory
        }
    };
    if !path.is_empty() {
        snapshot.0.insert(path.to_owned(), entry);
    }
}

/// The directory's path, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Inode {
    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable, &change.kept());
        }
    }

    fn length(&self) -> usize {
        let Content::File(bytes) = &self.durable else { panic!("a directory has no length") };
        self.pending.iter().fold(bytes.len(), |length, change| match change {
            Change::Resize(length) => *length,
            Change::Write(at, bytes) => length.max(at + bytes.len()),
            Change::Link(..) | Change::Unlink(_) | Change::Rename(..) => length,
        })
    }
}

impl Change {
    fn kept(&self) -> Left {
        let length = if let Self::Write(_, bytes) = self { bytes.len() } else { 0 };
        Left { parts: vec![0..length], length: true, rest: Rest::Old }
    }

    /// What can be left of it.
    fn left(&self, inode: &Inode, torn: Torn) -> Vec<Left> {
        let lost = Left { parts: Vec::new(), length: false, rest: Rest::Old };
        let mut left = vec![lost, self.kept()];
        let (Self::Write(at, bytes), Content::File(durable)) = (self, &inode.durable) else {
            return left;
        };
        let end = bytes.len();
        let mut tear = |parts: Vec<Range<usize>>| {
            for rest in [Rest::Old, Rest::Noise] {
                left.push(Left { parts: parts.clone(), length: true, rest });
            }
            if at + end > durable.len() {
                left.push(Left { parts, length: false, rest: Rest::Old });
            }
        };
        if torn == Torn::Never {
            return left;
        }
        tear(vec![]);
        let step = extent(7, 1) * if end > SECTOR { 16 } else { 1 };
        for cut in (1..end).filter(|cut| cut % step == 0 || cut % SECTOR == 0) {
            tear(vec![0..cut]);
            tear(vec![cut..end]);
        }
        for sector in (0..end).step_by(SECTOR).filter(|_| end > SECTOR) {
            let next = end.min(sector + SECTOR);
            tear(vec![sector..next]);
            tear(vec![0..sector, next..end]);
        }
        left
    }

    fn apply(&self, content: &mut Content, left: &Left) {
        match (self, content) {
            (Self::Write(at, bytes), Content::File(file)) => {
                let arrived = left.parts.iter().map(|part| part.end).max().unwrap_or(0);
                let end = at + if left.length { bytes.len() } else { arrived };
                if end > *at {
                    file.resize(file.len().max(end), 0);
                }
                if left.rest == Rest::Noise {
                    file[*at..at + bytes.len()].fill(0xa5);
                }
                for part in &left.parts {
                    file[at + part.start..at + part.end].copy_from_slice(&bytes[part.clone()]);
                }
            }
            (_, _) if !left.length => {}
            (Self::Resize(length), Content::File(file)) => file.resize(*length, 0),
            (Self::Link(name, inode), Content::Directory(names)) => {
                names.insert(name.clone(), *inode);
            }
            (Self::Unlink(name), Content::Directory(names)) => {
                names.remove(name);
            }
            (Self::Rename(from, to, inode), Content::Directory(names)) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            (_, _) => panic!("a change of a file is not one of a directory"),
        }
    }
}
