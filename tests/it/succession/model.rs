//! The model: files with what of them is on the disk, names, locks, and processes that
//! take one step at a time.

use stateright::{Model, Property};

/// What the name of a property begins with that is to be met, and not to hold.
pub(super) const HAPPENS: &str = "it happens that";

/// How often one process may take over.
const TAKE_OVERS: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A login with this code.
    Login { code: u8 },
    /// Reads without a lock.
    Read,
    /// `enable --new-secret`: generation 1 in the place of generation 0.
    Issue,
    /// `disable`.
    Remove,
}

/// A way of doing it wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// Who has committed does not look whether the file in place is still theirs.
    NoLook,
    /// Only the file in place is read, not the one that it displaced.
    OneFile,
    /// The successor copies the state before it is in place.
    CopyBeforeExchange,
    /// A file no longer names the one that it displaced, and then gets its state.
    LinkEndsFirst,
    /// The directory is not synced after the exchange.
    NamesNotSynced,
    /// The new file is not synced before the exchange.
    FileNotSynced,
    /// The copy is not synced before the displaced file is removed.
    CopyNotSynced,
    /// A successor leaves the predecessor's unfinished record where it is.
    TemporaryStays,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Invalid,
    Valid { sequence: u8, generation: u8, spent: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Content {
    slots: [Slot; 2],
    /// Whether it stands for the file that it has displaced.
    stands_in: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct File {
    now: Content,
    disk: Content,
    holder: Option<usize>,
}

/// Names in `state/`: what is in place, and for each file what it displaced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Names {
    place: Option<usize>,
    displaced: Vec<Option<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Point {
    Open,
    Lock,
    Prepare,
    CopyEarly,
    SyncPrepared,
    Exchange,
    Clean,
    SyncNames,
    Walk { at: usize },
    Follow { from: usize },
    Copy(Content),
    SyncCopy,
    EndLink,
    SyncLink,
    Unlink,
    Judge,
    Tear,
    Write,
    SyncState,
    Look,
    MakeTemporary,
    LookAgain,
    Rename,
    LookLast,
    UnlinkRecord,
    UnlinkState,
    Unlock,
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    kind: Kind,
    at: Point,
    file: usize,
    take_overs: u8,
    openings: u8,
    /// What it is about to write, and where.
    next: (Slot, usize),
    /// What had been reported when it began (reader), or whether the account was removed
    /// when it claimed it (issue).
    known: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    files: Vec<File>,
    /// The names since the directory was last synced; the last of them hold.
    names: Vec<Names>,
    record: Option<u8>,
    /// The unfinished record: whose.
    temporary: Option<usize>,
    processes: Vec<Process>,
    told: [u8; 2],
    issued: bool,
    removing: bool,
    removed: bool,
    stale: bool,
    kills: u8,
    power_cuts: u8,
    passed_over: bool,
    refused_late: bool,
    succeeded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Step(usize),
    Kill(usize),
    /// With what is left, counted through.
    PowerCut(usize),
}

pub(super) struct Protocol {
    pub(super) processes: Vec<Kind>,
    pub(super) kills: u8,
    pub(super) power_cuts: u8,
    /// How often one process may open the state.
    pub(super) openings: u8,
    pub(super) mistake: Option<Mistake>,
}

impl Protocol {
    pub(super) fn of(processes: Vec<Kind>) -> Self {
        Self { processes, kills: 0, power_cuts: 0, openings: 3, mistake: None }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

impl Content {
    /// Nothing but the place of what it displaced.
    const STAND_IN: Self = Self { slots: [Slot::Invalid; 2], stands_in: true };

    /// The newest snapshot of a generation, in which slot, and the newest sequence of all.
    fn latest(&self, generation: u8) -> Option<(usize, u8, u8)> {
        let valid = self.slots.iter().enumerate().filter_map(|(index, slot)| match *slot {
            Slot::Valid { sequence, generation, spent } => {
                Some((sequence, index, generation, spent))
            }
            Slot::Invalid => None,
        });
        let newest = valid.clone().map(|(sequence, ..)| sequence).max()?;
        let ours = valid.filter(|(_, _, of, _)| *of == generation).max()?;
        Some((ours.1, ours.3, newest))
    }
}

impl World {
    fn names(&self) -> &Names {
        self.names.last().expect("there are names")
    }

    fn rename(&mut self, change: impl FnOnce(&mut Names)) {
        let mut names = self.names().clone();
        change(&mut names);
        self.names.push(names);
    }

    fn place(&self) -> Option<usize> {
        self.names().place
    }

    /// The state of the account, as whoever reads it finds it.
    fn content(&self) -> Option<Content> {
        let mut at = self.place()?;
        while self.files[at].now.stands_in {
            at = self.names().displaced[at]?;
        }
        Some(self.files[at].now)
    }

    fn told_codes(&self) -> u8 {
        self.told.iter().enumerate().fold(0, |all, (code, n)| all | (u8::from(*n > 0) << code))
    }

    fn in_place(&self, process: &Process) -> bool {
        self.place() == Some(process.file)
    }

    fn unlock(&mut self, me: usize) {
        for file in &mut self.files {
            file.holder = file.holder.filter(|holder| *holder != me);
        }
    }
}

impl Protocol {
    /// Takes the next step of process `me`; `None` if there is none.
    fn step(&self, world: &World, me: usize) -> Option<World> {
        let mut w = world.clone();
        let mut p = w.processes[me].clone();
        let file = p.file;
        p.at = match p.at {
            Point::Open => {
                p.openings = p.openings.checked_sub(1)?;
                match w.place() {
                    Some(place) => {
                        p.file = place;
                        p.known = if p.kind == Kind::Read { w.told_codes() } else { p.known };
                        if p.kind == Kind::Read { Point::Walk { at: place } } else { Point::Lock }
                    }
                    None => Point::Ended,
                }
            }
            Point::Lock => match w.files[file].holder {
                None if w.place() == Some(file) => {
                    w.files[file].holder = Some(me);
                    self.locked(&w, file)
                }
                None => Point::Open,
                Some(_) if w.place() != Some(file) => Point::Open,
                Some(_) => {
                    p.take_overs = p.take_overs.checked_sub(1)?;
                    Point::Prepare
                }
            },
            Point::Prepare => {
                let new = File {
                    now: Content::STAND_IN,
                    disk: Content { slots: [Slot::Invalid; 2], stands_in: false },
                    holder: Some(me),
                };
                w.files.push(new);
                let made = w.files.len() - 1;
                p.file = made;
                w.rename(|names| names.displaced.push(Some(made)));
                if self.makes(Mistake::CopyBeforeExchange) {
                    Point::CopyEarly
                } else {
                    Point::SyncPrepared
                }
            }
            Point::CopyEarly => {
                w.files[file].now = w.content()?;
                Point::SyncPrepared
            }
            Point::SyncPrepared => {
                if !self.makes(Mistake::FileNotSynced) {
                    w.files[file].disk = w.files[file].now;
                }
                Point::Exchange
            }
            Point::Exchange => {
                if w.place().is_some() {
                    w.rename(|names| {
                        std::mem::swap(&mut names.displaced[file], &mut names.place);
                    });
                    w.passed_over = true;
                    Point::Clean
                } else {
                    w.rename(|names| names.displaced[file] = None);
                    Point::Unlock
                }
            }
            Point::Clean => {
                if !self.makes(Mistake::TemporaryStays) {
                    w.temporary = None;
                }
                self.locked(&w, file)
            }
            _ => return self.step_under_lock(w, p, me),
        };
        w.processes[me] = p;
        Some(w)
    }

    /// What follows once a file is locked.
    fn locked(&self, w: &World, file: usize) -> Point {
        let stands_in = w.files[file].now.stands_in;
        if stands_in && !self.makes(Mistake::OneFile) { Point::SyncNames } else { Point::Judge }
    }

    /// The steps by which a file gets the state of the one that it displaced.
    fn step_under_lock(&self, mut w: World, mut p: Process, me: usize) -> Option<World> {
        let file = p.file;
        p.at = match p.at {
            Point::SyncNames => {
                if !self.makes(Mistake::NamesNotSynced) {
                    w.names.drain(..w.names.len() - 1);
                }
                Point::Follow { from: file }
            }
            Point::Follow { from } => match w.names().displaced[from] {
                Some(at) => Point::Walk { at },
                // Whoever it was passed over has done the same meanwhile: from the beginning.
                None if p.kind == Kind::Read => Point::Open,
                None => Point::Follow { from: file },
            },
            Point::Walk { at } => {
                let found = w.files[at].now;
                match p.kind {
                    _ if found.stands_in => Point::Follow { from: at },
                    Kind::Read => {
                        let spent = found.latest(0).map_or(0, |(_, spent, _)| spent);
                        w.stale |= spent & p.known != p.known;
                        Point::Ended
                    }
                    Kind::Login { .. } | Kind::Issue | Kind::Remove => Point::Copy(found),
                }
            }
            Point::Copy(_) if self.makes(Mistake::LinkEndsFirst) && w.files[file].now.stands_in => {
                w.files[file].now.stands_in = false;
                w.files[file].disk = w.files[file].now;
                p.at
            }
            Point::Copy(found) => {
                w.files[file].now.slots = found.slots;
                Point::SyncCopy
            }
            Point::SyncCopy => {
                if !self.makes(Mistake::CopyNotSynced) {
                    w.files[file].disk = w.files[file].now;
                }
                Point::EndLink
            }
            Point::EndLink => {
                w.files[file].now.stands_in = false;
                Point::SyncLink
            }
            Point::SyncLink => {
                if !self.makes(Mistake::CopyNotSynced) {
                    w.files[file].disk = w.files[file].now;
                }
                Point::Unlink
            }
            Point::Unlink => {
                w.rename(|names| {
                    let mut at = file;
                    while let Some(next) = names.displaced[at].take() {
                        at = next;
                    }
                });
                Point::Judge
            }
            _ => return self.step_of_commit(w, p, me),
        };
        w.processes[me] = p;
        Some(w)
    }

    /// The steps by which what follows is judged and written.
    fn step_of_commit(&self, mut w: World, mut p: Process, me: usize) -> Option<World> {
        let file = p.file;
        p.at = match p.at {
            Point::Judge => self.judge(&mut w, &mut p),
            Point::Tear => {
                w.files[file].now.slots[p.next.1] = Slot::Invalid;
                Point::Write
            }
            Point::Write => {
                w.files[file].now.slots[p.next.1] = p.next.0;
                Point::SyncState
            }
            Point::SyncState => {
                w.files[file].disk = w.files[file].now;
                Point::Look
            }
            Point::Look => {
                let mine = w.in_place(&p) || self.makes(Mistake::NoLook);
                w.refused_late |= !mine;
                match p.kind {
                    _ if !mine => Point::Unlock,
                    Kind::Login { code } => {
                        w.told[usize::from(code)] += 1;
                        w.succeeded |= file > 0;
                        Point::Unlock
                    }
                    Kind::Issue => Point::MakeTemporary,
                    Kind::Remove | Kind::Read => Point::Unlock,
                }
            }
            Point::MakeTemporary => {
                w.temporary = Some(me);
                Point::LookAgain
            }
            Point::LookAgain if w.in_place(&p) => Point::Rename,
            Point::LookAgain => Point::Unlock,
            Point::Rename => match w.temporary.take() {
                Some(_) => {
                    w.record = Some(1);
                    Point::LookLast
                }
                None => Point::Unlock,
            },
            Point::LookLast => {
                w.issued |= w.in_place(&p);
                Point::Unlock
            }
            // To look and to unlink are two calls. Who is stopped between them is root's
            // tool; if another admin enables the user meanwhile, that record goes, or has no
            // state.
            Point::UnlinkRecord if w.in_place(&p) => {
                (w.record, w.temporary, w.removing) = (None, None, true);
                Point::UnlinkState
            }
            Point::UnlinkRecord => {
                w.unlock(me);
                Point::Open
            }
            Point::UnlinkState => {
                // It is the state of whoever took over.
                if w.in_place(&p) {
                    w.rename(|names| names.place = None);
                }
                w.removed = true;
                Point::Unlock
            }
            Point::Unlock => {
                w.unlock(me);
                Point::Ended
            }
            _ => return None,
        };
        w.processes[me] = p;
        Some(w)
    }

    fn judge(&self, w: &mut World, p: &mut Process) -> Point {
        let content = w.files[p.file].now;
        let latest = w.record.and_then(|generation| content.latest(generation));
        match (p.kind, latest, w.record) {
            (Kind::Remove, ..) => Point::UnlinkRecord,
            (Kind::Login { code }, Some((held, spent, newest)), Some(generation))
                if spent & (1 << code) == 0 =>
            {
                let spent = spent | (1 << code);
                p.next = (Slot::Valid { sequence: newest + 1, generation, spent }, 1 - held);
                Point::Tear
            }
            (Kind::Issue, latest, _) => {
                p.known = u8::from(w.removing);
                let (held, newest) = latest.map_or((1, 0), |(held, _, newest)| (held, newest));
                let fresh = Slot::Valid { sequence: newest + 1, generation: 1, spent: 0 };
                p.next = (fresh, 1 - held);
                Point::Tear
            }
            (Kind::Login { .. } | Kind::Read, ..) => Point::Unlock,
        }
    }

    /// All that a power cut can leave: any of the names since they were synced, and of
    /// each file what is on the disk, or what is not yet, or a write that was torn.
    fn remains(&self, w: &World) -> Vec<World> {
        let mut all = Vec::new();
        for names in &w.names {
            let mut base = w.clone();
            base.names = vec![names.clone()];
            base.files.iter_mut().for_each(|file| file.holder = None);
            // Names that were made later are not there.
            base.names[0].displaced.resize(base.files.len(), None);
            all.push(base);
        }
        for index in 0..w.files.len() {
            let File { now, disk, .. } = w.files[index];
            let mut kept = Vec::new();
            let choices = |now: Slot, disk: Slot| {
                if now == disk { vec![now] } else { vec![now, disk, Slot::Invalid] }
            };
            for first in choices(now.slots[0], disk.slots[0]) {
                for second in choices(now.slots[1], disk.slots[1]) {
                    for stands_in in [now.stands_in, disk.stands_in] {
                        let content = Content { slots: [first, second], stands_in };
                        if !kept.contains(&content) {
                            kept.push(content);
                        }
                    }
                }
            }
            let with = |world: &World, content: Content| {
                let mut world = world.clone();
                (world.files[index].now, world.files[index].disk) = (content, content);
                world
            };
            all = all.iter().flat_map(|it| kept.iter().map(|kept| with(it, *kept))).collect();
        }
        // After that, somebody tries the first code once more.
        for world in &mut all {
            world.power_cuts -= 1;
            world.processes.iter_mut().for_each(|process| process.at = Point::Ended);
            world.processes[0] = self.begin(Kind::Login { code: 0 });
        }
        all
    }

    fn begin(&self, kind: Kind) -> Process {
        Process {
            kind,
            at: Point::Open,
            file: 0,
            take_overs: TAKE_OVERS,
            openings: self.openings,
            next: (Slot::Invalid, 0),
            known: 0,
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let old = Slot::Valid { sequence: 1, generation: 0, spent: 0 };
        let content = Content { slots: [old, Slot::Invalid], stands_in: false };
        let file = File { now: content, disk: content, holder: None };
        vec![World {
            files: vec![file],
            names: vec![Names { place: Some(0), displaced: vec![None] }],
            record: Some(0),
            temporary: None,
            processes: self.processes.iter().map(|kind| self.begin(*kind)).collect(),
            told: [0; 2],
            issued: false,
            removing: false,
            removed: false,
            stale: false,
            kills: self.kills,
            power_cuts: self.power_cuts,
            passed_over: false,
            refused_late: false,
            succeeded: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (me, process) in world.processes.iter().enumerate() {
            if process.at != Point::Ended {
                actions.push(Action::Step(me));
                if world.kills > 0 {
                    actions.push(Action::Kill(me));
                }
            }
        }
        if world.power_cuts > 0 {
            actions.extend((0..self.remains(world).len()).map(Action::PowerCut));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        match action {
            Action::Step(me) => self.step(world, me),
            Action::Kill(me) => {
                let mut next = world.clone();
                next.unlock(me);
                next.processes[me].at = Point::Ended;
                next.kills -= 1;
                Some(next)
            }
            Action::PowerCut(n) => self.remains(world).into_iter().nth(n),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a code serves once", |_, w: &World| w.told.iter().all(|n| *n <= 1)),
            Property::always("a success that was reported is in the account", |_, w: &World| {
                w.record != Some(0) || {
                    let held = w.content().and_then(|content| content.latest(0));
                    held.is_none_or(|(_, spent, _)| spent & w.told_codes() == w.told_codes())
                }
            }),
            Property::always("the account can be read", |_, w: &World| {
                w.record.is_none_or(|generation| {
                    w.content().and_then(|content| content.latest(generation)).is_some()
                })
            }),
            Property::always("a reader sees no older account", |_, w: &World| !w.stale),
            Property::always("what was issued stays so", |_, w: &World| {
                !w.issued || w.removing || w.record == Some(1)
            }),
            Property::always("what was removed stays so", |_, w: &World| {
                let issues_later = |p: &Process| p.kind == Kind::Issue && p.known > 0;
                !w.removed || w.record.is_none() || w.processes.iter().any(issues_later)
            }),
            Property::sometimes("it happens that a holder is passed over", |_, w: &World| {
                w.passed_over
            }),
            Property::sometimes(
                "it happens that who was passed over is refused",
                |_, w: &World| w.refused_late,
            ),
            Property::sometimes("it happens that a successor is admitted", |_, w: &World| {
                w.succeeded
            }),
        ]
    }
}
