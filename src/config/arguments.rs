//! The arguments of the module's line in pam.d. All of them are known, or the
//! login is refused: a misspelt policy must not silently be another one.

use std::ffi::CStr;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{
    AtLogin, Config, ConfigError, DEFAULT_PATH, GroupNames, Language, LookAhead, MaxDrift, Missing,
    Networks, Qr, RecoveryCodes, Resync, Span, Window, values,
};
use crate::callers::Asker;

/// Who verifies the password (argument `password=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(variant_identifier, rename_all = "lowercase")]
pub enum PasswordMode {
    /// This module.
    Verify,
    /// Earlier modules of the stack.
    Stack,
    /// Something else, an ssh key for instance.
    None,
}

impl PasswordMode {
    /// As the argument has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Stack => "stack",
            Self::None => "none",
        }
    }
}

/// Where the password comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstPass {
    /// From an earlier module, if it left one; else the user is asked.
    Default,
    /// The same, and the user is asked if it is wrong (`try_first_pass`).
    Try,
    /// From an earlier module only (`use_first_pass`).
    Use,
}

/// The module's line in pam.d, after its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The configuration (`config=`).
    pub config: PathBuf,
    /// Who verifies the password (`password=`).
    pub password: PasswordMode,
    /// Where the password comes from.
    pub first_pass: FirstPass,
    /// Whether the log says more (`debug`).
    pub debug: bool,
    /// Keys of the configuration that this service has otherwise.
    pub overrides: Overrides,
}

/// Makes [`Overrides`] out of one line for each key: its type and its section.
macro_rules! overrides {
    ($($(#[$how:meta])* $key:ident: $value:ty => $section:ident),+ $(,)?) => {
        /// Keys of the configuration as a service's line in pam.d has them, where it does.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Overrides {
            $($(#[$how])* $key: Option<$value>),+
        }

        impl Overrides {
            /// The keys that there are.
            pub const KEYS: &[&str] = &[$(stringify!($key)),+];

            /// The keys that the line has.
            fn given(&self) -> impl Iterator<Item = &'static str> {
                [$(self.$key.is_some().then_some(stringify!($key))),+].into_iter().flatten()
            }

            fn merge_into(self, config: &mut Config) {
                $(if let Some(value) = self.$key {
                    config.$section.$key = value;
                })+
            }
        }
    };
}

overrides! {
    service: String => password,
    window: Window => code,
    look_ahead: LookAhead => code,
    max_drift: MaxDrift => code,
    resync: Resync => code,
    at_login: AtLogin => enrollment,
    qr: Qr => enrollment,
    show_without_password: bool => enrollment,
    recovery_codes: RecoveryCodes => enrollment,
    missing: Missing => login,
    require_groups: GroupNames => login,
    exempt_groups: GroupNames => login,
    exempt_networks: Networks => login,
    remember: Span => login,
    prompt: String => login,
    echo: bool => login,
    uniform: bool => login,
    honour_silent: bool => login,
    language: Language => login,
    #[serde(default, deserialize_with = "values::some_count")]
    failures: u32 => limits,
}

/// Keys about how the person is asked, and what is shown. With a right password and a right
/// code each of them leads to the same verdict.
const HARMLESS: [&str; 6] = ["qr", "prompt", "echo", "uniform", "honour_silent", "language"];

/// Why a line is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// No argument of this name exists.
    #[error("argument {0}: unknown")]
    Unknown(String),
    /// One key, two values.
    #[error("argument {0}: given twice")]
    Twice(String),
    /// Not a value of this key.
    #[error("argument {key}: {what}")]
    Value {
        /// The key of the configuration that the argument overrides.
        key: String,
        /// What is wrong with its value: what serde says.
        what: String,
    },
    /// An argument is not UTF-8, so it cannot be named in a message.
    #[error("an argument is not UTF-8")]
    NotUtf8,
    /// A program that is not root's might have made it up.
    #[error("argument {0}: not from a program that is not root's (set it in onetime.toml)")]
    NotBelieved(&'static str),
    /// `onetimed` has read another one.
    #[error("argument config: onetimed has another configuration (onetimed --config)")]
    OtherConfig,
}

impl ArgumentError {
    /// With the key to whose value serde's error belongs.
    fn of(self, key: &str) -> Self {
        match self {
            Self::Value { what, .. } => Self::Value { key: key.to_owned(), what },
            Self::Unknown(_)
            | Self::Twice(_)
            | Self::NotUtf8
            | Self::NotBelieved(_)
            | Self::OtherConfig => self,
        }
    }
}

impl Error for ArgumentError {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::Value { key: String::new(), what: what.to_string() }
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::Unknown(field.to_owned())
    }
}

impl Arguments {
    /// Reads the arguments as libpam has them.
    ///
    /// # Errors
    /// [`ArgumentError`]: one that is unknown, malformed, or given twice.
    pub fn parse(line: &[&CStr]) -> Result<Self, ArgumentError> {
        let line = line.iter().map(|argument| argument.to_str());
        Self::read(line.collect::<Result<Vec<_>, _>>().map_err(|_| ArgumentError::NotUtf8)?)
    }

    /// Reads the arguments, one string each.
    ///
    /// # Errors
    /// As for [`Arguments::parse`].
    pub fn read<'t>(line: impl IntoIterator<Item = &'t str>) -> Result<Self, ArgumentError> {
        let mut parsed = Self {
            config: PathBuf::from(DEFAULT_PATH),
            password: PasswordMode::Verify,
            first_pass: FirstPass::Default,
            debug: false,
            overrides: Overrides::default(),
        };
        let mut seen = Vec::new();
        let mut overrides = Vec::new();
        let mut nullok = false;
        for argument in line {
            let key = argument.split_once('=').map_or(argument, |(key, _)| key);
            if seen.contains(&key) {
                return Err(ArgumentError::Twice(key.to_owned()));
            }
            seen.push(key);
            match argument.split_once('=') {
                None if key == "debug" => parsed.debug = true,
                None if key == "try_first_pass" => parsed.first_pass = FirstPass::Try,
                None if key == "use_first_pass" => parsed.first_pass = FirstPass::Use,
                // What it is called in pam_unix and in pam_google_authenticator.
                None if key == "nullok" => nullok = true,
                Some(("config", path)) if path.starts_with('/') => {
                    parsed.config = PathBuf::from(path)
                }
                Some(("config", _)) => {
                    return Err(ArgumentError::custom("must be an absolute path").of(key));
                }
                Some(("password", mode)) => {
                    let mode = PasswordMode::deserialize(Text(mode));
                    parsed.password = mode.map_err(|error| error.of(key))?;
                }
                Some((key, value)) => {
                    // They are one key: the later one holds.
                    nullok &= key != "missing";
                    overrides.push((key, value));
                }
                None => return Err(ArgumentError::Unknown(key.to_owned())),
            }
        }
        let overrides = Pairs { rest: overrides.into_iter(), value: None };
        parsed.overrides = Overrides::deserialize(MapAccessDeserializer::new(overrides))?;
        if nullok {
            parsed.overrides.missing = Some(Missing::Ignore);
        }
        Ok(parsed)
    }

    /// These arguments as they hold for a login that `asker` has asked `onetimed` about,
    /// whose configuration is `config`.
    ///
    /// Who need not be believed may say how the person is asked, not what is asked for or
    /// issued; and whatever else has verified the password, it is verified here.
    ///
    /// # Errors
    /// [`ArgumentError`]: what the line says besides.
    pub fn relayed(mut self, asker: Asker, config: &Path) -> Result<Self, ArgumentError> {
        if self.config != config {
            return Err(ArgumentError::OtherConfig);
        }
        if asker.is_believed() {
            return Ok(self);
        }
        match self.password {
            PasswordMode::Verify => {}
            PasswordMode::Stack => {
                self.password = PasswordMode::Verify;
                self.first_pass = FirstPass::Use;
            }
            PasswordMode::None => return Err(ArgumentError::NotBelieved("password")),
        }
        // A service asks for anybody: it would learn who has a record. Of themselves, users may.
        if asker == Asker::Service && self.overrides.uniform == Some(false) {
            return Err(ArgumentError::NotBelieved("uniform"));
        }
        let other = self.overrides.given().find(|key| !HARMLESS.contains(key));
        other.map_or(Ok(self), |key| Err(ArgumentError::NotBelieved(key)))
    }

    /// The configuration with this line's overrides.
    ///
    /// # Errors
    /// [`ConfigError::Value`]: it breaks a rule with them.
    pub fn apply(&self, mut config: Config) -> Result<Config, ConfigError> {
        self.overrides.clone().merge_into(&mut config);
        config.check()?;
        Ok(config)
    }
}

/// The overrides of a line, for serde.
struct Pairs<'t> {
    rest: std::vec::IntoIter<(&'t str, &'t str)>,
    /// The pair whose key has been read.
    value: Option<(&'t str, &'t str)>,
}

impl<'t> MapAccess<'t> for Pairs<'t> {
    type Error = ArgumentError;

    fn next_key_seed<K: DeserializeSeed<'t>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ArgumentError> {
        self.value = self.rest.next();
        self.value.map(|(key, _)| seed.deserialize(Text(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ArgumentError> {
        let (key, value) = self.value.unwrap_or_default();
        seed.deserialize(Text(value)).map_err(|error| error.of(key))
    }
}

/// Text on the line, which is what its key takes it for.
struct Text<'de>(&'de str);

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = ArgumentError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        match self.0.parse() {
            Ok(value) => visitor.visit_bool(value),
            Err(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        match self.0.parse() {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_seq(SeqDeserializer::new(self.0.split(',').map(Text)))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ArgumentError> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;
    use crate::config::RuleError;

    fn parse(line: &[&CStr]) -> Result<Arguments, ArgumentError> {
        Arguments::parse(line)
    }

    #[test]
    fn without_arguments_the_defaults_hold() {
        let arguments = parse(&[]).unwrap();
        assert_eq!(arguments.config, PathBuf::from("/etc/onetime/onetime.toml"));
        assert_eq!(arguments.password, PasswordMode::Verify);
        assert!(!arguments.debug && arguments.first_pass == FirstPass::Default);
        assert_eq!(arguments.apply(Config::default()), Ok(Config::default()));
    }

    #[test]
    fn every_argument_is_understood() {
        let line =
            [c"config=/x/y", c"password=stack", c"debug", c"qr=none", c"prompt=Code, please: "];
        let arguments = parse(&line).unwrap();
        assert_eq!(arguments.config, PathBuf::from("/x/y"));
        assert_eq!(arguments.password, PasswordMode::Stack);
        assert!(arguments.debug);
        let config = arguments.apply(Config::default()).unwrap();
        assert_eq!(config.login.prompt, "Code, please: ");
        assert_eq!(config.enrollment.qr, crate::config::Qr::None);
    }

    #[test]
    fn a_program_that_is_not_roots_says_how_the_person_is_asked_and_nothing_else() {
        let config = Path::new(DEFAULT_PATH);
        let with = |key: &'static str| {
            let mut arguments = parse(&[]).unwrap();
            // One value that this key takes.
            let values = ["1", "true", "none", "off", "ignore", "en", "x", "192.0.2.0/24"];
            let taken = values.iter().find_map(|value| {
                let pairs = vec![(key, *value)].into_iter();
                let pairs = MapAccessDeserializer::new(Pairs { rest: pairs, value: None });
                Overrides::deserialize(pairs).ok()
            });
            arguments.overrides = taken.unwrap_or_else(|| panic!("no value for {key}"));
            arguments
        };
        for key in Overrides::KEYS {
            assert!(with(key).relayed(Asker::Root, config).is_ok(), "{key}");
            for asker in [Asker::User, Asker::Service] {
                let said = with(key).relayed(asker, config);
                match HARMLESS.contains(key) {
                    true => assert!(said.is_ok(), "{key}: {said:?}"),
                    false => assert_eq!(said, Err(ArgumentError::NotBelieved(key))),
                }
            }
        }
    }

    #[test]
    fn a_service_may_ask_uniformly_and_not_otherwise() {
        let config = Path::new(DEFAULT_PATH);
        let relayed = |line, asker| parse(&[line]).unwrap().relayed(asker, config).map(drop);
        for asker in [Asker::Root, Asker::User, Asker::Service] {
            assert_eq!(relayed(c"uniform=true", asker), Ok(()), "{asker:?}");
        }
        for asker in [Asker::Root, Asker::User] {
            assert_eq!(relayed(c"uniform=false", asker), Ok(()), "{asker:?}");
        }
        let refused = Err(ArgumentError::NotBelieved("uniform"));
        assert_eq!(relayed(c"uniform=false", Asker::Service), refused);
    }

    #[test]
    fn onetimed_verifies_the_password_whatever_has_verified_it_before() {
        let config = Path::new(DEFAULT_PATH);
        for asker in [Asker::User, Asker::Service] {
            let stacked = parse(&[c"password=stack"]).unwrap().relayed(asker, config).unwrap();
            assert_eq!(stacked.password, PasswordMode::Verify);
            assert_eq!(stacked.first_pass, FirstPass::Use);
            let none = parse(&[c"password=none"]).unwrap().relayed(asker, config);
            assert_eq!(none, Err(ArgumentError::NotBelieved("password")));
        }
        for asker in [Asker::Root, Asker::User, Asker::Service] {
            let other = parse(&[c"config=/tmp/mine"]).unwrap().relayed(asker, config);
            assert_eq!(other, Err(ArgumentError::OtherConfig));
        }
    }

    #[test]
    fn unknown_malformed_and_repeated_arguments_are_refused_and_named() {
        for (argument, named) in [
            (c"passwd=stack", "passwd"),
            (c"password", "password"),
            (c"password=maybe", "password"),
            (c"config=x", "config"),
            (c"config", "config"),
            (c"debug=1", "debug"),
            (c"nullok=yes", "nullok"),
            (c"dir=/tmp", "dir"),
            (c"", ""),
            (c"=", ""),
            (c"DEBUG", "DEBUG"),
        ] {
            let error = parse(&[argument]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("argument {named}:")), "{error}");
        }
        assert_eq!(parse(&[c"debug", c"debug"]), Err(ArgumentError::Twice("debug".to_owned())));
        assert_eq!(parse(&[c"\xff"]), Err(ArgumentError::NotUtf8));
        for (argument, expected) in [
            (c"window=x", r#"invalid type: string "x", expected a whole number from 0 to 10"#),
            (c"window=11", "invalid value: integer `11`, expected a whole number from 0 to 10"),
            (c"window=-1", r#"invalid type: string "-1", expected a whole number from 0 to 10"#),
            (c"echo=1", r#"invalid type: string "1", expected a boolean"#),
            (
                c"qr=png",
                "unknown variant `png`, expected one of `utf8`, `utf8-light`, `ascii`, `none`",
            ),
            (c"require_groups=a,,b", "must be names, none of them empty"),
        ] {
            let error = parse(&[argument]).unwrap_err().to_string();
            let (named, what) = error.strip_prefix("argument ").unwrap().split_once(": ").unwrap();
            let key = argument.to_str().unwrap().split_once('=').unwrap().0;
            assert_eq!((named, what), (key, expected));
        }
        let broken = parse(&[c"service=../x"]).unwrap().apply(Config::default());
        assert_eq!(broken, Err(ConfigError::Value(RuleError::Service)));
    }

    #[test]
    fn every_key_of_the_overrides_changes_the_configuration_by_its_argument() {
        let value = |key: &str| match key {
            "service" => "other",
            "window" => "2",
            "look_ahead" => "3",
            "max_drift" => "4",
            "resync" => "100",
            "at_login" => "required",
            "qr" => "utf8-light",
            "show_without_password" | "echo" | "uniform" => "true",
            "recovery_codes" => "8",
            "missing" => "deny",
            "require_groups" => "wheel,adm",
            "exempt_groups" => "svc",
            "exempt_networks" => "192.0.2.0/24,::1",
            "remember" => "12h",
            "prompt" => "Code?",
            "honour_silent" => "false",
            "language" => "de",
            "failures" => "9",
            key => panic!("no example of {key}"),
        };
        let with = |key: &str, value: &str| {
            let argument = CString::new(format!("{key}={value}")).unwrap();
            parse(&[&argument])
        };
        let mut config = Config::default();
        for key in Overrides::KEYS {
            let before = config.clone();
            config = with(key, value(key)).unwrap().apply(config).unwrap();
            assert_ne!(config, before, "{key}");
            let refused = with(key, "\n").is_ok_and(|it| it.apply(before).is_ok());
            assert!(!refused, "{key}");
        }
        assert_eq!(config.login.require_groups, GroupNames(vec!["wheel".into(), "adm".into()]));
    }

    #[test]
    fn of_nullok_and_missing_the_later_one_holds() {
        for (line, missing) in [
            (vec![c"nullok"], Missing::Ignore),
            (vec![c"missing=deny", c"nullok"], Missing::Ignore),
            (vec![c"nullok", c"missing=deny"], Missing::Deny),
        ] {
            let config = parse(&line).unwrap().apply(Config::default()).unwrap();
            assert_eq!(config.login.missing, missing, "{line:?}");
        }
        for line in [[c"missing=dney", c"nullok"], [c"nullok", c"missing=dney"]] {
            assert!(matches!(parse(&line), Err(ArgumentError::Value { .. })), "{line:?}");
        }
    }
}
