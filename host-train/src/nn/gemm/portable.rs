//! Tiles of 2 rows for machines without fused multiply-add: the products are rounded before they are added.

use super::{Block, Kernel, Tile, WIDTH};

pub(super) const KERNEL: Kernel = Kernel { rows: 2, run, transpose };

unsafe fn run(tile: &Tile) {
    // SAFETY: the caller's: `a` and `b` hold `depth` values of each row and column, `c` and `start` `cols` of each row.
    unsafe {
        let mut sums = [[0.0f32; WIDTH]; 2];
        for k in 0..tile.depth {
            let b = &*tile.b.add(k * WIDTH).cast::<[f32; WIDTH]>();
            for (i, row) in sums[..tile.rows].iter_mut().enumerate() {
                let x = *tile.a.offset(i as isize * tile.a_row + k as isize * tile.a_step);
                row.iter_mut().zip(b).for_each(|(sum, b)| *sum += x * b);
            }
        }
        for (i, row) in sums[..tile.rows].iter().enumerate() {
            tile.store(i, row);
        }
    }
}

pub(super) unsafe fn transpose(block: &Block) {
    for k in 0..block.cols {
        for i in 0..block.width {
            // SAFETY: the caller's: `from` holds `cols` values of each row, `to` has room for `width` of each column.
            unsafe {
                let read = || *block.from.offset(i as isize * block.from_row).add(k);
                *block.to.add(k * block.to_row + i) = if i < block.rows { read() } else { 0.0 };
            }
        }
    }
}
