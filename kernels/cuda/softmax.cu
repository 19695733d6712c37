// Softmax over the last dimension of [rows, columns].
//
// y = exp(x - max) / sum exp(x - max), in float, maximum and sum found in one pass (Milakov and Gimelshein, "Online
// normalizer calculation for softmax", 2018, algorithm 3). A NaN or +infinity in a row, or a row of -infinity alone, makes
// the whole row NaN; a single -infinity gives 0.
// Mapping: a warp (4 to a block) or a block of 256 to a row; the row is read once and kept in shared memory where it
// fits (`cached`), else read twice.
// Floor: 2 * rows * columns * element bytes / copy bandwidth; about 4 operations and 2 exponentials an element.

struct Normaliser {
  float maximum;
  float sum;
};

DEVICE Normaliser merge(Normaliser left, Normaliser right) {
  Normaliser both;
  both.maximum = fmaxf(left.maximum, right.maximum);
  // Equal maxima need no scaling, and -infinity - -infinity would be NaN.
  const float left_scale = left.maximum == both.maximum ? 1.0f : __expf(left.maximum - both.maximum);
  const float right_scale = right.maximum == both.maximum ? 1.0f : __expf(right.maximum - both.maximum);
  both.sum = left.sum * left_scale + right.sum * right_scale;
  return both;
}

DEVICE Normaliser warp_merge(Normaliser own) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) {
    Normaliser other;
    other.maximum = __shfl_xor_sync(0xffffffffu, own.maximum, offset);
    other.sum = __shfl_xor_sync(0xffffffffu, own.sum, offset);
    own = merge(own, other);
  }
  return own;
}

DEVICE Normaliser block_merge(Normaliser own) {
  __shared__ Normaliser partial[32];
  own = warp_merge(own);
  if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5] = own;
  __syncthreads();
  const u32 lane = threadIdx.x & 31;
  Normaliser mine;
  mine.maximum = -infinity();
  mine.sum = 0.0f;
  if (lane < (blockDim.x >> 5)) mine = partial[lane];
  return warp_merge(mine);
}

template <typename T, int COUNT, bool WARP>
DEVICE void softmax(const T* __restrict__ input, T* __restrict__ output, u64 rows, u32 columns, u32 cached) {
  DYNAMIC_SHARED(memory);
  typedef RowGroup<WARP> Group;
  const u64 row = Group::row();
  if (row >= rows) return;
  const u32 packs = columns / COUNT;
  const T* source = input + row * columns;
  T* target = output + row * columns;
  T* kept = reinterpret_cast<T*>(memory) + static_cast<u64>(Group::index()) * columns;
  Normaliser own;
  own.maximum = -infinity();
  own.sum = 0.0f;
#pragma unroll 2
  for (u32 pack = Group::lane(); pack < packs; pack += Group::size()) {
    const Pack<T, COUNT> loaded = load_pack<T, COUNT>(source + pack * COUNT);
    if (cached) store_pack<T, COUNT>(kept + pack * COUNT, loaded);
    float highest = own.maximum;
#pragma unroll
    for (int index = 0; index < COUNT; index++) highest = fmaxf(highest, to_float(loaded.values[index]));
    float sum = highest == own.maximum ? own.sum : own.sum * __expf(own.maximum - highest);
#pragma unroll
    for (int index = 0; index < COUNT; index++) {
      const float value = to_float(loaded.values[index]);
      // exp(-infinity - x) is 0 for every x but -infinity itself.
      sum += value == -infinity() ? 0.0f : __expf(value - highest);
    }
    own.maximum = highest;
    own.sum = sum;
  }
  own = WARP ? warp_merge(own) : block_merge(own);
  const float inverse = 1.0f / own.sum;
  // Each thread reads back only what it kept itself, so no barrier stands here.
  const T* again = cached ? kept : source;
#pragma unroll 1
  for (u32 pack = Group::lane(); pack < packs; pack += Group::size()) {
    const Pack<T, COUNT> loaded = load_pack<T, COUNT>(again + pack * COUNT);
    Pack<T, COUNT> result;
#pragma unroll
    for (int index = 0; index < COUNT; index++) {
      result.values[index] = from_float<T>(__expf(to_float(loaded.values[index]) - own.maximum) * inverse);
    }
    store_pack<T, COUNT>(target + pack * COUNT, result);
  }
}

#define SOFTMAX(T, COUNT)                                                                                               \
  KERNEL(128) softmax_##T##_v##COUNT##_warp(const T* __restrict__ input, T* __restrict__ output, u64 rows, u32 columns, \
                                            u32 cached) {                                                               \
    softmax<T, COUNT, true>(input, output, rows, columns, cached);                                                      \
  }                                                                                                                     \
  KERNEL(256) softmax_##T##_v##COUNT##_block(const T* __restrict__ input, T* __restrict__ output, u64 rows,             \
                                             u32 columns, u32 cached) {                                                 \
    softmax<T, COUNT, false>(input, output, rows, columns, cached);                                                     \
  }

SOFTMAX(f32, 1)
SOFTMAX(f32, 4)
SOFTMAX(f16, 1)
SOFTMAX(f16, 8)
SOFTMAX(bf16, 1)
SOFTMAX(bf16, 8)
