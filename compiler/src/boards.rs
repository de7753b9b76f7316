//! Boards that a model can be planned for: memories, core, clock, and what a firmware leaves of them.

use kinglet::kernels::Layout;
use kinglet::{Limits, Model};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::time::{self, Lengths, Time};

/// Kinds of cores by the code that runs on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Core {
    /// Cortex-M0 and M0+.
    M0,
    /// Cortex-M3.
    M3,
    /// Cortex-M4.
    M4,
    /// Cortex-M33.
    M33,
    /// Cortex-M55.
    M55,
    /// 32-bit RISC-V with multiplication.
    Rv32,
}

impl Core {
    /// The layout of weights that it runs fast.
    pub fn layout(self) -> Layout {
        match self {
            Self::M0 | Self::M3 | Self::Rv32 => Layout::Tiles,
            Self::M4 | Self::M33 => Layout::Pairs,
            Self::M55 => Layout::Blocks,
        }
    }

    /// Bytes of flash set aside for a firmware with the runtime, a shell and a board's support: an allowance, not a measurement
    /// of each board (`firmware-example/size.sh` measures the runtime: 24 KB without its features on a Cortex-M0, 31 to 42 KB with all of them).
    pub fn firmware_flash(self) -> usize {
        match self {
            Self::M0 => 32 * KB,
            Self::M3 => 40 * KB,
            Self::M4 | Self::M33 | Self::M55 | Self::Rv32 => 48 * KB,
        }
    }

    /// Bytes of RAM set aside beside the model's buffer, for the stack and a few statics; `firmware-example/stack.sh` measures up to
    /// 2.0 KB of stack on the smaller cores, 2.9 KB on the larger ones.
    pub fn firmware_ram(self) -> usize {
        match self {
            Self::M0 | Self::M3 => 2 * KB + 512,
            Self::M4 | Self::M33 | Self::M55 | Self::Rv32 => 3 * KB,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::M0 => "Cortex-M0",
            Self::M3 => "Cortex-M3",
            Self::M4 => "Cortex-M4F",
            Self::M33 => "Cortex-M33",
            Self::M55 => "Cortex-M55",
            Self::Rv32 => "RV32IMC",
        }
    }
}

/// A board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Board {
    /// Name on the command line.
    pub name: &'static str,
    /// Its microcontroller.
    pub chip: &'static str,
    /// Core.
    pub core: Core,
    /// Clock in kHz.
    pub khz: u32,
    /// Bytes of flash.
    pub flash: usize,
    /// Bytes of RAM in one piece.
    pub ram: usize,
}

const KB: usize = 1024;
const MB: usize = 1024 * KB;

/// All boards, by name. Each with where its facts are stated; flash is told with the wait states at this clock, which times do
/// not know of.
pub const BOARDS: &[Board] = &[
    // SAM3X/SAM3A data sheet (Atmel-11057), "Features": Cortex-M3 at up to 84 MHz, 512 KB flash, 96 KB SRAM. "Memories", internal
    // SRAM: 64 KB and 32 KB, mirrored so that they lie one behind the other from 0x2007_0000 on. "Embedded Flash Wait State":
    // 4 at 84 MHz, 128 bits a read.
    Board {
        name: "arduino-due",
        chip: "SAM3X8E",
        core: Core::M3,
        khz: 84_000,
        flash: 512 * KB,
        ram: 96 * KB,
    },
    // Arm AN547 (Corstone SSE-300 on MPS3), memory map and clocks: 512 KB ITCM, which holds code and model, 512 KB DTCM, 32 MHz;
    // neither waits. 2 MB and 4 MB of SRAM behind the bus are not counted.
    Board {
        name: "corstone-300",
        chip: "SSE-300",
        core: Core::M55,
        khz: 32_000,
        flash: 512 * KB,
        ram: 512 * KB,
    },
    // ESP32-C3-WROOM-02 data sheet, 1.1 "Features": up to 160 MHz, 400 KB SRAM of which 16 KB are cache, 4 MB SPI flash, read
    // through that cache.
    Board {
        name: "esp32-c3",
        chip: "ESP32-C3",
        core: Core::Rv32,
        khz: 160_000,
        flash: 4 * MB,
        ram: 384 * KB,
    },
    // nRF51822 product specification, "Ordering information", variant QFAA, the micro:bit's: 256 KB flash, 16 KB RAM; "CPU":
    // Cortex-M0 at 16 MHz.
    Board {
        name: "microbit-v1",
        chip: "nRF51822",
        core: Core::M0,
        khz: 16_000,
        flash: 256 * KB,
        ram: 16 * KB,
    },
    // nRF52833 product specification, "Ordering information", variant QIAA, the micro:bit's: 512 KB flash, 128 KB RAM; "CPU":
    // Cortex-M4F at 64 MHz, flash with wait states behind a cache of instructions.
    Board {
        name: "microbit-v2",
        chip: "nRF52833",
        core: Core::M4,
        khz: 64_000,
        flash: 512 * KB,
        ram: 128 * KB,
    },
    // nRF52840 product specification, "Memory": 1 MB flash, 256 KB RAM; "CPU": as the nRF52833.
    Board { name: "nrf52840-dk", chip: "nRF52840", core: Core::M4, khz: 64_000, flash: MB, ram: 256 * KB },
    // RP2040 data sheet, 2.6.2 "SRAM": 264 KB in one piece, no wait states; 2.6.3 "Flash": read through a cache of 16 KB. Two
    // Cortex-M0+ of up to 133 MHz, of which the SDK sets 125. Pico data sheet: 2 MB QSPI flash.
    Board { name: "pico", chip: "RP2040", core: Core::M0, khz: 125_000, flash: 2 * MB, ram: 264 * KB },
    // RP2350 data sheet, 1 "Introduction": 520 KB SRAM, two Cortex-M33 at up to 150 MHz; flash is read through a cache of 16 KB.
    // Pico 2 data sheet: 4 MB QSPI flash.
    Board { name: "pico2", chip: "RP2350", core: Core::M33, khz: 150_000, flash: 4 * MB, ram: 520 * KB },
    // STM32F405 data sheet (DS8626), cover: 1 MB flash, 168 MHz. RM0090, 2.3.1 "Embedded SRAM": 112 KB and 16 KB in one piece, and
    // 64 KB of core-coupled memory elsewhere, which is not counted; 3.5.1: 5 wait states, 128 bits a read, caches.
    Board { name: "stm32f405", chip: "STM32F405", core: Core::M4, khz: 168_000, flash: MB, ram: 128 * KB },
    // STM32L476 data sheet (DS10198), 3.4: 1 MB flash; cover: 80 MHz. RM0351, 2.1: 96 KB SRAM1; the 32 KB of SRAM2 lie elsewhere;
    // 3.3.3: 4 wait states, 64 bits a read, caches.
    Board { name: "stm32l4", chip: "STM32L476", core: Core::M4, khz: 80_000, flash: MB, ram: 96 * KB },
];

/// The board of a name.
///
/// # Errors
/// [`Error::Board`] lists the names.
pub fn board(name: &str) -> Result<Board> {
    let found = BOARDS.iter().find(|board| board.name == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = BOARDS.iter().map(|board| board.name).collect();
        Error::Board { name: name.to_owned(), known: names.join(", ") }
    })
}

impl Board {
    /// Flash that is left for a blob.
    pub fn flash_for_model(&self) -> usize {
        self.flash - self.core.firmware_flash()
    }

    /// RAM that is left for a session's buffer.
    pub fn ram_for_model(&self) -> usize {
        self.ram - self.core.firmware_ram()
    }
}

/// Longest source that fits a beam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Longest {
    /// Beam.
    pub beam: u8,
    /// Source tokens, end mark included; none when not even one fits.
    pub source: Option<u16>,
}

/// What fits a board.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// The board.
    pub board: Board,
    /// Bytes of flash left beside firmware and blob; negative when they are missing.
    pub flash_left: i64,
    /// Bytes of RAM left beside firmware and buffer at the planned lengths and beam; negative when they are missing.
    pub ram_left: i64,
    /// Longest sources by beam, at the planned target length.
    pub longest: Vec<Longest>,
    /// Widest beam at the planned lengths.
    pub widest_beam: Option<u8>,
    /// How long a word takes, about.
    pub time: Time,
}

/// Beams that the longest source is told for.
const BEAMS: [u8; 3] = [1, 4, 8];

/// What fits, when sessions are planned for these limits; the time is that of a word of so many source tokens (end mark
/// included) and steps.
pub fn fit(board: Board, model: &Model<'_>, blob: usize, limits: Limits, lengths: Lengths) -> Fit {
    let room = board.ram_for_model();
    let fits = |limits: &Limits| model.ram(limits) <= room;
    let longest = |beam: u8| Longest { beam, source: longest_source(model, Limits { beam, ..limits }, room) };
    Fit {
        board,
        flash_left: board.flash_for_model() as i64 - blob as i64,
        ram_left: room as i64 - model.ram(&limits) as i64,
        longest: BEAMS.map(longest).to_vec(),
        time: time::word(model, board.core, board.khz, lengths),
        widest_beam: (1..=8).rev().find(|&beam| fits(&Limits { beam, ..limits })),
    }
}

/// The longest source of at most 4096 tokens whose RAM is within a bound; RAM grows with the source.
pub fn longest_source(model: &Model<'_>, limits: Limits, room: usize) -> Option<u16> {
    let sources: Vec<u16> = (1..=4096).collect();
    let fitting = sources.partition_point(|&source| model.ram(&Limits { source, ..limits }) <= room);
    fitting.checked_sub(1).map(|last| sources[last])
}

impl std::fmt::Display for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Board { name, chip, core, khz, flash, ram } = self.board;
        let mhz = f64::from(khz) / 1000.0;
        writeln!(
            f,
            "{name}: {chip}, {} at {mhz} MHz, {} KB flash, {} KB RAM",
            core.name(),
            flash / KB,
            ram / KB
        )?;
        writeln!(
            f,
            "  beside {} KB flash and {} bytes RAM for the firmware",
            core.firmware_flash() / KB,
            core.firmware_ram()
        )?;
        let left = |bytes: i64| {
            if bytes < 0 { format!("{} bytes missing", -bytes) } else { format!("{bytes} bytes left") }
        };
        writeln!(f, "  flash: {}; RAM: {}", left(self.flash_left), left(self.ram_left))?;
        let longest: Vec<String> = self
            .longest
            .iter()
            .map(|l| match l.source {
                Some(4096) => format!("4096 or more (beam {})", l.beam),
                Some(source) => format!("{source} (beam {})", l.beam),
                None => format!("none (beam {})", l.beam),
            })
            .collect();
        writeln!(f, "  longest source in tokens, with the end mark: {}", longest.join(", "))?;
        match self.widest_beam {
            Some(beam) => writeln!(f, "  widest beam at the planned lengths: {beam}")?,
            None => writeln!(f, "  not even greedy search fits at the planned lengths")?,
        }
        self.time.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_found_by_name_and_leave_room() {
        for listed in BOARDS {
            assert_eq!(board(listed.name).unwrap(), *listed);
            assert!(listed.flash > listed.core.firmware_flash() && listed.ram > listed.core.firmware_ram());
        }
        assert!(BOARDS.is_sorted_by_key(|board| board.name));
        let message = board("arduino").unwrap_err().to_string();
        assert!(message.contains("arduino") && message.contains("microbit-v1, microbit-v2"), "{message}");
    }
}
