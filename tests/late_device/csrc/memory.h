// Memory of the late device and pinned memory of the host: NaN when fresh, NaN again once its stream may reuse it.
#pragma once

#include "queues.h"

#include <c10/core/Allocator.h>

#include <set>

namespace late {

// `home` is the stream that was current at the allocation, none of pinned memory. The others that use the memory are
// known only if they were recorded (`record_stream`; for pinned memory its copies do that).
struct Block {
  char* start = nullptr;
  size_t size = 0;
  Queue* home = nullptr;
  c10::DeviceIndex device = 0;
  std::set<Queue*> users;
  bool is_pinned() const { return home == nullptr; }
};

c10::Allocator& device_allocator();
c10::Allocator& pinned_allocator();

// The block of pinned memory that holds this address; null for other memory.
Block* pinned_block(const void* address);

// `queue` uses the memory of this storage (or block), too.
void record_user(const c10::DataPtr& memory, Queue* queue);
void record_user(Block* block, Queue* queue);

// Poison and free what no stream can read any more.
void reclaim();

// Bytes that a device holds at most; -1 for no limit.
void set_limit(int64_t bytes);

struct Held {
  int64_t now = 0, peak = 0;
};
Held held_on_device(c10::DeviceIndex device);
Held held_pinned();
void forget_peaks();

}  // namespace late
