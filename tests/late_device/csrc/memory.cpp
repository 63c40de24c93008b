#include "memory.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <list>
#include <unordered_set>

namespace late {

namespace {

constexpr int kPoison = 0xFF;  // NaN in every float, -1 in every integer
constexpr size_t kMost = size_t(1) << 40;

// A block that was given back. Like torch's caching allocators: streams that were recorded as users end first, then it
// belongs to its home stream again, which may write it after all it was given so far. What was issued before the block
// was given back can reach it by mistake; the memory stays until that has run, so that a mistake reads poison.
struct Returned {
  Block* block;
  std::vector<Mark> users, everything;
  bool is_reusable = false;
};

std::list<Returned> returned;
std::unordered_set<Block*> blocks;
std::map<char*, Block*> pinned;
Held on_device[kDevices], on_host;
int64_t limit = -1;

void hold(Held& held, int64_t bytes) {
  held.now += bytes;
  held.peak = std::max(held.peak, held.now);
}

void give_back(void* context) {
  Guard guard(lock());
  Block* block = static_cast<Block*>(context);
  Returned entry{block, {}, {}};
  for (Queue* user : block->users) entry.users.push_back(user->end());
  for (Queue* each : all_queues()) entry.everything.push_back(each->end());
  if (block->is_pinned()) pinned.erase(block->start);
  hold(block->is_pinned() ? on_host : on_device[block->device], -static_cast<int64_t>(block->size));
  returned.push_back(std::move(entry));
  reclaim();
}

struct Allocator final : c10::Allocator {
  explicit Allocator(bool is_host) : is_host_(is_host) {}

  c10::DataPtr allocate(size_t size) override {
    Guard guard(lock());
    auto index = current_device();
    c10::Device where = is_host_ ? c10::Device(c10::kCPU) : c10::Device(kType, index);
    if (size == 0) return {nullptr, nullptr, [](void*) {}, where};
    bool is_over = !is_host_ && limit >= 0 && on_device[index].now + static_cast<int64_t>(size) > limit;
    TORCH_CHECK_WITH(OutOfMemoryError, size <= kMost && !is_over, "late device out of memory: tried to allocate ", size,
                     " bytes");
    void* memory = nullptr;
    TORCH_CHECK_WITH(OutOfMemoryError, posix_memalign(&memory, 256, size) == 0, "out of memory: ", size, " bytes");
    std::memset(memory, kPoison, size);
    Block* block = new Block{static_cast<char*>(memory), size, is_host_ ? nullptr : current(index), index};
    blocks.insert(block);
    if (is_host_) pinned[block->start] = block;
    hold(is_host_ ? on_host : on_device[index], static_cast<int64_t>(size));
    count(is_host_ ? "pinned allocation" : "device allocation");
    return {memory, block, &give_back, where};
  }

  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }  // the context is not the memory itself

  void copy_data(void* target, const void* source, size_t size) const override { std::memcpy(target, source, size); }

 private:
  bool is_host_;
};

bool are_reached(const std::vector<Mark>& marks) {
  return std::all_of(marks.begin(), marks.end(), [](const Mark& mark) { return mark.is_reached(); });
}

}  // namespace

c10::Allocator& device_allocator() {
  static Allocator allocator(false);
  return allocator;
}

c10::Allocator& pinned_allocator() {
  static Allocator allocator(true);
  return allocator;
}

Block* pinned_block(const void* address) {
  Guard guard(lock());
  char* at = static_cast<char*>(const_cast<void*>(address));
  auto behind = pinned.upper_bound(at);
  if (behind == pinned.begin()) return nullptr;
  Block* block = std::prev(behind)->second;
  return at < block->start + block->size ? block : nullptr;
}

void record_user(Block* block, Queue* queue) {
  Guard guard(lock());
  if (queue != block->home) block->users.insert(queue);
}

void record_user(const c10::DataPtr& memory, Queue* queue) {
  Guard guard(lock());
  Block* block = static_cast<Block*>(memory.get_context());
  if (blocks.count(block) != 0) record_user(block, queue);
}

void reclaim() {
  Guard guard(lock());
  static bool is_running = false;  // a poisoning that is issued below may run at once and come back here
  if (is_running) return;
  is_running = true;
  for (auto entry = returned.begin(); entry != returned.end();) {
    Block* block = entry->block;
    if (!entry->is_reusable && are_reached(entry->users)) {
      entry->is_reusable = true;
      auto poison = [block] { std::memset(block->start, kPoison, block->size); };
      if (block->is_pinned()) {
        poison();
      } else {
        issue(block->home, poison);
        entry->everything.push_back(block->home->end());
      }
    }
    if (!entry->is_reusable || !are_reached(entry->everything)) {
      ++entry;
      continue;
    }
    blocks.erase(block);
    std::free(block->start);
    delete block;
    entry = returned.erase(entry);
  }
  is_running = false;
}

void set_limit(int64_t bytes) {
  Guard guard(lock());
  limit = bytes;
}

Held held_on_device(c10::DeviceIndex device) {
  Guard guard(lock());
  return on_device[device];
}

Held held_pinned() {
  Guard guard(lock());
  return on_host;
}

void forget_peaks() {
  Guard guard(lock());
  for (Held* held : {&on_device[0], &on_device[1], &on_host}) held->peak = held->now;
}

}  // namespace late
