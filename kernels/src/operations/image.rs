//! A batch's images as a normalised planar tensor, by one launch.
//!
//! Kernel: `cuda/image.cu`. Floor: `(input + output bytes) / copy bandwidth`; about 2 operations a value, 10 with resize.

use crate::Family;
use crate::element::ElementType;
use crate::error::{KernelError, at_most, invalid, not_zero};
use crate::launch::{DevicePointer, Launch, LaunchPlan, Symbol, aligned, arguments, grid, widest_word};

/// Images that one launch carries in its parameters.
pub const IMAGES_PER_LAUNCH: usize = 160;

const THREADS: u32 = 256;

/// Order of an image's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageLayout {
    /// Height, width, channel: as decoders give them.
    Interleaved,
    /// Channel, height, width.
    Planar,
}

impl ImageLayout {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Interleaved, Self::Planar];

    const fn name(self) -> &'static str {
        match self {
            Self::Interleaved => "hwc",
            Self::Planar => "chw",
        }
    }
}

/// One source image of unsigned bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSource {
    /// First byte.
    pub address: DevicePointer,
    /// Rows; at least 1.
    pub height: u32,
    /// Pixels of a row; at least 1.
    pub width: u32,
    /// Bytes from one row to the next; at least a row's. Planes follow one another without gaps between their rows.
    pub row_bytes: u32,
}

/// Resize, normalise and reorder: `[images, channels, height, width]` with
/// `value = sample * scale[channel] + bias[channel]`, `sample` in 0 to 255.
///
/// Images of another size are resized bilinearly with half-pixel centres and clamped edges, without smoothing when they
/// shrink (as torch's `interpolate(mode="bilinear", align_corners=False, antialias=False)`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageNormalise {
    /// Rows of the output; at least 1.
    pub height: u32,
    /// Columns of the output; at least 1.
    pub width: u32,
    /// Channels of every image: 1, 3 or 4.
    pub channels: u32,
    /// Order of the sources' bytes.
    pub layout: ImageLayout,
    /// Type written: a float.
    pub output: ElementType,
    /// Factor of each channel, such as `1 / (255 * standard deviation)`.
    pub scale: [f32; 4],
    /// What is added to each channel afterwards, such as `-mean / standard deviation`.
    pub bias: [f32; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ImageEntry {
    address: DevicePointer,
    height: u32,
    width: u32,
    row_bytes: u32,
    plane_bytes: u32,
}

#[repr(C)]
struct ImageTable {
    scale: [f32; 4],
    bias: [f32; 4],
    output: DevicePointer,
    height: u32,
    width: u32,
    entries: [ImageEntry; IMAGES_PER_LAUNCH],
}

impl ImageNormalise {
    /// Bytes of one image's output.
    ///
    /// # Errors
    /// As [`ImageNormalise::plan`].
    pub fn output_image_bytes(&self) -> Result<u64, KernelError> {
        let pixels = self.pixels()?;
        Ok(pixels * u64::from(self.channels) * u64::from(self.output.size_bytes()))
    }

    fn pixels(&self) -> Result<u64, KernelError> {
        not_zero("height", self.height.into())?;
        not_zero("width", self.width.into())?;
        if !matches!(self.channels, 1 | 3 | 4) {
            return Err(invalid("channels", "1, 3 or 4", self.channels));
        }
        if !self.output.is_float() {
            return Err(invalid("type of the output", "a float", self.output.name()));
        }
        let pixels = u64::from(self.height) * u64::from(self.width);
        at_most("pixels of an output plane", 1 << 30, pixels)?;
        Ok(pixels)
    }

    /// The launch for up to [`IMAGES_PER_LAUNCH`] images.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plan(&self, images: &[ImageSource], output: DevicePointer) -> Result<LaunchPlan, KernelError> {
        let pixels = self.pixels()?;
        not_zero("images", images.len() as u64)?;
        at_most("images of a launch", IMAGES_PER_LAUNCH as u64, images.len() as u64)?;
        aligned("output", output, self.output.size_bytes())?;
        for image in images {
            self.check(image)?;
        }
        let (kind, pack) = self.kind(images, output, pixels);
        let blocks = pixels.div_ceil(u64::from(pack * THREADS));
        let symbol = Symbol::new(format_args!(
            "image_{kind}_{}_c{}_{}_v{pack}",
            self.layout.name(),
            self.channels,
            self.output.name()
        ));
        // At most 160, checked above.
        let count = u32::try_from(images.len()).unwrap_or(u32::MAX);
        let family = Family::Image;
        Ok(LaunchPlan { family, symbol, grid: [grid(blocks)?, count, 1], block: [THREADS, 1, 1], shared_bytes: 0 })
    }

    /// Which kernel, and how many neighbouring pixels a thread writes.
    fn kind(&self, images: &[ImageSource], output: DevicePointer, pixels: u64) -> (&'static str, u32) {
        let pack = 16 / self.output.size_bytes();
        let row = self.row_bytes(self.width);
        let same = |image: &ImageSource| {
            (image.height, image.width) == (self.height, self.width)
                && u64::from(image.row_bytes) == row
                && widest_word(&[image.address]) >= pack
        };
        let whole_packs =
            |pack: u32| pixels.is_multiple_of(pack.into()) && widest_word(&[output]) >= pack * self.output.size_bytes();
        if whole_packs(pack) && images.iter().all(same) {
            ("same", pack)
        } else if whole_packs(4) {
            ("resize", 4)
        } else {
            ("resize", 1)
        }
    }

    fn row_bytes(&self, width: u32) -> u64 {
        match self.layout {
            ImageLayout::Interleaved => u64::from(width) * u64::from(self.channels),
            ImageLayout::Planar => width.into(),
        }
    }

    fn check(&self, image: &ImageSource) -> Result<(), KernelError> {
        not_zero("height of an image", image.height.into())?;
        not_zero("width of an image", image.width.into())?;
        if u64::from(image.row_bytes) < self.row_bytes(image.width) {
            return Err(invalid("bytes of an image's row", "at least those of its pixels", image.row_bytes));
        }
        at_most("bytes of an image", u32::MAX.into(), u64::from(image.height) * u64::from(image.row_bytes))
    }

    /// Queues the images, in order: one launch for up to [`IMAGES_PER_LAUNCH`] of them.
    ///
    /// # Errors
    /// As [`ImageNormalise::plan`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: every source holds its rows, `output` holds all images, and they do not overlap.
    pub unsafe fn launch(
        &self,
        queue: &impl Launch,
        images: &[ImageSource],
        output: DevicePointer,
    ) -> Result<(), KernelError> {
        let image_bytes = self.output_image_bytes()?;
        let mut place = output;
        for images in images.chunks(IMAGES_PER_LAUNCH) {
            let plan = self.plan(images, place)?;
            let mut table = ImageTable {
                scale: self.scale,
                bias: self.bias,
                output: place,
                height: self.height,
                width: self.width,
                entries: [ImageEntry::default(); IMAGES_PER_LAUNCH],
            };
            for (entry, image) in table.entries.iter_mut().zip(images) {
                let &ImageSource { address, height, width, row_bytes } = image;
                // `check` has seen that this fits.
                *entry = ImageEntry { address, height, width, row_bytes, plane_bytes: height.wrapping_mul(row_bytes) };
            }
            // SAFETY: the kernel's one parameter is a table of this layout; the memory is the caller's promise.
            unsafe { queue.launch(&plan, arguments![table]) }?;
            place += image_bytes * images.len() as u64;
        }
        Ok(())
    }
}
