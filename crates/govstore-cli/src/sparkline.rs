//! A line of blocks that shows how a share between 0 and 1 went.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One block a value, on a scale from 0 to 1, so that two lines can be compared.
pub fn sparkline(shares: impl Iterator<Item = f64>) -> String {
    shares.map(block).collect()
}

fn block(share: f64) -> char {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8; NaN is 0")]
    let eighths = (share.clamp(0.0, 1.0) * 8.0) as usize;
    BLOCKS[eighths.min(7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_the_block_of_its_eighth() {
        let shares = [0.0, 0.124, 0.125, 0.5, 0.874, 0.875, 1.0, -3.0, 7.0, f64::NAN];
        assert_eq!(sparkline(shares.into_iter()), "▁▁▂▅▇██▁█▁");
    }
}
