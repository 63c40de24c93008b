// What Python asks the late device.
#include "memory.h"
#include "queues.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("set_order", [](int order, uint64_t seed) { late::set_order(static_cast<late::Order>(order), seed); });
  module.def("set_limit", &late::set_limit);
  module.def("counts", &late::counts);
  module.def("forget_counts", &late::forget_counts);
  module.def("forget_peaks", &late::forget_peaks);
  module.def("current_device", [] { return static_cast<int>(late::current_device()); });
  module.def("set_device", [](int device) { late::set_current_device(static_cast<c10::DeviceIndex>(device)); });
  module.def("held", [](int device) {
    auto held = late::held_on_device(static_cast<c10::DeviceIndex>(device));
    return std::pair(held.now, held.peak);
  });
  module.def("held_pinned", [] {
    auto held = late::held_pinned();
    return std::pair(held.now, held.peak);
  });
  module.def("pending", [](int device) {
    uint64_t work = 0;
    for (auto* each : late::all_queues())
      if (each->device == device) work += each->issued - each->done;
    return work;
  });
}
