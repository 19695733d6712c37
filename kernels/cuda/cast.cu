// Converts elements between u8, i8, f16, bf16 and f32.
//
// To floats: rounds to nearest even, infinity beyond the range. To integers: nearest even, saturating, NaN to 0.
// Mapping: flat, 256 threads, 4 packs a thread; a pack is 16 bytes of the wider side (COUNT elements), or one element where
// an address is not aligned. What does not fill a pack is converted singly by the last block.
// Floor: elements * (input bytes + output bytes) / copy bandwidth; one conversion an element.

#define THREADS 256
#define UNROLL 4

template <typename Input, typename Output, int COUNT>
DEVICE void cast(const Input* __restrict__ input, Output* __restrict__ output, u64 elements) {
  const u64 packs = elements / COUNT;
  const u64 base = static_cast<u64>(blockIdx.x) * (THREADS * UNROLL) + threadIdx.x;
  Pack<Input, COUNT> loaded[UNROLL];
#pragma unroll
  for (int step = 0; step < UNROLL; step++) {
    const u64 pack = base + step * THREADS;
    if (pack < packs) loaded[step] = load_pack<Input, COUNT>(input + pack * COUNT);
  }
#pragma unroll
  for (int step = 0; step < UNROLL; step++) {
    const u64 pack = base + step * THREADS;
    if (pack < packs) {
      Pack<Output, COUNT> converted;
#pragma unroll
      for (int index = 0; index < COUNT; index++) converted.values[index] = from_float<Output>(to_float(loaded[step].values[index]));
      store_pack<Output, COUNT>(output + pack * COUNT, converted);
    }
  }
  const u64 rest = packs * COUNT + threadIdx.x;
  if (COUNT > 1 && blockIdx.x == gridDim.x - 1 && rest < elements) output[rest] = from_float<Output>(to_float(input[rest]));
}

#define CAST(INPUT, OUTPUT, COUNT)                                                                                      \
  KERNEL(THREADS) cast_##INPUT##_##OUTPUT##_v##COUNT(const INPUT* __restrict__ input, OUTPUT* __restrict__ output,      \
                                                     u64 elements) {                                                    \
    cast<INPUT, OUTPUT, COUNT>(input, output, elements);                                                                \
  }
#define CAST_BOTH(INPUT, OUTPUT, COUNT) CAST(INPUT, OUTPUT, COUNT) CAST(INPUT, OUTPUT, 1)

CAST_BOTH(u8, i8, 16)
CAST_BOTH(u8, f16, 8)
CAST_BOTH(u8, bf16, 8)
CAST_BOTH(u8, f32, 4)
CAST_BOTH(i8, u8, 16)
CAST_BOTH(i8, f16, 8)
CAST_BOTH(i8, bf16, 8)
CAST_BOTH(i8, f32, 4)
CAST_BOTH(f16, u8, 8)
CAST_BOTH(f16, i8, 8)
CAST_BOTH(f16, bf16, 8)
CAST_BOTH(f16, f32, 4)
CAST_BOTH(bf16, u8, 8)
CAST_BOTH(bf16, i8, 8)
CAST_BOTH(bf16, f16, 8)
CAST_BOTH(bf16, f32, 4)
CAST_BOTH(f32, u8, 4)
CAST_BOTH(f32, i8, 4)
CAST_BOTH(f32, f16, 4)
CAST_BOTH(f32, bf16, 4)
