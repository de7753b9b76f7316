//! What the weights of a product become.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Integers of some bits with a scale for each row, or for each group of a row's columns.
///
/// Written `int8`, `int4`, `int4:32` (in groups of 32 columns). The compiler packs `int8`, `int4` and `int4` in groups;
/// 2 to 7 bits a row are for experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kind {
    bits: u8,
    group: u16,
}

impl Kind {
    /// Eight bits, a scale a row.
    pub const INT8: Self = Self { bits: 8, group: 0 };

    /// Weights of `bits` with a scale a row (`group` 0), or of 4 bits in groups of `group` columns.
    ///
    /// # Errors
    /// Says which combinations there are.
    pub fn new(bits: u8, group: u16) -> Result<Self, String> {
        if !(2..=8).contains(&bits) {
            return Err(format!("weights have 2 to 8 bits, found {bits}"));
        }
        if group > 0 && (bits != 4 || !group.is_multiple_of(16) || group > 256) {
            return Err(format!(
                "groups are for 4 bits and have 16 to 256 columns in steps of 16, found {group} columns of {bits} bits"
            ));
        }
        Ok(Self { bits, group })
    }

    /// Bits a weight.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// Columns a group; 0 when a row has one scale.
    pub fn group(self) -> usize {
        usize::from(self.group)
    }

    /// Largest magnitude of a weight: 127 for eight bits, 7 for four.
    pub fn limit(self) -> i8 {
        ((1u8 << (self.bits - 1)) - 1) as i8
    }

    /// Bytes of so many columns of a row, its groups' multipliers included.
    pub fn bytes(self, columns: usize) -> usize {
        let multipliers = if self.group > 0 { columns.div_ceil(self.group()) } else { 0 };
        (columns * usize::from(self.bits)).div_ceil(8) + multipliers
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "int{}", self.bits)?;
        if self.group > 0 { write!(f, ":{}", self.group) } else { Ok(()) }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let numbers = text.strip_prefix("int")?;
            let (bits, group) = numbers.split_once(':').unwrap_or((numbers, "0"));
            Some((bits.parse().ok()?, group.parse().ok()?))
        };
        let (bits, group) = parse()
            .ok_or_else(|| format!("expected weights such as int8, int4 or int4:32, found {text:?}"))?;
        Self::new(bits, group)
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["int8", "int4", "int4:32", "int2", "int4:256"] {
            assert_eq!(name.parse::<Kind>().unwrap().to_string(), name);
        }
        for wrong in ["int9", "int1", "4", "int4:20", "int8:32", "int4:512", "int4:", "float"] {
            assert!(wrong.parse::<Kind>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        let kind = |name: &str| name.parse::<Kind>().unwrap();
        assert_eq!((kind("int8").limit(), kind("int4").limit(), kind("int2").limit()), (127, 7, 1));
        assert_eq!([kind("int8").bytes(40), kind("int4").bytes(40), kind("int4:32").bytes(40)], [40, 20, 22]);
    }
}
