//! How a field is read by serde, in the configuration, in module arguments and in records
//! alike: whole numbers within a range that the error names, words that mean
//! something, and tables that can be written as nothing else.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};

/// Reads a whole number from `min` to `max`, both included. What else it meets is an
/// error that names this range.
#[derive(Debug, Clone, Copy)]
pub struct WholeNumber {
    /// The least number that is accepted.
    pub min: u64,
    /// The greatest number that is accepted.
    pub max: u64,
}

impl WholeNumber {
    /// The number that `deserializer` has.
    ///
    /// # Errors
    /// No whole number, or one out of the range.
    pub fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_u64(self)
    }
}

impl Visitor<'_> for WholeNumber {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.min, self.max)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        if (self.min..=self.max).contains(&number) {
            Ok(number)
        } else {
            Err(E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

/// A string that is parsed as a `T`.
#[derive(Debug)]
pub struct Word<T>(pub T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parse<T>(PhantomData<T>);

        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Parse<T> {
            type Value = Word<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word<T>, E> {
                text.parse().map(Word).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Parse(PhantomData))
    }
}

/// A table that is written as one. serde would read a struct from an array too, whose
/// elements are then its fields in the order of our source.
#[derive(Debug)]
pub struct Table<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByKey<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ByKey<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Table)
            }
        }

        deserializer.deserialize_map(ByKey(PhantomData))
    }
}

/// [`Table`], for `#[serde(deserialize_with)]`.
///
/// # Errors
/// No table, or not one of a `T`.
pub fn table<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Table::deserialize(deserializer).map(|Table(table)| table)
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, MapDeserializer, SeqDeserializer};

    use super::*;

    fn whole(value: impl IntoDeserializer<'static, Error>) -> Result<u64, String> {
        WholeNumber { min: 6, max: 8 }
            .read(value.into_deserializer())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_number_is_read_between_its_ends_and_not_beyond_them() {
        for number in 6_u64..=8 {
            assert_eq!(whole(number), Ok(number));
            assert_eq!(whole(i64::try_from(number).unwrap()), Ok(number));
        }
        let expected = "expected a whole number from 6 to 8";
        assert_eq!(whole(5_u64), Err(format!("invalid value: integer `5`, {expected}")));
        assert_eq!(whole(9_i64), Err(format!("invalid value: integer `9`, {expected}")));
        assert_eq!(whole(-6_i64), Err(format!("invalid value: integer `-6`, {expected}")));
        assert_eq!(whole("6"), Err(format!("invalid type: string \"6\", {expected}")));
    }

    #[test]
    fn a_word_is_a_string_that_can_be_parsed() {
        let word = |value: &'static str| {
            let value: serde::de::value::StrDeserializer<'_, Error> = value.into_deserializer();
            Word::<u8>::deserialize(value).map(|Word(number)| number)
        };
        assert_eq!(word("7"), Ok(7));
        assert_eq!(word("x").unwrap_err().to_string(), "invalid digit found in string");
        let number: serde::de::value::U8Deserializer<Error> = 7_u8.into_deserializer();
        let error = Word::<u8>::deserialize(number).unwrap_err().to_string();
        assert_eq!(error, "invalid type: integer `7`, expected a string");
    }

    #[test]
    fn a_table_is_read_by_its_keys_and_never_by_position() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Pair {
            a: u8,
            b: u8,
        }
        let keys = MapDeserializer::<_, Error>::new([("b", 2_u8), ("a", 1)].into_iter());
        assert_eq!(table(keys), Ok(Pair { a: 1, b: 2 }));
        let positions = || SeqDeserializer::<_, Error>::new([1_u8, 2].into_iter());
        assert_eq!(Pair::deserialize(positions()), Ok(Pair { a: 1, b: 2 }), "what serde does");
        let error = table::<_, Pair>(positions()).unwrap_err().to_string();
        assert_eq!(error, "invalid type: sequence, expected a table");
    }
}
