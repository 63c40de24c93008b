// What torch asks of a device's runtime: current device and streams, events, waits, pinned memory.
#include "memory.h"
#include "queues.h"

#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <cstring>

namespace late {

namespace {

c10::DeviceIndex index_of(c10::Device device) { return device.has_index() ? device.index() : current_device(); }

Queue* queue_of(const c10::Stream& stream) { return queue(stream.device_index(), stream.id()); }

c10::Stream stream_of(c10::DeviceIndex device, c10::StreamId id) {
  return c10::Stream(c10::Stream::UNSAFE, c10::Device(kType, device), id);
}

struct DeviceGuard final : c10::impl::DeviceGuardImplInterface {
  DeviceGuard() = default;
  explicit DeviceGuard(c10::DeviceType) {}

  c10::DeviceType type() const override { return kType; }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }
  c10::Device getDevice() const override { return {kType, current_device()}; }
  void setDevice(c10::Device device) const override { set_current_device(index_of(device)); }
  void uncheckedSetDevice(c10::Device device) const noexcept override { set_current_device(index_of(device)); }
  c10::Device exchangeDevice(c10::Device device) const override {
    c10::Device was = getDevice();
    setDevice(device);
    return was;
  }

  c10::Stream getStream(c10::Device device) const override {
    return stream_of(index_of(device), current(index_of(device))->id);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return stream_of(index_of(device), 0); }
  c10::Stream getNewStream(c10::Device device, int) const override {
    return stream_of(index_of(device), new_queue(index_of(device)));
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return getNewStream(device, 0); }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return stream_of(stream.device_index(), exchange_stream(stream.device_index(), stream.id()));
  }

  void record(void** event, const c10::Stream& stream, c10::DeviceIndex, c10::EventFlag) const override {
    late::Guard guard(lock());
    if (*event == nullptr) *event = new Mark;
    *static_cast<Mark*>(*event) = queue_of(stream)->end();
  }
  void destroyEvent(void* event, c10::DeviceIndex) const noexcept override { delete static_cast<Mark*>(event); }
  void block(void* event, const c10::Stream& stream) const override {
    if (event != nullptr) issue(queue_of(stream), nullptr, *static_cast<Mark*>(event));
  }
  bool queryEvent(void* event) const override {
    late::Guard guard(lock());
    return event == nullptr || static_cast<Mark*>(event)->is_reached();
  }
  bool queryStream(const c10::Stream& stream) const override {
    late::Guard guard(lock());
    return queue_of(stream)->end().is_reached();
  }

  void synchronizeEvent(void* event) const override {
    if (event != nullptr) wait({*static_cast<Mark*>(event)}, "event", false);
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    wait({queue_of(stream)->end()}, "stream", false);
  }
  void synchronizeDevice(c10::DeviceIndex device) const override {
    std::vector<Mark> ends;
    for (Queue* each : all_queues())
      if (each->device == device) ends.push_back(each->end());
    wait(ends, "device", false);
  }
  void recordDataPtrOnStream(const c10::DataPtr& memory, const c10::Stream& stream) const override {
    record_user(memory, queue_of(stream));
  }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kDevices; }
  c10::DeviceIndex getCurrentDevice() const override { return current_device(); }
  void setCurrentDevice(c10::DeviceIndex device) const override { set_current_device(device); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    auto was = current_device();
    set_current_device(device);
    return was;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override { return exchangeDevice(device); }
  bool isPinnedPtr(const void* address) const override { return pinned_block(address) != nullptr; }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator(); }

  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t size) const override {
    std::vector<Mark> ends;
    for (Queue* each : all_queues()) ends.push_back(each->end());
    wait(ends, "resize", true);
    auto* of = storage.unsafeGetStorageImpl();
    c10::DataPtr fresh = device_allocator().allocate(size);
    if (of->nbytes() != 0) std::memcpy(fresh.get(), of->data(), std::min(size, of->nbytes()));
    of->set_data_ptr_noswap(std::move(fresh));
    of->set_nbytes(size);
  }
};

[[maybe_unused]] const bool is_hooked = [] {
  at::RegisterPrivateUse1HooksInterface(new Hooks);  // held by torch until the process ends
  c10::SetAllocator(kType, &device_allocator());
  return true;
}();

}  // namespace

C10_REGISTER_GUARD_IMPL(PrivateUse1, DeviceGuard);

}  // namespace late
