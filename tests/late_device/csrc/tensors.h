// Tensors of the late device as the kernels see them.
#pragma once

#include "memory.h"

#include <ATen/core/Tensor.h>

namespace late {

inline bool is_late(const at::Tensor& tensor) { return tensor.defined() && tensor.device().type() == kType; }

// The same memory as a tensor of the host; it keeps nothing alive, as work in a stream keeps nothing alive.
at::Tensor on_host(const at::Tensor& tensor);

// Memory on `device`, the current one where it has no index.
at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, at::ScalarType dtype, c10::Device device);

}  // namespace late
