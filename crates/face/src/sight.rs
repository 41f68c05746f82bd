//! A picture as it is looked at: held one way, at the resolution that was needed so far.
//!
//! Most photos have far more pixels than a face needs. They are decoded with fewer, and with more only when a face on
//! them turns out to be small. Everything that is found is told in pixels of the picture in the file, held this way.
//!
//! There is one picture in memory, whichever way it is held, and a second one while it is turned or resized; its lease has
//! room for both.

use image::RgbImage;

use super::{
    decode::{DecodeLimits, PictureFile},
    detect::Detection,
    memory::{Lease, PixelMemory},
    refusal::Refusal,
    turn::Turn,
};

/// A picture is decoded with at least so many pixels on its longer side, unless it has fewer. A face that fills a third
/// of that has the pixels that an embedder's input has.
const LONG_SIDE: u32 = 640;

/// How a picture is held, and at what resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// `None` as it is in the file.
    pub(super) turn: Option<Turn>,
    reduction: u32,
}

impl View {
    /// The same, turned: from upright.
    pub(super) fn turned(self, turn: Turn) -> Self {
        Self { turn: Some(turn), ..self }
    }
}

/// A picture, held one way.
pub(super) struct Sight<'a> {
    file: PictureFile<'a>,
    memory: &'a PixelMemory,
    view: View,
    image: RgbImage,
    /// `None` only without pixels.
    lease: Option<Lease>,
    /// What a net takes that looks at it, bytes; the lease covers that, too.
    room: u64,
}

impl<'a> Sight<'a> {
    /// The upright picture. Waits until there is memory for it.
    ///
    /// # Errors
    /// Any [`Refusal`] but [`Refusal::NoFace`].
    pub(super) fn open(
        bytes: &'a [u8],
        limits: &DecodeLimits,
        memory: &'a PixelMemory,
    ) -> Result<Self, Refusal> {
        let file = PictureFile::read(bytes, limits, memory)?;
        let view = View { turn: None, reduction: 1 };
        let image = RgbImage::default();
        let mut sight = Self { file, memory, view, image, lease: None, room: 0 };
        sight.decode(file.reduction(LONG_SIDE))?;
        Ok(sight)
    }

    /// Holds the picture as it is, decoded again.
    fn decode(&mut self, reduction: u32) -> Result<(), Refusal> {
        // Nobody waits for memory while holding some.
        self.image = RgbImage::default();
        self.lease = None;
        self.view = View { turn: None, reduction };
        let file = self.file;
        if reduction > 1 {
            let lease = self.memory.lease(self.held_bytes().max(file.decoding_bytes(reduction)))?;
            if let Some(image) = file.decode_with(reduction)? {
                self.hold(image, lease);
                return Ok(());
            }
            self.view.reduction = 1;
        }
        let lease = self.memory.lease(self.held_bytes().max(file.decoding_bytes(1)))?;
        self.hold(file.decode_whole()?, lease);
        Ok(())
    }

    fn hold(&mut self, image: RgbImage, mut lease: Lease) {
        lease.reduce_to(self.held_bytes());
        self.image = image;
        self.lease = Some(lease);
    }

    /// What the picture takes when it is decoded, bytes: itself, and as much again while it is turned or resized, or what a
    /// net takes.
    fn held_bytes(&self) -> u64 {
        let image = self.file.image_bytes(self.view.reduction);
        image + image.max(self.room)
    }

    /// Holds the picture as it was held.
    ///
    /// # Errors
    /// As [`open`](Self::open), where it was held at another resolution.
    pub(super) fn show(&mut self, view: View) -> Result<(), Refusal> {
        if self.view.reduction != view.reduction {
            self.decode(view.reduction)?;
        }
        Turn::change(&mut self.image, self.view.turn, view.turn);
        self.view.turn = view.turn;
        Ok(())
    }

    /// The pixels at hand.
    pub(super) fn image(&self) -> &RgbImage {
        &self.image
    }

    /// How it is held.
    pub(super) fn view(&self) -> View {
        self.view
    }

    /// Width and height of the picture in the file, held this way.
    pub(super) fn size(&self) -> (u32, u32) {
        Turn::size(self.view.turn, self.file.upright_size())
    }

    /// So many pixels of the file, to the right as well as downwards, are one of [`image`](Self::image).
    pub(super) fn reduction(&self) -> f32 {
        self.view.reduction as f32
    }

    /// From pixels of the file to those at hand.
    pub(super) fn at_hand(&self, face: &Detection) -> Detection {
        face.scaled(1.0 / self.reduction(), 1.0 / self.reduction())
    }

    /// Whether the file has more pixels than are at hand, and `wanted` on the longer side are more too.
    pub(super) fn lacks(&self, wanted: u32) -> bool {
        let (width, height) = self.size();
        let long = width.max(height);
        let reduction = self.view.reduction;
        reduction > 1 && long / reduction < wanted.min(long)
    }

    /// Has memory for a net that takes `room` bytes, and at least `wanted` pixels on the longer side at hand, as far as the file
    /// has them.
    ///
    /// # Errors
    /// [`Refusal::PixelMemory`].
    pub(super) fn prepare(&mut self, wanted: u32, room: u64) -> Result<(), Refusal> {
        self.room = room;
        if self.lacks(wanted) {
            return self.with_long_side(wanted);
        }
        let bytes = self.held_bytes();
        if self.lease.as_mut().is_some_and(|lease| lease.try_grow_to(bytes)) {
            return Ok(());
        }
        let view = self.view;
        self.decode(view.reduction)?;
        self.show(view)
    }

    /// Gives back what the net took.
    pub(super) fn clear_room(&mut self) {
        self.room = 0;
        let bytes = self.held_bytes();
        if let Some(lease) = &mut self.lease {
            lease.reduce_to(bytes);
        }
    }

    /// Has at least `wanted` pixels on the longer side at hand, as far as the file has them.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) fn with_long_side(&mut self, wanted: u32) -> Result<(), Refusal> {
        if !self.lacks(wanted) {
            return Ok(());
        }
        let before = self.view;
        self.decode(self.file.reduction(wanted))?;
        self.show(View { turn: before.turn, ..self.view })
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    #[cfg(feature = "turbojpeg")]
    use image::{ImageFormat, Rgb};

    use super::*;
    use crate::flat;
    #[cfg(feature = "turbojpeg")]
    use crate::geometry::{BoundingBox, Landmarks};

    const MIB: u64 = 1 << 20;

    /// 9 MB of pixels; decoding takes hardly more.
    fn flat_png() -> Vec<u8> {
        flat::png(2_000, 1_500, ::png::ColorType::Rgb, ::png::BitDepth::Eight)
    }

    #[test]
    fn pictures_that_need_more_than_is_free_wait_for_each_other_and_all_are_looked_at() {
        let (file, limits, memory) =
            (flat_png(), DecodeLimits::default(), PixelMemory::new(60 * MIB));
        let both = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut sight = Sight::open(&file, &limits, &memory).unwrap();
                    sight.show(sight.view().turned(Turn::Quarter)).unwrap();
                    let before = sight.image().clone();
                    // All have 18 MB on lease now, and none can have 50 as well as the others.
                    both.wait();
                    sight.prepare(640, 40 * MIB).unwrap();
                    assert_eq!((sight.image(), sight.view().turn), (&before, Some(Turn::Quarter)));
                    sight.clear_room();
                });
            }
        });
        drop(memory.lease(60 * MIB).unwrap());
    }

    #[test]
    fn what_can_never_fit_is_refused_when_it_is_needed() {
        let (file, limits) = (flat_png(), DecodeLimits::default());
        let small = PixelMemory::new(10 * MIB);
        let refused = Sight::open(&file, &limits, &small).map(|_| ()).unwrap_err();
        assert_eq!(refused, Refusal::PixelMemory { bytes: 18_000_000, limit: 10 * MIB });
        let memory = PixelMemory::new(60 * MIB);
        let mut sight = Sight::open(&file, &limits, &memory).unwrap();
        let refused = sight.prepare(640, 100 * MIB).unwrap_err();
        assert_eq!(refused, Refusal::PixelMemory { bytes: 9_000_000 + 100 * MIB, limit: 60 * MIB });
    }

    #[test]
    fn a_picture_gives_back_all_but_what_it_holds() {
        let (file, limits, memory) =
            (flat_png(), DecodeLimits::default(), PixelMemory::new(60 * MIB));
        let mut sight = Sight::open(&file, &limits, &memory).unwrap();
        drop(memory.lease(60 * MIB - 18_000_000).unwrap());
        sight.prepare(640, 40 * MIB).unwrap();
        sight.clear_room();
        drop(memory.lease(60 * MIB - 18_000_000).unwrap());
        drop(sight);
        drop(memory.lease(60 * MIB).unwrap());
    }

    /// Dark to the right and downwards, as a JPEG.
    #[cfg(feature = "turbojpeg")]
    fn photo(width: u32, height: u32) -> Vec<u8> {
        let shade = |at: u32, end: u32| u8::try_from(at * 255 / end).unwrap();
        let picture =
            RgbImage::from_fn(width, height, |x, y| Rgb([shade(x, width), shade(y, height), 90]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[cfg(feature = "turbojpeg")]
    #[test]
    fn a_large_photo_is_decoded_with_as_few_pixels_as_do_and_with_more_when_they_are_wanted() {
        let (file, limits) = (photo(2_600, 1_999), DecodeLimits::default());
        let memory = PixelMemory::default();
        let mut sight = Sight::open(&file, &limits, &memory).unwrap();
        assert_eq!((sight.size(), sight.image().dimensions()), ((2_600, 1_999), (650, 500)));
        sight.with_long_side(640).unwrap();
        assert_eq!(sight.image().dimensions(), (650, 500));
        sight.with_long_side(651).unwrap();
        assert_eq!(sight.image().dimensions(), (1_300, 1_000));
        sight.with_long_side(9_000).unwrap();
        assert_eq!((sight.size(), sight.image().dimensions()), ((2_600, 1_999), (2_600, 1_999)));
    }

    #[cfg(feature = "turbojpeg")]
    #[test]
    fn a_turned_picture_stays_turned_when_more_pixels_are_wanted() {
        let (file, limits) = (photo(2_600, 1_999), DecodeLimits::default());
        let memory = PixelMemory::default();
        let mut sight = Sight::open(&file, &limits, &memory).unwrap();
        sight.show(sight.view().turned(Turn::Quarter)).unwrap();
        assert_eq!((sight.size(), sight.image().dimensions()), ((1_999, 2_600), (500, 650)));
        let corner = |sight: &Sight<'_>| *sight.image().get_pixel(2, 2);
        let before = corner(&sight);
        sight.with_long_side(2_600).unwrap();
        assert_eq!(sight.image().dimensions(), (1_999, 2_600));
        let apart = before.0.iter().zip(corner(&sight).0).map(|(a, b)| a.abs_diff(b)).max();
        assert!(apart < Some(6), "{before:?} {:?}", corner(&sight));
    }

    #[cfg(feature = "turbojpeg")]
    #[test]
    fn what_lies_at_hand_is_smaller_by_the_reduction() {
        let (file, limits) = (photo(2_600, 1_999), DecodeLimits::default());
        let memory = PixelMemory::default();
        let sight = Sight::open(&file, &limits, &memory).unwrap();
        let area = BoundingBox::new(400.0, 80.0, 200.0, 240.0);
        let face = Detection { area, landmarks: Landmarks::default(), confidence: 0.9 };
        assert_eq!(sight.at_hand(&face).area, BoundingBox::new(100.0, 20.0, 50.0, 60.0));
    }
}
