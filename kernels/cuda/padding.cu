// Pads ragged rows to one length, and takes the padding away again.
//
// Packed: items of all rows one after another; row r owns items offsets[r] .. offsets[r + 1] (i64, rows + 1 of them).
// Padded: [rows, columns] items. Item = `words` words of WIDTH bytes. Rows longer than `columns` are cut; what the packed
// side does not have, `pad` fills. Offsets that descend count as an empty row.
// Mapping: flat over the words of the padded side, 256 threads, 4 words each, neighbouring threads on neighbouring words.
// Floor: (packed bytes + padded bytes) / copy bandwidth for pad, 2 * packed bytes / copy bandwidth for unpad.

#define THREADS 256
#define UNROLL 4

template <int WIDTH>
DEVICE void pad(const u8* packed, u8* padded, const i64* offsets, u64 rows, u32 columns, u32 words, uint4 pattern) {
  typedef typename WordOf<WIDTH>::type Word;
  Pack<u32, 4> whole;
  whole.word = pattern;
  const Word fill = *reinterpret_cast<const Word*>(&whole);
  const u32 row_words = columns * words;
  const u64 base = static_cast<u64>(blockIdx.x) * (THREADS * UNROLL);
  // One 64-bit division for a block; the rest is 32-bit.
  const u64 first_row = base / row_words;
  const u32 rest = static_cast<u32>(base % row_words);
  const u64 total = rows * row_words;
#pragma unroll
  for (int step = 0; step < UNROLL; step++) {
    const u32 ahead = step * THREADS + threadIdx.x;
    if (base + ahead >= total) return;
    const u32 local = rest + ahead;
    const u64 row = first_row + local / row_words;
    const u32 word = local % row_words;
    const i64 first = offsets[row];
    const i64 length = offsets[row + 1] - first;
    const bool inside = static_cast<i64>(word / words) < length;
    const Word value = inside ? reinterpret_cast<const Word*>(packed)[static_cast<u64>(first) * words + word] : fill;
    reinterpret_cast<Word*>(padded)[base + ahead] = value;
  }
}

template <int WIDTH>
DEVICE void unpad(const u8* padded, u8* packed, const i64* offsets, u64 rows, u32 columns, u32 words) {
  typedef typename WordOf<WIDTH>::type Word;
  const u32 row_words = columns * words;
  const u64 base = static_cast<u64>(blockIdx.x) * (THREADS * UNROLL);
  // One 64-bit division for a block; the rest is 32-bit.
  const u64 first_row = base / row_words;
  const u32 rest = static_cast<u32>(base % row_words);
  const u64 total = rows * row_words;
#pragma unroll
  for (int step = 0; step < UNROLL; step++) {
    const u32 ahead = step * THREADS + threadIdx.x;
    if (base + ahead >= total) return;
    const u32 local = rest + ahead;
    const u64 row = first_row + local / row_words;
    const u32 word = local % row_words;
    const i64 first = offsets[row];
    const i64 length = offsets[row + 1] - first;
    if (static_cast<i64>(word / words) < length) {
      reinterpret_cast<Word*>(packed)[static_cast<u64>(first) * words + word] =
          reinterpret_cast<const Word*>(padded)[base + ahead];
    }
  }
}

#define PADDING(WIDTH)                                                                                                  \
  KERNEL(THREADS) pad_w##WIDTH(const u8* __restrict__ packed, u8* __restrict__ padded,                                  \
                               const i64* __restrict__ offsets, u64 rows, u32 columns, u32 words, uint4 pattern) {      \
    pad<WIDTH>(packed, padded, offsets, rows, columns, words, pattern);                                                 \
  }                                                                                                                     \
  KERNEL(THREADS) unpad_w##WIDTH(const u8* __restrict__ padded, u8* __restrict__ packed,                                \
                                 const i64* __restrict__ offsets, u64 rows, u32 columns, u32 words) {                   \
    unpad<WIDTH>(padded, packed, offsets, rows, columns, words);                                                        \
  }

PADDING(1)
PADDING(2)
PADDING(4)
PADDING(8)
PADDING(16)
