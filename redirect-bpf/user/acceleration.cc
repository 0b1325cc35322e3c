#include "redirect-bpf/user/acceleration.h"

#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/pinned_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <join.skel.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <vector>

namespace weir::redirect {

namespace {

// As much as TCP holds for a reader at the least on a node's own links, and structures of the
// kernel for each message that add up to about as much again: under 1 MiB together.
constexpr std::uint32_t kMaxBytes = 256 * 1024;
constexpr std::uint32_t kMaxMessages = 256;

constexpr ino_t kRootCgroup = 1;
constexpr int kNetnsCookie = 71; // SO_NETNS_COOKIE: newer than the headers of glibc 2.36
constexpr int kMeminfo = 55;     // SO_MEMINFO

// In a container the first may be the container's own part of the hierarchy.
Result<UniqueFd> open_root_cgroup() {
  const auto folders = find_mounts("cgroup2");
  for (const std::string& folder : folders) {
    UniqueFd root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat status{};
    if (root.valid() && ::fstat(root.get(), &status) == 0 && status.st_ino == kRootCgroup) {
      return root;
    }
  }
  if (folders.empty()) {
    return errno_error(ENOENT, "no cgroup v2 hierarchy is mounted");
  }
  return errno_error(EINVAL, folders.front() +
                                 " is not the root of the machine's cgroup v2 hierarchy: programs "
                                 "there would not see pods");
}

struct Pair {
  UniqueFd writer, reader;
};

Result<Pair> connected_pair() {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Pair pair;
  pair.writer.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), generic, length) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), generic, &length) != 0 ||
      ::connect(pair.writer.get(), generic, length) != 0) {
    return errno_error("connect on the loopback");
  }
  pair.reader.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!pair.reader.valid()) {
    return errno_error("accept on the loopback");
  }
  return pair;
}

} // namespace

void Acceleration::Destroy::operator()(join* skeleton) const { join__destroy(skeleton); }
void Acceleration::Destroy::operator()(bpf_link* link) const { bpf_link__destroy(link); }

Result<Acceleration> Acceleration::open(const std::string& folder) {
  auto cgroup = open_root_cgroup();
  if (!cgroup) {
    return cgroup.error();
  }
  Acceleration made;
  made.x_cgroup = std::move(*cgroup);
  made.x_skeleton.reset(join__open());
  if (!made.x_skeleton) {
    return errno_error("open the BPF object");
  }
  join& skeleton = *made.x_skeleton;
  const auto fresh = adopt_pinned_maps(*skeleton.obj, folder);
  if (!fresh) {
    return fresh.error();
  }
  if (const int error = join__load(&skeleton); error != 0) {
    return errno_error(-error, "load the programs that join sockets (Linux 6.13 takes them)");
  }
  if (auto checked = made.check_kernel(); !checked) {
    return checked.error();
  }
  if (auto pinned = pin_maps(*fresh); !pinned) {
    return pinned.error();
  }
  if (bpf_prog_attach(bpf_program__fd(skeleton.progs.weir_send),
                      bpf_map__fd(skeleton.maps.weir_joined), BPF_SK_MSG_VERDICT, 0) != 0) {
    return errno_error("attach to weir_joined");
  }
  return made;
}

// The bound on a reader's queue rests on its bytes being counted as the reader's, which Linux does
// since 6.13 (and some older ones do with a fix).
Result<void> Acceleration::check_kernel() {
  auto pair = connected_pair();
  if (!pair) {
    return pair.error();
  }
  const int map = bpf_map__fd(x_skeleton->maps.weir_join_probe);
  if (bpf_prog_attach(bpf_program__fd(x_skeleton->progs.weir_probe), map, BPF_SK_MSG_VERDICT, 0) !=
      0) {
    return errno_error("attach to weir_join_probe");
  }
  const int sockets[] = {pair->reader.get(), pair->writer.get()};
  for (std::uint32_t i = 0; i < 2; ++i) {
    const auto value = static_cast<std::uint64_t>(sockets[i]);
    if (bpf_map_update_elem(map, &i, &value, BPF_ANY) != 0) {
      return errno_error("write weir_join_probe");
    }
  }
  constexpr std::array<char, 1000> kMessage{};
  std::array<std::uint32_t, 9> memory{}; // SK_MEMINFO_VARS; the first: waits to be read
  socklen_t length = sizeof(memory);
  if (::send(pair->writer.get(), kMessage.data(), kMessage.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(kMessage.size()) ||
      ::getsockopt(pair->reader.get(), SOL_SOCKET, kMeminfo, memory.data(), &length) != 0) {
    return errno_error("try two joined sockets");
  }
  if (memory[0] != kMessage.size()) {
    return errno_error(EOPNOTSUPP, "this kernel does not count what waits in the queue of a joined "
                                   "socket, so that nothing would bound it; Linux 6.13 does");
  }
  return {};
}

Result<void> Acceleration::add_listener(int listener) {
  weir_join_state state{};
  state.role = WEIR_JOIN_LISTENER;
  if (bpf_map_update_elem(bpf_map__fd(x_skeleton->maps.weir_join_state), &listener, &state,
                          BPF_ANY) != 0) {
    return errno_error("write weir_join_state");
  }
  return {};
}

Result<void> Acceleration::set_enabled(bool enabled) {
  const std::uint32_t zero = 0;
  weir_join_config config{};
  const UniqueFd any(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  socklen_t length = sizeof(config.node_netns);
  if (::getsockopt(any.get(), SOL_SOCKET, kNetnsCookie, &config.node_netns, &length) != 0) {
    return errno_error("read the namespace's cookie");
  }
  config.enabled = enabled ? 1 : 0;
  config.max_bytes = kMaxBytes;
  config.max_messages = kMaxMessages;
  if (!enabled) {
    x_link.reset();
  }
  if (bpf_map_update_elem(bpf_map__fd(x_skeleton->maps.weir_join_config), &zero, &config,
                          BPF_ANY) != 0) {
    return errno_error("write weir_join_config");
  }
  if (enabled && !x_link) {
    x_link.reset(bpf_program__attach_cgroup(x_skeleton->progs.weir_join, x_cgroup.get()));
    if (!x_link) {
      return errno_error("attach to the root cgroup");
    }
  }
  return {};
}

// Whoever cannot be asked about stays.
std::uint32_t Acceleration::ask_about(const weir_join_key& pod) const {
  weir_join_key context = pod;
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  return bpf_prog_test_run_opts(bpf_program__fd(x_skeleton->progs.weir_rest), &options) == 0
             ? options.retval
             : WEIR_REST_POD_QUEUED | WEIR_REST_PROXY_QUEUED;
}

void Acceleration::take_out(const weir_join_key& end) const {
  bpf_map_delete_elem(bpf_map__fd(x_skeleton->maps.weir_joined), &end);
}

// Why in this order: join.bpf.c, above weir_rest.
bool Acceleration::leave(int proxys) const {
  weir_join_state state{};
  if (bpf_map_lookup_elem(bpf_map__fd(x_skeleton->maps.weir_join_state), &proxys, &state) != 0 ||
      (state.role != WEIR_JOIN_DOWNSTREAM && state.role != WEIR_JOIN_UPSTREAM)) {
    return true;
  }
  std::uint32_t rest = ask_about(state.peer);
  if ((rest & WEIR_REST_POD_QUEUED) != 0) {
    return false;
  }
  if ((rest & WEIR_REST_POD_JOINED) != 0) {
    take_out(state.peer);
    rest = ask_about(state.peer);
  }
  if ((rest & (WEIR_REST_POD_JOINED | WEIR_REST_PROXY_QUEUED)) != 0) {
    return false;
  }
  weir_join_key own{};
  own.local = state.peer.remote;
  own.remote = state.peer.local;
  own.first_sent = state.peer.first_received;
  own.first_received = state.peer.first_sent;
  own.local_port_be = state.peer.remote_port_be;
  own.remote_port_be = state.peer.local_port_be;
  take_out(own);
  return true;
}

Result<Acceleration::Counts> Acceleration::counts() const {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) {
    return errno_error(-cpus, "count CPUs");
  }
  std::vector<std::uint64_t> values(static_cast<std::size_t>(cpus));
  Counts counts;
  for (std::uint32_t i = 0; i < WEIR_JOIN_COUNT_MAX; ++i) {
    if (bpf_map_lookup_elem(bpf_map__fd(x_skeleton->maps.weir_join_counts), &i, values.data()) !=
        0) {
      return errno_error("read weir_join_counts");
    }
    for (const std::uint64_t value : values) {
      counts.of[i] += value;
    }
  }
  return counts;
}

} // namespace weir::redirect
