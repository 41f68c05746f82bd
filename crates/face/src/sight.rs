//! A picture as it is looked at: held one way, at the resolution that was needed so far.
//!
//! Most photos have far more pixels than a face needs. They are decoded with fewer, and with more only when a face on
//! them turns out to be small. Everything that is found is told in pixels of the picture in the file, held this way.

use image::RgbImage;

use super::{
    decode::{DecodeLimits, Reduced, decode_reduced},
    detect::Detection,
    refusal::Refusal,
    turn::Turn,
};

/// A picture is decoded with at least so many pixels on its longer side, unless it has fewer. A face that fills a third
/// of that has the pixels that an embedder's input has.
const LONG_SIDE: u32 = 640;

/// A picture, held one way.
pub(super) struct Sight<'a> {
    file: &'a [u8],
    limits: &'a DecodeLimits,
    turn: Option<Turn>,
    image: RgbImage,
    reduction: u32,
    size: (u32, u32),
}

impl<'a> Sight<'a> {
    /// The upright picture.
    pub(super) fn open(file: &'a [u8], limits: &'a DecodeLimits) -> Result<Self, Refusal> {
        let Reduced { image, reduction, size } = decode_reduced(file, limits, LONG_SIDE)?;
        Ok(Self { file, limits, turn: None, image, reduction, size })
    }

    /// The same, turned.
    pub(super) fn turned(&self, turn: Turn) -> Self {
        let (width, height) = self.size;
        Self {
            turn: Some(turn),
            image: turn.of(&self.image),
            size: if turn == Turn::Half { self.size } else { (height, width) },
            ..*self
        }
    }

    /// The pixels at hand.
    pub(super) fn image(&self) -> &RgbImage {
        &self.image
    }

    /// How it is held.
    pub(super) fn turn(&self) -> Option<Turn> {
        self.turn
    }

    /// Width and height of the picture in the file, held this way.
    pub(super) fn size(&self) -> (u32, u32) {
        self.size
    }

    /// So many pixels of the file, to the right as well as downwards, are one of [`image`](Self::image).
    pub(super) fn reduction(&self) -> f32 {
        self.reduction as f32
    }

    /// From pixels of the file to those at hand.
    pub(super) fn at_hand(&self, face: &Detection) -> Detection {
        face.scaled(1.0 / self.reduction(), 1.0 / self.reduction())
    }

    /// Whether the file has more pixels than are at hand, and `wanted` on the longer side are more too.
    pub(super) fn lacks(&self, wanted: u32) -> bool {
        let long = self.size.0.max(self.size.1);
        self.reduction > 1 && long / self.reduction < wanted.min(long)
    }

    /// Has at least `wanted` pixels on the longer side at hand, as far as the file has them.
    pub(super) fn with_long_side(&mut self, wanted: u32) {
        if !self.lacks(wanted) {
            return;
        }
        // A file that could be decoded with fewer pixels and cannot with all of them is damaged. It is looked at as it is.
        let Ok(finer) = decode_reduced(self.file, self.limits, wanted) else { return };
        self.reduction = finer.reduction;
        self.image = match self.turn {
            Some(turn) => turn.of(&finer.image),
            None => finer.image,
        };
    }
}

#[cfg(feature = "turbojpeg")]
#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb};

    use super::*;
    use crate::geometry::{BoundingBox, Landmarks};

    /// Dark to the right and downwards, as a JPEG.
    fn photo(width: u32, height: u32) -> Vec<u8> {
        let shade = |at: u32, end: u32| u8::try_from(at * 255 / end).unwrap();
        let picture =
            RgbImage::from_fn(width, height, |x, y| Rgb([shade(x, width), shade(y, height), 90]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_large_photo_is_decoded_with_as_few_pixels_as_do_and_with_more_when_they_are_wanted() {
        let (file, limits) = (photo(2_600, 1_999), DecodeLimits::default());
        let mut sight = Sight::open(&file, &limits).unwrap();
        assert_eq!((sight.size(), sight.image().dimensions()), ((2_600, 1_999), (650, 500)));
        sight.with_long_side(640);
        assert_eq!(sight.image().dimensions(), (650, 500));
        sight.with_long_side(651);
        assert_eq!(sight.image().dimensions(), (1_300, 1_000));
        sight.with_long_side(9_000);
        assert_eq!((sight.size(), sight.image().dimensions()), ((2_600, 1_999), (2_600, 1_999)));
    }

    #[test]
    fn a_turned_picture_stays_turned_when_more_pixels_are_wanted() {
        let (file, limits) = (photo(2_600, 1_999), DecodeLimits::default());
        let mut sight = Sight::open(&file, &limits).unwrap().turned(Turn::Quarter);
        assert_eq!((sight.size(), sight.image().dimensions()), ((1_999, 2_600), (500, 650)));
        let corner = |sight: &Sight<'_>| *sight.image().get_pixel(2, 2);
        let before = corner(&sight);
        sight.with_long_side(2_600);
        assert_eq!(sight.image().dimensions(), (1_999, 2_600));
        let apart = before.0.iter().zip(corner(&sight).0).map(|(a, b)| a.abs_diff(b)).max();
        assert!(apart < Some(6), "{before:?} {:?}", corner(&sight));
    }

    #[test]
    fn what_lies_at_hand_is_smaller_by_the_reduction() {
        let (file, limits) = (photo(2_600, 1_999), DecodeLimits::default());
        let sight = Sight::open(&file, &limits).unwrap();
        let area = BoundingBox::new(400.0, 80.0, 200.0, 240.0);
        let face = Detection { area, landmarks: Landmarks::default(), confidence: 0.9 };
        assert_eq!(sight.at_hand(&face).area, BoundingBox::new(100.0, 20.0, 50.0, 60.0));
    }
}
