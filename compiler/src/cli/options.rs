//! Decoding options, the same for every command that runs a blob.

use kinglet::Options;
use kinglet_train::cli::Usage;

/// How to search for the best target.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "Decoding")]
pub struct DecodingArgs {
    /// Hypotheses kept at every step; 1 is greedy
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub beam_size: u8,
    /// Exponent of the length in the score log P / length^X, 0 to 10; 0 ranks by probability, 1 by its mean per token
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    pub length_penalty: f32,
    /// Most tokens of a hypothesis [default: what the model was planned for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub max_decoding_length: Option<u16>,
    /// Fewest tokens of a hypothesis
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_decoding_length: u16,
}

impl DecodingArgs {
    /// The options of a search with a model whose planned target length is `max_target`.
    ///
    /// # Errors
    /// [`Usage`] when the lengths exclude each other or the penalty is out of range.
    pub fn search(&self, max_target: u16) -> Result<Options, Usage> {
        let max_len = self.max_decoding_length.unwrap_or(max_target);
        let min_len = self.min_decoding_length;
        if min_len > max_len {
            return Err(Usage(format!(
                "--min-decoding-length {min_len} is more than --max-decoding-length {max_len}"
            )));
        }
        if !(0.0..=10.0).contains(&self.length_penalty) {
            return Err(Usage(format!("--length-penalty must be 0 to 10, found {}", self.length_penalty)));
        }
        Ok(Options { beam_size: self.beam_size, length_penalty: self.length_penalty, min_len, max_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        decoding: DecodingArgs,
    }

    fn search(args: &[&str]) -> Result<Options, String> {
        let command = Command::try_parse_from([&["x"], args].concat()).map_err(|e| e.to_string())?;
        command.decoding.search(40).map_err(|e| e.to_string())
    }

    #[test]
    fn contradictions_and_ranges_are_refused() {
        let default = Options { beam_size: 4, length_penalty: 1.0, min_len: 0, max_len: 40 };
        assert_eq!(search(&[]).unwrap(), default);
        assert!(search(&["--min-decoding-length", "41"]).unwrap_err().contains("40"));
        assert!(search(&["--beam-size", "0"]).is_err());
        assert!(search(&["--beam-size", "9"]).is_err());
        assert!(search(&["--length-penalty", "nan"]).unwrap_err().contains("0 to 10"));
        assert!(search(&["--length-penalty", "-0.5"]).is_err());
    }
}
