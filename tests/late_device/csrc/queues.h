// Streams of the late device: queues of work that runs as late as it may.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace late {

constexpr auto kType = c10::DeviceType::PrivateUse1;
constexpr c10::DeviceIndex kDevices = 2;

struct Queue;

// A place in a queue: behind its first `number` pieces of work.
struct Mark {
  Queue* queue = nullptr;
  uint64_t number = 0;
  bool is_reached() const;
};

// One piece of work, or, where `run` is empty, only the wait before it.
struct Work {
  std::function<void()> run;
  Mark after;
};

// The work of one stream. `issued` and `done` count from the stream's making.
struct Queue {
  c10::DeviceIndex device = 0;
  c10::StreamId id = 0;
  std::deque<Work> waiting;
  uint64_t issued = 0, done = 0;
  Mark end() { return {this, issued}; }
};

// late: work runs when the host waits for it, or something it waits for. random: besides, after every call some work
// that is ready may run, drawn by seed. at_once: work runs when it is issued.
enum class Order { late = 0, random = 1, at_once = 2 };

std::recursive_mutex& lock();
using Guard = std::lock_guard<std::recursive_mutex>;

Queue* queue(c10::DeviceIndex device, c10::StreamId id);
c10::StreamId new_queue(c10::DeviceIndex device);
Queue* current(c10::DeviceIndex device);
std::vector<Queue*> all_queues();

c10::DeviceIndex current_device();
void set_current_device(c10::DeviceIndex device);
c10::StreamId exchange_stream(c10::DeviceIndex device, c10::StreamId id);

void set_order(Order order, uint64_t seed);
void issue(Queue* on, std::function<void()> run, Mark after = {});
void run_until(Mark mark);

// The host waits for work that is not done: `why` says by which call, `is_hidden` whether that call does not look like
// a wait (a blocking copy, an item).
void wait(std::vector<Mark> marks, const std::string& why, bool is_hidden);

void count(const std::string& name, int64_t by = 1);
std::map<std::string, int64_t> counts();
void forget_counts();

}  // namespace late
