// Runs CUDA kernels on the processor, thread by thread, for tests: the part of CUDA C++ that our kernels use.
//
// A block's threads are fibers that run one after another up to their next barrier or warp operation, one warp as far
// as it gets before the next; blocks run one after another. Nothing here is fast. What it finds: wrong indices, wrong arithmetic, launches whose arguments do not match,
// barriers and warp operations that not every thread reaches, and (by running the threads in both orders) results that
// depend on the order of threads. What it cannot find: anything about the memory of a real device or its speed.

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <utility>
#include <vector>

#define CUDA_ON_HOST 1
#define __global__
#define __device__
#define __shared__ static
#define __grid_constant__
#define __restrict__
#define DEVICE static inline
#define DEVICE_METHOD static inline
#define KERNEL(threads) extern "C" void
#define DYNAMIC_SHARED(name) unsigned char* name = host::dynamic_memory

struct uint3 { unsigned int x, y, z; };
struct alignas(8) uint2 { unsigned int x, y; };
struct alignas(16) uint4 { unsigned int x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };

static uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace host {

enum Outcome { FINE = 0, UNKNOWN_KERNEL = 1, STUCK = 2, LANE_MISSING = 3 };

static unsigned char* dynamic_memory;

struct Warp {
  uint64_t values[2][32];
  unsigned arrived = 0, generation = 0, live = 0, left = 0;
};

struct Fiber {
  ucontext_t context;
  uint3 index;
  std::vector<char> stack;
  bool finished = false;
};

static ucontext_t scheduler;
static std::vector<Fiber> fibers;
static std::vector<Warp> warps;
static size_t current;
static unsigned waiting, barrier_generation, live;
static uint64_t progress;
static Outcome outcome;

static void yield() {
  const size_t own = current;
  swapcontext(&fibers[own].context, &scheduler);
}

static void release_barrier_if_full() {
  if (live > 0 && waiting == live) {
    waiting = 0;
    barrier_generation++;
    progress++;
  }
}

static void barrier() {
  const unsigned generation = barrier_generation;
  waiting++;
  release_barrier_if_full();
  while (barrier_generation == generation) yield();
}

// Every lane of the warp gives a value; afterwards all can read all of them.
static const uint64_t* exchange(uint64_t value) {
  Warp& warp = warps[current / 32];
  if (warp.left > 0) outcome = LANE_MISSING;
  const unsigned generation = warp.generation;
  warp.values[generation & 1][current % 32] = value;
  if (++warp.arrived == warp.live) {
    warp.arrived = 0;
    warp.generation++;
    progress++;
  }
  while (warp.generation == generation) yield();
  return warp.values[generation & 1];
}

template <typename T> static uint64_t to_word(T value) {
  uint64_t word = 0;
  memcpy(&word, &value, sizeof value);
  return word;
}

template <typename T> static T from_word(uint64_t word) {
  T value;
  memcpy(&value, &word, sizeof value);
  return value;
}

static void (*invoke)(void**);
static void** invoke_arguments;

static void enter() {
  invoke(invoke_arguments);
  Fiber& own = fibers[current];
  own.finished = true;
  live--;
  warps[current / 32].live--;
  warps[current / 32].left++;
  progress++;
  release_barrier_if_full();
  yield();
}

static Outcome run_block(unsigned threads, bool reverse) {
  live = threads;
  waiting = 0;
  for (Warp& warp : warps) warp = Warp();
  for (unsigned thread = 0; thread < threads; thread++) {
    Fiber& fiber = fibers[thread];
    fiber.finished = false;
    fiber.index = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
    warps[thread / 32].live++;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, enter, 0);
  }
  // A warp runs as far ahead of the others as barriers let it: the schedule in which a missing barrier shows.
  const unsigned warp_count = (threads + 31) / 32;
  while (live > 0) {
    const uint64_t before = progress;
    for (unsigned turn = 0; turn < warp_count; turn++) {
      const unsigned first = (reverse ? warp_count - 1 - turn : turn) * 32;
      const unsigned lanes = threads - first < 32 ? threads - first : 32;
      uint64_t own;
      do {
        own = progress;
        for (unsigned step = 0; step < lanes; step++) {
          current = first + (reverse ? lanes - 1 - step : step);
          if (fibers[current].finished) continue;
          threadIdx = fibers[current].index;
          swapcontext(&scheduler, &fibers[current].context);
        }
      } while (progress != own && outcome == FINE);
    }
    if (outcome != FINE) return outcome;
    if (progress == before) return STUCK;
  }
  return FINE;
}

// Calls a kernel with the arguments as the driver takes them: an array of addresses.
template <typename... Arguments, size_t... Places>
static void unpack(void (*kernel)(Arguments...), void** arguments, std::index_sequence<Places...>) {
  kernel(*static_cast<typename std::remove_const<Arguments>::type*>(arguments[Places])...);
}

template <typename... Arguments> static void call(void (*kernel)(Arguments...), void** arguments) {
  unpack(kernel, arguments, std::index_sequence_for<Arguments...>());
}

struct Entry {
  const char* name;
  void (*invoke)(void**);
};

#define HOST_ENTRY(kernel) {#kernel, [](void** arguments) { host::call(kernel, arguments); }},

static Outcome launch(const Entry& entry, const unsigned* grid, const unsigned* block, unsigned shared, void** arguments,
                      bool reverse) {
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  const unsigned threads = block[0] * block[1] * block[2];
  invoke = entry.invoke;
  invoke_arguments = arguments;
  outcome = FINE;
  while (fibers.size() < threads) {
    fibers.emplace_back();
    fibers.back().stack.resize(32768);
  }
  warps.resize((threads + 31) / 32);
  dynamic_memory = static_cast<unsigned char*>(aligned_alloc(16, (shared + 31) / 16 * 16));
  for (unsigned z = 0; z < grid[2]; z++)
    for (unsigned y = 0; y < grid[1]; y++)
      for (unsigned x = 0; x < grid[0] && outcome == FINE; x++) {
        blockIdx = {x, y, z};
        memset(dynamic_memory, 0xa5, shared);
        outcome = run_block(threads, reverse);
      }
  free(dynamic_memory);
  return outcome;
}

}  // namespace host

static inline void __syncthreads() { host::barrier(); }
template <typename T> static T __shfl_sync(unsigned, T value, int lane) {
  return host::from_word<T>(host::exchange(host::to_word(value))[lane & 31]);
}
template <typename T> static T __shfl_xor_sync(unsigned, T value, int mask) {
  const size_t lane = host::current % 32;
  return host::from_word<T>(host::exchange(host::to_word(value))[lane ^ mask]);
}
template <typename T> static T __shfl_up_sync(unsigned, T value, int distance) {
  const int lane = static_cast<int>(host::current % 32);
  return host::from_word<T>(host::exchange(host::to_word(value))[lane < distance ? lane : lane - distance]);
}
static inline unsigned __match_any_sync(unsigned, unsigned value) {
  const uint64_t* values = host::exchange(value);
  unsigned same = 0;
  for (int lane = 0; lane < 32; lane++) same |= static_cast<unsigned>(values[lane] == value) << lane;
  return same;
}
template <typename T> static T atomicAdd(T* address, T value) {
  const T before = *address;
  *address = before + value;
  return before;
}
static inline int __popc(unsigned value) { return __builtin_popcount(value); }
static inline int __ffs(int value) { return __builtin_ffs(value); }
#define __expf expf  // glibc has a function of that name
static inline int __float2int_rn(float value) { return static_cast<int>(lrintf(value)); }

static inline float host_half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = bits >> 10 & 31;
  const uint32_t fraction = bits & 1023;
  if (exponent == 0) {
    const float value = ldexpf(static_cast<float>(fraction), -24);
    return sign ? -value : value;
  }
  const uint32_t word = exponent == 31 ? sign | 0x7f800000u | fraction << 13 : sign | (exponent + 112) << 23 | fraction << 13;
  return host::from_word<float>(word);
}

static inline uint16_t host_float_to_half(float value) {
  const uint32_t word = static_cast<uint32_t>(host::to_word(value));
  const uint16_t sign = static_cast<uint16_t>(word >> 16 & 0x8000);
  if (value != value) return 0x7fff;
  const float size = fabsf(value);
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size == 0.0f) return sign;
  int exponent;
  frexpf(size, &exponent);
  // Steps of 2^-24 below the normal numbers, of 11 significant bits above.
  const int step = exponent - 11 < -24 ? -24 : exponent - 11;
  const uint32_t steps = static_cast<uint32_t>(lrintf(ldexpf(size, -step)));
  // A rounded-up 2048 carries into the exponent by itself.
  return sign | static_cast<uint16_t>(steps + (static_cast<uint32_t>(step + 24) << 10));
}
