//! Reference of image normalisation.

use crate::operations::image::{ImageLayout, ImageNormalise, ImageSource};

/// Positions in the source around an output position, and the weight of the second.
fn taps(position: u32, input_size: u32, output_size: u32) -> (u32, u32, f64) {
    // The ratio is taken in `f32`, as everybody does who must agree on which neighbour is meant.
    #[allow(clippy::cast_precision_loss, reason = "sizes of images are exact in f32")]
    let ratio = input_size as f32 / output_size as f32;
    #[allow(clippy::cast_precision_loss, reason = "positions in images are exact in f32")]
    let centre = ((position as f32 + 0.5) * ratio - 0.5).max(0.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 or more; towards zero is meant")]
    let low = (centre as u32).min(input_size - 1);
    (low, (low + 1).min(input_size - 1), f64::from(centre) - f64::from(low))
}

impl ImageNormalise {
    /// What [`ImageNormalise::launch`] does; `data` are the images' bytes, whose addresses in `images` are not looked at.
    pub fn reference(&self, images: &[ImageSource], data: &[&[u8]], output: &mut [u8]) {
        let (height, width) = (self.height, self.width);
        let channels = self.channels as usize;
        let pixels = height as usize * width as usize;
        for (index, (image, bytes)) in images.iter().zip(data).enumerate() {
            let sample = |channel: usize, y: u32, x: u32| {
                let row = y as usize * image.row_bytes as usize;
                let place = match self.layout {
                    ImageLayout::Interleaved => row + x as usize * channels + channel,
                    ImageLayout::Planar => {
                        channel * image.height as usize * image.row_bytes as usize + row + x as usize
                    }
                };
                f64::from(bytes[place])
            };
            for y in 0..height {
                let (top, bottom, down) = taps(y, image.height, height);
                for x in 0..width {
                    let (left, right, across) = taps(x, image.width, width);
                    for channel in 0..channels {
                        let row = |y| {
                            sample(channel, y, left) + across * (sample(channel, y, right) - sample(channel, y, left))
                        };
                        let value = row(top) + down * (row(bottom) - row(top));
                        let value = value * f64::from(self.scale[channel]) + f64::from(self.bias[channel]);
                        let place = (index * channels + channel) * pixels + y as usize * width as usize + x as usize;
                        #[allow(clippy::cast_possible_truncation, reason = "rounded once, at the end")]
                        self.output.write(output, place, value as f32);
                    }
                }
            }
        }
    }
}
