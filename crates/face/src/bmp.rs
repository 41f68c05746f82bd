//! BMP: `image` decodes it, and takes an alpha channel at its word.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder as _, codecs::bmp::BmpDecoder};

use super::refusal::{Format, Refusal};

/// A BMP file whose header was read.
pub(super) struct Bmp<'a>(BmpDecoder<Cursor<&'a [u8]>>);

impl<'a> Bmp<'a> {
    /// Reads all that comes before the pixels.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Refusal> {
        BmpDecoder::new(Cursor::new(bytes))
            .map(Self)
            .map_err(|error| Refusal::from_image(&error, Format::Bmp))
    }

    /// Width and height, pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        self.0.dimensions()
    }

    pub(super) fn has_alpha(&self) -> bool {
        self.0.color_type().has_alpha()
    }

    /// Its pixels. Many programs leave the alpha channel empty: where it is 0 everywhere, the
    /// picture is opaque.
    pub(super) fn decode(self) -> Result<DynamicImage, Refusal> {
        let mut picture = DynamicImage::from_decoder(self.0)
            .map_err(|error| Refusal::from_image(&error, Format::Bmp))?;
        if let DynamicImage::ImageRgba8(rgba) = &mut picture
            && rgba.pixels().all(|pixel| pixel.0[3] == 0)
        {
            rgba.pixels_mut().for_each(|pixel| pixel.0[3] = u8::MAX);
        }
        Ok(picture)
    }
}
