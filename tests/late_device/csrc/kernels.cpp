// Every other operator: its shapes at once, by torch's meta kernels, and its numbers later, by those of the host.
#include "tensors.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <mutex>
#include <sstream>
#include <unordered_map>

namespace late {

namespace {

constexpr size_t kMostShapes = 50000;

using at::Tensor;
using c10::IValue;
using torch::jit::Stack;

// `change` applied to every tensor of an argument or result.
template <typename Change>
IValue mapped(const IValue& value, const Change& change) {
  if (value.isTensor()) return value.toTensor().defined() ? IValue(change(value.toTensor())) : value;
  if (value.isTensorList()) {
    c10::List<Tensor> out;
    for (const Tensor& tensor : value.toTensorVector()) out.push_back(change(tensor));
    return out;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> out;
    for (const auto& tensor : value.toOptionalTensorVector())
      out.push_back(tensor.has_value() && tensor->defined() ? std::optional<Tensor>(change(*tensor)) : std::nullopt);
    return out;
  }
  return value;
}

// Arguments with their tensors changed and every device named `device`.
template <typename Change>
Stack with_tensors(const std::vector<IValue>& arguments, c10::Device device, const Change& change) {
  Stack out;
  for (const IValue& argument : arguments)
    out.push_back(argument.isDevice() ? IValue(device) : mapped(argument, change));
  return out;
}

Tensor without_numbers(const Tensor& tensor) {
  if (!is_late(tensor) && tensor.dim() == 0) return tensor;  // a number, not memory
  return at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(at::kMeta).pinned_memory(false));
}

Tensor with_numbers(const Tensor& tensor) { return is_late(tensor) ? on_host(tensor) : tensor.clone(); }

// One call of an operator on the late device.
struct Call {
  c10::OperatorHandle op;
  std::string name;
  std::vector<IValue> arguments;
  c10::Device where{kType, 0};
  std::vector<std::optional<size_t>> written;  // of every result: the argument that it is, if it is one
  bool has_host_tensors = false, returns_tensors = true;
};

Call read(const c10::OperatorHandle& op, Stack& stack) {
  const auto& schema = op.schema();
  Call call{op, schema.name() + (schema.overload_name().empty() ? "" : "." + schema.overload_name())};
  call.arguments.assign(stack.end() - static_cast<std::ptrdiff_t>(schema.arguments().size()), stack.end());
  std::optional<c10::Device> where;
  for (const IValue& argument : call.arguments) {
    mapped(argument, [&](const Tensor& tensor) {
      if (is_late(tensor)) {
        TORCH_CHECK(!where || *where == tensor.device(), call.name, ": expected all tensors on one device, got ",
                    *where, " and ", tensor.device());
        where = tensor.device();
      } else if (tensor.dim() > 0) {
        call.has_host_tensors = true;
      }
      return tensor;
    });
  }
  for (const IValue& argument : call.arguments)
    if (argument.isDevice() && !where && argument.toDevice().type() == kType && argument.toDevice().has_index())
      where = argument.toDevice();
  call.where = where.value_or(c10::Device(kType, current_device()));
  for (const auto& result : schema.returns()) {
    call.written.emplace_back();
    if (!result.type()->isSubtypeOf(*c10::TensorType::get())) call.returns_tensors = false;
    const auto* alias = result.alias_info();
    if (alias == nullptr) continue;
    TORCH_CHECK(alias->isWrite(), "the late device has no kernel for the view ", call.name);
    for (size_t at = 0; at < call.arguments.size(); at++) {
      const auto* of_argument = schema.arguments()[at].alias_info();
      if (of_argument != nullptr && of_argument->isWrite() && of_argument->beforeSets() == alias->beforeSets())
        call.written.back() = at;
    }
    TORCH_CHECK(call.written.back().has_value(), "no argument of ", call.name, " is what it returns");
  }
  return call;
}

// What decides the shapes of a call's results, as text; nothing where an argument is of a kind not known here.
std::optional<std::string> shape_key(const Call& call) {
  std::ostringstream key;
  key << call.name;
  auto add = [&](const Tensor& tensor) {
    key << tensor.sizes() << tensor.strides() << tensor.scalar_type() << is_late(tensor);
    return tensor;
  };
  for (const IValue& argument : call.arguments) {
    key << '|';
    if (argument.isTensor() || argument.isTensorList() || argument.isOptionalTensorList()) {
      if (argument.isTensor() && !argument.toTensor().defined()) key << "undefined";
      if (argument.isTensorList()) key << argument.toTensorVector().size() << ':';
      if (argument.isOptionalTensorList())
        for (const auto& tensor : argument.toOptionalTensorVector()) key << (tensor.has_value() && tensor->defined());
      mapped(argument, add);
    } else if (argument.isNone() || argument.isInt() || argument.isDouble() || argument.isBool() ||
               argument.isIntList() || argument.isDoubleList() || argument.isBoolList() || argument.isString() ||
               argument.isDevice()) {
      key << argument;
    } else {
      return std::nullopt;
    }
  }
  return key.str();
}

// The results of torch's meta kernels, some of which are Python and take a millisecond; so each shape is asked once.
std::optional<Stack> shapes_of(const Call& call) {
  static std::mutex guard;
  static std::unordered_map<std::string, Stack> known;
  auto key = shape_key(call);
  if (key.has_value()) {
    std::lock_guard<std::mutex> lock(guard);
    auto found = known.find(*key);
    if (found != known.end()) return found->second;
  }
  Stack shapes = with_tensors(call.arguments, c10::Device(at::kMeta), without_numbers);
  try {
    at::AutoDispatchBelowADInplaceOrView plain;
    call.op.callBoxed(&shapes);
  } catch (const std::exception&) {  // of arguments that are wrong the host's kernel tells
    count("without shapes: " + call.name);
    return std::nullopt;
  }
  if (key.has_value()) {
    std::lock_guard<std::mutex> lock(guard);
    if (known.size() > kMostShapes) known.clear();
    known.emplace(*key, shapes);
  }
  return shapes;
}

// The results as memory on the device with nothing in it yet; nothing where shapes depend on numbers.
std::optional<Stack> shaped(const Call& call) {
  if (!call.returns_tensors) return std::nullopt;
  auto shapes = shapes_of(call);
  if (!shapes.has_value()) return std::nullopt;
  Stack results;
  for (size_t at = 0; at < call.written.size(); at++) {
    Tensor shape = (*shapes)[at].toTensor();
    if (call.written[at].has_value()) {
      Tensor mine = call.arguments[*call.written[at]].toTensor();
      if (mine.sizes() != shape.sizes()) mine.resize_(shape.sizes());
      results.push_back(mine);
    } else {
      results.push_back(shape.defined() ? empty_strided(shape.sizes(), shape.strides(), shape.scalar_type(), call.where)
                                        : Tensor());
    }
  }
  return results;
}

void run_later(const Call& call, const Stack& results) {
  std::vector<std::pair<size_t, Tensor>> fresh;
  for (size_t at = 0; at < results.size(); at++)
    if (!call.written[at].has_value() && results[at].toTensor().defined() && results[at].toTensor().numel() != 0)
      fresh.emplace_back(at, on_host(results[at].toTensor()));
  Stack arguments = with_tensors(call.arguments, c10::Device(at::kCPU), with_numbers);
  issue(current(call.where.index()), [op = call.op, arguments, fresh]() {
    at::AutoDispatchBelowADInplaceOrView plain;
    Stack stack = arguments;
    op.callBoxed(&stack);
    for (auto [at, result] : fresh) result.copy_(stack[at].toTensor());
  });
}

// The host waits for the stream, computes, and copies the results.
Stack run_now(const Call& call) {
  wait({current(call.where.index())->end()}, call.name, true);
  at::AutoDispatchBelowADInplaceOrView plain;
  Stack stack = with_tensors(call.arguments, c10::Device(at::kCPU), with_numbers), results;
  call.op.callBoxed(&stack);
  for (size_t at = 0; at < stack.size(); at++) {
    if (call.written[at].has_value()) {
      results.push_back(call.arguments[*call.written[at]]);
      continue;
    }
    results.push_back(mapped(stack[at], [&](const Tensor& tensor) {
      Tensor copy = empty_strided(tensor.sizes(), tensor.strides(), tensor.scalar_type(), call.where);
      if (tensor.numel() != 0) on_host(copy).copy_(tensor);
      return copy;
    }));
  }
  return results;
}

void kernel(const c10::OperatorHandle& op, Stack* stack) {
  Call call = read(op, *stack);
  bool is_index = call.name.rfind("aten::index", 0) == 0 && call.name.find("select") == std::string::npos;
  TORCH_CHECK(!call.has_host_tensors || is_index, call.name, ": expected all tensors on one device, got ", call.where,
              " and cpu");
  if (call.has_host_tensors) count("hidden wait: pageable index");
  c10::DeviceGuard there(call.where);
  count("launch: " + call.name);
  auto results = shaped(call);
  if (results.has_value())
    run_later(call, *results);
  else
    results = run_now(call);
  torch::jit::drop(*stack, call.arguments.size());
  for (IValue& result : *results) stack->push_back(std::move(result));
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&kernel>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  // One kernel, as on a GPU, where torch would else put it together from several.
  library.impl("scaled_dot_product_attention", torch::CppFunction::makeFromBoxedFunction<&kernel>());
}

}  // namespace

}  // namespace late
