// Preloaded into a node of a test: its wall clock shows another time, its monotonic clock stays.
// STALLS_CLOCK_SHIFT_S: by how many seconds.
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

extern "C" int clock_gettime(clockid_t clock, timespec* time) {
  const long result = syscall(SYS_clock_gettime, clock, time);
  const char* const shift =
      getenv("STALLS_CLOCK_SHIFT_S");  // NOLINT(concurrency-mt-unsafe): never changed
  if (result == 0 && clock == CLOCK_REALTIME && shift != nullptr)
    time->tv_sec += std::strtol(shift, nullptr, 10);
  return static_cast<int>(result);
}
