// Greedy non-maximum suppression for a batch of images, in three launches on one stream.
//
// Boxes (left, top, right, bottom) in float; a box is kept when no kept box of a higher score (ties: lower index) and the
// same class overlaps it by more than the threshold (intersection over union, Girshick et al. 2014, R-CNN, section 2.3).
// Scores below the score threshold, and NaN, are no candidates. A box with NaN or without area overlaps nothing.
// Mapping: `suppression_order`: a block of 1024 to an image sorts up to 4096 (score, index) keys in shared memory and lays
// the boxes out in that order. `suppression_overlap`: grid (64 columns, 64 rows, image), 64 threads, one row each, a bit a
// pair; blocks below the diagonal leave at once. `suppression_sweep`: a warp to an image walks the order; a lane holds
// 64 * 2 boxes' fate in registers.
// Floor: boxes * 24 bytes, boxes^2 / 16 bytes of bits written, and about 15 * boxes^2 / 2 operations; the sweep adds
// a chain of one dependent read a kept box.

#define LARGEST 4096


KERNEL(1024) suppression_order(const float4* __restrict__ boxes, const float* __restrict__ scores,
                               const i32* __restrict__ classes, float4* __restrict__ sorted_boxes,
                               i32* __restrict__ sorted_classes, u32* __restrict__ order, u32* __restrict__ candidates,
                               u32 count, u32 slots, float score_threshold) {
  DYNAMIC_SHARED(memory);
  u64* keys = reinterpret_cast<u64*>(memory);
  __shared__ u32 valid;
  const u64 first = static_cast<u64>(blockIdx.x) * count;
  if (threadIdx.x == 0) valid = 0;
  __syncthreads();
  for (u32 slot = threadIdx.x; slot < slots; slot += blockDim.x) {
    // Ascending keys: higher scores first, then lower indices; what is no candidate comes last.
    u64 key = ~0ull;
    if (slot < count) {
      const float score = scores[first + slot];
      if (score >= score_threshold) {
        const u32 bits = float_to_bits(score == 0.0f ? 0.0f : score);
        const u32 ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
        key = static_cast<u64>(~ordered) << 32 | slot;
        atomicAdd(&valid, 1u);
      }
    }
    keys[slot] = key;
  }
  __syncthreads();
  for (u32 size = 2; size <= slots; size <<= 1) {
    for (u32 stride = size >> 1; stride > 0; stride >>= 1) {
      for (u32 slot = threadIdx.x; slot < slots; slot += blockDim.x) {
        const u32 partner = slot ^ stride;
        if (partner > slot) {
          const bool ascending = (slot & size) == 0;
          const u64 left = keys[slot];
          const u64 right = keys[partner];
          if ((left > right) == ascending) {
            keys[slot] = right;
            keys[partner] = left;
          }
        }
      }
      __syncthreads();
    }
  }
  for (u32 slot = threadIdx.x; slot < valid; slot += blockDim.x) {
    const u32 index = static_cast<u32>(keys[slot]);
    order[first + slot] = index;
    sorted_boxes[first + slot] = boxes[first + index];
    sorted_classes[first + slot] = classes ? classes[first + index] : 0;
  }
  if (threadIdx.x == 0) candidates[blockIdx.x] = valid;
}

DEVICE bool overlaps(float4 one, float4 other, float threshold) {
  const float width = fminf(one.z, other.z) - fmaxf(one.x, other.x);
  const float height = fminf(one.w, other.w) - fmaxf(one.y, other.y);
  const float intersection = width > 0.0f && height > 0.0f ? width * height : 0.0f;
  const float both = (one.z - one.x) * (one.w - one.y) + (other.z - other.x) * (other.w - other.y) - intersection;
  // Without a division, and false for NaN and for boxes without area.
  return intersection > 0.0f && intersection > threshold * both;
}

KERNEL(64) suppression_overlap(const float4* __restrict__ sorted_boxes, const i32* __restrict__ sorted_classes,
                               const u32* __restrict__ candidates, u64* __restrict__ bits, u32 count, u32 words,
                               float threshold) {
  __shared__ float4 columns[64];
  __shared__ i32 classes[64];
  const u32 image = blockIdx.z;
  const u32 valid = candidates[image];
  const u32 row = blockIdx.y * 64 + threadIdx.x;
  const u32 first_column = blockIdx.x * 64;
  if (blockIdx.x < blockIdx.y || first_column >= valid || blockIdx.y * 64 >= valid) return;
  const u64 first = static_cast<u64>(image) * count;
  if (first_column + threadIdx.x < valid) {
    columns[threadIdx.x] = sorted_boxes[first + first_column + threadIdx.x];
    classes[threadIdx.x] = sorted_classes[first + first_column + threadIdx.x];
  }
  __syncthreads();
  if (row >= valid) return;
  const float4 own = sorted_boxes[first + row];
  const i32 own_class = sorted_classes[first + row];
  const u32 here = valid - first_column < 64 ? valid - first_column : 64;
  u64 word = 0;
  for (u32 column = 0; column < here; column++) {
    const bool later = first_column + column > row;
    if (later && classes[column] == own_class && overlaps(own, columns[column], threshold)) word |= 1ull << column;
  }
  bits[(first + row) * words + blockIdx.x] = word;
}

KERNEL(32) suppression_sweep(const u32* __restrict__ order, const u32* __restrict__ candidates,
                             const u64* __restrict__ bits, i32* __restrict__ kept, i32* __restrict__ kept_count, u32 count,
                             u32 words, u32 limit) {
  const u32 image = blockIdx.x;
  const u32 lane = threadIdx.x;
  const u32 valid = candidates[image];
  const u64 first = static_cast<u64>(image) * count;
  // Word w of what is suppressed lies with lane w % 32, in `low` for the first 32 words and in `high` for the rest.
  u64 low = 0;
  u64 high = 0;
  u32 found = 0;
  for (u32 block = 0; block * 64 < valid && found < limit; block++) {
    const u64 mine = block < 32 ? low : high;
    u64 gone = __shfl_sync(0xffffffffu, mine, static_cast<int>(block & 31));
    const u32 here = valid - block * 64 < 64 ? valid - block * 64 : 64;
    for (u32 bit = 0; bit < here && found < limit; bit++) {
      if (gone >> bit & 1) continue;
      const u32 place = block * 64 + bit;
      if (lane == 0) kept[static_cast<u64>(image) * limit + found] = static_cast<i32>(order[first + place]);
      found++;
      const u64* row = bits + (first + place) * words;
      // Words before this block, and past the candidates, were never written.
      if (lane >= block && lane * 64 < valid) low |= row[lane];
      if (lane + 32 >= block && (lane + 32) * 64 < valid) high |= row[lane + 32];
      gone |= row[block];
    }
  }
  for (u32 place = found + lane; place < limit; place += 32) kept[static_cast<u64>(image) * limit + place] = -1;
  if (lane == 0) kept_count[image] = static_cast<i32>(found);
}
