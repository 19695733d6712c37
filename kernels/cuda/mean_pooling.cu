// Mean over the unmasked positions of [batch, sequence, width], as sentence embeddings are pooled (Reimers and Gurevych,
// "Sentence-BERT", 2019, section 3, MEAN strategy).
//
// Positions whose mask is 0 are not read, so a NaN there does not count; every other mask value counts as 1. A sequence
// with no unmasked position gives zeros. Sums in float.
// Mapping: grid.x = batch * column tiles; 32 x 8 threads: 32 neighbouring packs of columns, 8 positions at a time; the 8
// partial sums meet in shared memory.
// Floor: (unmasked positions * width + batch * width) * element bytes + batch * sequence * mask bytes over copy bandwidth;
// 1 operation an element.

#define LANES 32
#define STRIPES 8

template <typename T, int COUNT>
DEVICE void mean_pooling(const T* __restrict__ input, const u8* __restrict__ mask, T* __restrict__ output, u32 sequence,
                         u32 width, u32 mask_bytes, u32 tiles) {
  __shared__ float sums[STRIPES][LANES * COUNT];
  __shared__ u32 tokens[STRIPES];
  const u64 item = blockIdx.x / tiles;
  const u32 column = (blockIdx.x % tiles * LANES + threadIdx.x) * COUNT;
  const bool inside = column < width;
  const T* source = input + item * sequence * width + column;
  float own[COUNT];
#pragma unroll
  for (int index = 0; index < COUNT; index++) own[index] = 0.0f;
  u32 counted = 0;
  for (u32 position = threadIdx.y; position < sequence; position += STRIPES) {
    const u64 place = item * sequence + position;
    bool keep;
    if (mask_bytes == 8) keep = reinterpret_cast<const i64*>(mask)[place] != 0;
    else if (mask_bytes == 4) keep = reinterpret_cast<const i32*>(mask)[place] != 0;
    else keep = mask[place] != 0;
    if (!keep) continue;
    counted++;
    if (inside) {
      const Pack<T, COUNT> loaded = load_pack<T, COUNT>(source + static_cast<u64>(position) * width);
#pragma unroll
      for (int index = 0; index < COUNT; index++) own[index] += to_float(loaded.values[index]);
    }
  }
#pragma unroll
  for (int index = 0; index < COUNT; index++) sums[threadIdx.y][index * LANES + threadIdx.x] = own[index];
  if (threadIdx.x == 0) tokens[threadIdx.y] = counted;
  __syncthreads();
  if (threadIdx.y != 0 || !inside) return;
  u32 total = 0;
#pragma unroll
  for (int stripe = 0; stripe < STRIPES; stripe++) total += tokens[stripe];
  const float inverse = total == 0 ? 0.0f : 1.0f / static_cast<float>(total);
  Pack<T, COUNT> result;
#pragma unroll
  for (int index = 0; index < COUNT; index++) {
    float sum = 0.0f;
#pragma unroll
    for (int stripe = 0; stripe < STRIPES; stripe++) sum += sums[stripe][index * LANES + threadIdx.x];
    result.values[index] = from_float<T>(sum * inverse);
  }
  store_pack<T, COUNT>(output + item * width + column, result);
}

#define MEAN_POOLING(T, COUNT)                                                                                          \
  KERNEL(LANES* STRIPES) mean_pooling_##T##_v##COUNT(const T* __restrict__ input, const u8* __restrict__ mask,          \
                                                     T* __restrict__ output, u32 sequence, u32 width, u32 mask_bytes,   \
                                                     u32 tiles) {                                                       \
    mean_pooling<T, COUNT>(input, mask, output, sequence, width, mask_bytes, tiles);                                    \
  }

MEAN_POOLING(f32, 1)
MEAN_POOLING(f32, 4)
MEAN_POOLING(f16, 1)
MEAN_POOLING(f16, 8)
MEAN_POOLING(bf16, 1)
MEAN_POOLING(bf16, 8)
