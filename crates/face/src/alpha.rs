//! Transparency: photos are compared as they look on white paper.

/// An RGBA pixel laid over white.
pub(super) fn over_white([r, g, b, alpha]: [u8; 4]) -> [u8; 3] {
    let alpha = u16::from(alpha);
    [r, g, b].map(|channel| {
        let sum = u16::from(channel) * alpha + 255 * (255 - alpha);
        u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
    })
}
