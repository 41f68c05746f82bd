//! An image that is decoded as far as it is needed: held one way, at the resolution needed so far.
//!
//! Most photos have far more pixels than a face needs. They are decoded with fewer, and with more
//! only when a face on them turns out to be small. What is found is reported in pixels of the file,
//! with the image held this way.
//!
//! One image is in memory, however it is held, and a second one while it is rotated or resized; its
//! lease covers both.

use image::RgbImage;

use super::{
    decode::PictureFile,
    detection::Detection,
    geometry::Landmarks,
    limits::DecodeLimits,
    memory::{PixelLease, PixelMemory},
    refusal::Refusal,
    rotation::Rotation,
};

/// An image is decoded with at least so many pixels on its longer side, unless it has fewer. A face
/// that fills a third of that has as many pixels as the input of an embedder.
const LONG_SIDE: u32 = 640;

/// How an image is held, and at what resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// `None` as it is in the file.
    pub(super) rotation: Option<Rotation>,
    reduction: u32,
}

impl View {
    /// The same resolution, rotated from upright.
    pub(super) fn rotated(self, rotation: Rotation) -> Self {
        Self { rotation: Some(rotation), ..self }
    }
}

/// An image, held one way.
#[derive(Debug)]
pub(super) struct LazyImage<'a> {
    file: PictureFile<'a>,
    memory: &'a PixelMemory,
    view: View,
    image: RgbImage,
    /// `None` only without pixels.
    lease: Option<PixelLease>,
    /// Memory of the net that runs on it, in bytes; the lease covers that too.
    working_bytes: u64,
}

impl<'a> LazyImage<'a> {
    /// The upright image. Waits until there is memory for it.
    ///
    /// # Errors
    /// Any [`Refusal`] but [`Refusal::NoFace`].
    pub(super) fn open(
        bytes: &'a [u8],
        limits: &DecodeLimits,
        memory: &'a PixelMemory,
    ) -> Result<Self, Refusal> {
        let file = PictureFile::read(bytes, limits, memory)?;
        let view = View { rotation: None, reduction: 1 };
        let image = RgbImage::default();
        let mut opened = Self { file, memory, view, image, lease: None, working_bytes: 0 };
        opened.decode(file.reduction(LONG_SIDE))?;
        Ok(opened)
    }

    /// Decodes again, upright.
    fn decode(&mut self, reduction: u32) -> Result<(), Refusal> {
        // A thread that waits for memory must not hold any: two of them would wait for each other.
        self.image = RgbImage::default();
        self.lease = None;
        self.view = View { rotation: None, reduction };
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

    fn hold(&mut self, image: RgbImage, mut lease: PixelLease) {
        lease.reduce_to(self.held_bytes());
        self.image = image;
        self.lease = Some(lease);
    }

    /// Memory of the decoded image, in bytes: its pixels, and as much again while it is rotated or
    /// resized, or the memory of a net.
    fn held_bytes(&self) -> u64 {
        let image = self.file.image_bytes(self.view.reduction);
        image + image.max(self.working_bytes)
    }

    /// Holds the image this way.
    ///
    /// # Errors
    /// As [`open`](Self::open), if the resolution is another one.
    pub(super) fn show(&mut self, view: View) -> Result<(), Refusal> {
        if self.view.reduction != view.reduction {
            self.decode(view.reduction)?;
        }
        Rotation::change(&mut self.image, self.view.rotation, view.rotation);
        self.view.rotation = view.rotation;
        Ok(())
    }

    /// The pixels at hand.
    pub(super) fn pixels(&self) -> &RgbImage {
        &self.image
    }

    /// How it is held.
    pub(super) fn view(&self) -> View {
        self.view
    }

    /// Width and height of the file, held this way.
    pub(super) fn size(&self) -> (u32, u32) {
        Rotation::size(self.view.rotation, self.file.upright_size())
    }

    /// Width and height of the file, upright.
    pub(super) fn upright_size(&self) -> (u32, u32) {
        self.file.upright_size()
    }

    /// How many pixels of the file, along each axis, are one of [`pixels`](Self::pixels).
    pub(super) fn reduction(&self) -> f32 {
        self.view.reduction as f32
    }

    /// Landmarks in pixels of the file, from those at hand.
    pub(super) fn in_file(&self, landmarks: &Landmarks) -> Landmarks {
        landmarks.scaled(self.reduction(), self.reduction())
    }

    /// A detection in pixels at hand, from those of the file.
    pub(super) fn at_hand(&self, face: &Detection) -> Detection {
        face.scaled(1.0 / self.reduction(), 1.0 / self.reduction())
    }

    /// Whether the file has more pixels than are at hand, and `wanted` on the longer side are more
    /// too.
    pub(super) fn lacks(&self, wanted: u32) -> bool {
        let (width, height) = self.size();
        let long = width.max(height);
        let reduction = self.view.reduction;
        reduction > 1 && long / reduction < wanted.min(long)
    }

    /// Has memory for a net that takes `working_bytes`, and at least `wanted` pixels on the longer
    /// side at hand, as far as the file has them.
    ///
    /// # Errors
    /// [`Refusal::PixelMemory`].
    pub(super) fn prepare(&mut self, wanted: u32, working_bytes: u64) -> Result<(), Refusal> {
        self.working_bytes = working_bytes;
        if self.lacks(wanted) {
            return self.decode_at_least(wanted);
        }
        let bytes = self.held_bytes();
        if self.lease.as_mut().is_some_and(|lease| lease.try_grow_to(bytes)) {
            return Ok(());
        }
        let view = self.view;
        self.decode(view.reduction)?;
        self.show(view)
    }

    /// Gives back the memory of the net.
    pub(super) fn release_working_memory(&mut self) {
        self.working_bytes = 0;
        let bytes = self.held_bytes();
        if let Some(lease) = &mut self.lease {
            lease.reduce_to(bytes);
        }
    }

    /// Has at least `wanted` pixels on the longer side at hand, as far as the file has them.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) fn decode_at_least(&mut self, wanted: u32) -> Result<(), Refusal> {
        if !self.lacks(wanted) {
            return Ok(());
        }
        let before = self.view;
        self.decode(self.file.reduction(wanted))?;
        self.show(View { rotation: before.rotation, ..self.view })
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
    use crate::geometry::BoundingBox;

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
                    let mut image = LazyImage::open(&file, &limits, &memory).unwrap();
                    image.show(image.view().rotated(Rotation::Quarter)).unwrap();
                    let before = image.pixels().clone();
                    // All have 18 MB on lease now, and none can have 50 as well as the others.
                    both.wait();
                    image.prepare(640, 40 * MIB).unwrap();
                    assert_eq!(
                        (image.pixels(), image.view().rotation),
                        (&before, Some(Rotation::Quarter))
                    );
                    image.release_working_memory();
                });
            }
        });
        drop(memory.lease(60 * MIB).unwrap());
    }

    #[test]
    fn what_can_never_fit_is_refused_when_it_is_needed() {
        let (file, limits) = (flat_png(), DecodeLimits::default());
        let small = PixelMemory::new(10 * MIB);
        let refused = LazyImage::open(&file, &limits, &small).map(|_| ()).unwrap_err();
        assert_eq!(refused, Refusal::PixelMemory { bytes: 18_000_000, limit: 10 * MIB });
        let memory = PixelMemory::new(60 * MIB);
        let mut image = LazyImage::open(&file, &limits, &memory).unwrap();
        let refused = image.prepare(640, 100 * MIB).unwrap_err();
        assert_eq!(refused, Refusal::PixelMemory { bytes: 9_000_000 + 100 * MIB, limit: 60 * MIB });
    }

    #[test]
    fn a_picture_gives_back_all_but_what_it_holds() {
        let (file, limits, memory) =
            (flat_png(), DecodeLimits::default(), PixelMemory::new(60 * MIB));
        let mut image = LazyImage::open(&file, &limits, &memory).unwrap();
        drop(memory.lease(60 * MIB - 18_000_000).unwrap());
        image.prepare(640, 40 * MIB).unwrap();
        image.release_working_memory();
        drop(memory.lease(60 * MIB - 18_000_000).unwrap());
        drop(image);
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
        let mut image = LazyImage::open(&file, &limits, &memory).unwrap();
        assert_eq!((image.size(), image.pixels().dimensions()), ((2_600, 1_999), (650, 500)));
        image.decode_at_least(640).unwrap();
        assert_eq!(image.pixels().dimensions(), (650, 500));
        image.decode_at_least(651).unwrap();
        assert_eq!(image.pixels().dimensions(), (1_300, 1_000));
        image.decode_at_least(9_000).unwrap();
        assert_eq!((image.size(), image.pixels().dimensions()), ((2_600, 1_999), (2_600, 1_999)));
    }

    #[cfg(feature = "turbojpeg")]
    #[test]
    fn a_turned_picture_stays_turned_when_more_pixels_are_wanted() {
        let (file, limits) = (photo(2_600, 1_999), DecodeLimits::default());
        let memory = PixelMemory::default();
        let mut image = LazyImage::open(&file, &limits, &memory).unwrap();
        image.show(image.view().rotated(Rotation::Quarter)).unwrap();
        assert_eq!((image.size(), image.pixels().dimensions()), ((1_999, 2_600), (500, 650)));
        let corner = |image: &LazyImage<'_>| *image.pixels().get_pixel(2, 2);
        let before = corner(&image);
        image.decode_at_least(2_600).unwrap();
        assert_eq!(image.pixels().dimensions(), (1_999, 2_600));
        let apart = before.0.iter().zip(corner(&image).0).map(|(a, b)| a.abs_diff(b)).max();
        assert!(apart < Some(6), "{before:?} {:?}", corner(&image));
    }

    #[cfg(feature = "turbojpeg")]
    #[test]
    fn what_lies_at_hand_is_smaller_by_the_reduction() {
        let (file, limits) = (photo(2_600, 1_999), DecodeLimits::default());
        let memory = PixelMemory::default();
        let image = LazyImage::open(&file, &limits, &memory).unwrap();
        let area = BoundingBox::new(400.0, 80.0, 200.0, 240.0);
        let face = Detection { area, landmarks: Landmarks::default(), confidence: 0.9 };
        assert_eq!(image.at_hand(&face).area, BoundingBox::new(100.0, 20.0, 50.0, 60.0));
    }
}
