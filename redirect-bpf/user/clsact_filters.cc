#include "redirect-bpf/user/clsact_filters.h"

#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

namespace weir::redirect {

namespace {

constexpr std::uint32_t kHandle = 0x77656972; // "weir"
constexpr std::uint32_t kFirst = 1, kLast = 0xffff;

struct Filter {
  std::uint32_t handle = 0, chain = 0, priority = 0;
  std::string kind;
  std::string program; // of kind "bpf": "weir_from_pod:[17]", as libbpf names it
};

std::uint32_t priority_of(Hook hook) { return hook == Hook::kIngress ? kFirst : kLast; }

const char* name_of(Hook hook) { return hook == Hook::kIngress ? "ingress" : "egress"; }

bpf_tc_hook tc_hook(int interface, int points) {
  LIBBPF_OPTS(bpf_tc_hook, at, .ifindex = interface,
              .attach_point = static_cast<bpf_tc_attach_point>(points));
  return at;
}

bpf_tc_hook tc_hook(int interface, Hook hook) {
  return tc_hook(interface, hook == Hook::kIngress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
}

bool stands_at(const Filter& filter, Hook hook) {
  return filter.chain == 0 && filter.priority == priority_of(hook);
}

// By its name too: another's may have the same number.
bool is_weirs(const Filter& filter, Hook hook) {
  return stands_at(filter, hook) && filter.handle == kHandle && filter.kind == "bpf" &&
         filter.program.starts_with("weir_");
}

// Empty as well where there is no qdisc, or no such interface.
Result<std::vector<Filter>> list_filters(NetlinkSocket& socket, int interface, Hook hook) {
  tcmsg header{};
  header.tcm_ifindex = interface;
  header.tcm_parent =
      TC_H_MAKE(TC_H_CLSACT, hook == Hook::kIngress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
  const NetlinkRequest request(RTM_GETTFILTER, NLM_F_DUMP, &header, sizeof(header));
  std::vector<Filter> filters;
  auto listed = socket.dump(request, "list filters", [&](const nlmsghdr& message) {
    if (message.nlmsg_type != RTM_NEWTFILTER || message.nlmsg_len < NLMSG_LENGTH(sizeof(tcmsg))) {
      return;
    }
    const auto* filter = static_cast<const tcmsg*>(NLMSG_DATA(&message));
    if (filter->tcm_handle == 0) {
      return; // the heading of one priority's filters
    }
    const rtattr* attributes[TCA_CHAIN + 1];
    parse_attributes(message, sizeof(tcmsg), attributes, TCA_CHAIN);
    filters.push_back(
        {filter->tcm_handle, attribute_u32(attributes[TCA_CHAIN]), TC_H_MAJ(filter->tcm_info) >> 16,
         std::string(attribute_text(attributes[TCA_KIND])),
         std::string(attribute_text(attribute_within(attributes[TCA_OPTIONS], TCA_BPF_NAME)))});
  });
  if (!listed) {
    return listed.error();
  }
  return filters;
}

// Of the qdisc at which packets arrive, "clsact" or "ingress"; empty: there is none.
Result<std::string> qdisc_kind(NetlinkSocket& socket, int interface) {
  const tcmsg header{};
  const NetlinkRequest request(RTM_GETQDISC, NLM_F_DUMP, &header, sizeof(header));
  std::string kind;
  auto listed = socket.dump(request, "list qdiscs", [&](const nlmsghdr& message) {
    if (message.nlmsg_type != RTM_NEWQDISC || message.nlmsg_len < NLMSG_LENGTH(sizeof(tcmsg))) {
      return;
    }
    const auto* qdisc = static_cast<const tcmsg*>(NLMSG_DATA(&message));
    if (qdisc->tcm_ifindex == interface && qdisc->tcm_parent == TC_H_CLSACT) {
      const rtattr* attributes[TCA_KIND + 1];
      parse_attributes(message, sizeof(tcmsg), attributes, TCA_KIND);
      kind = attribute_text(attributes[TCA_KIND]);
    }
  });
  if (!listed) {
    return listed.error();
  }
  return kind;
}

Error taken(const Filter& filter, Hook hook) {
  return errno_error(EBUSY, std::string("clsact ") + name_of(hook) + " has a filter of others (" +
                                filter.kind + (filter.program.empty() ? "" : " ") + filter.program +
                                ") at priority " + std::to_string(filter.priority) +
                                ", where weir's has to be (give it another)");
}

// What of weir's was at the hook is gone; true when there was something. `others` becomes true when
// there are other filters.
Result<bool> remove_filter(NetlinkSocket& socket, int interface, Hook hook, bool& others) {
  const auto filters = list_filters(socket, interface, hook);
  if (!filters) {
    return filters.error();
  }
  const auto own =
      std::ranges::count_if(*filters, [&](const Filter& filter) { return is_weirs(filter, hook); });
  others = others || static_cast<std::size_t>(own) < filters->size();
  if (own == 0) {
    return false;
  }
  const bpf_tc_hook at = tc_hook(interface, hook);
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = kHandle, .priority = priority_of(hook));
  if (const int failed = bpf_tc_detach(&at, &options); failed != 0) {
    return errno_error(-failed, "take the filter from interface " + std::to_string(interface));
  }
  return true;
}

Result<void> remove_filters_of(NetlinkSocket& socket, int interface) {
  bool others = false, any = false;
  Result<void> result;
  for (const Hook hook : {Hook::kIngress, Hook::kEgress}) {
    const auto removed = remove_filter(socket, interface, hook, others);
    if (!removed) {
      result = removed.error();
    }
    any = any || (removed && *removed);
  }
  if (!result || !any || others) {
    return result;
  }
  bpf_tc_hook both = tc_hook(interface, BPF_TC_INGRESS | BPF_TC_EGRESS); // the qdisc itself
  if (const int failed = bpf_tc_hook_destroy(&both); failed != 0) {
    return errno_error(-failed, "take clsact from interface " + std::to_string(interface));
  }
  return {};
}

} // namespace

Result<ClsactFilters> ClsactFilters::open() {
  auto requests = NetlinkSocket::open(0);
  if (!requests) {
    return requests.error();
  }
  return ClsactFilters(std::move(*requests));
}

// In an `ingress` qdisc the egress filter would be taken, and run on the way in.
Result<void> ClsactFilters::ensure_qdisc(int interface) {
  const auto kind = qdisc_kind(x_requests, interface);
  if (!kind) {
    return kind.error();
  }
  if (*kind == "clsact") {
    return {};
  }
  if (!kind->empty()) {
    return errno_error(EBUSY, "it has an " + *kind +
                                  " qdisc of others in the place of clsact, which weir needs and "
                                  "which would take the same filters");
  }
  bpf_tc_hook both = tc_hook(interface, BPF_TC_INGRESS | BPF_TC_EGRESS);
  if (const int failed = bpf_tc_hook_create(&both); failed != 0) {
    return errno_error(-failed, "make clsact on interface " + std::to_string(interface));
  }
  return {};
}

Result<void> ClsactFilters::attach(int interface, Hook hook, int program) {
  const auto filters = list_filters(x_requests, interface, hook);
  if (!filters) {
    return filters.error();
  }
  const bool there =
      std::ranges::any_of(*filters, [&](const Filter& filter) { return is_weirs(filter, hook); });
  if (!there) {
    const auto other = std::ranges::find_if(
        *filters, [&](const Filter& filter) { return stands_at(filter, hook); });
    if (other != filters->end()) {
      return taken(*other, hook);
    }
    if (auto ready = ensure_qdisc(interface); !ready) {
      return ready.error();
    }
  }
  const bpf_tc_hook at = tc_hook(interface, hook);
  LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program,
              .flags = there ? std::uint32_t{BPF_TC_F_REPLACE} : 0, .handle = kHandle,
              .priority = priority_of(hook));
  if (const int failed = bpf_tc_attach(&at, &options); failed != 0) {
    return errno_error(-failed, std::string("attach to clsact ") + name_of(hook) +
                                    " of interface " + std::to_string(interface));
  }
  return {};
}

Result<void> remove_filters() {
  auto interfaces = Interfaces::open();
  if (!interfaces) {
    return interfaces.error();
  }
  auto socket = NetlinkSocket::open(0);
  if (!socket) {
    return socket.error();
  }
  Result<void> result;
  for (const auto& [index, interface] : interfaces->all()) {
    const auto removed = remove_filters_of(*socket, index);
    if (!removed && removed.error().code.value() != ENODEV && result) { // gone meanwhile
      result = removed;
    }
  }
  return result;
}

} // namespace weir::redirect
