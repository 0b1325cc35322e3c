#include "test/support/bpf_runner.h"

#include "test/support/must.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <array>

namespace weir::test {

BpfRun run_tc_program(int program, const Bytes& packet, std::uint32_t mark, std::uint32_t interface,
                      std::uint32_t came_by, int runs) {
  __sk_buff context{};
  context.mark = mark;
  context.ifindex = interface;
  context.ingress_ifindex = came_by;
  std::array<std::uint8_t, 4096> out{};
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = packet.data();
  options.data_size_in = static_cast<std::uint32_t>(packet.size());
  options.data_out = out.data();
  options.data_size_out = out.size();
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  options.ctx_out = &context;
  options.ctx_size_out = sizeof(context);
  options.repeat = runs;
  must(bpf_prog_test_run_opts(program, &options) == 0, "run a BPF program");
  return {static_cast<int>(options.retval), context.mark, options.duration};
}

} // namespace weir::test
