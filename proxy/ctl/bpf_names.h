// Names for the numbers in the kernel's maps, from the state folder alone: they are there while no
// proxy runs. What has no name there is shown as a number.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace weir::ctl {

class BpfNames {
public:
  // The folder of state.directory. What cannot be read leaves its names out, and `trouble()` says
  // what.
  explicit BpfNames(const std::string& state_folder);

  [[nodiscard]] std::string endpoint(std::uint32_t id) const; // "shop/web", else "endpoint 7"
  // "world-ipv4", "10.0.0.0/8", "app=web,…", else the number.
  [[nodiscard]] std::string identity(std::uint32_t identity) const;
  // "shop/api ingress rule 2", as weirctl flows says it, else the number. `revision`: under which
  // the row or flow was made that has it; another process's numbers mean other rules.
  [[nodiscard]] std::string rule(std::uint32_t number, std::uint32_t revision) const;
  [[nodiscard]] std::vector<std::string> groups(std::uint32_t endpoint, std::uint64_t bits) const;
  // Names that this endpoint learned the address for.
  [[nodiscard]] std::vector<std::string> learned(std::uint32_t endpoint,
                                                 const std::string& address) const;
  [[nodiscard]] const std::string& trouble() const { return x_trouble; }

private:
  void read_identities(const std::string& text);
  void read_rules(const std::string& text);
  void read_learned(const std::string& text);

  std::map<std::uint32_t, std::string> x_endpoints, x_identities;
  std::map<std::uint32_t, std::string> x_rules; // of rows and flows since this revision:
  std::uint32_t x_first_revision = 0;
  std::map<std::pair<std::uint32_t, unsigned>, std::string> x_groups; // endpoint, bit
  std::map<std::pair<std::uint32_t, std::string>, std::vector<std::string>> x_learned;
  std::string x_trouble;
};

} // namespace weir::ctl
