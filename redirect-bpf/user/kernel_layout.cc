#include "redirect-bpf/user/kernel_layout.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace weir::redirect {

namespace {

// In bytes; members of unnamed structs and unions count as the outer one's.
std::optional<std::uint32_t> offset_in(const btf& kernel, const btf_type& type,
                                       std::string_view name) {
  const btf_member* members = btf_members(&type);
  for (unsigned i = 0; i < btf_vlen(&type); ++i) {
    const std::uint32_t at = btf_member_bit_offset(&type, i) / 8;
    const std::string_view member = btf__name_by_offset(&kernel, members[i].name_off);
    if (member == name) {
      return at;
    }
    if (!member.empty()) {
      continue;
    }
    const int inner = btf__resolve_type(&kernel, members[i].type);
    const btf_type* unnamed =
        inner < 0 ? nullptr : btf__type_by_id(&kernel, static_cast<unsigned>(inner));
    if (unnamed != nullptr && btf_is_composite(unnamed)) {
      if (const auto within = offset_in(kernel, *unnamed, name)) {
        return at + *within;
      }
    }
  }
  return std::nullopt;
}

} // namespace

Result<weir_kernel_layout> kernel_layout() {
  if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_probe_read_kernel, nullptr) != 1) {
    return errno_error(EPERM, "programs may not read the kernel's memory");
  }
  const std::unique_ptr<btf, void (*)(btf*)> kernel(btf__load_vmlinux_btf(), &btf__free);
  if (!kernel) {
    return errno_error("read the kernel's BTF");
  }
  weir_kernel_layout layout{};
  const struct {
    const char *type, *member;
    std::uint32_t* offset;
  } wanted[] = {
      {"sk_buff", "dev", &layout.skb_dev},
      {"net_device", "nd_net", &layout.dev_net},
      {"net", "dev_index_head", &layout.net_index_head},
      {"net_device", "index_hlist", &layout.dev_index_hlist},
      {"net_device", "ifindex", &layout.dev_ifindex},
      {"net_device", "name", &layout.dev_name},
      {"net_device", "rtnl_link_ops", &layout.dev_link_ops},
      {"rtnl_link_ops", "kind", &layout.link_ops_kind},
  };
  for (const auto& [type, member, offset] : wanted) {
    const int id = btf__find_by_name_kind(kernel.get(), type, BTF_KIND_STRUCT);
    const auto found =
        id < 0
            ? std::nullopt
            : offset_in(*kernel, *btf__type_by_id(kernel.get(), static_cast<unsigned>(id)), member);
    if (!found) {
      return errno_error(ENOENT, std::string("the kernel's struct ") + type + " has no " + member);
    }
    *offset = *found;
  }
  layout.known = 1;
  return layout;
}

} // namespace weir::redirect
