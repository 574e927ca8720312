//! The users file of pam_oath (`users.oath`), as liboath's usersfile.c reads
//! and writes it: a line is one token of one user, with type, user, password,
//! secret, and what the last login left: position, code, local time.

use std::cmp::Reverse;

use data_encoding::HEXLOWER_PERMISSIVE;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use pam_onetime::account::{Timestamp, TokenState};
use pam_onetime::code::{Algorithm, Code, Digits, MovingFactor, Period, Secret, Step, Token};

use super::{
    Aids, BOUND_OF_MANY, ForeignEntry, ForeignToken, Format, FormatError, Found, Users, first_line,
    lines,
};

/// The format `oath`: a line for each token of each user.
#[derive(Debug)]
pub(super) struct Oath;

impl Format for Oath {
    fn name(&self) -> &'static str {
        "oath"
    }

    fn summary(&self) -> &'static str {
        "the users file of pam_oath, users.oath"
    }

    fn users(&self) -> Users {
        Users::ManyByName
    }

    fn bound(&self) -> u64 {
        BOUND_OF_MANY
    }

    /// Secrets in base32 may begin so too, but do not end there.
    fn sniff(&self, text: &str) -> bool {
        let word = first_line(text).split_whitespace().next();
        word.is_some_and(|word| word == "HOTP" || word.starts_with("HOTP/"))
    }

    fn parse(&self, text: &str, aids: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        parse(text, &aids.zone, found)
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "# users\nHOTP/T30/6 alice - 3132333435363738393031323334353637383930\n"
    }
}

/// Time steps before and after the last login in which its code is looked for: more than
/// windows of pam_oath have, less than time zones differ by.
const AROUND: u64 = 60;
/// How liboath writes a time: local, with an L.
const TIME: &str = "%Y-%m-%dT%H:%M:%SL";

/// Reads a file whose times are those of `zone`. A line whose user is known
/// but whose token is no good fails that user alone.
///
/// # Errors
/// [`FormatError`] where a line names no user: nobody knows whose token is
/// missing then.
fn parse(text: &str, zone: &TimeZone, found: &mut Found<'_>) -> Result<(), FormatError> {
    for line in lines(text) {
        let (number, line) = line?;
        let mut fields = line.split([' ', '\t', '\r']).filter(|field| !field.is_empty());
        let Some(kind) = fields.next().filter(|field| !field.starts_with('#')) else {
            continue;
        };
        let user = fields.next().ok_or_else(|| FormatError::new(number, "it names no user"))?;
        let token = token(kind, &mut fields, zone).map_err(|error| FormatError::new(number, error));
        found(ForeignEntry::new(Some(user.to_owned()), token));
    }
    Ok(())
}

fn token<'a>(
    kind: &str,
    fields: &mut impl Iterator<Item = &'a str>,
    zone: &TimeZone,
) -> Result<ForeignToken, String> {
    let (kind, digits) = kind_and_digits(kind)?;
    let password = fields.next().ok_or("the password is missing ('-' where there is none)")?;
    let secret = fields.next().ok_or("the secret is missing")?;
    let secret = HEXLOWER_PERMISSIVE
        .decode(secret.as_bytes())
        .map_err(|_| "the secret is not hexadecimal".to_owned())
        .and_then(|bytes| Secret::from_bytes(bytes).map_err(|error| error.to_string()))?;
    let log = (fields.next(), fields.next(), fields.next());
    if fields.next().is_some() {
        return Err("there are more than 7 fields".to_owned());
    }
    let token = Token { secret, algorithm: Algorithm::Sha1, digits, kind };
    let state = state(&token, log, zone)?;
    let mut found = ForeignToken::new(token, state);
    if !matches!(password, "-" | "+") {
        found.not_carried_over.push(
            "the password of the users file: here the system's password is asked for".to_owned(),
        );
    }
    Ok(found)
}

/// `HOTP`, `HOTP/E`, `HOTP/E/8`, `HOTP/T30`, `HOTP/T60/7`
fn kind_and_digits(text: &str) -> Result<(MovingFactor, Digits), String> {
    let unknown = || "unknown type of token (known: HOTP, HOTP/E/6, HOTP/T30/6)".to_owned();
    let mut parts = text.split('/');
    let (name, mover, digits) = (parts.next(), parts.next(), parts.next());
    if name != Some("HOTP") || parts.next().is_some() {
        return Err(unknown());
    }
    let kind = match mover {
        None | Some("E") => MovingFactor::Hotp,
        Some(mover) => {
            let seconds = mover.strip_prefix('T').ok_or_else(unknown)?;
            let seconds: u64 = seconds.parse().map_err(|_| unknown())?;
            let period = Period::try_from(seconds).map_err(|error| error.to_string())?;
            MovingFactor::Totp { period }
        }
    };
    let digits = match digits {
        None => Digits::default(),
        Some(digits) => {
            let digits: u64 = digits.parse().map_err(|_| unknown())?;
            Digits::try_from(digits).map_err(|error| error.to_string())?
        }
    };
    Ok((kind, digits))
}

/// Where the last login left the token. The position of a counter token is
/// the counter of its last code, if the line has that code, else the one to
/// begin with. That of a time token is the sum of how far each accepted code was ahead
/// (findings/liboath-running-sum.sh), which says nothing of the last one: its step is found
/// by the code itself.
fn state(
    token: &Token,
    log: (Option<&str>, Option<&str>, Option<&str>),
    zone: &TimeZone,
) -> Result<TokenState, String> {
    let (position, last) = match log {
        (None, _, _) => return Ok(TokenState::default()),
        (Some(position), None, _) => (position, None),
        (Some(_), Some(_), None) => return Err("the time of the last login is missing".to_owned()),
        (Some(position), Some(code), Some(time)) => (position, Some((code, time))),
    };
    match (token.kind, last) {
        (MovingFactor::Hotp, last) => {
            let counter = Step(position.parse().map_err(|_| "the counter is not a number")?);
            let next = if last.is_some() { counter.plus(1) } else { counter };
            Ok(TokenState { next, ..TokenState::default() })
        }
        (MovingFactor::Totp { .. }, None) => {
            Err("the last code and its time are missing".to_owned())
        }
        (MovingFactor::Totp { period }, Some((code, time))) => {
            let time = DateTime::strptime(TIME, time)
                .map_err(|_| "the time of the last login is not YYYY-MM-DDTHH:MM:SSL")?;
            let code = Code::parse(code.as_bytes());
            // An hour that the end of summer time repeats may be either.
            let moment = zone.to_ambiguous_timestamp(time);
            let (login, used) = [moment.earlier(), moment.later()]
                .into_iter()
                .filter_map(|time| u64::try_from(time.ok()?.as_second()).ok())
                .filter_map(|seconds| {
                    let login = Timestamp(seconds).step(period);
                    Some((login, nearest(token, code.as_ref()?, login)?))
                })
                .min_by_key(|(login, used)| (used.0.abs_diff(login.0), Reverse(*used)))
                .ok_or(
                    "the token did not show the last code around that time: was the file \
                     written in another time zone (then: TZ=Area/City onetimectl import)",
                )?;
            let drift = i32::try_from(used.0.wrapping_sub(login.0).cast_signed()).unwrap_or(0);
            Ok(TokenState { next: used.plus(1), drift, resync: Step(0) })
        }
    }
}

/// The step whose code this is, nearest to that of the login; of two that are equally near
/// the later: what is before it is spent.
fn nearest(token: &Token, code: &Code, login: Step) -> Option<Step> {
    (0..=AROUND).find_map(|distance| {
        let both = [login.minus(distance), login.plus(distance)];
        token.newest_match(code, both.into_iter())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, zone: &TimeZone) -> Result<Vec<ForeignEntry>, FormatError> {
        super::super::all(&Oath, text, zone)
    }

    const SECRET: &str = "3132333435363738393031323334353637383930";

    fn one(line: &str) -> Result<ForeignToken, FormatError> {
        let mut all = parse(line, &TimeZone::UTC).unwrap();
        assert_eq!(all.len(), 1);
        let only = all.pop().unwrap();
        assert_eq!(only.user.as_deref(), Some("alice"));
        only.token
    }

    /// The code of six digits that the secret shows at a step.
    fn code_of(step: u64) -> String {
        let hotp = totp_rs::Builder::new()
            .with_secret(b"12345678901234567890".as_slice())
            .with_step_duration(1)
            .build_noncompliant();
        hotp.generate(step).to_string()
    }

    #[test]
    fn every_type_of_token_that_pam_oath_knows_is_read() {
        for (kind, digits, period) in [
            ("HOTP", 6, None),
            ("HOTP/E", 6, None),
            ("HOTP/E/6", 6, None),
            ("HOTP/E/7", 7, None),
            ("HOTP/E/8", 8, None),
            ("HOTP/T30", 6, Some(30)),
            ("HOTP/T30/6", 6, Some(30)),
            ("HOTP/T30/7", 7, Some(30)),
            ("HOTP/T30/8", 8, Some(30)),
            ("HOTP/T60", 6, Some(60)),
            ("HOTP/T60/8", 8, Some(60)),
        ] {
            let found = one(&format!("{kind} alice - {SECRET}")).unwrap();
            let expected = match period {
                Some(period) => MovingFactor::Totp { period: Period::try_from(period).unwrap() },
                None => MovingFactor::Hotp,
            };
            assert_eq!((found.token.kind, u64::from(found.token.digits)), (expected, digits));
            assert_eq!(found.state, TokenState::default());
        }
    }

    #[test]
    fn what_the_last_login_left_is_spent() {
        let found =
            one(&format!("HOTP\talice\t-\t{SECRET}\t4\t338314\t2009-12-07T23:23:49L")).unwrap();
        assert_eq!(found.state.next, Step(5), "the code of counter 4 is spent");
        let found = one(&format!("HOTP alice - {SECRET} 4")).unwrap();
        assert_eq!(found.state.next, Step(4), "none has been used yet");
        let found = |position: i64, code: &str| {
            one(&format!("HOTP/T30 alice - {SECRET} {position} {code} 1970-01-01T01:00:00L"))
        };
        // The code of two steps before that hour, and that of the hour, after many logins.
        for (position, at, drift) in [(-2, 118, -2), (-300, 118, -2), (6, 120, 0), (0, 123, 3)] {
            let state = found(position, &code_of(at)).unwrap().state;
            assert_eq!(state, TokenState { next: Step(at + 1), drift, resync: Step(0) });
        }
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let line = format!("HOTP/T30 alice - {SECRET} 0 {} 1970-01-01T01:00:00L", code_of(0));
        let there = parse(&line, &zone).unwrap().pop().unwrap().token.unwrap();
        assert_eq!(there.state.next, Step(1), "the time is local");
        let error = found(0, &code_of(0)).unwrap_err().to_string();
        assert!(error.contains("another time zone"), "{error}");
    }

    #[test]
    fn field_5_of_a_time_token_is_a_sum_and_changes_nothing() {
        let state = |sum: &str| {
            let code = code_of(119);
            one(&format!("HOTP/T30 alice - {SECRET} {sum} {code} 1970-01-01T01:00:00L"))
                .unwrap()
                .state
        };
        for sum in ["0", "2", "11", "4000", "-3", "18446744073709551615"] {
            let expected = TokenState { next: Step(120), drift: -1, resync: Step(0) };
            assert_eq!(state(sum), expected, "{sum}");
        }
    }

    #[test]
    fn of_several_steps_with_the_last_code_it_is_the_nearest() {
        // Two steps within reach of each other that show the same code.
        let (first, second) = (0_u64..)
            .step_by(40)
            .find_map(|start| {
                let codes: Vec<_> = (start..start + 80).map(code_of).collect();
                let at = |n: usize| start + u64::try_from(n).unwrap();
                (0..80)
                    .flat_map(|a| (a + 3..80).map(move |b| (a, b)))
                    .find(|(a, b)| *a + 58 > *b && codes[*a] == codes[*b])
                    .map(|(a, b)| (at(a), at(b)))
            })
            .unwrap();
        for (login, used) in
            [(first, first), (first + 1, first), (second, second), (second - 1, second)]
        {
            let time =
                jiff::Timestamp::from_second(i64::try_from(login * 30 + 7).unwrap()).unwrap();
            let time = time.strftime("%Y-%m-%dT%H:%M:%SL");
            let code = code_of(used);
            let state = one(&format!("HOTP/T30 alice - {SECRET} 9 {code} {time}")).unwrap().state;
            let drift = i32::try_from(used.cast_signed() - login.cast_signed()).unwrap();
            assert_eq!(state, TokenState { next: Step(used + 1), drift, resync: Step(0) });
        }
    }

    #[test]
    fn an_hour_that_occurs_twice_is_the_one_in_which_the_token_showed_the_code() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for moment in ["2023-10-29T00:30:10Z", "2023-10-29T01:30:10Z"] {
            let moment: jiff::Timestamp = moment.parse().unwrap();
            let step = u64::try_from(moment.as_second()).unwrap() / 30;
            let code = code_of(step + 2);
            let line = format!("HOTP/T30 alice - {SECRET} 2 {code} 2023-10-29T02:30:10L");
            let state = parse(&line, &zone).unwrap().pop().unwrap().token.unwrap().state;
            assert_eq!(state, TokenState { next: Step(step + 3), drift: 2, resync: Step(0) });
        }
    }

    #[test]
    fn passwords_are_reported_and_not_quoted() {
        for (password, reported) in [("-", false), ("+", false), ("hunter2", true)] {
            let found = one(&format!("HOTP alice {password} {SECRET}")).unwrap();
            assert_eq!(!found.not_carried_over.is_empty(), reported, "{password}");
            assert!(!found.not_carried_over.join(" ").contains("hunter2"));
        }
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_lines_keep_their_numbers() {
        let text = format!("# users\n\n  \nHOTP alice - {SECRET}\r\nHOTP/T5 bob - {SECRET}\n");
        let all = parse(&text, &TimeZone::UTC).unwrap();
        assert_eq!(all.len(), 2);
        let error = all[1].token.as_ref().unwrap_err().to_string();
        assert!(error.starts_with("line 5: a period of 5 s"), "{error}");
    }

    #[test]
    fn a_line_that_is_no_good_fails_its_user_and_quotes_no_secret() {
        for (line, what) in [
            (format!("TOTP alice - {SECRET}"), "unknown type"),
            (format!("HOTP/T30/9 alice - {SECRET}"), "9 digits"),
            (format!("HOTP/X alice - {SECRET}"), "unknown type"),
            (format!("HOTP/E/6/7 alice - {SECRET}"), "unknown type"),
            ("HOTP alice".to_owned(), "password is missing"),
            ("HOTP alice -".to_owned(), "secret is missing"),
            ("HOTP alice - 00".to_owned(), "8 bits"),
            (format!("HOTP alice - {SECRET}9"), "not hexadecimal"),
            (format!("HOTP alice - {SECRET} x"), "not a number"),
            (format!("HOTP alice - {SECRET} 4 000000"), "time of the last login is missing"),
            (format!("HOTP/T30 alice - {SECRET} 0"), "are missing"),
            (format!("HOTP/T30 alice - {SECRET} 0 000000 yesterday"), "YYYY"),
            (format!("HOTP/T30 alice - {SECRET} 0 x 2009-12-07T23:23:49L"), "did not show"),
            (format!("HOTP alice - {SECRET} 0 0 2009-12-07T23:23:49L 8"), "more than 7"),
        ] {
            let error = one(&line).unwrap_err().to_string();
            assert!(error.contains(what), "{line}: {error}");
            assert!(!error.contains("3132"), "{error}");
        }
        assert!(parse("HOTP\n", &TimeZone::UTC).unwrap_err().to_string().contains("no user"));
    }
}
