/* A stand-in of the CUDA driver over ordinary memory: two devices, streams that do everything at once.
 *
 * Memory of other processes is a file: a handle is its absolute path, so that a test writes and reads what a client would.
 *
 * For tests only. It proves that functions are bound with the right types, called in the right order and given back, and it
 * fails on demand; it proves nothing about a GPU. `stand_in_fail(call, code, after)` lets the call whose number within CALLS
 * is `call` fail with `code` after it succeeded `after` times, or -`after` times in a row; for ever when `code` ends the context.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEVICES 2
#define MEMORY ((size_t)1 << 30)
enum { ALLOCATE, COPY_IN, COPY_OUT, EVENT_WAIT, STREAM_CREATE, HOST_ALLOCATE, LAUNCH, CALLS };

static int fail_code[CALLS], fail_after[CALLS], lost, live[DEVICES];
static _Thread_local int current = -1;
static size_t used[DEVICES], host_live, events_live, streams_live, maps_live, modules_live;

void stand_in_fail(int call, int code, int after) { fail_code[call] = code; fail_after[call] = after; }
void stand_in_restore(void) { memset(fail_code, 0, sizeof fail_code); lost = 0; }
/* Contexts, device bytes, pinned buffers, events, streams, mappings and modules that were not given back. */
size_t stand_in_left(void) { return (size_t)live[0] + live[1] + used[0] + used[1] + host_live + events_live + streams_live + maps_live + modules_live; }

/* The calls that move, launch, mark and wait, one a line, since stand_in_trace(1): streams and events by the order of their making. */
static char trace[1 << 16];
static size_t traced;
static int tracing;
void stand_in_trace(int on) { tracing = on; traced = 0; trace[0] = 0; }
const char *stand_in_calls(void) { return trace; }
static void note(const char *format, ...) {
  if (!tracing || traced + 128 > sizeof trace) return;
  va_list arguments;
  va_start(arguments, format);
  traced += vsnprintf(trace + traced, 128, format, arguments);
  va_end(arguments);
}
typedef struct { int number; } stream_of;
typedef struct { struct timespec time; int number; } event_of;
static int streams_made, events_made;
static int number_of(void *stream) { return stream ? ((stream_of *)stream)->number : 0; }

static int outcome(int call) {
  if (lost || !fail_code[call]) return lost;
  if (fail_after[call] > 0) return fail_after[call]--, 0;
  int code = fail_code[call];
  if (fail_after[call] < -1) fail_after[call]++;
  else fail_code[call] = 0;
  return code >= 700 ? (lost = code) : code;
}

int cuInit(unsigned flags) { return flags ? 1 : 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = DEVICES; return 0; }
int cuDeviceGet(int *device, int ordinal) { if (ordinal < 0 || ordinal >= DEVICES) return 101; *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Stand-in %d", device); return 0; }
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) { for (int i = 0; i < 16; i++) uuid[i] = i * 17; uuid[15] = device; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = MEMORY; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { (void)device; *value = attribute == 75 ? 9 : 0; return attribute == 75 || attribute == 76 ? 0 : 1; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(uintptr_t)(device + 1); live[device]++; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { live[device]--; return 0; }
/* Everything in it is gone; what tests with a reset have is all on one device. */
static void forget_maps(void);
int cuDevicePrimaryCtxReset_v2(int device) { lost = 0; used[device] = 0; host_live = events_live = streams_live = modules_live = 0; forget_maps(); return 0; }
int cuCtxSetCurrent(void *context) { current = (int)(uintptr_t)context - 1; return 0; }
int cuMemGetInfo_v2(size_t *available, size_t *total) { *total = MEMORY; *available = MEMORY - used[current]; return lost; }
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return 0; }
int cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) { int code = outcome(STREAM_CREATE); if (code) return code; if (flags != 1 || priority > 0 || priority < -5) return 1; stream_of *made = malloc(sizeof *made); made->number = ++streams_made; *stream = made; streams_live++; return 0; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { note("stream %d waits for %d\n", number_of(stream), ((event_of *)event)->number); return flags || lost; }
int cuStreamSynchronize(void *stream) { (void)stream; return lost; }
int cuStreamDestroy_v2(void *stream) { free(stream); streams_live--; return 0; }
int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
  int code = outcome(ALLOCATE);
  if (code) return code;
  if (!bytes || used[current] + bytes > MEMORY) return 2;
  size_t *start = aligned_alloc(512, (bytes + 1023) / 512 * 512);
  start[0] = bytes;
  start[1] = (size_t)current;
  used[current] += bytes;
  memset((char *)start + 512, 0xa5, bytes);
  *address = (uint64_t)(uintptr_t)start + 512;
  return 0;
}
int cuMemFree_v2(uint64_t address) { size_t *start = (size_t *)(uintptr_t)(address - 512); used[start[1]] -= start[0]; free(start); return 0; }
int cuMemHostAlloc(void **start, size_t bytes, unsigned flags) { int code = outcome(HOST_ALLOCATE); if (code) return code; if (flags != 1) return 1; *start = malloc(bytes); memset(*start, 0x5a, bytes); host_live++; return 0; }
int cuMemFreeHost(void *start) { free(start); host_live--; return 0; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) { int code = outcome(COPY_IN); note("in %d %zu\n", number_of(stream), bytes); if (!code) memcpy((void *)(uintptr_t)to, from, bytes); return code; }
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) { int code = outcome(COPY_OUT); note("out %d %zu\n", number_of(stream), bytes); if (!code) memcpy(to, (void *)(uintptr_t)from, bytes); return code; }
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) { note("across %d %zu\n", number_of(stream), bytes); if (!lost) memmove((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes); return lost; }
int cuEventCreate(void **event, unsigned flags) { if (flags != 1) return 1; event_of *made = calloc(1, sizeof *made); made->number = ++events_made; *event = made; events_live++; return lost; }
int cuEventRecord(void *event, void *stream) { event_of *mark = event; note("mark %d %d\n", number_of(stream), mark->number); clock_gettime(CLOCK_MONOTONIC, &mark->time); return lost; }
int cuEventElapsedTime(float *milliseconds, void *start, void *end) { struct timespec *a = start, *b = end; if (!a->tv_sec || !b->tv_sec) return 400; *milliseconds = (b->tv_sec - a->tv_sec) * 1e3f + (b->tv_nsec - a->tv_nsec) / 1e6f; return lost; }
int cuEventQuery(void *event) { return lost ? lost : ((event_of *)event)->time.tv_sec ? 0 : 600; }
int cuEventSynchronize(void *event) { note("wait %d\n", ((event_of *)event)->number); return outcome(EVENT_WAIT); }
int cuEventDestroy_v2(void *event) { free(event); events_live--; return 0; }

/* Machine code is anything; the one function is the copy of segments, done here as kernels/cuda/segments.cu does it. */
typedef struct { uint64_t source, destination; uint32_t bytes, first_tile; } segment;
typedef struct { uint32_t count, tiles; segment segments[168]; } segment_table;
int cuModuleLoadData(void **module, const void *image) { if (!image) return 1; *module = malloc(1); modules_live++; return lost; }
int cuModuleGetFunction(void **function, void *module, const char *name) { (void)module; if (strcmp(name, "copy_segments")) return 500; *function = (void *)cuModuleLoadData; return lost; }
int cuModuleUnload(void *module) { free(module); modules_live--; return 0; }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned width, unsigned height, unsigned depth, unsigned shared, void *stream, void **parameters, void **extra) {
  int code = outcome(LAUNCH);
  segment_table *table = parameters[0];
  if (function != (void *)cuModuleLoadData || x != table->tiles || y != 1 || z != 1 || width != 256 || height != 1 || depth != 1 || shared || extra) return 1;
  note("launch %d %u\n", number_of(stream), table->count);
  for (uint32_t i = 0; !code && i < table->count; i++) memcpy((void *)(uintptr_t)table->segments[i].destination, (void *)(uintptr_t)table->segments[i].source, table->segments[i].bytes);
  return code;
}

/* A handle is the number 7 in every byte, which names 4096 bytes of value 3, or the path of a file. */
typedef struct { unsigned char bytes[64]; } handle;
static struct { char *base; size_t bytes; } maps[64];
static void forget_maps(void) { for (int i = 0; i < 64; i++) if (maps[i].base) { munmap(maps[i].base, maps[i].bytes); maps[i].base = 0; } maps_live = 0; }
/* After stand_in_hold_open(1), opening waits until stand_in_hold_open(0); stand_in_await_open() waits for somebody who does. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static int gate_held, gate_inside;
static void move_gate(int *what, int value) { pthread_mutex_lock(&gate); *what = value; pthread_cond_broadcast(&gate_moved); pthread_mutex_unlock(&gate); }
void stand_in_hold_open(int held) { move_gate(&gate_held, held); }
static void pass_gate(int *until, int value) { pthread_mutex_lock(&gate); while (*until != value) pthread_cond_wait(&gate_moved, &gate); pthread_mutex_unlock(&gate); }
void stand_in_await_open(void) { pass_gate(&gate_inside, 1); }
int cuIpcOpenMemHandle_v2(uint64_t *address, handle name, unsigned flags) {
  if (flags != 1) return 1;
  move_gate(&gate_inside, 1);
  pass_gate(&gate_held, 0);
  move_gate(&gate_inside, 0);
  int slot = 0, file = name.bytes[0] == '/';
  while (slot < 64 && maps[slot].base) slot++;
  if (slot == 64) return 206;
  if (file) {
    struct stat facts;
    name.bytes[63] = 0;
    int opened = open((char *)name.bytes, O_RDWR);
    if (opened < 0 || fstat(opened, &facts)) return 400;
    maps[slot].bytes = (size_t)facts.st_size;
    maps[slot].base = mmap(0, maps[slot].bytes, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    close(opened);
  } else {
    for (int i = 0; i < 64; i++) if (name.bytes[i] != 7) return 400;
    maps[slot].bytes = 4096;
    maps[slot].base = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(maps[slot].base, 3, 4096);
  }
  *address = (uint64_t)(uintptr_t)maps[slot].base;
  maps_live++;
  return 0;
}
/* Unmapped at once: whoever still uses it crashes. */
int cuIpcCloseMemHandle(uint64_t address) {
  for (int i = 0; i < 64; i++) if (maps[i].base == (char *)(uintptr_t)address && address) { munmap(maps[i].base, maps[i].bytes); maps[i].base = 0; maps_live--; return 0; }
  return 400;
}
int cuMemGetAddressRange_v2(uint64_t *base, size_t *bytes, uint64_t address) {
  for (int i = 0; i < 64; i++) if (maps[i].base == (char *)(uintptr_t)address && address) { *base = address; *bytes = maps[i].bytes; return 0; }
  return 500;
}
