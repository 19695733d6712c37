// Sketches of the columns of [rows, columns] floats, for drift: histograms and moments that add up over batches.
//
// Histogram: bin of x = how many of the column's ascending edges are <= x (numpy.digitize); edges + 1 bins, and one more
// at the end for NaN. Counts are added to what is there (u64), so the result does not depend on the order of threads.
// Moments: with z = (x - centre) / scale of the column, adds count, sums of z, z^2, z^3, z^4 (double), lowest and highest x
// and how many x are not finite (Gan et al., "Moment-Based Quantile Sketches", VLDB 2018, section 3: sums of powers
// merge by addition). Values that are not finite count only as such. Each block leaves its part in a workspace and a
// second launch adds the parts in a fixed order: the same input always gives the same bits.
// Mapping: 256 threads as `wide` neighbouring columns (a power of two up to 32) by 256 / wide rows; grid.x = column tiles *
// row blocks.
// Floor: rows * columns * 4 bytes / read bandwidth; log2(bins) comparisons, or about 10 operations, an element.

#define THREADS 256
#define FIELDS 8

KERNEL(THREADS) histogram(const float* __restrict__ input, const float* __restrict__ edges, u64* __restrict__ counts,
                          u64 rows, u32 columns, u32 edge_count, u32 wide, u32 tiles, u32 row_blocks) {
  DYNAMIC_SHARED(memory);
  const u32 bins = edge_count + 2;
  float* limits = reinterpret_cast<float*>(memory);
  u32* own = reinterpret_cast<u32*>(memory) + wide * edge_count;
  const u32 first = blockIdx.x % tiles * wide;
  for (u32 index = threadIdx.x; index < wide * edge_count; index += THREADS) {
    if (first + index / edge_count < columns) limits[index] = edges[static_cast<u64>(first) * edge_count + index];
  }
  for (u32 index = threadIdx.x; index < wide * bins; index += THREADS) own[index] = 0;
  __syncthreads();
  const u32 lane = threadIdx.x % wide;
  const u32 column = first + lane;
  const u32 stripes = THREADS / wide;
  if (column < columns) {
    const float* mine = limits + lane * edge_count;
    const u64 step = static_cast<u64>(row_blocks) * stripes;
    for (u64 row = static_cast<u64>(blockIdx.x / tiles) * stripes + threadIdx.x / wide; row < rows; row += step) {
      const float value = input[row * columns + column];
      u32 low = 0;
      u32 high = edge_count;
      while (low < high) {
        const u32 middle = (low + high) / 2;
        if (mine[middle] <= value) low = middle + 1;
        else high = middle;
      }
      atomicAdd(&own[lane * bins + (value != value ? edge_count + 1 : low)], 1u);
    }
  }
  __syncthreads();
  for (u32 index = threadIdx.x; index < wide * bins; index += THREADS) {
    const u32 found = own[index];
    if (found != 0 && first + index / bins < columns) {
      atomicAdd(&counts[static_cast<u64>(first) * bins + index], static_cast<u64>(found));
    }
  }
}

KERNEL(THREADS) moments_part(const float* __restrict__ input, const float* __restrict__ centres,
                             const float* __restrict__ scales, double* __restrict__ parts, u64 rows, u32 columns,
                             u32 wide, u32 tiles, u32 row_blocks) {
  __shared__ float fields[FIELDS][THREADS];
  const u32 lane = threadIdx.x % wide;
  const u32 column = blockIdx.x % tiles * wide + lane;
  const u32 row_block = blockIdx.x / tiles;
  const u32 stripes = THREADS / wide;
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  float lowest = infinity();
  float highest = -infinity();
  u32 finite = 0;
  u32 other = 0;
  if (column < columns) {
    const float centre = centres[column];
    const float inverse = 1.0f / scales[column];
    const u64 step = static_cast<u64>(row_blocks) * stripes;
    for (u64 row = static_cast<u64>(row_block) * stripes + threadIdx.x / wide; row < rows; row += step) {
      const float value = input[row * columns + column];
      if ((float_to_bits(value) & 0x7f800000u) == 0x7f800000u) {
        other++;
        continue;
      }
      const float z = (value - centre) * inverse;
      const float square = z * z;
      finite++;
      sums[0] += z;
      sums[1] += square;
      sums[2] = fmaf(square, z, sums[2]);
      sums[3] = fmaf(square, square, sums[3]);
      lowest = fminf(lowest, value);
      highest = fmaxf(highest, value);
    }
  }
  fields[0][threadIdx.x] = static_cast<float>(finite);
  fields[1][threadIdx.x] = sums[0];
  fields[2][threadIdx.x] = sums[1];
  fields[3][threadIdx.x] = sums[2];
  fields[4][threadIdx.x] = sums[3];
  fields[5][threadIdx.x] = lowest;
  fields[6][threadIdx.x] = highest;
  fields[7][threadIdx.x] = static_cast<float>(other);
  __syncthreads();
  // One thread a column and field adds up the stripes.
  for (u32 index = threadIdx.x; index < FIELDS * wide; index += THREADS) {
    const u32 field = index / wide;
    const u32 place = index % wide;
    const u32 target = blockIdx.x % tiles * wide + place;
    if (target >= columns) continue;
    double total = fields[field][place];
    for (u32 stripe = 1; stripe < stripes; stripe++) {
      const float next = fields[field][stripe * wide + place];
      if (field == 5) total = next < total ? next : total;
      else if (field == 6) total = next > total ? next : total;
      else total += next;
    }
    parts[(static_cast<u64>(row_block) * FIELDS + field) * columns + target] = total;
  }
}

// state: [FIELDS, columns] doubles, kept by the caller from batch to batch; lowest starts at +infinity, highest at -infinity.
KERNEL(THREADS) moments_add(const double* __restrict__ parts, double* __restrict__ state, u32 columns, u32 row_blocks) {
  const u64 index = static_cast<u64>(blockIdx.x) * THREADS + threadIdx.x;
  if (index >= static_cast<u64>(columns) * FIELDS) return;
  const u32 field = static_cast<u32>(index / columns);
  double total = state[index];
  for (u32 row_block = 0; row_block < row_blocks; row_block++) {
    const double next = parts[static_cast<u64>(row_block) * FIELDS * columns + index];
    if (field == 5) total = next < total ? next : total;
    else if (field == 6) total = next > total ? next : total;
    else total += next;
  }
  state[index] = total;
}
