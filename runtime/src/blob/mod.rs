//! From bytes to a checked model: `docs/format.md` describes every byte.

mod op;
pub mod schema;
mod validate;

pub use op::OP_BYTES;

use crc::{CRC_32_ISO_HDLC, Crc};

use crate::error::LoadError;
use crate::kernels::Layout;
use schema::Description;
pub(crate) use validate::Widest;

/// First bytes of every blob, of this and every other version.
pub const MAGIC: [u8; 4] = *b"KNGL";
/// Format version; it moves when an old runtime would misread new bytes.
pub const VERSION: u16 = 3;
/// Oldest version whose bytes mean the same.
pub const OLDEST: u16 = 2;
/// Bytes before the description.
pub const PREAMBLE: usize = 20;
/// Tensors and the data section start at multiples of this.
pub const ALIGN: usize = 16;

/// CRC-32 over the preamble without its CRC, then the rest: what the preamble's last field holds.
#[allow(unexpected_cfgs)] // `fuzzing` is set by the fuzzer alone
pub fn checksum(head: &[u8], rest: &[u8]) -> u32 {
    // Bit by bit, without a table of 1 KB: it is computed once, at load. A fuzzer computes nothing else as often.
    #[cfg(not(fuzzing))]
    type Width = crc::NoTable;
    #[cfg(fuzzing)]
    type Width = crc::Table<16>;
    const CRC: Crc<u32, Width> = Crc::<u32, Width>::new(&CRC_32_ISO_HDLC);
    let mut digest = CRC.digest();
    digest.update(head);
    digest.update(rest);
    digest.finalize()
}

/// A blob that was checked in full.
#[derive(Debug, Clone)]
pub(crate) struct Blob<'a> {
    pub description: Description<'a>,
    pub data: &'a [u8],
    /// How weights are arranged.
    pub layout: Layout,
    /// Widest gathered products.
    pub columns: Widest,
    pub crc: u32,
}

impl<'a> Blob<'a> {
    /// Checks, in this order: length of the preamble, magic, version, layout, stated length, CRC, start of the data
    /// section, the description's encoding, then every shape and offset. Magic and version come first so that a
    /// foreign or newer file is named as such; the CRC comes before anything is decoded.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let found = bytes.len() as u32;
        let Some((head, body)) = bytes.split_first_chunk::<PREAMBLE>() else {
            return Err(LoadError::Truncated { needed: PREAMBLE as u32, found });
        };
        let [m0, m1, m2, m3, v0, v1, l0, l1, n0, n1, n2, n3, d0, d1, d2, d3, c0, c1, c2, c3] = *head;
        let magic = [m0, m1, m2, m3];
        if magic != MAGIC {
            return Err(LoadError::Magic(magic));
        }
        let version = u16::from_le_bytes([v0, v1]);
        if !(OLDEST..=VERSION).contains(&version) {
            return Err(LoadError::Version { found: version, supported: VERSION });
        }
        let layout = u16::from_le_bytes([l0, l1]);
        let Some(layout) = Layout::from_number(layout) else {
            return Err(LoadError::Layout(layout));
        };
        let stated = u32::from_le_bytes([n0, n1, n2, n3]);
        if found < stated {
            return Err(LoadError::Truncated { needed: stated, found });
        }
        if found > stated || bytes.len() > u32::MAX as usize {
            return Err(LoadError::TooLong { stated, found });
        }
        let crc = u32::from_le_bytes([c0, c1, c2, c3]);
        let actual = checksum(&head[..16], body);
        if crc != actual {
            return Err(LoadError::Checksum { stated: crc, found: actual });
        }
        let start = u32::from_le_bytes([d0, d1, d2, d3]);
        let description_len = (start as usize).checked_sub(PREAMBLE);
        let split = description_len.and_then(|at| body.split_at_checked(at));
        let Some((description, data)) = split.filter(|_| (start as usize).is_multiple_of(ALIGN)) else {
            return Err(LoadError::DataStart(start));
        };
        let (mut description, rest) =
            postcard::take_from_bytes::<Description<'_>>(description).map_err(|_| LoadError::Description)?;
        description.task = schema::Task::from_bytes(rest).ok_or(LoadError::Description)?;
        let columns = validate::validate(&description, layout, data)?;
        Ok(Self { description, data, layout, columns, crc })
    }
}

/// The next pass of a program, and what follows it.
pub(crate) fn take_pass(program: &[u8]) -> Option<(schema::Pass, &[u8])> {
    let (bytes, rest) = program.split_first_chunk()?;
    Some((schema::Pass::from_bytes(bytes)?, rest))
}

/// The next operation of a pass, and what follows it.
pub(crate) fn take_op(program: &[u8]) -> Option<(schema::Op, &[u8])> {
    let (bytes, rest) = program.split_first_chunk()?;
    Some((schema::Op::from_bytes(bytes)?, rest))
}

/// `len` bytes of a tensor.
#[cfg_attr(armv6m, inline(never))]
pub(crate) fn tensor(data: &[u8], offset: u32, len: usize) -> Option<&[u8]> {
    data.get(offset as usize..)?.get(..len)
}

/// A matrix' record.
#[cfg_attr(armv6m, inline(never))]
pub(crate) fn matrix(data: &[u8], matrix: schema::Matrix) -> Option<schema::MatrixRecord> {
    schema::MatrixRecord::from_bytes(data.get(matrix as usize..)?.first_chunk()?)
}
