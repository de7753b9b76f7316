//! How many bits each product's weights get.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use kinglet::kernels::Bits;

/// What the weights of a product become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(into = "String")]
pub enum Kind {
    /// [-127, 127], a scale a row.
    #[default]
    Int8,
    /// [-7, 7], a scale a row.
    Int4,
    /// [-7, 7], a scale a row and a multiplier for so many columns.
    Int4Groups(u16),
}

impl Kind {
    /// Size of a weight.
    pub fn bits(self) -> Bits {
        match self {
            Self::Int8 => Bits::Int8,
            Self::Int4 | Self::Int4Groups(_) => Bits::Int4,
        }
    }

    /// Columns of a group; 0 without groups.
    pub fn group(self) -> u16 {
        match self {
            Self::Int4Groups(columns) => columns,
            _ => 0,
        }
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int8 => f.write_str("int8"),
            Self::Int4 => f.write_str("int4"),
            Self::Int4Groups(columns) => write!(f, "int4:{columns}"),
        }
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.to_string()
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "int8" => Ok(Self::Int8),
            "int4" => Ok(Self::Int4),
            _ => {
                let columns = text.strip_prefix("int4:").and_then(|columns| columns.parse::<u16>().ok());
                columns
                    .filter(|&c| (16..=256).contains(&c) && c.is_multiple_of(16))
                    .map(Self::Int4Groups)
                    .ok_or_else(|| {
                        format!("\"{text}\" is not int8, int4 or int4:COLUMNS (a multiple of 16, 16 to 256)")
                    })
            }
        }
    }
}

/// The kind of every product.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kinds {
    /// Of products that are not named.
    pub default: Kind,
    /// By the product's name, such as `decoder.fc_out`.
    pub by_name: BTreeMap<String, Kind>,
}

impl Kinds {
    /// The same for all.
    pub fn all(default: Kind) -> Self {
        Self { default, by_name: BTreeMap::new() }
    }

    /// Of one product.
    pub fn get(&self, name: &str) -> Kind {
        self.by_name.get(name).copied().unwrap_or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in [Kind::Int8, Kind::Int4, Kind::Int4Groups(32)] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for bad in ["int5", "int4:", "int4:8", "int4:33", "int4:512"] {
            assert!(bad.parse::<Kind>().is_err(), "{bad}");
        }
    }
}
