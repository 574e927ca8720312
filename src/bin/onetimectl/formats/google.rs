//! The `.google_authenticator` file of pam_google_authenticator, as its
//! FILEFORMAT and its source have it: the secret, options in lines that begin
//! with a quotation mark, scratch codes.

use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use zeroize::Zeroizing;

use super::{Aids, ForeignEntry, ForeignToken, Format, FormatError, Found, Users, lines, word};

/// The format `google`: one user's file, one token.
#[derive(Debug)]
pub(super) struct Google;

impl Format for Google {
    fn name(&self) -> &'static str {
        "google"
    }

    fn summary(&self) -> &'static str {
        "a user's .google_authenticator, of pam_google_authenticator"
    }

    fn users(&self) -> Users {
        Users::One { file_name: ".google_authenticator" }
    }

    fn bound(&self) -> u64 {
        64 * 1024
    }

    fn sniff(&self, text: &str) -> bool {
        text.contains("\n\" ")
    }

    fn parse(&self, text: &str, _: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        found(ForeignEntry::new(None, Ok(parse(text)?)));
        Ok(())
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n\" TOTP_AUTH\n12345678\n"
    }
}

/// The options of a file. Those that hold a number have it with its line; the
/// first of each counts, as it does there.
#[derive(Default)]
struct Options<'a> {
    totp: bool,
    counter: Option<(usize, &'a str)>,
    period: Option<(usize, &'a str)>,
    skew: Option<(usize, &'a str)>,
    window: Option<(usize, &'a str)>,
    newest_used: Option<u64>,
    scratch_codes: usize,
    hosts: usize,
    /// The first line that is ignored there, and how many there are.
    ignored: Option<(usize, usize)>,
    not_carried_over: Vec<String>,
}

/// Reads a file: it is one user's, whose name is not in it.
///
/// # Errors
/// [`FormatError`], also where the token is of a kind that is not supported here.
fn parse(text: &str) -> Result<ForeignToken, FormatError> {
    let mut lines = lines(text);
    let (number, first) = lines.next().unwrap_or(Ok((1, "")))?;
    let secret = secret(first).map_err(|error| FormatError::new(number, error))?;
    let mut options = Options::default();
    for line in lines {
        let (number, line) = line?;
        match line.strip_prefix("\" ") {
            Some(option) => options.read(number, option)?,
            None if line.trim().is_empty() => {}
            None if is_scratch_code(line.trim()) => {
                options.scratch_codes = options.scratch_codes.saturating_add(1);
            }
            None => {
                let (first, count) = options.ignored.unwrap_or((number, 0));
                options.ignored = Some((first, count.saturating_add(1)));
            }
        }
    }
    options.into_token(secret)
}

/// Letters that are easily mistaken are read as that module reads them.
fn secret(line: &str) -> Result<Secret, pam_onetime::code::CodeError> {
    let mut plain = Zeroizing::new(String::with_capacity(line.len()));
    plain.extend(line.chars().map(|letter| match letter {
        '0' => 'O',
        '1' => 'L',
        '8' => 'B',
        letter => letter,
    }));
    Secret::from_base32(&plain)
}

fn is_scratch_code(line: &str) -> bool {
    line.len() == 8 && line.bytes().all(|byte| byte.is_ascii_digit())
}

impl<'a> Options<'a> {
    fn read(&mut self, line: usize, option: &'a str) -> Result<(), FormatError> {
        let (name, value) = option.split_once([' ', '\t']).unwrap_or((option.trim_end(), ""));
        let value = value.trim();
        match name {
            "TOTP_AUTH" => self.totp = true,
            "HOTP_COUNTER" => _ = self.counter.get_or_insert((line, value)),
            "STEP_SIZE" => _ = self.period.get_or_insert((line, value)),
            "TIME_SKEW" => _ = self.skew.get_or_insert((line, value)),
            "WINDOW_SIZE" => _ = self.window.get_or_insert((line, value)),
            "DISALLOW_REUSE" => {
                for step in value.split_ascii_whitespace() {
                    self.newest_used = self.newest_used.max(Some(number(line, step)?));
                }
            }
            "RATE_LIMIT" => self.not_carried_over.push(
                "RATE_LIMIT: here wrong codes lock an account; [limits] in onetime.toml says how"
                    .to_owned(),
            ),
            "RESETTING_TIME_SKEW" => self.not_carried_over.push(
                "RESETTING_TIME_SKEW: a resynchronization under way (onetimectl resync does it)"
                    .to_owned(),
            ),
            _ if is_host(name) => self.hosts = self.hosts.saturating_add(1),
            _ => self.not_carried_over.push(format!("the unknown option {}", word(name))),
        }
        Ok(())
    }

    fn into_token(mut self, secret: Secret) -> Result<ForeignToken, FormatError> {
        // A counter goes before time there, if it is one.
        let counter = self.counter.filter(|(_, counter)| !self.totp || leading(counter) != Some(0));
        let (kind, state) = match (counter, self.totp) {
            (Some(counter), _) => self.by_counter(counter)?,
            (None, true) => self.by_time()?,
            (None, false) => {
                let what = "neither TOTP_AUTH nor HOTP_COUNTER: no kind of token";
                return Err(FormatError::new(1, what));
            }
        };
        self.leave_window(kind)?;
        self.leave_others();
        let token = Token { secret, algorithm: Algorithm::Sha1, digits: Digits::default(), kind };
        let mut found = ForeignToken::new(token, state);
        found.not_carried_over = self.not_carried_over;
        Ok(found)
    }

    fn by_counter(
        &mut self,
        (line, counter): (usize, &str),
    ) -> Result<(MovingFactor, TokenState), FormatError> {
        // That module accepts none below 1.
        let next = match number(line, counter)? {
            0 => return Err(FormatError::new(line, "HOTP_COUNTER must be 1 or more")),
            counter => Step(counter),
        };
        if self.skew.is_some() {
            self.not_carried_over.push("TIME_SKEW: a counter token has no clock".to_owned());
        }
        Ok((MovingFactor::Hotp, TokenState { next, ..TokenState::default() }))
    }

    fn by_time(&self) -> Result<(MovingFactor, TokenState), FormatError> {
        let period = match self.period {
            Some((line, seconds)) => Period::try_from(number(line, seconds)?)
                .map_err(|error| FormatError::new(line, error))?,
            None => Period::default(),
        };
        let next = self.newest_used.map_or(Step(0), |step| Step(step).plus(1));
        let mut state = TokenState { next, ..TokenState::default() };
        if let Some((line, steps)) = self.skew {
            state.drift = steps
                .parse()
                .map_err(|_| FormatError::new(line, "TIME_SKEW is not a number of steps"))?;
        }
        Ok((MovingFactor::Totp { period }, state))
    }

    /// Notes the window, which is not each user's own here.
    fn leave_window(&mut self, kind: MovingFactor) -> Result<(), FormatError> {
        let Some((line, size)) = self.window else {
            return Ok(());
        };
        let size = number(line, size)?;
        let (before, after) = (size.saturating_sub(1) / 2, size / 2);
        let (there, key) = match kind {
            MovingFactor::Totp { .. } if before != after => (
                format!(", which is {before} steps before and {after} after"),
                format!("both ways alike: window = {}", after.min(10)),
            ),
            MovingFactor::Totp { .. } => (String::new(), format!("window = {}", after.min(10))),
            MovingFactor::Hotp => {
                (String::new(), format!("look_ahead = {}", size.saturating_sub(1).clamp(1, 100)))
            }
        };
        self.not_carried_over.push(format!(
            "WINDOW_SIZE {size}{there}: here it is the same for all ({key} in [code] of onetime.toml)"
        ));
        Ok(())
    }

    /// Notes hosts, scratch codes, and what is ignored there too.
    fn leave_others(&mut self) {
        if let Some((line, count)) = self.ignored {
            let lines = if count == 1 { "a line" } else { "lines" };
            self.not_carried_over.push(format!(
                "{lines} that pam_google_authenticator ignores too, {count} from line {line} on"
            ));
        }
        if self.hosts > 0 {
            let hosts = self.hosts;
            self.not_carried_over.push(format!(
                "the grace period of {hosts} hosts: `remember` in [login] of onetime.toml adds them again"
            ));
        }
        if self.scratch_codes > 0 {
            let codes = self.scratch_codes;
            self.not_carried_over.push(format!(
                "{codes} scratch codes: they have 8 digits, recovery codes here 12 symbols \
                 (onetimectl recovery USER issues new ones)"
            ));
        }
    }
}

/// `LAST0` to `LAST9`
fn is_host(name: &str) -> bool {
    name.strip_prefix("LAST").is_some_and(|rest| rest.len() == 1 && rest.parse::<u8>().is_ok())
}

/// The number at the beginning, as strtol(3) reads it there.
fn leading(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn number(line: usize, text: &str) -> Result<u64, FormatError> {
    text.parse().map_err(|_| FormatError::new(line, "the option's value is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEH";

    fn found(rest: &str) -> ForeignToken {
        parse(&format!("{SECRET}\n{rest}")).unwrap()
    }

    #[test]
    fn a_whole_time_based_file_is_mapped_and_what_is_not_carried_over_is_named() {
        let found = found(
            "\" RATE_LIMIT 3 30 1700000000\n\" WINDOW_SIZE 17\n\" STEP_SIZE 60\n\
             \" DISALLOW_REUSE 28333332 28333334 28333333\n\" TIME_SKEW -3\n\
             \" RESETTING_TIME_SKEW 1700000000+1 1700000030+1\n\" TOTP_AUTH\n\
             \" LAST0 192.0.2.7 1700000000\n\" LAST1 192.0.2.8 1700000000\n\" FANCY_NEW 1\n\
             12345678\n87654321\n00000001\n",
        );
        let period = Period::try_from(60).unwrap();
        assert_eq!(found.token.kind, MovingFactor::Totp { period });
        assert_eq!(found.token.secret.bits(), 128);
        assert_eq!(found.state, TokenState { next: Step(28_333_335), drift: -3, resync: Step(0) });
        let left = found.not_carried_over.join("\n");
        for what in
            ["RATE_LIMIT", "WINDOW_SIZE 17", "window = 8", "RESETTING", "2 hosts", "FANCY_NEW"]
        {
            assert!(left.contains(what), "{what}: {left}");
        }
        assert!(left.contains("3 scratch codes") && left.contains("onetimectl recovery"), "{left}");
        assert!(!left.contains("12345678") && !left.contains("192.0.2.7"), "{left}");
    }

    #[test]
    fn the_counter_is_the_one_that_comes_next_and_goes_before_time() {
        let found = found("\" HOTP_COUNTER 57\n\" TOTP_AUTH\n\" WINDOW_SIZE 17\n\" TIME_SKEW 2\n");
        assert_eq!(found.token.kind, MovingFactor::Hotp);
        assert_eq!(found.state, TokenState { next: Step(57), ..TokenState::default() });
        assert!(
            found.not_carried_over.join("\n").contains("look_ahead = 16"),
            "{:?}",
            found.not_carried_over
        );
    }

    #[test]
    fn what_is_no_such_file_says_in_which_line_and_quotes_nothing() {
        for (text, line, what) in [
            ("".to_owned(), 1, "0 bits"),
            ("not base32 !".to_owned(), 1, "base32"),
            (format!("{SECRET}\n"), 1, "neither TOTP_AUTH nor"),
            (format!("{SECRET}\n\" HOTP_COUNTER 0\n"), 2, "1 or more"),
            (format!("{SECRET}\n\" HOTP_COUNTER x\n"), 2, "not a number"),
            (format!("{SECRET}\n\" TOTP_AUTH\n\" STEP_SIZE 10\n"), 3, "period of 10 s"),
            (format!("{SECRET}\n\" TOTP_AUTH\n\" TIME_SKEW 99999999999\n"), 3, "TIME_SKEW"),
            (format!("{SECRET}\n\" TOTP_AUTH\n\" DISALLOW_REUSE 1 b\n"), 3, "not a number"),
            ("A".repeat(10_000_000), 1, "longer"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("line {line}: ")) && error.contains(what),
                "{error}"
            );
            assert!(!error.contains(SECRET));
        }
    }

    #[test]
    fn lines_that_the_real_module_ignores_refuse_nobody_and_are_mentioned() {
        for line in [
            "# a comment",
            "1234567890",
            "\"RATE_LIMIT 3 30",
            "\"STEP_SIZE 60",
            "scratch codes:",
            "123456",
            " \" STEP_SIZE 60",
        ] {
            let found = found(&format!("\" TOTP_AUTH\n{line}\n12345678\n"));
            assert_eq!(found.token.kind, MovingFactor::Totp { period: Period::default() });
            let left = found.not_carried_over.join("\n");
            assert!(left.contains("ignores too, 1 from line 3 on"), "{line}: {left}");
            assert!(!left.contains("comment") && !left.contains("123456"), "{left}");
        }
    }

    #[test]
    fn a_window_of_an_even_size_is_larger_after_than_before() {
        for (size, what) in [
            ("3", "WINDOW_SIZE 3: here it is the same for all (window = 1 "),
            (
                "4",
                "which is 1 steps before and 2 after: here it is the same for all (both ways alike: window = 2 ",
            ),
            ("1", "(window = 0 "),
            ("2", "which is 0 steps before and 1 after"),
        ] {
            let left = found(&format!("\" TOTP_AUTH\n\" WINDOW_SIZE {size}\n")).not_carried_over;
            assert!(left.join("\n").contains(what), "{size}: {left:?}");
        }
    }

    #[test]
    fn a_counter_of_zero_is_none_beside_a_clock() {
        let found = found("\" HOTP_COUNTER 0\n\" TOTP_AUTH\n");
        assert_eq!(found.token.kind, MovingFactor::Totp { period: Period::default() });
    }

    #[test]
    fn mistyped_letters_are_read_as_that_module_reads_them() {
        let typed = parse("gezd gnbv-gy3tqojq GEZDGNBVGY3TQOJ0\n\" TOTP_AUTH\n").unwrap();
        let meant = parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJO\n\" TOTP_AUTH\n").unwrap();
        assert_eq!(typed.token, meant.token);
    }
}
