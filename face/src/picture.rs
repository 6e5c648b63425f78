//! Pictures: bytes that came over the network, read within limits, and the parts of them that models look at.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::PictureFault;

/// No picture has more bytes.
pub const MOST_BYTES: usize = 2 << 20;
/// Nor more pixels, by its header, before any is read.
pub const MOST_PIXELS: u64 = 12_000_000;
/// Bytes that reading one may take beside its pixels: rows, and what unfolds, as a colour profile to a thousand times its bytes.
const MOST_BESIDE: u64 = 8 << 20;
/// Faces are looked for in no more detail than this, pixels along the longer side.
const LONGEST: u32 = 960;

/// Width and height in which a picture is looked at, or why it is not: all of reading one but the face.
pub fn dimensions(bytes: &[u8]) -> Result<(usize, usize), PictureFault> {
    Picture::read(bytes).map(|picture| (picture.width, picture.height))
}

/// Colours of pixels, row after row, each 0 to 255.
pub(crate) struct Picture {
    pub width: usize,
    pub height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// Reads JPEG or PNG, turned as its camera says (EXIF), and no larger than is of use.
    pub fn read(bytes: &[u8]) -> Result<Picture, PictureFault> {
        if bytes.len() > MOST_BYTES {
            return Err(PictureFault::TooLarge);
        }
        let format = image::guess_format(bytes).map_err(|_| PictureFault::NotAPicture)?;
        if !matches!(format, ImageFormat::Jpeg | ImageFormat::Png) {
            return Err(PictureFault::NotAPicture);
        }
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut limits = Limits::default();
        limits.max_alloc = Some(MOST_BESIDE);
        reader.limits(limits);
        let fault = |error| match error {
            ImageError::Limits(_) => PictureFault::TooLarge,
            _ => PictureFault::NotAPicture,
        };
        let mut decoder = reader.into_decoder().map_err(fault)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            return Err(PictureFault::TooLarge);
        }
        let turned = decoder.orientation().map_err(fault)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(fault)?;
        if width.max(height) > LONGEST {
            image = image.thumbnail(LONGEST, LONGEST);
        }
        image.apply_orientation(turned);
        let image = image.into_rgb8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        if width == 0 || height == 0 {
            return Err(PictureFault::NotAPicture);
        }
        Ok(Picture { width, height, rgb: image.into_raw() })
    }

    /// Turned by half a circle.
    pub fn turned(&self) -> Picture {
        let rgb = self.rgb.chunks_exact(3).rev().flatten().copied().collect();
        Picture { width: self.width, height: self.height, rgb }
    }

    fn pixel(&self, x: usize, y: usize) -> [f32; 3] {
        let at = 3 * (y * self.width + x);
        [0, 1, 2].map(|channel| f32::from(self.rgb[at + channel]))
    }

    /// Between pixels; beyond the edge the edge.
    fn at(&self, x: f32, y: f32) -> [f32; 3] {
        let x = x.clamp(0.0, (self.width - 1) as f32);
        let y = y.clamp(0.0, (self.height - 1) as f32);
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(self.width - 1), (top + 1).min(self.height - 1));
        let (dx, dy) = (x - left as f32, y - top as f32);
        let (a, b) = (self.pixel(left, top), self.pixel(right, top));
        let (c, d) = (self.pixel(left, bottom), self.pixel(right, bottom));
        [0, 1, 2].map(|n| {
            let upper = a[n] + (b[n] - a[n]) * dx;
            let lower = c[n] + (d[n] - c[n]) * dx;
            upper + (lower - upper) * dy
        })
    }

    /// A part of the picture as `width` by `height` pixels, handed over one by one with place and colour.
    pub fn part(
        &self,
        area: Area,
        (width, height): (usize, usize),
        mut each: impl FnMut(usize, usize, [f32; 3]),
    ) {
        let (step_x, step_y) = (area.width() / width as f32, area.height() / height as f32);
        for y in 0..height {
            for x in 0..width {
                let from_x = area.left + (x as f32 + 0.5) * step_x - 0.5;
                let from_y = area.top + (y as f32 + 0.5) * step_y - 0.5;
                each(x, y, self.at(from_x, from_y));
            }
        }
    }

    /// `width` by `height` pixels, each from where `place` says.
    pub fn warped(
        &self,
        place: &Placing,
        (width, height): (usize, usize),
        mut each: impl FnMut(usize, usize, [f32; 3]),
    ) {
        for y in 0..height {
            for x in 0..width {
                let (from_x, from_y) = place.of(x as f32, y as f32);
                each(x, y, self.at(from_x, from_y));
            }
        }
    }

    pub fn whole(&self) -> Area {
        Area { left: 0.0, top: 0.0, right: self.width as f32, bottom: self.height as f32 }
    }
}

/// A rectangle, pixels.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Area {
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

impl Area {
    pub fn width(&self) -> f32 {
        self.right - self.left
    }

    pub fn height(&self) -> f32 {
        self.bottom - self.top
    }

    pub fn size(&self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// The share of the smaller one that both cover.
    pub fn overlap(&self, other: &Area) -> f32 {
        let both = Area {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        };
        both.size() / self.size().min(other.size()).max(1.0)
    }

    /// A square around the same middle, `times` as high, pushed back into the picture.
    pub fn square(&self, times: f32, picture: &Picture) -> Area {
        let (width, height) = (picture.width as f32, picture.height as f32);
        let side = (self.height() * times).min(width).min(height);
        let left = ((self.left + self.right - side) / 2.0).clamp(0.0, width - side);
        let top = ((self.top + self.bottom - side) / 2.0).clamp(0.0, height - side);
        Area { left, top, right: left + side, bottom: top + side }
    }
}

/// Where points of one plane lie on another: turned, scaled and moved.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Placing {
    a: f32,
    b: f32,
    x: f32,
    y: f32,
}

impl Placing {
    /// The one that takes `from` to `to` with the least squares (Umeyama, 1991, without mirroring).
    pub fn fit<const N: usize>(from: &[(f32, f32); N], to: &[(f32, f32); N]) -> Placing {
        let middle = |points: &[(f32, f32); N]| {
            let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            (sum.0 / N as f32, sum.1 / N as f32)
        };
        let (mid_from, mid_to) = (middle(from), middle(to));
        let (mut dot, mut cross, mut square) = (0.0, 0.0, 0.0);
        for (p, q) in from.iter().zip(to) {
            let (px, py) = (p.0 - mid_from.0, p.1 - mid_from.1);
            let (qx, qy) = (q.0 - mid_to.0, q.1 - mid_to.1);
            dot += px * qx + py * qy;
            cross += px * qy - py * qx;
            square += px * px + py * py;
        }
        let (a, b) = (dot / square.max(1e-6), cross / square.max(1e-6));
        Placing {
            a,
            b,
            x: mid_to.0 - a * mid_from.0 + b * mid_from.1,
            y: mid_to.1 - b * mid_from.0 - a * mid_from.1,
        }
    }

    /// The way back.
    pub fn inverted(&self) -> Placing {
        let square = (self.a * self.a + self.b * self.b).max(1e-12);
        let (a, b) = (self.a / square, -self.b / square);
        Placing { a, b, x: b * self.y - a * self.x, y: -b * self.x - a * self.y }
    }

    pub fn of(&self, x: f32, y: f32) -> (f32, f32) {
        (self.a * x - self.b * y + self.x, self.b * x + self.a * y + self.y)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_picture_is_told_from_what_is_too_large() {
        assert_eq!(Picture::read(b"GIF89a").err(), Some(PictureFault::NotAPicture));
        assert_eq!(Picture::read(&[0xff, 0xd8, 0xff, 0xe0]).err(), Some(PictureFault::NotAPicture));
        assert_eq!(Picture::read(&vec![0; 20 << 20]).err(), Some(PictureFault::TooLarge));
        // PNG (ISO/IEC 15948 section 11.2.2) that says 60,000 by 60,000, and holds nothing: a bomb before it bursts.
        let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bomb.extend([60_000u32.to_be_bytes(), 60_000u32.to_be_bytes()].concat());
        bomb.extend([8, 2, 0, 0, 0]);
        // The CRC of section 5.3 over type and data, bit by bit as in annex D.
        let crc = bomb[12..].iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(
                crc ^ u32::from(*byte),
                |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ crc >> 1 } else { crc >> 1 },
            )
        });
        bomb.extend((!crc).to_be_bytes());
        bomb.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
        assert_eq!(Picture::read(&bomb).err(), Some(PictureFault::TooLarge));
    }

    /// A whole picture with stripes, in either format.
    fn whole(format: ImageFormat) -> Vec<u8> {
        let image = image::RgbImage::from_fn(48, 40, |x, y| {
            image::Rgb([(x * 5) as u8, (y * 6) as u8, (x * y) as u8])
        });
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn whole_pictures_are_read() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let picture = Picture::read(&whole(format)).unwrap();
            assert_eq!((picture.width, picture.height), (48, 40));
        }
    }

    proptest! {
        #[test]
        fn broken_pictures_are_read_or_refused(
            is_jpeg in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
            cut in any::<Option<prop::sample::Index>>(),
        ) {
            let mut bytes = whole(if is_jpeg { ImageFormat::Jpeg } else { ImageFormat::Png });
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            match Picture::read(&bytes) {
                Ok(picture) => prop_assert_eq!(picture.rgb.len(), 3 * picture.width * picture.height),
                Err(fault) => prop_assert!(matches!(fault, PictureFault::NotAPicture | PictureFault::TooLarge)),
            }
        }
    }

    #[test]
    fn a_placing_takes_points_where_they_belong() {
        // A quarter turn, twice as large, moved by (3, 4).
        let from = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)];
        let placing = Placing::fit(&from, &[(3.0, 4.0), (3.0, 6.0), (1.0, 4.0)]);
        let (x, y) = placing.of(1.0, 1.0);
        assert!((x - 1.0).abs() < 1e-4 && (y - 6.0).abs() < 1e-4, "{x} {y}");
        let (x, y) = placing.inverted().of(1.0, 6.0);
        assert!((x - 1.0).abs() < 1e-4 && (y - 1.0).abs() < 1e-4, "{x} {y}");
    }
}
