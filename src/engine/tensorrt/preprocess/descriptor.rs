//! What the kernel is told about pictures: structures of `kernel.cu`, byte for byte, and how they are filled.

#![allow(unsafe_code)]

#[cfg(test)]
use std::mem::offset_of;

use super::KernelError;
use crate::frame::{ColorMatrix, Colorimetry, Picture, PixelFormat};
use crate::letterbox::Letterbox;

/// The longest side, of pictures and of the network's input, for which the kernel's 32-bit arithmetic is exact.
pub const MAX_SIDE: u32 = 32_767;

/// Bits after the point of the colour matrix.
const COLOR_BITS: u32 = 13;

/// A decoded picture as the kernel sees it, and where it goes in the network's input. `Picture` in `kernel.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    planes: [u64; 3],
    strides: [u32; 3],
    format: u32,
    width: u32,
    height: u32,
    fit_width: u32,
    fit_height: u32,
    luma_offset: i32,
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
}

impl Descriptor {
    /// As it lies in memory.
    pub fn as_bytes(&self) -> &[u8; size_of::<Self>()] {
        // SAFETY: of the same size, and numbers without gaps: three of 8 bytes and fourteen of 4 make 80.
        unsafe { &*(&raw const *self).cast() }
    }

    /// The same with the planes elsewhere.
    pub(in crate::engine::tensorrt) fn moved(self, planes: [u64; 3]) -> Self {
        Self { planes, ..self }
    }

    /// One out of memory of whatever alignment.
    pub(in crate::engine::tensorrt) fn from_bytes(bytes: &[u8; size_of::<Self>()]) -> Self {
        // SAFETY: of the same size, and any bytes make numbers.
        unsafe { (&raw const *bytes).cast::<Self>().read_unaligned() }
    }

    /// Where each plane in use is, and how many bytes of it are read at most; none for what is no description.
    pub(in crate::engine::tensorrt) fn reads(&self) -> Option<Vec<(u64, usize)>> {
        let known = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Rgb];
        let format = known.get(self.format as usize).filter(|_| self.width > 0 && self.height > 0)?;
        let sizes = format.plane_sizes((self.width, self.height)).into_iter().enumerate();
        let plane = |(index, (row, rows)): (usize, (usize, usize))| {
            (self.planes[index], self.strides[index] as usize * (rows - 1) + row)
        };
        Some(sizes.map(plane).collect())
    }
}

/// What one launch works on. `Batch` in `kernel.cu`, passed by value.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Address of the [`Descriptor`]s, one a picture, 8-byte aligned.
    pub pictures: u64,
    /// Address of the batch's memory: uint8 `[count, height, width, 3]`.
    pub target: u64,
    /// Width of the network's input in pixels.
    pub width: u32,
    /// Height of the network's input in pixels.
    pub height: u32,
}

// The same numbers stand in kernel.cu.
const _: () = assert!(size_of::<Descriptor>() == 80 && align_of::<Descriptor>() == 8);
const _: () = assert!(size_of::<Batch>() == 24 && align_of::<Batch>() == 8);

/// Sizes and offsets of both structures, in the order in which `host.cpp` lists its own.
#[cfg(test)]
pub(super) const LAYOUT: [usize; 19] = [
    size_of::<Descriptor>(),
    offset_of!(Descriptor, planes),
    offset_of!(Descriptor, strides),
    offset_of!(Descriptor, format),
    offset_of!(Descriptor, width),
    offset_of!(Descriptor, height),
    offset_of!(Descriptor, fit_width),
    offset_of!(Descriptor, fit_height),
    offset_of!(Descriptor, luma_offset),
    offset_of!(Descriptor, luma),
    offset_of!(Descriptor, red_v),
    offset_of!(Descriptor, green_u),
    offset_of!(Descriptor, green_v),
    offset_of!(Descriptor, blue_u),
    size_of::<Batch>(),
    offset_of!(Batch, pictures),
    offset_of!(Batch, target),
    offset_of!(Batch, width),
    offset_of!(Batch, height),
];

/// A decoded picture in memory that the kernel can read.
#[derive(Clone, Copy, Debug)]
pub struct DevicePicture {
    /// Layout of the planes.
    pub format: PixelFormat,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Addresses of the planes; unused ones are 0.
    pub planes: [u64; 3],
    /// Bytes from one row to the next, a plane each; unused ones are 0.
    pub strides: [usize; 3],
    /// How to read luma and chroma; ignored for RGB.
    pub colorimetry: Colorimetry,
}

impl DevicePicture {
    /// What is to be said of `picture` for a network input of (width, height), with no addresses yet, and the bytes
    /// of its planes, each as many as rows and stride ask for. Planes may be others each time they are asked for, so
    /// these very bytes are what the kernel must get.
    ///
    /// # Errors
    /// As [`DevicePicture::describe`], or a plane that is shorter than it must be.
    pub fn read(picture: &Picture, input: (u32, u32)) -> Result<(Self, Vec<&[u8]>), KernelError> {
        let device = Self {
            format: picture.format,
            size: (picture.width, picture.height),
            planes: [0; 3],
            strides: picture.strides,
            colorimetry: picture.colorimetry,
        };
        // Says what is wrong with sizes and strides before anything is computed from them.
        device.describe(input)?;
        let planes = picture.plane_sizes().into_iter().enumerate().map(|(index, (row_bytes, rows))| {
            let (bytes, stride) = (picture.plane(index), picture.strides[index]);
            let short =
                || device.error(format!("plane {index} has {} bytes with stride {stride}", bytes.len()));
            bytes.get(..stride * (rows - 1) + row_bytes).ok_or_else(short)
        });
        Ok((device, planes.collect::<Result<_, _>>()?))
    }

    /// The kernel's description of the picture for a network input of (width, height), and how it lies there.
    ///
    /// # Errors
    /// A side of zero or longer than [`MAX_SIDE`], a stride shorter than a row or of 4 GiB.
    pub fn describe(&self, input: (u32, u32)) -> Result<(Descriptor, Letterbox), KernelError> {
        let sides = [self.size.0, self.size.1, input.0, input.1];
        if let Some(side) = sides.into_iter().find(|side| !(1..=MAX_SIDE).contains(side)) {
            return Err(self.error(format!("a side of {side}, for an input of {}x{}", input.0, input.1)));
        }
        let mut strides = [0; 3];
        for (index, (row_bytes, _)) in self.format.plane_sizes(self.size).into_iter().enumerate() {
            let stride = self.strides[index];
            let fits = u32::try_from(stride).ok().filter(|_| stride >= row_bytes);
            strides[index] = fits.ok_or_else(|| {
                self.error(format!("plane {index} has rows of {row_bytes} bytes, {stride} bytes apart"))
            })?;
        }
        let fit = Letterbox::fit(self.size, input);
        Ok((self.descriptor(strides, fit), fit))
    }

    fn descriptor(&self, strides: [u32; 3], fit: Letterbox) -> Descriptor {
        let colors = Colors::new(self.colorimetry);
        Descriptor {
            planes: self.planes,
            strides,
            format: match self.format {
                PixelFormat::I420 => 0,
                PixelFormat::Nv12 => 1,
                PixelFormat::Rgb => 2,
            },
            width: self.size.0,
            height: self.size.1,
            fit_width: fit.width,
            fit_height: fit.height,
            luma_offset: colors.luma_offset,
            luma: colors.luma,
            red_v: colors.red_v,
            green_u: colors.green_u,
            green_v: colors.green_v,
            blue_u: colors.blue_u,
        }
    }

    fn error(&self, cause: String) -> KernelError {
        let (width, height) = self.size;
        KernelError::Picture { picture: format!("picture of {width}x{height} {:?}", self.format), cause }
    }
}

/// The way from Y'CbCr to R'G'B' in fixed point: red is luma and `red_v` of V, green is luma less `green_u` of U
/// and `green_v` of V, blue is luma and `blue_u` of U.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colors {
    luma_offset: i32,
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
}

impl Colors {
    /// ITU-R BT.601, BT.709 and BT.2020 give the shares of red and blue in luma; the rest follows from these.
    fn new(Colorimetry { matrix, full_range }: Colorimetry) -> Self {
        let (red, blue) = match matrix {
            ColorMatrix::Bt601 => (0.299, 0.114),
            ColorMatrix::Bt709 => (0.2126, 0.0722),
            ColorMatrix::Bt2020 => (0.2627, 0.0593),
        };
        let green = 1.0 - red - blue;
        let (luma_span, chroma_span) = if full_range { (255.0, 255.0) } else { (219.0, 224.0) };
        let fixed = |value: f64| (value * f64::from(1 << COLOR_BITS)).round() as i32;
        let chroma = |value: f64| fixed(value * 255.0 / chroma_span);
        Self {
            luma_offset: if full_range { 0 } else { 16 },
            luma: fixed(255.0 / luma_span),
            red_v: chroma(2.0 * (1.0 - red)),
            green_u: chroma(2.0 * (1.0 - blue) * blue / green),
            green_v: chroma(2.0 * (1.0 - red) * red / green),
            blue_u: chroma(2.0 * (1.0 - blue)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(size: (u32, u32), strides: [usize; 3]) -> DevicePicture {
        let colorimetry = Colorimetry::default();
        DevicePicture { format: PixelFormat::Nv12, size, planes: [8; 3], strides, colorimetry }
    }

    #[test]
    fn the_colour_matrix_is_the_standards() {
        // BT.601 as every text has it: 1.164 (Y - 16), 1.596 V, 0.391 U, 0.813 V, 2.018 U.
        let colors = Colors::new(Colorimetry { matrix: ColorMatrix::Bt601, full_range: false });
        let real = |fixed: i32| (f64::from(fixed) / f64::from(1 << COLOR_BITS) * 1000.0).round() / 1000.0;
        assert_eq!(colors.luma_offset, 16);
        let got = [colors.luma, colors.red_v, colors.green_u, colors.green_v, colors.blue_u].map(real);
        assert_eq!(got, [1.164, 1.596, 0.392, 0.813, 2.017]);
        // BT.709, full range: 1 Y, 1.5748 V, 0.1873 U, 0.4681 V, 1.8556 U.
        let colors = Colors::new(Colorimetry { matrix: ColorMatrix::Bt709, full_range: true });
        let got = [colors.luma, colors.red_v, colors.green_u, colors.green_v, colors.blue_u].map(real);
        assert_eq!((colors.luma_offset, got), (0, [1.0, 1.575, 0.187, 0.468, 1.856]));
    }

    #[test]
    fn a_descriptor_says_where_the_picture_goes() {
        let (descriptor, fit) = picture((640, 480), [640, 704, 0]).describe((320, 320)).unwrap();
        assert_eq!((fit.width, fit.height), (320, 240));
        assert_eq!((descriptor.fit_width, descriptor.fit_height, descriptor.format), (320, 240, 1));
        assert_eq!((descriptor.strides, descriptor.planes), ([640, 704, 0], [8; 3]));
    }

    #[test]
    fn what_the_kernel_cannot_read_is_refused() {
        let refusal = |picture: DevicePicture, input| picture.describe(input).unwrap_err().to_string();
        let narrow = refusal(picture((641, 480), [641, 641, 0]), (320, 320));
        assert!(
            narrow.contains("641x480 Nv12") && narrow.contains("plane 1") && narrow.contains("642"),
            "{narrow}"
        );
        for size in [(0, 5), (5, 0), (MAX_SIDE + 1, 5), (5, MAX_SIDE + 1)] {
            let text = refusal(picture(size, [1 << 20, 1 << 20, 0]), (320, 320));
            assert!(text.contains("a side of"), "{text}");
        }
        assert!(refusal(picture((5, 5), [8, 8, 0]), (MAX_SIDE + 1, 1)).contains("a side of"));
        let wide = refusal(picture((5, 5), [1 << 32, 8, 0]), (320, 320));
        assert!(wide.contains("4294967296 bytes apart"), "{wide}");
    }

    #[test]
    fn the_longest_sides_are_taken() {
        picture((MAX_SIDE, MAX_SIDE), [40_000, 40_000, 0]).describe((MAX_SIDE, MAX_SIDE)).unwrap();
    }
}
