//! Accounts with a history: random logins through the real pam_oath and
//! pam_google_authenticator, at times of their own; then the import, and logins here.
//! Who could log in before can log in after, and a code that was used is spent.

use std::fmt::Write;

use super::moving::people;
use crate::common::{AUTH_ERR, Answers, Client, Phone, SUCCESS, World, hasty, since_epoch};

/// Random numbers that are the same in each run (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Which module keeps the account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keeper {
    /// pam_oath, with this word for the kind.
    Oath(&'static str),
    Google,
}

/// An account, and the device of its user.
struct Moved {
    name: String,
    keeper: Keeper,
    /// Seconds of a time step; `None` for a counter.
    period: Option<i64>,
    phone: Phone,
    base32: String,
    hex: String,
    /// How many seconds the device's clock is ahead.
    ahead: i64,
    /// The step or counter of the last code that was accepted.
    last: i64,
    /// By how many steps that was ahead.
    drift: i64,
}

impl Moved {
    fn new(number: usize, (keeper, period): (Keeper, Option<i64>), chance: &mut Chance) -> Self {
        let bytes: Vec<u8> = (0..20).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
        let base32 = base32::encode(base32::Alphabet::Rfc4648 { padding: false }, &bytes);
        let mut hex = String::new();
        bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
        // Within the windows: 10 steps of pam_oath's, 1 of the other's.
        let reach = if keeper == Keeper::Google { 20 } else { 180 };
        let ahead =
            i64::try_from(chance.below(2 * reach + 1)).unwrap() - i64::try_from(reach).unwrap();
        let name = format!("m{number:03}");
        let last = if keeper == Keeper::Google && period.is_none() { 0 } else { -1 };
        Self {
            name,
            keeper,
            period,
            phone: Phone::new(&base32),
            base32,
            hex,
            ahead,
            last,
            drift: 0,
        }
    }

    /// What the user types at this moment: of a device that is read some seconds before,
    /// or whose button was pressed for nothing. `None`: that code, or a later one, was used.
    fn next(&self, now: i64, chance: &mut Chance) -> Option<i64> {
        let late = i64::try_from(chance.below(10)).unwrap();
        let step = match self.period {
            Some(period) => (now - late + self.ahead) / period,
            None => self.last + 1 + late / 5,
        };
        (step > self.last).then_some(step)
    }

    fn code(&self, step: i64) -> String {
        self.phone.code(u64::try_from(step).unwrap())
    }

    fn used(&mut self, step: i64, now: i64) {
        self.last = step;
        self.drift = self.period.map_or(0, |period| step - now / period);
    }

    fn service(&self) -> &'static str {
        match self.keeper {
            Keeper::Oath(_) => "oath",
            Keeper::Google => "google",
        }
    }
}

fn result(world: &World, service: &str, user: &str, now: i64, code: &str) -> i32 {
    let client = Client::new(world, service, user).option(&format!("time={now}"));
    client.run(&Answers::new(&[code])).result()
}

#[test]
fn accounts_with_a_history_elsewhere_go_on_here_with_the_same_devices() {
    let world = hasty();
    let mut chance = Chance(0x6f6e_6574_696d_6521);
    let kinds = [
        (Keeper::Oath("HOTP/T30/6"), Some(30)),
        (Keeper::Oath("HOTP/T30"), Some(30)),
        (Keeper::Oath("HOTP/T60/6"), Some(60)),
        (Keeper::Oath("HOTP/E/6"), None),
        (Keeper::Google, Some(30)),
        (Keeper::Google, None),
    ];
    let mut all: Vec<Moved> = (0..20 * kinds.len())
        .map(|number| Moved::new(number, kinds[number % kinds.len()], &mut chance))
        .collect();
    people(&world, &all.iter().map(|one| one.name.clone()).collect::<Vec<_>>());
    let mut users = String::new();
    for one in &all {
        match one.keeper {
            Keeper::Oath(kind) => writeln!(users, "{kind}\t{}\t-\t{}", one.name, one.hex).unwrap(),
            Keeper::Google => {
                let kind = if one.period.is_some() { "TOTP_AUTH" } else { "HOTP_COUNTER 1" };
                let text = format!("{}\n\" DISALLOW_REUSE\n\" {kind}\n", one.base32);
                world.write(&format!("/etc/google/{}", one.name), text.as_bytes(), 0o400);
            }
        }
    }
    world.write("/etc/users.oath", users.as_bytes(), 0o600);
    world.pam_service(
        "oath",
        "auth required pam_oath.so usersfile=/etc/users.oath window=10 digits=6\n",
    );
    let google = "auth required pam_google_authenticator.so secret=/etc/google/${USER} user=root\n";
    world.pam_service("google", google);
    world.pam_service("here", "auth required pam_onetime.so password=none\n");

    let present = i64::try_from(since_epoch().as_secs()).unwrap();
    let (mut logins, mut refused) = (0, 0);
    for one in &mut all {
        // The last of them a moment ago, the others hours to days before.
        let before = i64::try_from(chance.below(4)).unwrap();
        for number in (0..=before).rev() {
            let back = i64::try_from(chance.below(40)).unwrap();
            let now = present - number * 90_000 - back;
            if chance.below(5) == 0 && one.period.is_some() {
                assert_ne!(result(&world, one.service(), &one.name, now, "00000"), SUCCESS);
                refused += 1;
            }
            let Some(step) = one.next(now, &mut chance) else { continue };
            // pam_google_authenticator's window is one step each way.
            let offset = one.period.map_or(0, |period| step - now / period);
            if one.keeper == Keeper::Google && offset.abs() > 1 {
                continue;
            }
            let there = result(&world, one.service(), &one.name, now, &one.code(step));
            assert_eq!(there, SUCCESS, "{}: {:?} at {step}", one.name, one.keeper);
            one.used(step, now);
            logins += 1;
        }
    }
    println!("{logins} logins there, {refused} wrong codes");
    assert!(logins > 200 && refused > 10, "{logins} logins, {refused} wrong codes");

    world.onetimectl(&["import", "/etc/users.oath"]).ok();
    let files: Vec<_> = all
        .iter()
        .filter(|one| one.keeper == Keeper::Google)
        .map(|one| format!("/etc/google/{}", one.name))
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    world.onetimectl(&[&["import", "--from", "google"], &files[..]].concat()).ok();

    for one in &all {
        let now = present + 5;
        if one.last > 0 || (one.period.is_none() && one.last == 0 && one.keeper != Keeper::Google) {
            let again = result(&world, "here", &one.name, now, &one.code(one.last));
            assert_eq!(again, AUTH_ERR, "{}: {:?}: it was used there", one.name, one.keeper);
        }
        // Two steps later: of the device's clock as it was at the last login.
        let (step, now) = match one.period {
            Some(period) => {
                let now = present + 2 * period + i64::try_from(chance.below(20)).unwrap();
                (now / period + one.drift, now)
            }
            None => (one.last + 1, now),
        };
        let here = result(&world, "here", &one.name, now, &one.code(step));
        assert_eq!(here, SUCCESS, "{}: {:?}, {} steps ahead", one.name, one.keeper, one.drift);
        assert_eq!(result(&world, "here", &one.name, now, &one.code(step)), AUTH_ERR);
    }
}
