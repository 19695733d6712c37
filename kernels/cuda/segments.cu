// Copies many byte ranges in one launch: gathers the requests of a batch into it, and scatters a batch back.
//
// A block copies one tile of TILE bytes of one segment; which one, it finds by bisection over the segments' first tiles.
// Mapping: grid.x = tiles of all segments together, 256 threads, 4 words each. Word width follows the alignment that
// source and destination have in common; where it is 16, bytes before the first and after the last full word move singly.
// Floor: 2 * bytes / copy bandwidth, no arithmetic.

#define SEGMENTS 168
#define TILE 16384u
#define THREADS 256

struct Segment {
  u64 source;
  u64 destination;
  u32 bytes;
  u32 first_tile;
};

struct SegmentTable {
  u32 count;
  u32 tiles;
  Segment segments[SEGMENTS];
};

template <int WIDTH> DEVICE void copy_words(const u8* source, u8* destination, u32 bytes) {
  typedef typename WordOf<WIDTH>::type Word;
  const Word* from = reinterpret_cast<const Word*>(source);
  Word* to = reinterpret_cast<Word*>(destination);
  const u32 words = bytes / WIDTH;
  u32 word = threadIdx.x;
  for (; word + 3 * THREADS < words; word += 4 * THREADS) {
    const Word first = from[word];
    const Word second = from[word + THREADS];
    const Word third = from[word + 2 * THREADS];
    const Word fourth = from[word + 3 * THREADS];
    to[word] = first;
    to[word + THREADS] = second;
    to[word + 2 * THREADS] = third;
    to[word + 3 * THREADS] = fourth;
  }
  for (; word < words; word += THREADS) to[word] = from[word];
}

KERNEL(THREADS) copy_segments(const __grid_constant__ SegmentTable table) {
  const u32 tile = blockIdx.x;
  u32 low = 0;
  u32 high = table.count - 1;
  while (low < high) {
    const u32 middle = (low + high + 1) / 2;
    if (table.segments[middle].first_tile <= tile) low = middle;
    else high = middle - 1;
  }
  const Segment segment = table.segments[low];
  const u32 begin = (tile - segment.first_tile) * TILE;
  const u32 bytes = segment.bytes - begin < TILE ? segment.bytes - begin : TILE;
  const u8* source = reinterpret_cast<const u8*>(segment.source) + begin;
  u8* destination = reinterpret_cast<u8*>(segment.destination) + begin;
  const u32 difference = static_cast<u32>((segment.source ^ segment.destination) & 15);
  const int width = difference == 0 ? 16 : static_cast<int>(difference & (~difference + 1));
  // Bytes up to the first full word, the words, and what is left.
  const u32 misaligned = static_cast<u32>(reinterpret_cast<u64>(source) & (width - 1));
  const u32 before = misaligned == 0 ? 0 : (width - misaligned < bytes ? width - misaligned : bytes);
  const u32 body = (bytes - before) / width * width;
  if (threadIdx.x < before) destination[threadIdx.x] = source[threadIdx.x];
  switch (width) {
    case 16: copy_words<16>(source + before, destination + before, body); break;
    case 8: copy_words<8>(source + before, destination + before, body); break;
    case 4: copy_words<4>(source + before, destination + before, body); break;
    case 2: copy_words<2>(source + before, destination + before, body); break;
    default: copy_words<1>(source + before, destination + before, body); break;
  }
  const u32 rest = before + body + threadIdx.x;
  if (rest < bytes) destination[rest] = source[rest];
}
