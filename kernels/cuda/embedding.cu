// Rows of a table by index: output[i] = table[indices[i]].
//
// Bytes are moved as they are. An index below 0 or past the table gives a row of zeros, and adds 1 to `refused` where that
// address is not 0: a launch cannot fail later.
// Mapping: flat over the words of the output, 256 threads, 4 words each, neighbouring threads on neighbouring words.
// Floor: (2 * count * row bytes + count * index bytes) / copy bandwidth when no row is wanted twice; no arithmetic.

#define THREADS 256
#define UNROLL 4

template <int WIDTH, typename Index>
DEVICE void embedding(const u8* table, const Index* indices, u8* output, u64 table_rows, u64 count, u32 words, u32* refused) {
  typedef typename WordOf<WIDTH>::type Word;
  const u64 base = static_cast<u64>(blockIdx.x) * (THREADS * UNROLL);
  const u64 first_row = base / words;
  const u32 rest = static_cast<u32>(base % words);
  const u64 total = count * words;
  Word loaded[UNROLL];
#pragma unroll
  for (int step = 0; step < UNROLL; step++) {
    const u32 ahead = step * THREADS + threadIdx.x;
    loaded[step] = Word();
    if (base + ahead < total) {
      const u32 local = rest + ahead;
      const u32 word = local % words;
      const i64 index = static_cast<i64>(indices[first_row + local / words]);
      if (index >= 0 && static_cast<u64>(index) < table_rows) {
        loaded[step] = reinterpret_cast<const Word*>(table)[static_cast<u64>(index) * words + word];
      } else if (word == 0 && refused) {
        atomicAdd(refused, 1u);
      }
    }
  }
#pragma unroll
  for (int step = 0; step < UNROLL; step++) {
    const u32 ahead = step * THREADS + threadIdx.x;
    if (base + ahead < total) reinterpret_cast<Word*>(output)[base + ahead] = loaded[step];
  }
}

#define EMBEDDING(WIDTH, INDEX)                                                                                         \
  KERNEL(THREADS) embedding_w##WIDTH##_##INDEX(const u8* __restrict__ table, const INDEX* __restrict__ indices,         \
                                               u8* __restrict__ output, u64 table_rows, u64 count, u32 words,           \
                                               u32* refused) {                                                          \
    embedding<WIDTH, INDEX>(table, indices, output, table_rows, count, words, refused);                                 \
  }
#define EMBEDDING_BOTH(WIDTH) EMBEDDING(WIDTH, i32) EMBEDDING(WIDTH, i64)

EMBEDDING_BOTH(1)
EMBEDDING_BOTH(2)
EMBEDDING_BOTH(4)
EMBEDDING_BOTH(8)
EMBEDDING_BOTH(16)
