// Copies to, from and on the late device: which of them are queued, and which make the host wait.
#include "tensors.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/from_blob.h>
#include <ATen/native/Resize.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

namespace late {

namespace {

using at::Tensor;

c10::Device placed(std::optional<c10::Device> device) {
  c10::Device where = device.has_value() && device->has_index() ? *device : c10::Device(kType, current_device());
  TORCH_CHECK(where.index() < kDevices, "invalid device ordinal: ", where);
  return where;
}

int64_t bytes_of(const Tensor& tensor) { return tensor.numel() * static_cast<int64_t>(tensor.element_size()); }

// `source` is a tensor of the host; one with memory of its own lives until the copy is done.
void issue_copy(Queue* on, const Tensor& source, const Tensor& target) {
  issue(on, [source, to = on_host(target)]() mutable {
    at::AutoDispatchBelowADInplaceOrView plain;
    to.copy_(source);
  });
}

// On one device, or from one to the other on the source's stream, which then waits for the target's and holds it up.
void copy_on_devices(const Tensor& source, const Tensor& target) {
  Queue *from = current(source.device().index()), *to = current(target.device().index());
  count("launch: copy");
  count("bytes on device", 2 * bytes_of(target));
  if (from != to) {
    count("peer copy");
    issue(from, nullptr, to->end());
  }
  issue_copy(from, on_host(source), target);
  if (from != to) issue(to, nullptr, from->end());
}

// Between host and device. Only contiguous pinned memory of the same dtype is copied beside the host: pageable memory
// the driver copies to its own pinned memory first, and it may wait for the stream to do so; everything else is staged.
void copy_over_the_bus(const Tensor& source, const Tensor& target, bool is_asked_async) {
  bool is_to_device = is_late(target);
  const Tensor& host = is_to_device ? source : target;
  Queue* on = current((is_to_device ? target : source).device().index());
  Block* block = pinned_block(host.const_data_ptr());
  std::string edge = is_to_device ? "host to device" : "device to host";
  count("copy: " + edge);
  count("bytes " + edge, bytes_of(target));
  if (block == nullptr) count("pageable copy: " + edge);
  if (is_asked_async && block != nullptr && host.is_contiguous() && source.scalar_type() == target.scalar_type()) {
    record_user(block, on);
    issue_copy(on, on_host(source), target);
  } else if (is_to_device) {  // what the host holds now arrives, but in the stream's own time
    count(std::string("hidden wait: ") + (block == nullptr ? "pageable " : "blocking ") + edge);
    issue_copy(on, on_host(source).clone(), target);
    if (!is_asked_async) run_until(on->end());
  } else {
    wait({on->end()}, edge, true);
    at::AutoDispatchBelowADInplaceOrView plain;
    Tensor(target).copy_(on_host(source));
  }
}

Tensor copy_from(const Tensor& source, const Tensor& target, bool is_asked_async) {
  if (target.numel() == 0) return target;
  Guard guard(lock());
  Tensor from = source.sizes() == target.sizes() ? source : source.expand(target.sizes());
  if (is_late(from) && is_late(target))
    copy_on_devices(from, target);
  else
    copy_over_the_bus(from, target, is_asked_async);
  return target;
}

Tensor copy_from_and_resize(const Tensor& source, const Tensor& target) {
  if (source.sizes() != target.sizes()) Tensor(target).resize_(source.sizes());
  return copy_from(source, target, false);
}

at::Scalar item(const Tensor& tensor) {
  wait({current(tensor.device().index())->end()}, "item", true);
  return on_host(tensor).item();
}

Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<c10::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  c10::DeviceGuard there(placed(device));
  return at::detail::empty_generic(size, &device_allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::typeMetaToScalarType(at::get_default_dtype())), format);
}

Tensor empty_with_strides(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                          std::optional<at::Layout>, std::optional<c10::Device> device, std::optional<bool>) {
  return empty_strided(size, stride, dtype.value_or(at::typeMetaToScalarType(at::get_default_dtype())), placed(device));
}

const Tensor& resize(const Tensor& tensor, at::IntArrayRef size, std::optional<at::MemoryFormat>) {
  auto* storage = tensor.storage().unsafeGetStorageImpl();
  int64_t item = static_cast<int64_t>(tensor.element_size());
  int64_t wanted = (c10::multiply_integers(size) + tensor.storage_offset()) * item;
  if (static_cast<int64_t>(storage->nbytes()) < wanted) {  // an `out` argument that was empty: nothing to keep
    c10::DeviceGuard there(tensor.device());
    storage->set_data_ptr_noswap(device_allocator().allocate(wanted));
    storage->set_nbytes(wanted);
  }
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return tensor;
}

void record_stream(Tensor& tensor, c10::Stream stream) {
  record_user(tensor.storage().data_ptr(), queue(stream.device_index(), stream.id()));
}

Tensor as_strided(const Tensor& tensor, at::IntArrayRef size, at::IntArrayRef stride, std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(tensor, size, stride, offset);
}

Tensor& set_to_storage(Tensor& tensor, at::Storage storage, int64_t offset, at::IntArrayRef size,
                       at::IntArrayRef stride) {
  auto* of = tensor.unsafeGetTensorImpl();
  of->set_storage_keep_dtype(std::move(storage));
  of->set_storage_offset(offset);
  of->set_sizes_and_strides(size, stride);
  return tensor;
}

Tensor& set_to_tensor(Tensor& tensor, const Tensor& source) {
  return set_to_storage(tensor, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

}  // namespace

Tensor on_host(const Tensor& tensor) {
  void* memory = tensor.numel() != 0 ? const_cast<void*>(tensor.const_data_ptr()) : nullptr;
  auto options = at::TensorOptions().dtype(tensor.scalar_type()).device(at::kCPU);
  return at::from_blob(memory, tensor.sizes(), tensor.strides(), options);
}

Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, at::ScalarType dtype, c10::Device device) {
  c10::DeviceGuard there(placed(device));
  return at::detail::empty_strided_generic(size, stride, &device_allocator(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), dtype);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_with_strides);
  library.impl("resize_", &resize);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &item);
  library.impl("record_stream", &record_stream);
  library.impl("set_.source_Storage_storage_offset", &set_to_storage);
  library.impl("set_.source_Tensor", &set_to_tensor);
  library.impl("as_strided", &as_strided);
  library.impl("view", &at::native::view);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("view_as_real", &at::native::view_as_real);
  library.impl("view_as_complex", &at::native::view_as_complex);
  library.impl("unfold", &at::native::unfold);
}

}  // namespace late
