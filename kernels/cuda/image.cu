// Images of a batch to a normalised planar tensor in one launch: resize, u8 to float, scale and shift, HWC to CHW.
//
// Output [images, channels, height, width]; value = sample * scale[channel] + bias[channel], sample in 0 .. 255.
// Resize is bilinear with half-pixel centres and clamped edges, no smoothing when shrinking (as torch's interpolate with
// align_corners=False and antialias=False).
// Mapping: grid.x = groups of COUNT neighbouring output pixels / 256, grid.y = image; every thread stores COUNT pixels of
// each channel as one 16-byte word a plane. `image_same_*` is for images that already have the output's size, lie without
// gaps and are aligned to COUNT bytes: it reads whole words too.
// Floor: (input bytes + output bytes) / copy bandwidth; about 2 operations a value, 10 with resize.

#define IMAGES 160
#define THREADS 256

struct Image {
  u64 source;
  u32 height;
  u32 width;
  u32 row_bytes;
  u32 plane_bytes;
};

struct ImageTable {
  float scale[4];
  float bias[4];
  u64 output;
  u32 height;
  u32 width;
  Image images[IMAGES];
};

// Interleaved (HWC) or planar (CHW) bytes of the output's size.
template <typename T, int COUNT, int CHANNELS, bool PLANAR> DEVICE void image_same(const ImageTable& table) {
  const u32 pixels = table.height * table.width;
  const u32 group = blockIdx.x * THREADS + threadIdx.x;
  const u32 first = group * COUNT;
  if (first >= pixels) return;
  const u8* source = reinterpret_cast<const u8*>(table.images[blockIdx.y].source);
  T* output = reinterpret_cast<T*>(table.output) + static_cast<u64>(blockIdx.y) * CHANNELS * pixels;
  Pack<u8, COUNT> loaded[CHANNELS];
#pragma unroll
  for (int word = 0; word < CHANNELS; word++) {
    const u64 offset = PLANAR ? static_cast<u64>(word) * pixels + first : static_cast<u64>(first) * CHANNELS + word * COUNT;
    loaded[word] = load_pack<u8, COUNT>(source + offset);
  }
#pragma unroll
  for (int channel = 0; channel < CHANNELS; channel++) {
    Pack<T, COUNT> plane;
#pragma unroll
    for (int pixel = 0; pixel < COUNT; pixel++) {
      const int byte = PLANAR ? channel * COUNT + pixel : pixel * CHANNELS + channel;
      const float sample = to_float(loaded[byte / COUNT].values[byte % COUNT]);
      plane.values[pixel] = from_float<T>(fmaf(sample, table.scale[channel], table.bias[channel]));
    }
    store_pack<T, COUNT>(output + static_cast<u64>(channel) * pixels + first, plane);
  }
}

// Position in the source of an output position, and the weight of the neighbour after it.
struct Tap {
  u32 low;
  u32 high;
  float weight;
};

DEVICE Tap tap(u32 position, u32 input_size, u32 output_size) {
  const float ratio = static_cast<float>(input_size) / static_cast<float>(output_size);
  float centre = (static_cast<float>(position) + 0.5f) * ratio - 0.5f;
  centre = centre < 0.0f ? 0.0f : centre;
  Tap result;
  result.low = static_cast<u32>(centre);
  result.low = result.low < input_size - 1 ? result.low : input_size - 1;
  result.high = result.low + 1 < input_size ? result.low + 1 : input_size - 1;
  result.weight = centre - static_cast<float>(result.low);
  return result;
}

template <typename T, int COUNT, int CHANNELS, bool PLANAR> DEVICE void image_resize(const ImageTable& table) {
  const u32 pixels = table.height * table.width;
  const u32 group = blockIdx.x * THREADS + threadIdx.x;
  const u32 first = group * COUNT;
  if (first >= pixels) return;
  const Image image = table.images[blockIdx.y];
  const u8* source = reinterpret_cast<const u8*>(image.source);
  T* output = reinterpret_cast<T*>(table.output) + static_cast<u64>(blockIdx.y) * CHANNELS * pixels;
  Pack<T, COUNT> planes[CHANNELS];
#pragma unroll
  for (int pixel = 0; pixel < COUNT; pixel++) {
    const Tap down = tap((first + pixel) / table.width, image.height, table.height);
    const Tap across = tap((first + pixel) % table.width, image.width, table.width);
    const u8* low = source + static_cast<u64>(down.low) * image.row_bytes;
    const u8* high = source + static_cast<u64>(down.high) * image.row_bytes;
    const u32 step = PLANAR ? 1 : CHANNELS;
#pragma unroll
    for (int channel = 0; channel < CHANNELS; channel++) {
      const u64 skip = PLANAR ? static_cast<u64>(channel) * image.plane_bytes : channel;
      const float top_left = to_float(low[skip + across.low * step]);
      const float top_right = to_float(low[skip + across.high * step]);
      const float bottom_left = to_float(high[skip + across.low * step]);
      const float bottom_right = to_float(high[skip + across.high * step]);
      const float top = fmaf(across.weight, top_right - top_left, top_left);
      const float bottom = fmaf(across.weight, bottom_right - bottom_left, bottom_left);
      const float sample = fmaf(down.weight, bottom - top, top);
      planes[channel].values[pixel] = from_float<T>(fmaf(sample, table.scale[channel], table.bias[channel]));
    }
  }
#pragma unroll
  for (int channel = 0; channel < CHANNELS; channel++) {
    store_pack<T, COUNT>(output + static_cast<u64>(channel) * pixels + first, planes[channel]);
  }
}

#define IMAGE(KIND, LAYOUT, PLANAR, T, COUNT, CHANNELS)                                                                 \
  KERNEL(THREADS) image_##KIND##_##LAYOUT##_c##CHANNELS##_##T##_v##COUNT(const __grid_constant__ ImageTable table) {    \
    image_##KIND<T, COUNT, CHANNELS, PLANAR>(table);                                                                    \
  }
#define IMAGE_CHANNELS(KIND, LAYOUT, PLANAR, T, COUNT)                                                                  \
  IMAGE(KIND, LAYOUT, PLANAR, T, COUNT, 1)                                                                              \
  IMAGE(KIND, LAYOUT, PLANAR, T, COUNT, 3)                                                                              \
  IMAGE(KIND, LAYOUT, PLANAR, T, COUNT, 4)
// Four neighbouring pixels are enough where four samples are read for each.
#define IMAGE_TYPE(T, COUNT)                                                                                            \
  IMAGE_CHANNELS(same, hwc, false, T, COUNT)                                                                            \
  IMAGE_CHANNELS(same, chw, true, T, COUNT)                                                                             \
  IMAGE_CHANNELS(resize, hwc, false, T, 4)                                                                              \
  IMAGE_CHANNELS(resize, chw, true, T, 4)                                                                               \
  IMAGE_CHANNELS(resize, hwc, false, T, 1)                                                                              \
  IMAGE_CHANNELS(resize, chw, true, T, 1)

IMAGE_TYPE(f32, 4)
IMAGE_TYPE(f16, 8)
IMAGE_TYPE(bf16, 8)
