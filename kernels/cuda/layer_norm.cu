// Layer normalisation over the last dimension of [rows, columns] (Ba, Kiros and Hinton, 2016, equation 4).
//
// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta; mean and then variance about it, in float, in two passes over
// the row; gamma and beta have the element type, and either address may be 0 for 1 and 0. A NaN or infinity in a row
// makes the whole row NaN.
// Mapping: as softmax: a warp or a block to a row, kept in shared memory where it fits.
// Floor: (2 * rows + 2) * columns * element bytes / copy bandwidth; about 7 operations an element.

template <typename T, int COUNT, bool WARP>
DEVICE void layer_norm(const T* __restrict__ input, T* __restrict__ output, const T* __restrict__ gamma,
                       const T* __restrict__ beta, u64 rows, u32 columns, float epsilon, u32 cached) {
  DYNAMIC_SHARED(memory);
  typedef RowGroup<WARP> Group;
  const u64 row = Group::row();
  if (row >= rows) return;
  const u32 packs = columns / COUNT;
  const T* source = input + row * columns;
  T* target = output + row * columns;
  T* kept = reinterpret_cast<T*>(memory) + static_cast<u64>(Group::index()) * columns;
  float sum = 0.0f;
#pragma unroll 2
  for (u32 pack = Group::lane(); pack < packs; pack += Group::size()) {
    const Pack<T, COUNT> loaded = load_pack<T, COUNT>(source + pack * COUNT);
    if (cached) store_pack<T, COUNT>(kept + pack * COUNT, loaded);
#pragma unroll
    for (int index = 0; index < COUNT; index++) sum += to_float(loaded.values[index]);
  }
  const float mean = Group::sum(sum) / static_cast<float>(columns);
  // Each thread reads back only what it kept itself, so no barrier stands here.
  const T* again = cached ? kept : source;
  float squares = 0.0f;
#pragma unroll 1
  for (u32 pack = Group::lane(); pack < packs; pack += Group::size()) {
    const Pack<T, COUNT> loaded = load_pack<T, COUNT>(again + pack * COUNT);
#pragma unroll
    for (int index = 0; index < COUNT; index++) {
      const float distance = to_float(loaded.values[index]) - mean;
      squares = fmaf(distance, distance, squares);
    }
  }
  const float inverse = 1.0f / sqrtf(Group::sum(squares) / static_cast<float>(columns) + epsilon);
#pragma unroll 1
  for (u32 pack = Group::lane(); pack < packs; pack += Group::size()) {
    const Pack<T, COUNT> loaded = load_pack<T, COUNT>(again + pack * COUNT);
    Pack<T, COUNT> scales;
    Pack<T, COUNT> shifts;
    if (gamma) scales = load_pack<T, COUNT>(gamma + pack * COUNT);
    if (beta) shifts = load_pack<T, COUNT>(beta + pack * COUNT);
    Pack<T, COUNT> result;
#pragma unroll
    for (int index = 0; index < COUNT; index++) {
      const float scale = gamma ? to_float(scales.values[index]) : 1.0f;
      const float shift = beta ? to_float(shifts.values[index]) : 0.0f;
      result.values[index] = from_float<T>(fmaf((to_float(loaded.values[index]) - mean) * inverse, scale, shift));
    }
    store_pack<T, COUNT>(target + pack * COUNT, result);
  }
}

#define LAYER_NORM(T, COUNT)                                                                                            \
  KERNEL(128) layer_norm_##T##_v##COUNT##_warp(const T* __restrict__ input, T* __restrict__ output,                     \
                                               const T* __restrict__ gamma, const T* __restrict__ beta, u64 rows,       \
                                               u32 columns, float epsilon, u32 cached) {                                \
    layer_norm<T, COUNT, true>(input, output, gamma, beta, rows, columns, epsilon, cached);                             \
  }                                                                                                                     \
  KERNEL(256) layer_norm_##T##_v##COUNT##_block(const T* __restrict__ input, T* __restrict__ output,                    \
                                                const T* __restrict__ gamma, const T* __restrict__ beta, u64 rows,      \
                                                u32 columns, float epsilon, u32 cached) {                               \
    layer_norm<T, COUNT, false>(input, output, gamma, beta, rows, columns, epsilon, cached);                            \
  }

LAYER_NORM(f32, 1)
LAYER_NORM(f32, 4)
LAYER_NORM(f16, 1)
LAYER_NORM(f16, 8)
LAYER_NORM(bf16, 1)
LAYER_NORM(bf16, 8)
