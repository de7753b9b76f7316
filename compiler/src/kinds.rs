//! How many bits each product's weights get.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use kinglet::kernels::Bits;
use kinglet_train::config::ModelConfig;
use kinglet_train::quant;

use crate::error::{Error, Result};

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

impl From<Kind> for quant::Kind {
    fn from(kind: Kind) -> Self {
        let bits = if kind == Kind::Int8 { 8 } else { 4 };
        Self::new(bits, kind.group()).expect("every kind that is packed can be trained for")
    }
}

impl TryFrom<quant::Kind> for Kind {
    type Error = Error;

    fn try_from(kind: quant::Kind) -> Result<Self> {
        kind.to_string().parse().map_err(|_| {
            Error::Model(format!(
                "its weights are {kind}, which is for experiments; int8 and int4 are packed"
            ))
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
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

    /// Of every product of a network.
    ///
    /// # Errors
    /// [`Error::Model`] when a name is not that of a product.
    pub fn products(&self, model: &ModelConfig) -> Result<BTreeMap<String, quant::Kind>> {
        let names = quant::products(model);
        if let Some(unknown) = self.by_name.keys().find(|name| !names.contains(name)) {
            let names = names.join(", ");
            return Err(Error::Model(format!("it has no product {unknown}, but {names}")));
        }
        Ok(names.into_iter().map(|name| (name.clone(), self.get(&name).into())).collect())
    }

    /// What the products of a scheme are.
    ///
    /// # Errors
    /// [`Error::Model`] when the format has no such weights.
    pub fn of(scheme: &quant::Scheme) -> Result<Self> {
        let named = scheme.products.iter().map(|(name, &kind)| Ok((name.clone(), Kind::try_from(kind)?)));
        Ok(Self::named(named.collect::<Result<_>>()?))
    }

    /// Of all products by name: the commonest for all, and those that differ from it.
    pub fn named(mut by_name: BTreeMap<String, Kind>) -> Self {
        let mut kinds: Vec<Kind> = by_name.values().copied().collect();
        kinds.sort_by_key(|kind| kind.to_string());
        let commonest = kinds.chunk_by(|a, b| a == b).max_by_key(|same| same.len()).map(|same| same[0]);
        let default = commonest.unwrap_or_default();
        by_name.retain(|_, kind| *kind != default);
        Self { default, by_name }
    }
}

impl Display for Kinds {
    /// Such as `int4:32, decoder.fc_out int8`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.by_name
            .iter()
            .filter(|(_, kind)| **kind != self.default)
            .try_for_each(|(name, kind)| write!(f, ", {name} {kind}"))
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
