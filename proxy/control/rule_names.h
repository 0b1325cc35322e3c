// Keeps on disk what the rules are called whose numbers the kernel holds (rules.json of the state
// folder), so that `weirctl bpf dump` can tell while no proxy runs. Nothing but that reads it: the
// file may come a moment after the rows that it is about, and a restart gives out other numbers.
//
// Control thread. stop() before destruction.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/control/state_writer.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace weir::control {

class RuleNames {
public:
  // The context outlives it.
  RuleNames(boost::asio::io_context& context, std::string path);

  // An earlier process's numbers are about to leave the kernel: its file goes before that, as no
  // name is better than a wrong one.
  void forget();
  // The rules of this Program are in force, or those of one with the same rules. `first_revision`:
  // Redirector::first_revision(). `changes` rises when there are other rules than before.
  void keep(std::shared_ptr<const policy::Program> program, std::uint32_t first_revision,
            std::uint64_t changes);
  // What is not on disk yet is written as soon as StateWriter lets it: to be called now and then.
  void save();
  void stop();

private:
  StateWriter x_writer;
  std::shared_ptr<const policy::Program> x_unsaved; // null: nothing new
  std::uint32_t x_first_revision = 0;
  std::optional<std::uint64_t> x_known_changes;
};

} // namespace weir::control
