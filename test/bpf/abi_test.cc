// The same header is compiled by two compilers for two machines: what the object's BTF says about
// each struct has to be what C++ thinks.
#include "redirect-bpf/abi/weir_abi.h"

#include <bpf/btf.h>
#include <catch2/catch_test_macros.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <string>

namespace {

using Offsets = std::map<std::string, std::size_t>;

struct Layout {
  std::size_t size;
  Offsets offsets;
};

Layout layout_in_object(const btf& types, const char* name) {
  const int id = btf__find_by_name_kind(&types, name, BTF_KIND_STRUCT);
  INFO(name);
  REQUIRE(id > 0);
  const btf_type* type = btf__type_by_id(&types, static_cast<unsigned>(id));
  Layout layout{type->size, {}};
  const btf_member* members = btf_members(type);
  for (unsigned i = 0; i < btf_vlen(type); ++i) {
    layout.offsets[btf__name_by_offset(&types, members[i].name_off)] =
        btf_member_bit_offset(type, i) / 8;
  }
  return layout;
}

} // namespace

#define WEIR_AT(type, member) {#member, offsetof(type, member)}

TEST_CASE("every struct of the ABI has the same layout in BPF and in C++") {
  const std::unique_ptr<btf, void (*)(btf*)> types(btf__parse_elf(WEIR_BPF_OBJECT, nullptr),
                                                   &btf__free);
  REQUIRE(types);
  auto check = [&](const char* name, std::size_t size, const Offsets& offsets) {
    const Layout layout = layout_in_object(*types, name);
    INFO(name);
    CHECK(layout.size == size);
    CHECK(layout.offsets == offsets);
  };
  check("weir_addr", sizeof(weir_addr), {WEIR_AT(weir_addr, bytes)});
  check("weir_config", sizeof(weir_config),
        {WEIR_AT(weir_config, revision), WEIR_AT(weir_config, workers)});
  check("weir_endpoint", sizeof(weir_endpoint),
        {WEIR_AT(weir_endpoint, id), WEIR_AT(weir_endpoint, identity),
         WEIR_AT(weir_endpoint, ifindex), WEIR_AT(weir_endpoint, flags)});
  check("weir_identity_key", sizeof(weir_identity_key),
        {WEIR_AT(weir_identity_key, prefix_length), WEIR_AT(weir_identity_key, address)});
  check("weir_policy_slot", sizeof(weir_policy_slot),
        {WEIR_AT(weir_policy_slot, endpoint), WEIR_AT(weir_policy_slot, slot)});
  check("weir_policy_key", sizeof(weir_policy_key),
        {WEIR_AT(weir_policy_key, prefix_length), WEIR_AT(weir_policy_key, identity),
         WEIR_AT(weir_policy_key, direction), WEIR_AT(weir_policy_key, protocol),
         WEIR_AT(weir_policy_key, port_be)});
  check("weir_policy_entry", sizeof(weir_policy_entry),
        {WEIR_AT(weir_policy_entry, fqdn_deny), WEIR_AT(weir_policy_entry, fqdn_redirect),
         WEIR_AT(weir_policy_entry, fqdn_allow), WEIR_AT(weir_policy_entry, rule),
         WEIR_AT(weir_policy_entry, verdict), WEIR_AT(weir_policy_entry, pad)});
  check("weir_learned_key", sizeof(weir_learned_key),
        {WEIR_AT(weir_learned_key, endpoint), WEIR_AT(weir_learned_key, address)});
  check("weir_learned_entry", sizeof(weir_learned_entry),
        {WEIR_AT(weir_learned_entry, groups), WEIR_AT(weir_learned_entry, expires_ns),
         WEIR_AT(weir_learned_entry, last_used_ns)});
  check("weir_tuple", sizeof(weir_tuple),
        {WEIR_AT(weir_tuple, source), WEIR_AT(weir_tuple, destination),
         WEIR_AT(weir_tuple, source_port_be), WEIR_AT(weir_tuple, destination_port_be),
         WEIR_AT(weir_tuple, protocol), WEIR_AT(weir_tuple, pad)});
  check("weir_ct_key", sizeof(weir_ct_key),
        {WEIR_AT(weir_ct_key, tuple), WEIR_AT(weir_ct_key, endpoint),
         WEIR_AT(weir_ct_key, direction), WEIR_AT(weir_ct_key, pad)});
  check("weir_ct_entry", sizeof(weir_ct_entry),
        {WEIR_AT(weir_ct_entry, last_seen_ns), WEIR_AT(weir_ct_entry, revision),
         WEIR_AT(weir_ct_entry, rule), WEIR_AT(weir_ct_entry, verdict),
         WEIR_AT(weir_ct_entry, flags), WEIR_AT(weir_ct_entry, turn), WEIR_AT(weir_ct_entry, pad)});
  check("weir_births", sizeof(weir_births),
        {WEIR_AT(weir_births, netns), WEIR_AT(weir_births, flags), WEIR_AT(weir_births, pad)});
  check("weir_name_key", sizeof(weir_name_key),
        {WEIR_AT(weir_name_key, prefix_length), WEIR_AT(weir_name_key, name)});
  check("weir_kernel_layout", sizeof(weir_kernel_layout),
        {WEIR_AT(weir_kernel_layout, known), WEIR_AT(weir_kernel_layout, skb_dev),
         WEIR_AT(weir_kernel_layout, dev_net), WEIR_AT(weir_kernel_layout, net_index_head),
         WEIR_AT(weir_kernel_layout, dev_index_hlist), WEIR_AT(weir_kernel_layout, dev_ifindex),
         WEIR_AT(weir_kernel_layout, dev_name), WEIR_AT(weir_kernel_layout, dev_link_ops),
         WEIR_AT(weir_kernel_layout, link_ops_kind)});
  check("weir_join_config", sizeof(weir_join_config),
        {WEIR_AT(weir_join_config, node_netns), WEIR_AT(weir_join_config, enabled),
         WEIR_AT(weir_join_config, max_bytes), WEIR_AT(weir_join_config, max_messages),
         WEIR_AT(weir_join_config, pad)});
  check("weir_join_key", sizeof(weir_join_key),
        {WEIR_AT(weir_join_key, local), WEIR_AT(weir_join_key, remote),
         WEIR_AT(weir_join_key, first_sent), WEIR_AT(weir_join_key, first_received),
         WEIR_AT(weir_join_key, local_port_be), WEIR_AT(weir_join_key, remote_port_be)});
  check("weir_join_state", sizeof(weir_join_state),
        {WEIR_AT(weir_join_state, peer_socket), WEIR_AT(weir_join_state, touched_jiffies),
         WEIR_AT(weir_join_state, peer), WEIR_AT(weir_join_state, revision),
         WEIR_AT(weir_join_state, flow), WEIR_AT(weir_join_state, pod),
         WEIR_AT(weir_join_state, messages), WEIR_AT(weir_join_state, role),
         WEIR_AT(weir_join_state, used), WEIR_AT(weir_join_state, pad)});
  check("weir_event", sizeof(weir_event),
        {WEIR_AT(weir_event, time_ns), WEIR_AT(weir_event, tuple), WEIR_AT(weir_event, endpoint),
         WEIR_AT(weir_event, identity), WEIR_AT(weir_event, rule), WEIR_AT(weir_event, verdict),
         WEIR_AT(weir_event, reason), WEIR_AT(weir_event, direction), WEIR_AT(weir_event, pad)});
}
