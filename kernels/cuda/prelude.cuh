// What every family of kernels starts with: element types, wide loads and stores, reductions.
//
// No header of the CUDA toolkit is used, so that the run-time compiler library alone can compile everything here, and so
// that the same text compiles for the processor, where the tests run it thread by thread (CUDA_ON_HOST).
// Invariant: arithmetic is in float; f16 and bf16 exist only in memory.

#ifndef CUDA_ON_HOST
#define DEVICE static __device__ __forceinline__
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define DEVICE_METHOD static __device__ __forceinline__
#endif

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
typedef float f32;
struct f16 { u16 bits; };
struct bf16 { u16 bits; };

// V bytes that move in one instruction.
template <int BYTES> struct WordOf;
template <> struct WordOf<1> { typedef u8 type; };
template <> struct WordOf<2> { typedef u16 type; };
template <> struct WordOf<4> { typedef u32 type; };
template <> struct WordOf<8> { typedef uint2 type; };
template <> struct WordOf<16> { typedef uint4 type; };

// COUNT elements that move in one instruction: at most 16 bytes, aligned to their size.
template <typename T, int COUNT> union Pack {
  typename WordOf<sizeof(T) * COUNT>::type word;
  T values[COUNT];
};

template <typename T, int COUNT> DEVICE Pack<T, COUNT> load_pack(const T* address) {
  Pack<T, COUNT> pack;
  pack.word = *reinterpret_cast<const typename WordOf<sizeof(T) * COUNT>::type*>(address);
  return pack;
}

template <typename T, int COUNT> DEVICE void store_pack(T* address, const Pack<T, COUNT>& pack) {
  *reinterpret_cast<typename WordOf<sizeof(T) * COUNT>::type*>(address) = pack.word;
}

DEVICE float bits_to_float(u32 bits) {
  union { u32 bits; float value; } both;
  both.bits = bits;
  return both.value;
}

DEVICE u32 float_to_bits(float value) {
  union { u32 bits; float value; } both;
  both.value = value;
  return both.bits;
}

DEVICE float infinity() { return bits_to_float(0x7f800000u); }

DEVICE float to_float(float value) { return value; }
DEVICE float to_float(u8 value) { return static_cast<float>(value); }
DEVICE float to_float(i8 value) { return static_cast<float>(value); }
DEVICE float to_float(bf16 value) { return bits_to_float(static_cast<u32>(value.bits) << 16); }
DEVICE float to_float(f16 value) {
#ifdef CUDA_ON_HOST
  return host_half_to_float(value.bits);
#else
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
#endif
}

// Rounds to the nearest, ties to even; floats beyond the range become infinity, integers saturate, NaN becomes 0 in integers.
template <typename T> struct FromFloat;
template <> struct FromFloat<float> {
  DEVICE_METHOD float convert(float value) { return value; }
};
template <> struct FromFloat<f16> {
  DEVICE_METHOD f16 convert(float value) {
    f16 result;
#ifdef CUDA_ON_HOST
    result.bits = host_float_to_half(value);
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#endif
    return result;
  }
};
template <> struct FromFloat<bf16> {
  DEVICE_METHOD bf16 convert(float value) {
    bf16 result;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#else
    const u32 bits = float_to_bits(value);
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    result.bits = is_nan ? static_cast<u16>(0x7fff) : static_cast<u16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
    return result;
  }
};
DEVICE i32 to_integer(float value, i32 lowest, i32 highest) {
  // NaN fails both comparisons of the first line.
  if (!(value >= static_cast<float>(lowest))) return value < 0.0f ? lowest : 0;
  if (value >= static_cast<float>(highest)) return highest;
  return __float2int_rn(value);
}
template <> struct FromFloat<u8> {
  DEVICE_METHOD u8 convert(float value) { return static_cast<u8>(to_integer(value, 0, 255)); }
};
template <> struct FromFloat<i8> {
  DEVICE_METHOD i8 convert(float value) { return static_cast<i8>(to_integer(value, -128, 127)); }
};
template <typename T> DEVICE T from_float(float value) { return FromFloat<T>::convert(value); }

DEVICE float warp_sum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

// The threads that share one row: a warp, or a whole block of up to 1024 threads.
template <bool WARP> struct RowGroup;

template <> struct RowGroup<true> {
  DEVICE_METHOD u32 size() { return 32; }
  DEVICE_METHOD u32 lane() { return threadIdx.x & 31; }
  DEVICE_METHOD u32 index() { return threadIdx.x >> 5; }
  DEVICE_METHOD u64 row() { return static_cast<u64>(blockIdx.x) * (blockDim.x >> 5) + (threadIdx.x >> 5); }
  DEVICE_METHOD float sum(float value) { return warp_sum(value); }
};

template <> struct RowGroup<false> {
  DEVICE_METHOD u32 size() { return blockDim.x; }
  DEVICE_METHOD u32 lane() { return threadIdx.x; }
  DEVICE_METHOD u32 index() { return 0; }
  DEVICE_METHOD u64 row() { return blockIdx.x; }
  // Every thread of the block calls it; every thread gets the sum, added in the same order.
  DEVICE_METHOD float sum(float value) {
    __shared__ float partial[32];
    value = warp_sum(value);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5] = value;
    __syncthreads();
    const u32 lane = threadIdx.x & 31;
    return warp_sum(lane < (blockDim.x >> 5) ? partial[lane] : 0.0f);
  }
};
