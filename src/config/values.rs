//! What a key of the configuration may be set to: words out of a few, whole numbers with
//! an upper bound, lengths of time, groups and networks. serde reads them from TOML and
//! from module arguments alike.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;
use serde::de::value::Error as WordError;
use serde::de::{Deserializer, Error, IntoDeserializer};

use crate::callers;
use crate::fields::WholeNumber;

/// Why a text is not a value of its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a [`Span`].
    #[error("must be \"none\", or a whole number and s, m, h or d, up to 3650d (12h, 14d)")]
    Span,
    /// Not [`GroupNames`].
    #[error("must be names, none of them empty")]
    GroupName,
    /// Not [`ShowAt`].
    #[error("must be names of services, as of files in pam.d")]
    ServiceName,
    /// Not one of [`Networks`].
    #[error("{0}: must be a network as in 192.0.2.0/24 or 2001:db8::/32")]
    Network(String),
}

// `variant_identifier`: read from a string and from nothing else, where serde's usual
// enums can also be tables.

/// How records and states are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(variant_identifier, rename_all = "lowercase", expecting = "a string in quotes")]
pub enum StoreBackend {
    /// Two files for each user, below one directory.
    #[default]
    Files,
}

/// The kind of token to issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(variant_identifier, rename_all = "lowercase", expecting = "a string in quotes")]
pub enum TokenKind {
    /// By time (RFC 6238).
    #[default]
    Totp,
    /// By counter (RFC 4226).
    Hotp,
}

impl FromStr for TokenKind {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::deserialize(text.into_deserializer())
    }
}

/// How a QR code is drawn with text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(variant_identifier, rename_all = "kebab-case", expecting = "a string in quotes")]
pub enum Qr {
    /// Half blocks, two modules a cell: 21 lines for a usual account. Light modules are
    /// drawn, for terminals that show light text on dark.
    #[default]
    Utf8,
    /// The same, but dark modules are drawn, for dark text on light.
    Utf8Light,
    /// What was `##` and spaces, which no app has read; the key only. It is still
    /// accepted, since a configuration that is refused keeps everybody out.
    Ascii,
    /// No QR code; the key only.
    None,
}

/// Whether a login enrols a pending user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(variant_identifier, rename_all = "lowercase", expecting = "a string in quotes")]
pub enum AtLogin {
    /// It does, and Enter skips it.
    #[default]
    Optional,
    /// It does, and no code, no login.
    Required,
    /// It does for who has the key already, from a sheet or another service: nothing is
    /// shown, a right code activates, and Enter skips it.
    Accept,
    /// It does not: nothing is shown or asked before the account is active.
    Off,
}

/// What becomes of a user without a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(variant_identifier, rename_all = "lowercase", expecting = "a string in quotes")]
pub enum Missing {
    /// They need no code.
    #[default]
    Ignore,
    /// They are refused.
    Deny,
    /// They are issued a record after the right password.
    Enrol,
}

/// A language of the login texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(variant_identifier, rename_all = "lowercase", expecting = "a string in quotes")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Chinese (simplified).
    Zh,
}

impl Language {
    /// Its code (ISO 639-1), which is also its word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
            Self::Zh => "zh",
        }
    }
}

/// A whole number from 0 to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpTo<const MAX: u64>(u64);

impl<const MAX: u64> UpTo<MAX> {
    /// The greatest that it can be.
    pub const MOST: u64 = MAX;

    /// The number that our source has; one out of range does not compile.
    #[must_use]
    pub const fn of<const NUMBER: u64>() -> Self {
        const { assert!(NUMBER <= MAX) };
        Self(NUMBER)
    }

    /// As a number, from 0 to `MAX`.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de, const MAX: u64> Deserialize<'de> for UpTo<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WholeNumber { min: 0, max: MAX }.read(deserializer).map(Self)
    }
}

/// Time steps before and after: each one more gives a guess two more chances.
pub type Window = UpTo<10>;
/// Counters ahead: each one gives a guess one more chance.
pub type LookAhead = UpTo<100>;
/// Time steps of drift that are followed.
pub type MaxDrift = UpTo<100>;
/// Counters in which two codes in a row are looked for.
pub type Resync = UpTo<1000>;
/// Recovery codes issued at activation: the state has room for so many.
pub type RecoveryCodes = UpTo<16>;

/// A number of times, for `#[serde(deserialize_with)]`.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = WholeNumber { min: 0, max: u64::from(u32::MAX) }.read(deserializer)?;
    u32::try_from(number).map_err(D::Error::custom)
}

/// The same as an override.
pub(super) fn some_count<'de, D>(deserializer: D) -> Result<Option<u32>, D::Error>
where
    D: Deserializer<'de>,
{
    count(deserializer).map(Some)
}

/// A number of seconds, as large as TOML's integers get, for
/// `#[serde(deserialize_with)]`.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    WholeNumber { min: 0, max: i64::MAX.unsigned_abs() }.read(deserializer)
}

/// A length of time: `none`, or a whole number and `s`, `m`, `h` or `d`; ten years at
/// most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(Option<u64>);

impl Span {
    /// In seconds; `None` for `none`.
    #[must_use]
    pub const fn seconds(self) -> Option<u64> {
        self.0
    }
}

impl FromStr for Span {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "none" {
            return Ok(Self(None));
        }
        let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400_u64)];
        units
            .iter()
            .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
            .and_then(|(number, seconds)| number.parse::<u64>().ok()?.checked_mul(*seconds))
            .filter(|seconds| (1..=10 * 365 * 86_400).contains(seconds))
            .map(|seconds| Self(Some(seconds)))
            .ok_or(ValueError::Span)
    }
}

impl TryFrom<String> for Span {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

/// Names of groups; as an argument, with commas between them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct GroupNames(pub Vec<String>);

impl TryFrom<Vec<String>> for GroupNames {
    type Error = ValueError;
    fn try_from(names: Vec<String>) -> Result<Self, ValueError> {
        if names.iter().any(|name| name.is_empty() || name.contains(char::is_control)) {
            Err(ValueError::GroupName)
        } else {
            Ok(Self(names))
        }
    }
}

/// Services at which a secret may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub enum ShowAt {
    /// Those whose programs are known to bring it to the person: [`callers::PROVEN`].
    #[default]
    Proven,
    /// These and no others.
    These(Vec<String>),
}

impl ShowAt {
    /// Whether a secret may be shown at this service.
    #[must_use]
    pub fn names(&self, service: &str) -> bool {
        match self {
            Self::Proven => callers::PROVEN.contains(&service),
            Self::These(services) => services.iter().any(|name| name == service),
        }
    }
}

impl TryFrom<Vec<String>> for ShowAt {
    type Error = ValueError;
    fn try_from(names: Vec<String>) -> Result<Self, ValueError> {
        // A service is a file in pam.d.
        let is_wrong = |c: char| c == '/' || c.is_control();
        if names.iter().any(|name| name.is_empty() || name.contains(is_wrong)) {
            Err(ValueError::ServiceName)
        } else if names == callers::PROVEN {
            Ok(Self::Proven)
        } else {
            Ok(Self::These(names))
        }
    }
}

/// Networks in CIDR notation, or single addresses; as an argument, with commas between
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether one of them holds the address. An IPv4 address that is written as an IPv6
    /// one (`::ffff:192.0.2.1`) is an IPv4 address, here and in the networks.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether one of them holds the host that PAM_RHOST names.
    #[must_use]
    pub fn hold_host(&self, rhost: &str) -> bool {
        host_address(rhost).is_some_and(|address| self.contain(address))
    }

    /// Those that are larger than any network of one's own: shorter prefixes than /8 of
    /// IPv4 and /7 of IPv6, also if they are written as several that lie side by side.
    #[cfg(feature = "tool")]
    #[must_use]
    pub fn of_everybody(&self) -> Vec<String> {
        let wide = |network: &IpNet| match network {
            IpNet::V4(network) => network.prefix_len() < 8,
            IpNet::V6(network) => network.prefix_len() < 7,
        };
        IpNet::aggregate(&self.0).iter().filter(|it| wide(it)).map(ToString::to_string).collect()
    }
}

/// The address that PAM_RHOST names, perhaps with its interface (`fe80::1%eth0`). A name is
/// none: it can be forged, and "localhost" is everybody's who comes through one proxy.
/// Neither is the address of no host (0.0.0.0, ::), which gdm gives.
#[must_use]
pub fn host_address(rhost: &str) -> Option<IpAddr> {
    let address = match rhost.split_once('%') {
        Some((_, "")) => None,
        Some((address, _interface)) => address.parse().ok().map(IpAddr::V6),
        None => rhost.parse().ok(),
    };
    address.filter(|address| !address.to_canonical().is_unspecified())
}

/// Not by the crate's own parser, which takes leading zeros: octal numbers elsewhere.
fn network(text: &str) -> Option<IpNet> {
    let network = match text.split_once('/') {
        None => text.parse::<IpAddr>().ok()?.into(),
        Some((address, prefix)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
            IpNet::new(address.parse().ok()?, prefix.parse().ok()?).ok()?
        }
        Some(_) => return None,
    };
    Some(canonical(network))
}

/// As [`Networks::contain`] takes addresses.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let prefix = mapped.prefix_len().checked_sub(96);
    let address = mapped.addr().to_ipv4_mapped();
    let network4 = address.zip(prefix).and_then(|(address, it)| Ipv4Net::new(address, it).ok());
    network4.map_or(network, IpNet::V4)
}

impl TryFrom<Vec<String>> for Networks {
    type Error = ValueError;
    fn try_from(list: Vec<String>) -> Result<Self, ValueError> {
        let network = |text: String| network(&text).ok_or(ValueError::Network(text));
        list.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit() {
        for (text, seconds) in
            [("none", None), ("90s", Some(90)), ("12h", Some(43_200)), ("14d", Some(1_209_600))]
        {
            assert_eq!(text.parse::<Span>().map(Span::seconds), Ok(seconds), "{text}");
        }
        for text in ["", "0s", "5", "h", "-1h", "1.5h", "99999999999999999999d", "4000d", "1 h"] {
            assert_eq!(text.parse::<Span>(), Err(ValueError::Span), "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_and_no_other() {
        let list = ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"].map(str::to_owned);
        let networks = Networks::try_from(list.to_vec()).unwrap();
        for (address, inside) in [
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("::ffff:192.0.2.1", true),
            ("2001:db8:1::1", true),
            ("2001:db9::", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
        ] {
            assert_eq!(networks.contain(address.parse().unwrap()), inside, "{address}");
        }
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_ipv4_network_is_one_also_where_it_is_written_as_an_ipv6_one() {
        let networks = |network: &str| Networks::try_from(vec![network.to_owned()]);
        for (network, address, inside) in [
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true),
            ("::ffff:a00:0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.0.0.0", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("::ffff:192.0.2.1/128", "192.0.2.1", true),
            ("::ffff:0:0/96", "198.51.100.1", true),
            ("::ffff:0:0/96", "2001:db8::1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            // What is not one IPv4 network holds no IPv4 address.
            ("::ffff:0:0/95", "198.51.100.1", false),
            ("::/0", "198.51.100.1", false),
            ("::/0", "::ffff:198.51.100.1", false),
            ("::/0", "2001:db8::1", true),
            // The old "compatible" form is another address.
            ("10.0.0.0/8", "::10.1.2.3", false),
            ("::10.0.0.0/104", "10.1.2.3", false),
            ("10.1.2.3/8", "10.200.0.1", true),
        ] {
            let networks = networks(network).unwrap();
            assert_eq!(networks.contain(address.parse().unwrap()), inside, "{network} {address}");
            assert_eq!(networks.hold_host(address), inside, "{network} {address}");
        }
        for network in [
            "fe80::%eth0/10",
            "fe80::1%eth0",
            "010.0.0.0/8",
            "10/8",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "host",
            "",
        ] {
            assert!(networks(network).is_err(), "{network}");
        }
    }

    #[test]
    fn a_host_is_an_address_perhaps_with_its_interface_and_no_name() {
        let list = ["fe80::/10", "10.0.0.0/8"].map(str::to_owned);
        let networks = Networks::try_from(list.to_vec()).unwrap();
        for (rhost, inside) in [
            ("fe80::1%eth0", true),
            ("fe80::1%2", true),
            ("FE80::1", true),
            ("fe80::1%", false),
            ("fec0::1%eth0", false),
            ("10.0.0.1", true),
            ("10.0.0.1%eth0", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1%eth0", true),
            ("010.0.0.1", false),
            ("10.1", false),
            ("10.0.0.1.example.org", false),
            ("10.0.0.1 ", false),
            ("10.0.0.1:22", false),
            ("[fe80::1]", false),
            ("localhost", false),
            ("", false),
        ] {
            assert_eq!(networks.hold_host(rhost), inside, "{rhost}");
        }
    }

    #[cfg(feature = "tool")]
    #[test]
    fn networks_of_everybody_are_those_that_are_larger_than_any_of_ones_own() {
        let wide = |list: &[&str]| {
            let list = list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            Networks::try_from(list).unwrap().of_everybody()
        };
        assert_eq!(wide(&["10.0.0.0/8", "fc00::/7", "fe80::/10", "::1"]), [""; 0]);
        assert_eq!(wide(&["0.0.0.0/0"]), ["0.0.0.0/0"]);
        assert_eq!(wide(&["::/0", "10.0.0.0/8"]), ["::/0"]);
        assert_eq!(wide(&["::ffff:0:0/96"]), ["0.0.0.0/0"]);
        assert_eq!(wide(&["128.0.0.0/1", "0.0.0.0/1"]), ["0.0.0.0/0"]);
        assert_eq!(wide(&["2000::/3"]), ["2000::/3"]);
    }

    #[test]
    fn a_language_is_read_by_its_code() {
        for language in [Language::En, Language::De, Language::Fr, Language::Zh] {
            let code: WordDeserializer<'_> = language.word().into_deserializer();
            assert_eq!(Language::deserialize(code), Ok(language));
        }
    }

    type WordDeserializer<'t> = serde::de::value::StrDeserializer<'t, WordError>;
}
