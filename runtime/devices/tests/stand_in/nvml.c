/* A stand-in of NVML: the two devices of the driver's stand-in, the second of them a part of the first, and a third,
 * another part, that the driver does not show. For tests only. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { snprintf(text, length, "580.65.06"); return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  if (!strcmp(uuid, "GPU-00112233-4455-6677-8899-aabbccddee00")) { *device = (void *)1; return 0; }
  if (!strcmp(uuid, "MIG-00112233-4455-6677-8899-aabbccddee01")) { *device = (void *)2; return 0; }
  return 6;
}
int nvmlDeviceGetMemoryInfo(void *device, uint64_t *memory) { (void)device; memory[0] = 1000 << 20; memory[1] = 600 << 20; memory[2] = 400 << 20; return 0; }
int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) { if (device == (void *)2) return 3; rates[0] = 37; rates[1] = 11; return 0; }
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { if (device == (void *)2) return 3; *milliwatts = 123456; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) { if (device == (void *)2) return 3; *milliwatts = 700000; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, uint64_t *millijoules) { if (device == (void *)2) return 3; *millijoules = 9876543210; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { if (index) return 6; *device = (void *)1; return 0; }
int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) { if (device != (void *)1) return 3; *count = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **part) { if (device != (void *)1 || (index != 0 && index != 4)) return 6; *part = (void *)(uintptr_t)(index ? 3 : 2); return 0; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
  if (length < 96) return 7;
  snprintf(text, length, "%s-00112233-4455-6677-8899-aabbccddee%02d", device == (void *)1 ? "GPU" : "MIG", (int)(uintptr_t)device - 1);
  return 0;
}
int nvmlDeviceGetName(void *device, char *text, unsigned length) { if (length < 96) return 7; snprintf(text, length, device == (void *)1 ? "Stand-in 0" : "Stand-in 0 MIG 1g.10gb"); return 0; }
