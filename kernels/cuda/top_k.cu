// The k highest of each row of [rows, columns], highest first, with their columns.
//
// Elements are ranked by (value, lower column first): equal values keep their order, -0 equals +0, and NaN ranks below
// everything. The k-th rank is found by radix selection, 8 bits a pass from the top, and what ranks at least as high is
// sorted in shared memory: the result never depends on the order in which threads ran.
// Where a row has fewer than k columns the caller asks for fewer (refused by the launcher). Labels are the caller's.
// Mapping: a block of 256 to a row; 4 passes over the row (8 with ties at the boundary), from the second on out of cache.
// Floor: rows * (columns * element bytes + k * 8) / copy bandwidth; about 10 operations an element.

#define THREADS 256

// Grows with the value; NaN is 0, all else is above. Equal values differ by the column, lower columns higher.
template <typename T> DEVICE u64 rank_of(const T* row, u32 column) {
  float value = to_float(row[column]);
  if (value == 0.0f) value = 0.0f * 0.0f;
  const u32 bits = float_to_bits(value);
  const u32 ordered = value != value ? 0u : (bits & 0x80000000u ? ~bits : bits | 0x80000000u);
  return static_cast<u64>(ordered) << 32 | (0xffffffffu - column);
}

template <typename T>
DEVICE void top_k(const T* __restrict__ input, float* __restrict__ values, i32* __restrict__ indices, u32 columns, u32 k,
                  u32 slots) {
  DYNAMIC_SHARED(memory);
  u64* chosen = reinterpret_cast<u64*>(memory);
  __shared__ u32 counts[256];
  __shared__ u64 shared_prefix;
  __shared__ u32 shared_needed;
  __shared__ u32 filled;
  const T* row = input + static_cast<u64>(blockIdx.x) * columns;
  const u32 thread = threadIdx.x;
  // Ranks that share `prefix` in the bits of `decided` are still open; `needed` of them belong to the k.
  u64 prefix = 0;
  u64 decided = 0;
  u32 needed = k;
#pragma unroll 1
  for (int shift = 56; shift >= 0; shift -= 8) {
    counts[thread] = 0;
    __syncthreads();
#pragma unroll 2
    for (u32 start = 0; start < columns; start += THREADS) {
      const u32 column = start + thread;
      const u64 rank = column < columns ? rank_of(row, column) : 0;
      const bool open = column < columns && (rank & decided) == prefix;
      const u32 digit = open ? static_cast<u32>(rank >> shift) & 255u : 256u;
      // One addition for all lanes with the same digit: values close together share theirs.
      const u32 same = __match_any_sync(0xffffffffu, digit);
      if (open && (thread & 31) == static_cast<u32>(__ffs(static_cast<int>(same))) - 1) atomicAdd(&counts[digit], static_cast<u32>(__popc(same)));
    }
    __syncthreads();
    // The first warp finds the digit at which the count from above reaches `needed`: 8 digits a lane, highest lane first.
    if (thread < 32) {
      const u32 top = 255 - thread * 8;
      u32 own = 0;
#pragma unroll
      for (u32 digit = 0; digit < 8; digit++) own += counts[top - digit];
      u32 through = own;
#pragma unroll
      for (int offset = 1; offset < 32; offset <<= 1) {
        const u32 before = __shfl_up_sync(0xffffffffu, through, offset);
        if (thread >= static_cast<u32>(offset)) through += before;
      }
      u32 above = through - own;
      if (above < needed && through >= needed) {
        u32 digit = top;
        while (above + counts[digit] < needed) above += counts[digit--];
        shared_prefix = prefix | static_cast<u64>(digit) << shift;
        shared_needed = needed - above;
        // All of them belong: nothing is left to decide.
        filled = counts[digit] == needed - above;
      }
    }
    __syncthreads();
    prefix = shared_prefix;
    needed = shared_needed;
    decided |= static_cast<u64>(255) << shift;
    const bool settled = filled;
    __syncthreads();
    if (settled) break;
  }
  if (thread == 0) filled = 0;
  for (u32 slot = thread; slot < slots; slot += THREADS) chosen[slot] = 0;
  __syncthreads();
  for (u32 column = thread; column < columns; column += THREADS) {
    const u64 rank = rank_of(row, column);
    if ((rank & decided) >= prefix) chosen[atomicAdd(&filled, 1u)] = rank;
  }
  __syncthreads();
  // Bitonic sort, highest first; `slots` is k rounded up to a power of two, the surplus is 0 and sinks.
#pragma unroll 1
  for (u32 size = 2; size <= slots; size <<= 1) {
#pragma unroll 1
    for (u32 stride = size >> 1; stride > 0; stride >>= 1) {
      for (u32 slot = thread; slot < slots; slot += THREADS) {
        const u32 partner = slot ^ stride;
        if (partner > slot) {
          const bool descending = (slot & size) == 0;
          const u64 left = chosen[slot];
          const u64 right = chosen[partner];
          if ((left < right) == descending) {
            chosen[slot] = right;
            chosen[partner] = left;
          }
        }
      }
      __syncthreads();
    }
  }
  for (u32 slot = thread; slot < k; slot += THREADS) {
    const u32 column = 0xffffffffu - static_cast<u32>(chosen[slot]);
    const u64 place = static_cast<u64>(blockIdx.x) * k + slot;
    values[place] = to_float(row[column]);
    indices[place] = static_cast<i32>(column);
  }
}

#define TOP_K(T)                                                                                                        \
  KERNEL(THREADS) top_k_##T(const T* __restrict__ input, float* __restrict__ values, i32* __restrict__ indices,         \
                            u32 columns, u32 k, u32 slots) {                                                            \
    top_k<T>(input, values, indices, columns, k, slots);                                                                \
  }

TOP_K(f32)
TOP_K(f16)
TOP_K(bf16)
