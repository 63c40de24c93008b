#include "queues.h"
#include "memory.h"

#include <algorithm>
#include <random>
#include <utility>

namespace late {

namespace {

std::vector<std::unique_ptr<Queue>> queues[kDevices];
std::map<std::string, int64_t> counted;
Order order = Order::late;
std::mt19937_64 draw(0);
thread_local c10::DeviceIndex device_now = 0;
thread_local c10::StreamId stream_now[kDevices] = {};

void run_first(Queue* of) {
  Work work = std::move(of->waiting.front());
  of->waiting.pop_front();
  run_until(work.after);
  if (work.run) work.run();
  of->done++;
}

void run_some() {
  if (order == Order::at_once) {
    for (Queue* each : all_queues()) run_until(each->end());
  } else if (order == Order::random) {
    auto all = all_queues();
    for (auto tries = draw() % 4; tries > 0; tries--) {
      Queue* drawn = all[draw() % all.size()];
      if (!drawn->waiting.empty() && drawn->waiting.front().after.is_reached()) run_first(drawn);
    }
  }
  reclaim();
}

}  // namespace

std::recursive_mutex& lock() {
  static std::recursive_mutex mutex;
  return mutex;
}

bool Mark::is_reached() const { return queue == nullptr || queue->done >= number; }

Queue* queue(c10::DeviceIndex device, c10::StreamId id) {
  Guard guard(lock());
  auto& of_device = queues[device];
  for (auto next = static_cast<c10::StreamId>(of_device.size()); next <= id; next++)
    of_device.push_back(std::make_unique<Queue>(Queue{device, next}));
  return of_device[id].get();
}

c10::StreamId new_queue(c10::DeviceIndex device) {
  Guard guard(lock());
  auto behind = std::max<size_t>(1, queues[device].size());  // 0 is the default stream
  return queue(device, static_cast<c10::StreamId>(behind))->id;
}

Queue* current(c10::DeviceIndex device) { return queue(device, stream_now[device]); }

std::vector<Queue*> all_queues() {
  Guard guard(lock());
  std::vector<Queue*> all;
  for (auto& of_device : queues)
    for (auto& each : of_device) all.push_back(each.get());
  return all;
}

c10::DeviceIndex current_device() { return device_now; }

void set_current_device(c10::DeviceIndex device) { device_now = device; }

c10::StreamId exchange_stream(c10::DeviceIndex device, c10::StreamId id) { return std::exchange(stream_now[device], id); }

void set_order(Order wanted, uint64_t seed) {
  Guard guard(lock());
  order = wanted;
  draw.seed(seed);
}

void issue(Queue* on, std::function<void()> run, Mark after) {
  Guard guard(lock());
  on->waiting.push_back({std::move(run), after});
  on->issued++;
  run_some();
}

void run_until(Mark mark) {
  while (!mark.is_reached()) run_first(mark.queue);
}

void wait(std::vector<Mark> marks, const std::string& why, bool is_hidden) {
  Guard guard(lock());
  bool is_over = std::all_of(marks.begin(), marks.end(), [](const Mark& mark) { return mark.is_reached(); });
  if (is_hidden || !is_over) count((is_hidden ? "hidden wait: " : "wait: ") + why);
  for (const Mark& mark : marks) run_until(mark);
  reclaim();
}

void count(const std::string& name, int64_t by) {
  Guard guard(lock());
  counted[name] += by;
}

std::map<std::string, int64_t> counts() {
  Guard guard(lock());
  return counted;
}

void forget_counts() {
  Guard guard(lock());
  counted.clear();
}

}  // namespace late
